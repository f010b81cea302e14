"""Runs the examples in empty folders and writes what they print, and their pictures, into the documents.

``python -m benchmarks.examples`` does all of them, ``python -m benchmarks.examples compare_vowels`` one. What stands
in a document between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->`` is replaced.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers.interleave import processor

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "examples" / "pictures"
LIMIT = 120  # seconds: what an example may take


class Run(NamedTuple):
    """One command and where its output goes."""

    command: str
    document: str
    picture: bool = True
    table: bool = False  #: whether it prints Markdown


def _example(name: str, options: str = "", picture: bool = True) -> Run:
    return Run(f"python examples/{name}.py{options}", "examples/README.md", picture)


RUNS: dict[str, Run] = {
    "compare_household": Run("fastseq compare --task household --markdown", "README.md", table=True),
    "compare_vowels": Run("fastseq compare --task vowels --markdown", "README.md", table=True),
    **{
        name: _example(name)
        for name in (
            "forecast_series", "classify_sensors", "classify_sentences", "transcribe_speech", "translate_dates",
            "generate_text",
        )
    },
    **{name: _example(name, picture=False) for name in ("classify_sequences", "stream_sensor", "score_many")},
}  # fmt: skip


def machine() -> str:
    """Return what the commands run on."""
    return f"{processor()}, {len(os.sched_getaffinity(0))} cores"


def execute(name: str) -> str:
    """Run an example in an empty folder, keep its picture, and return the Markdown.

    Parameters
    ----------
    name
        In ``RUNS``.
    """
    run = RUNS[name]
    words = shlex.split(run.command.replace("examples/", f"{ROOT}/examples/"))
    words[:1] = [sys.executable, "-m", "fastseq"] if words[0] == "fastseq" else [sys.executable]
    if run.picture:
        PICTURES.mkdir(exist_ok=True)
        words += ["--plot", str(PICTURES / f"{name}.png")]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(
            words, capture_output=True, text=True, cwd=folder, timeout=2 * LIMIT, env={**os.environ, "PYTHONPATH": path}
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{run.command}: exit status {done.returncode}\n{done.stderr}")
    if seconds > LIMIT:
        raise RuntimeError(f"{run.command}: {seconds:.0f} s, which is more than {LIMIT}")
    return section(name, done.stdout, seconds, machine())


def section(name: str, output: str, seconds: float, origin: str) -> str:
    """Return the Markdown of one run.

    Parameters
    ----------
    name
        In ``RUNS``.
    output
        What the command printed.
    seconds
        How long it took.
    origin
        What it ran on.
    """
    run = RUNS[name]
    lines = [line.rstrip() for line in output.splitlines() if not line.startswith("wrote ")]
    if not run.table:  # a text without line ends would run out of the page
        lines = [part for line in lines for part in textwrap.wrap(line, 110, replace_whitespace=False) or [""]]
    text = "\n".join(lines).strip()
    folder = "examples/pictures" if run.document == "README.md" else "pictures"
    return "\n".join(
        [
            f"`{run.command}`, {seconds:.0f} s on {origin}:",
            "",
            *([text] if run.table else ["```text", text, "```"]),
            *(["", f"![{name.replace('_', ' ')}]({folder}/{name}.png)"] if run.picture else []),
        ]
    )


def replaced(document: str, name: str, text: str) -> str:
    """Return a document with the text between a run's two marks replaced.

    Parameters
    ----------
    document
        The document's text.
    name
        The run's.
    text
        What shall stand there.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if document.count(begin) != 1 or document.count(end) != 1:
        raise ValueError(f"expected the marks {begin} and {end} once each")
    return re.sub(f"(?s){re.escape(begin)}.*{re.escape(end)}", lambda _: f"{begin}\n\n{text}\n\n{end}", document)


def main(argv: list[str] | None = None) -> int:
    """Run the examples named, or all.

    Parameters
    ----------
    argv
        Arguments after the program's name; None takes those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.examples", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(RUNS)}; all by default")
    names = parser.parse_args(argv).names or list(RUNS)
    unknown = [name for name in names if name not in RUNS]
    if unknown:
        parser.error(f"expected names among {', '.join(RUNS)}, got {unknown[0]}")
    for name in names:
        text = execute(name)
        path = ROOT / RUNS[name].document
        path.write_text(replaced(path.read_text(encoding="utf-8"), name, text), encoding="utf-8")
        print(f"{name}: {text.splitlines()[0]}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
