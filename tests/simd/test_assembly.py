"""The machine code of hot loops: no vector register goes to memory and back, nothing is called."""

from __future__ import annotations

import platform
import re
from typing import NamedTuple

import numpy as np
import pytest

from fastseq import jit
from fastseq.jit import cache
from fastseq.jit.kernels import REALS
from fastseq.simd import gemm
from fastseq.simd.gemm import WIDE
from tests.simd.lane_kernels import operate

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="reads the assembly of x86-64 processors with AVX2"
)

FMA = re.compile(r"vfn?m(add|sub)\d*p[sd]\s")
VECTOR_ON_STACK = re.compile(r"vmov\w*\s.*\(%rsp.*%[xyz]mm|vmov\w*\s.*%[xyz]mm\d+,.*\(%rsp")


class Loop(NamedTuple):
    """The lines of a loop that is one straight piece of code."""

    lines: list[str]

    def count(self, pattern: re.Pattern) -> int:
        return sum(bool(pattern.match(line)) for line in self.lines)

    @property
    def calls(self) -> list[str]:
        return [line for line in self.lines if line.startswith("call")]

    @property
    def spills(self) -> list[str]:
        return [line for line in self.lines if VECTOR_ON_STACK.match(line)]


def loops_of(assembly: str) -> list[Loop]:
    """Return the straight loops: from a label to a jump back to it, no other label between."""
    found, lines, label = [], [], None
    for raw in assembly.splitlines():
        line = raw.split("#")[0].strip()
        named = re.match(r"(\.LBB\w+):$", line)
        if named:
            label, lines = named[1], []
        elif line:
            lines.append(line)
            if label and re.match(rf"j\w+\s+{re.escape(label)}$", line):
                found.append(Loop(list(lines)))
    return found


def fresh(kernel: jit.Kernel, dtype, monkeypatch) -> str:
    """Compile a kernel without the cache, which keeps no assembly, and return it."""
    monkeypatch.setattr(cache, "_folder", [None])
    compiled = kernel._compile(np.dtype(dtype))
    return next(iter(compiled.inspect_asm().values()))


def assert_clean(assembly: str, least: int) -> list[Loop]:
    """Assert that loops of fused multiply-adds neither spill nor call; there are at least so many."""
    hot = [loop for loop in loops_of(assembly) if loop.count(FMA) >= 2]
    assert len(hot) >= least
    for loop in hot:
        assert not loop.spills, "\n".join(loop.lines)
        assert not loop.calls, "\n".join(loop.lines)
    return hot


def test_loops_are_found_and_spills_are_seen():
    text = """
    f:
        vmovups 64(%rsp), %zmm1
    .LBB0_1:
        vbroadcastss (%rax), %zmm0
        vfmadd231ps (%rcx), %zmm0, %zmm1
        vfmadd231ps 64(%rcx), %zmm0, %zmm2  # a comment
        vmovups %zmm1, 8(%rsp)
        callq *%rbx
        jne .LBB0_1
        vmovups %zmm1, 128(%rsp)
        jne .LBB0_1
    """
    first, second = loops_of(text)
    assert first.count(FMA) == 2 and len(first.spills) == 1 and len(first.calls) == 1
    assert len(second.spills) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tiles_keep_their_sums_in_registers(dtype, monkeypatch):
    monkeypatch.setattr(cache, "_folder", [None])
    product = gemm._product._compile(REALS[np.dtype(dtype)], "afresh")
    hot = assert_clean(product.library.get_asm_str(), 4)
    # the largest tile, 6 rows x 4 vectors of 64 bytes, or 6 x 1 of two registers each: once per step of k, or twice
    tile = 24 if WIDE else 12
    assert {tile, 2 * tile} & {loop.count(FMA) for loop in hot}
    register = "%zmm" if WIDE else "%ymm"
    assert all(register in line for loop in hot for line in loop.lines if FMA.match(line))


def test_operations_are_instructions_not_calls(monkeypatch):
    assembly = fresh(operate, np.float32, monkeypatch)
    for name in ("expf", "fmaf", "fmax", "sqrtf", "copysign", "memcpy", "ldexp"):
        assert not re.search(rf"\b{name}\b", assembly), name
    for word in ("vdivps", "vsqrtps", "vfmadd"):
        assert word in assembly


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_the_cells_products_keep_their_sums_in_registers(kind, dtype, monkeypatch):
    from fastseq import nn
    from fastseq.autograd.recurrent import kernels_of

    for kernel in kernels_of(getattr(nn, kind).cell):
        assembly = fresh(kernel, dtype, monkeypatch)
        assert_clean(assembly, 1)  # of one row; those of tiles are in the common product
        for name in ("expf?", "tanhf?", "fmaf?"):
            assert not re.search(rf"\b{name}\b", assembly), name
