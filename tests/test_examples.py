"""Every example runs at toy size and says what it should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXPECTED = {
    "compare_models.py": r"mean of 1 seeds",
    "forecast_series.py": r"mean absolute error: LSTM \d\.\d{3} kW",
    "classify_sequences.py": r"mean test accuracy over 1 seeds: 0\.\d{4}",
    "stream_sensor.py": r"100 readings, \d+ alarms, median \d+\.\d\d us per reading",
    "score_many.py": r"400 series, [\d,]+ rows: [\d,]+ rows per second",
}
DRAWING = {"compare_models.py", "forecast_series.py"}


def test_every_example_is_listed():
    scripts = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert scripts == set(EXPECTED)
    readme = (ROOT / "examples" / "README.md").read_text("utf-8")
    assert all(f"`{name}`" in readme for name in scripts)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_example(name, tmp_path):
    extra = ["--plot", str(tmp_path / "plot.png")] if name in DRAWING else []
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), "--quick", *extra],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(EXPECTED[name], done.stdout), done.stdout
    assert {path.name for path in tmp_path.iterdir()} == ({"plot.png"} if extra else set())
