"""Every example runs at toy size and says what it should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

from benchmarks import examples

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
SLOW = {"classify_sentences.py", "compare_models.py", "transcribe_speech.py"}  # ``fastseq compare`` has its own tests
WITHOUT_PICTURE = {"classify_sequences.py", "score_many.py", "stream_sensor.py"}


def test_every_example_is_listed():
    scripts = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert scripts == set(EXPECTED)
    readme = (ROOT / "examples" / "README.md").read_text("utf-8")
    assert all(f"`{name}`" in readme for name in scripts)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in sorted(EXPECTED)])
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


def test_the_documents_show_what_the_commands_print():
    """``python -m benchmarks.examples`` finds its marks, and every example's output and picture are there."""
    shown = {Path(run.command.split()[1]).name for run in examples.RUNS.values() if "examples/" in run.command}
    assert shown | {"compare_models.py"} == set(EXPECTED)  # which is ``fastseq compare``
    for name, run in examples.RUNS.items():
        document = (ROOT / run.document).read_text("utf-8")
        part = document.split(f"<!-- {name}: begin -->")[1].split(f"<!-- {name}: end -->")[0]
        assert run.command in part and "cores:" in part, name
        assert not run.picture or (ROOT / "examples" / "pictures" / f"{name}.png").stat().st_size < 400_000
        assert examples.replaced(document, name, part.strip()) == document


def test_a_run_becomes_markdown():
    found = examples.section("translate_dates", "a line\nwrote x.png\n", 12.4, "a machine")
    assert found == (
        "`python examples/translate_dates.py`, 12 s on a machine:\n\n```text\na line\n```\n\n"
        "![translate dates](pictures/translate_dates.png)"
    )
    assert examples.section("stream_sensor", "x " * 200, 1, "m").splitlines()[3].count("x") == 55
    with pytest.raises(ValueError, match="expected the marks <!-- a: begin -->"):
        examples.replaced("text", "a", "b")
