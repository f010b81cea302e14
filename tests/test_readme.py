"""The README's Python runs as it is printed, top to bottom, in an empty folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Fenced blocks of one language."""
    # every fence is read, so that one's end is not taken for another's beginning
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.M | re.S)
    return [text for name, text in found if name == language]


def test_every_python_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}
    assert len(blocks("python")) == 4
    for number, block in enumerate(blocks("python")):
        exec(compile(block, f"README.md, block {number}", "exec"), namespace)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "meters.parquet",
        "predictions.parquet",
        "sine.safetensors",
    ]


@pytest.mark.parametrize("line", [line for block in blocks("") for line in block.splitlines() if "fastseq " in line])
def test_every_fastseq_command_exists(line):
    from fastseq.cli import _parser

    words = shlex.split(line.split("&&")[-1])
    assert _parser().parse_args(words[1:])
