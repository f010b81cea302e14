"""Test-only kernels: every lane operation by number, every way of moving elements, the products by themselves."""

from __future__ import annotations

import operator

from fastseq.jit import Flag, Int, Integers, ReadReals, Reals, kernel
from fastseq.simd import math
from fastseq.simd.gemm import multiply, multiply_row, multiply_runs
from fastseq.simd.lanes import (
    address,
    at_least,
    at_most,
    fma,
    load,
    load_group,
    load_head,
    magnitude,
    power_of_two,
    splat,
    square_root,
    store,
    store_group,
    store_head,
    where_less,
    with_sign_of,
    zero_like,
)
from fastseq.simd.memory import clear, copy, copy_padded
from fastseq.simd.pack import unpack_gates

OPERATIONS = {
    "add": (2, lambda a, b: a + b),
    "subtract": (2, lambda a, b: a - b),
    "multiply": (2, lambda a, b: a * b),
    "divide": (2, operator.truediv),
    "negate": (1, lambda a: -a),
    "fma": (3, fma),
    "at_most": (2, at_most),
    "at_least": (2, at_least),
    "where_less": (4, where_less),
    "magnitude": (1, magnitude),
    "with_sign_of": (2, with_sign_of),
    "zero_like": (1, zero_like),
    "square_root": (1, square_root),
    "scalar_left": (1, lambda a: 2.5 - a),
    "scalar_right": (1, lambda a: a / 3.0),
    "scalar_integer": (1, lambda a: a * 2),
    "scalar_bound": (1, lambda a: at_least(at_most(a, 1.0), -1.0)),
    "scalar_choice": (2, lambda a, b: where_less(0.0, a, 1.0, b)),
    "sigmoid_slope": (1, math.sigmoid_slope),
    "tanh_slope": (1, math.tanh_slope),
    "power_of_two": (1, power_of_two),
}
"""Name: number of operands, and the operation in plain NumPy."""


@kernel
def operate(which: Int, a: ReadReals, b: ReadReals, c: ReadReals, d: ReadReals, out: Reals, lanes: Int):
    """Write an operation of whole vectors; ``which`` counts `OPERATIONS`."""
    for i in range(0, a.size, lanes):
        x, y, z, w = load(a, i), load(b, i), load(c, i), load(d, i)
        if which == 0:
            store(out, i, x + y)
        elif which == 1:
            store(out, i, x - y)
        elif which == 2:
            store(out, i, x * y)
        elif which == 3:
            store(out, i, x / y)
        elif which == 4:
            store(out, i, -x)
        elif which == 5:
            store(out, i, fma(x, y, z))
        elif which == 6:
            store(out, i, at_most(x, y))
        elif which == 7:
            store(out, i, at_least(x, y))
        elif which == 8:
            store(out, i, where_less(x, y, z, w))
        elif which == 9:
            store(out, i, magnitude(x))
        elif which == 10:
            store(out, i, with_sign_of(x, y))
        elif which == 11:
            store(out, i, zero_like(x))
        elif which == 12:
            store(out, i, square_root(x))
        elif which == 13:
            store(out, i, 2.5 - x)
        elif which == 14:
            store(out, i, x / 3.0)
        elif which == 15:
            store(out, i, x * 2)
        elif which == 16:
            store(out, i, at_least(at_most(x, 1.0), -1.0))
        elif which == 17:
            store(out, i, where_less(0.0, x, 1.0, y))
        elif which == 18:
            store(out, i, math.sigmoid_slope(x))
        elif which == 19:
            store(out, i, math.tanh_slope(x))
        else:
            store(out, i, power_of_two(x))


MOVES = ("vector", "head_in", "head_out", "group", "splat", "copy", "copy_padded", "clear")


@kernel
def move(which: Int, source: ReadReals, at: Int, target: Reals, to: Int, count: Int, stride: Int, lanes: Int):
    """Move elements in one of the ways of `MOVES`."""
    if which == 0:
        store(target, to, load(source, at))
    elif which == 1:
        store(target, to, load_head(source, at, count))
    elif which == 2:
        store_head(target, to, load(source, at), count)
    elif which == 3:
        store_group(target, to, stride, load_group(source, at, stride, (0, 0, 0)))
    elif which == 4:
        store(target, to, splat(target, source[at]))
    elif which == 5:
        copy(source, at, target, to, count, lanes)
    elif which == 6:
        copy_padded(source, at, target, to, count, lanes)
    else:
        clear(target, to, count, lanes)


@kernel
def multiply_flat(
    a: ReadReals, a0: Int, a_row: Int, a_k: Int, w: ReadReals, w0: Int, w_k: Int, depth: Int,
    s: ReadReals, s0: Int, s_row: Int, c: Reals, c0: Int, c_row: Int, rows: Int, vectors: Int, lanes: Int,
):  # fmt: skip
    """`multiply` with all its arguments."""
    multiply(a, a0, a_row, a_k, w, w0, w_k, depth, s, s0, s_row, c, c0, c_row, rows, vectors, lanes)


@kernel
def accumulate_flat(
    a: ReadReals, a_row: Int, w: ReadReals, w_k: Int, depth: Int, c: Reals, c_row: Int, rows: Int, vectors: Int,
    lanes: Int,
):  # fmt: skip
    """`multiply` that starts from what stands in the result."""
    multiply(a, 0, a_row, 1, w, 0, w_k, depth, c, 0, c_row, c, 0, c_row, rows, vectors, lanes)


@kernel
def multiply_row_flat(
    a: ReadReals, a0: Int, a_k: Int, w: ReadReals, w0: Int, w_panel: Int, w_k: Int, depth: Int,
    s: ReadReals, s0: Int, s_panel: Int, c: Reals, c0: Int, c_panel: Int, vectors: Int, lanes: Int,
):  # fmt: skip
    """`multiply_row` with all its arguments."""
    multiply_row(a, a0, a_k, w, w0, w_panel, w_k, depth, s, s0, s_panel, c, c0, c_panel, vectors, lanes)


@kernel
def multiply_runs_flat(
    a: ReadReals, a0: Int, a_row: Int, run: Int, a_jump: Int, runs: Int, w: ReadReals, w0: Int, w_k: Int,
    c: Reals, c0: Int, c_row: Int, rows: Int, vectors: Int, lanes: Int,
):  # fmt: skip
    """`multiply_runs` with all its arguments."""
    multiply_runs(a, a0, a_row, run, a_jump, runs, w, w0, w_k, c, c0, c_row, rows, vectors, lanes)


@kernel
def unpack_all_gates(
    panels: ReadReals, at: Int, matrices: Reals, to: Int, order: Integers, biases: Flag, inputs: Int, units: Int,
    outputs: Int, slots: Int, vectors: Int, input_slots: Int, state_slots: Int, group: Int, lanes: Int,
):  # fmt: skip
    """Read all blocks back."""
    for block in range((units + lanes - 1) // lanes):
        unpack_gates(
            address(panels), at, block, address(matrices), to, address(order), biases,
            inputs, units, outputs, slots, vectors, input_slots, state_slots, group, lanes,
        )  # fmt: skip
