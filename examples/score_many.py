"""Score a folder of Parquet files with many series of unequal length, in memory that does not grow with them.

Writes the files first: noisy waves whose frequency a small model has learnt to tell.

    python examples/score_many.py [--series 100000] [--folder DIR] [--quick]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fastseq as fs
from fastseq import nn
from fastseq.scoring import score

SHORTEST, LONGEST, FILES = 16, 96, 4


def waves(rng: np.random.Generator, count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return noisy sine waves (T_i, 1) and their cycles per step (count, 1)."""
    frequency = rng.uniform(0.02, 0.2, count).astype(np.float32)
    lengths = rng.integers(SHORTEST, LONGEST + 1, count)
    phase = rng.uniform(0, 2 * np.pi, count)
    clean = [np.sin(p + 2 * np.pi * f * np.arange(n)) for f, n, p in zip(frequency, lengths, phase, strict=True)]
    return [(one + 0.1 * rng.standard_normal(len(one))).astype(np.float32)[:, None] for one in clean], frequency[
        :, None
    ]


def write_part(path: Path, rng: np.random.Generator, count: int, first_id: int) -> np.ndarray:
    """Write series in long format and return what the model should find."""
    series, frequency = waves(rng, count)
    lengths = [len(one) for one in series]
    table = pa.table(
        {
            "unique_id": np.repeat(np.arange(first_id, first_id + count), lengths),
            "ds": np.concatenate([np.arange(length) for length in lengths]),
            "value": np.concatenate(series)[:, 0],
        }
    )
    pq.write_table(table, path)
    return frequency[:, 0]


def main() -> None:
    """Learn, write the files, score them, look at the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000, help="how many series to score")
    parser.add_argument("--folder", help="where to write (default: a temporary folder)")
    parser.add_argument("--quick", action="store_true", help="toy size: 400 series, one epoch")
    options = parser.parse_args()
    count = 400 if options.quick else options.series
    rng = np.random.default_rng(0)

    fs.manual_seed(0)
    model = nn.Sequential(nn.LSTM(1, 32), nn.MeanPool(), nn.Linear(32, 1), nn.Rescale(0.05, 0.1))
    x, y = waves(rng, 200 if options.quick else 4000)
    fs.fit(
        model, x, y, loss="mse", learning_rate=5e-3, epochs=1 if options.quick else 15, batch_size=64, random_state=0
    )

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        inputs = folder / "series"
        inputs.mkdir(parents=True, exist_ok=True)
        per_file = count // FILES
        truth = [write_part(inputs / f"part-{k}.parquet", rng, per_file, k * per_file) for k in range(FILES)]
        fs.save(model, folder / "model.safetensors")

        summary = score(folder / "model.safetensors", inputs, folder / "predictions")
        found = np.concatenate([pq.read_table(path)["prediction"].to_numpy() for path in summary.outputs])
    error = np.abs(found - np.concatenate(truth))
    print(f"{summary.series:,} series, {summary.rows:,} rows: {summary.rows_per_second:,.0f} rows per second")
    if sys.platform == "linux":
        import resource

        print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    print(f"median error {np.median(error):.4f} cycles per step")


if __name__ == "__main__":
    main()
