"""Every example runs at toy size and says what it should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

ROOT = Path(__file__).parents[1]
EXPECTED = {
    "classify_sensors.py": r"test accuracy of the LSTM after 10 s: \d\.\d{3}",
    "classify_sentences.py": r"attention pooling 0\.\d{3}",
    "classify_sequences.py": r"mean test accuracy over 1 seeds: 0\.\d{4}",
    "compare_models.py": r"mean of 1 seeds",
    "forecast_series.py": r"mean absolute error: LSTM \d\.\d{3} kW",
    "generate_text.py": r"LSTM +\d\.\d{3} bits per letter, perplexity [\d.]+\n--- temperature 0.3\nThe .+",
    "score_many.py": r"400 series, [\d,]+ rows: [\d,]+ rows per second",
    "stream_sensor.py": r"100 readings, \d+ alarms, median \d+\.\d\d us per reading",
    "transcribe_speech.py": r"BiLSTM with CTC +label error rate \d\.\d{3}, whole conversations right \d\.\d{3}",
    "translate_dates.py": r"all +[01]\.\d{3} +[01]\.\d{3}",
}
WITHOUT_PICTURE = {"classify_sequences.py", "score_many.py", "stream_sensor.py"}


def test_every_example_is_listed():
    scripts = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert scripts == set(EXPECTED)
    readme = (ROOT / "examples" / "README.md").read_text("utf-8")
    assert all(f"`{name}`" in readme for name in scripts)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_example(name, tmp_path):
    extra = ["--plot", str(tmp_path / "plot.png")] if name not in WITHOUT_PICTURE else []
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
    if extra:
        picture = matplotlib.image.imread(tmp_path / "plot.png")
        assert min(picture.shape[:2]) > 400 and picture[..., :3].std() > 0.05
