"""The kernels of CTC and CRF stay inside the arrays that they are given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform == "win32", reason="mprotect is POSIX")
@pytest.mark.parametrize(("side", "dtype"), [("end", "float32"), ("start", "float64")])
def test_no_kernel_leaves_its_arrays(side, dtype):
    done = subprocess.run(
        [sys.executable, "-m", "tests.sequence.guarded_lattices", side, dtype], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 12
