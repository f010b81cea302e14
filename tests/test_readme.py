"""The documents' Python runs as it is printed, top to bottom, in an empty folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: How many blocks of Python there are, and which files they leave.
DOCUMENTS = {
    "README.md": (4, ["meters.parquet", "predictions.parquet", "sine.safetensors"]),
    "examples/from_pytorch.md": (4, ["model.onnx", "model.safetensors", "weights.safetensors"]),
    "examples/from_keras.md": (6, ["forecaster.keras", "forecaster.onnx"]),
}


def blocks(language: str, document: str = "README.md") -> list[str]:
    """Fenced blocks of one language."""
    # every fence is read, so that one's end is not taken for another's beginning
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.M | re.S)
    return [text for name, text in found if name == language]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_python_block_runs(document, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "document"}
    count, files = DOCUMENTS[document]
    assert len(blocks("python", document)) == count
    for number, block in enumerate(blocks("python", document)):
        exec(compile(block, f"{document}, block {number}", "exec"), namespace)
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert capsys.readouterr().out


def test_every_document_is_run():
    with_code = {
        str(path.relative_to(ROOT))
        for path in [*ROOT.glob("*.md"), *ROOT.glob("examples/*.md"), *ROOT.glob("benchmarks/*.md")]
        if "```python" in path.read_text(encoding="utf-8")
    }
    assert with_code == set(DOCUMENTS)


def test_links_lead_somewhere():
    for document in [*DOCUMENTS, "examples/README.md"]:
        path = ROOT / document
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
            assert target.startswith("http") or (path.parent / target).exists(), f"{document}: {target}"


@pytest.mark.parametrize("line", [line for block in blocks("") for line in block.splitlines() if "fastseq " in line])
def test_every_fastseq_command_exists(line):
    from fastseq.cli import _parser

    words = shlex.split(line.split("&&")[-1])
    assert _parser().parse_args(words[1:])
