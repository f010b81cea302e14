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


class Bidirectional:
    """Two layers of two directions, with dropout between them: the model of the README's third use."""

    params = ([1, 2],)
    param_names = ("threads",)
    timeout = 300

    def setup(self, threads: int) -> None:
        """Build the layers and run them once."""
        import fastseq as fs
        from fastseq import nn

        fs.set_num_threads(threads)
        self.x, self.lengths = batch(32, 50, 16, 0.55)
        self.lstm = nn.LSTM(16, 64, 2, dropout=0.2, bidirectional=True)
        self.time_training_pass()

    def time_training_pass(self, *_: object) -> None:
        """Forward that keeps residuals, a sum, backward."""
        self.lstm.zero_grad()
        self.lstm(self.x, lengths=self.lengths)[0].sum().backward()
