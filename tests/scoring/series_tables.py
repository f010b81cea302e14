"""Tables of series to score, and a model whose predictions can be computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from fastseq.scoring import score


def weighted_sum(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Sum over valid steps of 1 * first feature + 2 * second + ...: (B, T, F) to (B, 1)."""
    valid = np.arange(x.shape[1]) < np.asarray(lengths)[:, None]
    return np.sum((x @ np.arange(1, x.shape[2] + 1, dtype=x.dtype)) * valid, axis=1, keepdims=True)


def running(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """A prediction per step, NaN past the end: running sum and step number (B, T, 2)."""
    steps = np.broadcast_to(np.arange(1, x.shape[1] + 1, dtype=x.dtype), x.shape[:2])
    out = np.stack([np.cumsum(x.sum(2), 1), steps], axis=2)
    out[np.arange(x.shape[1]) >= np.asarray(lengths)[:, None]] = np.nan
    return out


def ragged(lengths: list[int], features: int = 3, seed: int = 0) -> list[np.ndarray]:
    """Series of small multiples of 1/8, so that sums are exact."""
    rng = np.random.default_rng(seed)
    return [rng.integers(-16, 16, (length, features)).astype(np.float32) / 8 for length in lengths]


def long_table(series: list[np.ndarray], ids: list | None = None) -> pa.Table:
    """Long format: unique_id, ds and columns a, b, c ..."""
    lengths = [len(one) for one in series]
    names = np.repeat(np.array([f"s{k}" for k in range(len(series))] if ids is None else ids), lengths)
    hours = np.concatenate([np.arange(length) for length in lengths])
    times = np.datetime64("2026-01-01T00:00:00", "s") + hours.astype("timedelta64[h]")
    values = np.concatenate(series)
    columns = {chr(ord("a") + f): values[:, f] for f in range(values.shape[1])}
    return pa.table({"unique_id": names.tolist(), "ds": times, **columns})


def list_table(series: list[np.ndarray]) -> pa.Table:
    """List columns: unique_id and lists a, b, c ..."""
    columns = {chr(ord("a") + f): [one[:, f].tolist() for one in series] for f in range(series[0].shape[1])}
    return pa.table({"unique_id": [f"s{k}" for k in range(len(series))], **columns})


def expected(series: list[np.ndarray]) -> np.ndarray:
    """What `weighted_sum` gives for each series."""
    return np.array([(one @ np.arange(1, one.shape[1] + 1)).sum() for one in series], np.float32)


def write(table: pa.Table, path: Path) -> Path:
    """Write a table as the suffix says."""
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=50)
    else:
        with pa.CompressedOutputStream(path, "gzip") if path.suffix == ".gz" else path.open("wb") as stream:
            pa.csv.write_csv(table, stream)
    return path


def read(path: Path) -> pa.Table:
    """Read a table as the suffix says."""
    return pq.read_table(path) if path.suffix == ".parquet" else pa.csv.read_csv(path)


def quiet(model, inputs, output, **options):
    """Score without a bar."""
    return score(model, inputs, output, progress=False, **options)
