"""The public contract, run exactly as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

CONTRACT = Path(__file__).parent / "data" / "contract.py.txt"


@pytest.mark.usefixtures("threads")
def test_the_contract_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = compile(CONTRACT.read_text(encoding="utf-8"), str(CONTRACT), "exec")
    exec(code, {"__name__": "contract"})
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]
