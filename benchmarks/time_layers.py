"""Seconds of a layer over a whole batch: forward alone, and forward with backward."""

from __future__ import annotations

import numpy as np


def batch(rows: int, steps: int, features: int, fill: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of noise, and lengths spread evenly so that their mean is ``fill`` of the steps."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, steps, features), dtype=np.float32)
    shortest = max(1, round((2 * fill - 1) * steps))
    return x, rng.permutation(np.linspace(shortest, steps, rows).round().astype(np.int64))


class LSTM:
    """One layer, one direction, float32."""

    params = (["1x50x16x64", "32x50x16x64", "64x100x64x128"], [1.0, 0.55], [1, 2])
    param_names = ("shape", "fill", "threads")
    timeout = 300

    def setup(self, shape: str, fill: float, threads: int) -> None:
        """Build the layer and run it once, so that nothing is compiled while the clock runs."""
        import fastseq as fs
        from fastseq import nn

        rows, steps, features, hidden = map(int, shape.split("x"))
        fs.set_num_threads(threads)
        self.no_grad = fs.no_grad
        self.x, self.lengths = batch(rows, steps, features, fill)
        self.lstm = nn.LSTM(features, hidden)
        self.time_forward()
        self.time_training_pass()

    def time_forward(self, *_: object) -> None:
        """Inference."""
        with self.no_grad():
            self.lstm(self.x, lengths=self.lengths)

    def time_training_pass(self, *_: object) -> None:
        """Forward that keeps residuals, a sum, backward."""
        self.lstm.zero_grad()
        self.lstm(self.x, lengths=self.lengths)[0].sum().backward()


class Stream:
    """One observation at a time."""

    params = ([32, 64, 256],)
    param_names = ("hidden",)
    timeout = 300

    def setup(self, hidden: int) -> None:
        """Open the stream and step once."""
        import fastseq as fs
        from fastseq import nn

        self.stream = fs.Stream(nn.Sequential(nn.LSTM(1, hidden), nn.Linear(hidden, 1)).eval())
        self.value = np.ones(1, dtype=np.float32)
        self.stream.step(self.value)

    def time_step(self, hidden: int) -> None:
        """A step, called from Python."""
        self.stream.step(self.value)


def time_import() -> None:
    """Importing the package's layers in a fresh process, NumPy and Numba included."""
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", "import fastseq.nn"], check=True)
