"""Attention and its neighbours stay inside their arrays, and have the same bits on every processor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.encoder_runs import KINDS
from tests.test_bits import digest, in_another_process
from tests.test_processors import HASWELL, avx512  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(sys.platform == "win32", reason="mprotect is POSIX")
@pytest.mark.parametrize("side", ["end", "start"])
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_no_kernel_leaves_its_arrays(side, dtype):
    done = subprocess.run(
        [sys.executable, "-m", "tests.encoder_runs", side, dtype], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 32 * len(KINDS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("avx512")
def test_avx2_code_gives_the_bits_of_avx512_code(tmp_path):
    code = (
        "from fastseq.simd.gemm import WIDE; assert not WIDE;"
        "from tests.encoder_runs import digests; from tests.test_bits import digest; print(digest(digests()))"
    )
    from tests.encoder_runs import digests

    found = in_another_process(code, **HASWELL, FASTSEQ_CACHE_DIR=str(tmp_path))
    assert found.strip() == digest(digests())
