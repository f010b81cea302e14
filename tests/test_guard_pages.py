"""No kernel reads or writes outside the arrays it is given: a forbidden page on either side of every one of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="mprotect is POSIX")

SIZES = [(f, h) for f in (1, 5, 16, 17, 33) for h in (1, 5, 16, 17, 33)]
FEW = [(1, 1), (17, 5), (5, 33), (33, 17)]
KINDS = {"LSTM": SIZES, "GRU": FEW, "RNN": [*FEW, (5, 80)], "PeepholeLSTM": FEW, "MinGRU": FEW}
KINDS |= {'GRU {"reset_after": false}': FEW, 'LSTM {"proj_size": 4}': FEW[1:], "LayerNormLSTM": FEW}


def program(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tests.guard_pages", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_one_element_too_far_is_seen():
    assert program("--overrun").returncode in (-signal.SIGSEGV, -signal.SIGBUS)


@pytest.mark.parametrize("side", ["end", "start"])
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_no_kernel_leaves_its_arrays(side, dtype):
    done = program(side, json.dumps(KINDS), dtype)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 4 * sum(map(len, KINDS.values()))
