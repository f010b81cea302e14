"""Seconds of what users do: whole training steps, streamed steps, scored files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np


class TrainingStep:
    """Loss, backward, clipping and Adam of a sequence model; online learning is a batch of one row."""

    params = (["1x50x16x64", "32x50x16x64"], [1, 2])
    param_names = ("shape", "threads")
    timeout = 300

    def setup(self, shape: str, threads: int) -> None:
        """Build the model and take a step."""
        import fastseq as fs
        from fastseq import nn, optim

        rows, steps, features, hidden = map(int, shape.split("x"))
        fs.set_num_threads(threads)
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((rows, steps, features), dtype=np.float32)
        self.y = rng.standard_normal((rows, steps, 1), dtype=np.float32)
        self.model = nn.Sequential(nn.LSTM(features, hidden), nn.Linear(hidden, 1))
        self.optimizer = optim.Adam(self.model.parameters(), lr=1e-3)
        self.nn = nn
        self.time_step()

    def time_step(self, *_: object) -> None:
        """One training step."""
        self.optimizer.zero_grad()
        self.nn.functional.mse_loss(self.model(self.x), self.y).backward()
        self.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()


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

    def time_step(self, *_: object) -> None:
        """A step, called from Python."""
        self.stream.step(self.value)


class StreamPool:
    """Some of 10,000 streams, a step of each in one call."""

    params = ([1, 64, 1024], [1, 2])
    param_names = ("active", "threads")
    timeout = 300

    def setup(self, active: int, threads: int) -> None:
        """Open the pool and step once."""
        import fastseq as fs
        from fastseq import nn

        fs.set_num_threads(threads)
        rng = np.random.default_rng(0)
        self.pool = fs.StreamPool(nn.Sequential(nn.LSTM(16, 64), nn.Linear(64, 1)).eval(), 10_000)
        self.x = rng.standard_normal((active, 16), dtype=np.float32)
        self.ids = rng.permutation(10_000)[:active]
        self.time_step()

    def time_step(self, *_: object) -> None:
        """A step of all that are active."""
        self.pool.step(self.x, self.ids)


class Scoring:
    """A Parquet file of 300 series of 20 to 200 steps, from disk to disk."""

    timeout = 300

    def setup(self) -> None:
        """Write the file and score it once."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from fastseq import nn
        from fastseq.scoring import score

        rng = np.random.default_rng(0)
        lengths = rng.integers(20, 201, 300)
        times = np.concatenate([np.arange(length) for length in lengths]).astype("datetime64[s]")
        series = {
            "unique_id": np.repeat(np.arange(300), lengths),
            "ds": times,
            "value": rng.standard_normal(lengths.sum()).astype(np.float32),
        }
        self.folder = tempfile.TemporaryDirectory()
        self.source, self.target = (str(Path(self.folder.name) / name) for name in ("in.parquet", "out.parquet"))
        pq.write_table(pa.table(series), self.source)
        self.model = nn.Sequential(nn.LSTM(1, 32), nn.LastStep(), nn.Linear(32, 1)).eval()
        self.score = score
        self.time_score()

    def time_score(self) -> None:
        """Read, batch by length, predict, write."""
        self.score(self.model, self.source, self.target, progress=False)

    def teardown(self) -> None:
        """Remove the files."""
        self.folder.cleanup()
