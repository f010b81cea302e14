"""Dense matrix products over arrays, with the tiles' promise: an element's bits depend on its own row and column.

    c[i, j] = start[j] + sum over k of a[i, k] * b[k, j]          k ascending, one fma each

BLAS libraries split k, and differently for other shapes, threads and CPUs; and their threads fight with ours.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastseq import buffers
from fastseq.jit import Int, Launcher, ReadReals, Reals, kernel, piece, share
from fastseq.simd.gemm import multiply
from fastseq.simd.lanes import VECTOR_BYTES, address, turn
from fastseq.simd.memory import copy, copy_padded

ROWS = 96
"""Rows of one task; a multiple of the tiles' rows."""
GROUP = 4
"""Vectors of a group of columns."""
DEPTH = 256
"""So many steps of k are taken at a time: what they read of the right operand stays in the cache for all rows."""
MOST_PANELS = 256
"""Tasks of a product up to which each gets room to copy panels to."""


@kernel
def pack_right(b: ReadReals, row: Int, column: Int, depth: Int, columns: Int, panels: Reals, lanes: Int):
    """Write matrices (depth, columns) with strides ``row`` and ``column`` as groups of columns, zeros at the end."""
    padded = (columns + lanes - 1) // lanes * lanes
    for matrix in range(panels.size // max(1, depth * padded)):
        source, to = matrix * depth * columns, matrix * depth * padded
        for first in range(0, columns, GROUP * lanes):
            width = min(GROUP * lanes, padded - first)
            some = min(width, columns - first)
            if row == 1:  # the other way round in memory: in squares, turned in registers
                for j in range(0, some, lanes):
                    at = source + (first + j) * column
                    for k in range(0, depth, lanes):
                        high, wide = min(lanes, some - j), min(lanes, depth - k)
                        turn(address(b), at + k, column, high, wide, address(panels), to + k * width + j, width, True)
            elif column == 1:
                for k in range(depth):
                    copy_padded(address(b), source + k * row + first, address(panels), to + k * width, some, lanes)
            else:
                for k in range(depth):
                    for j in range(width):
                        value = b[source + k * row + (first + j) * column] if j < some else panels.dtype.type(0.0)
                        panels[to + k * width + j] = value
            to += depth * width


@piece
def multiply_task(
    task, a, a_matrix, a_row, a_k, w, w_matrix, w_k, start, c, scratch, rows, columns, depth, lanes, chunks, groups,
    panels, panels_task,
):  # fmt: skip
    """Multiply `ROWS` rows of a matrix by one group of columns."""
    matrix, rest = task // (chunks * groups), task % (chunks * groups)
    each = ((rows + chunks - 1) // chunks + 5) // 6 * 6  # chunks of like size: threads finish together
    r0, j0 = rest // groups * each, rest % groups * GROUP * lanes
    count = min(each, rows - r0)
    some = min(GROUP * lanes, columns - j0)
    vectors = (some + lanes - 1) // lanes
    width = vectors * lanes
    w0 = matrix * w_matrix + (j0 if w_k else j0 * depth)
    a0 = matrix * a_matrix + r0 * a_row
    to = (matrix * rows + r0) * columns + j0
    stride = w_k if w_k else width
    whole = some == width
    own = task * ROWS * GROUP * lanes
    target, t0, t_row = (c, to, columns) if whole else (scratch, own, width)
    s, s0, s_row = start, j0, 0
    for k in range(0, max(depth, 1), DEPTH):
        part = min(DEPTH, depth - k)
        right, right0, right_k = w, w0 + k * stride, stride
        if panels_task:
            right, right0, right_k = panels, task * panels_task, width
            for i in range(part):
                copy_padded(w, w0 + (k + i) * stride, panels, right0 + i * width, some, lanes)
        multiply(
            a, a0 + k * a_k, a_row, a_k, right, right0, right_k, part, s, s0, s_row, target, t0, t_row,
            count, vectors, lanes,
        )  # fmt: skip
        s, s0, s_row = target, t0, t_row
    if not whole:
        for r in range(count):
            copy(scratch, own + r * width, c, to + r * columns, some, lanes)


@kernel
def multiply_all(
    a: ReadReals, a_matrix: Int, a_row: Int, a_k: Int, w: ReadReals, w_matrix: Int, w_k: Int, start: ReadReals,
    c: Reals, scratch: Reals, panels: Reals, panels_task: Int, matrices: Int, rows: Int, columns: Int, depth: Int,
    lanes: Int, launcher: Launcher,
):  # fmt: skip
    """Multiply all matrices; ``w_k`` is the row stride of plain right operands, or 0 if they are packed.

    ``panels_task`` is the room of each task in ``panels``, where it copies plain operands to, or 0.
    """
    chunks = (rows + ROWS - 1) // ROWS
    groups = (columns + GROUP * lanes - 1) // (GROUP * lanes)
    arguments = (
        address(a), a_matrix, a_row, a_k, address(w), w_matrix, w_k, address(start), address(c), address(scratch),
        rows, columns, depth, lanes, chunks, groups, address(panels), panels_task,
    )  # fmt: skip
    share(launcher, matrices * chunks * groups, multiply_task, arguments)


def _strided(matrices: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Return a stack of matrices as a flat array and its strides within a matrix, without a copy if it can be."""
    if matrices.flags.c_contiguous:
        return matrices.reshape(-1), matrices.shape[-1], 1
    turned = matrices.swapaxes(-1, -2)
    if turned.flags.c_contiguous:
        return turned.reshape(-1), 1, turned.shape[-1]
    return np.ascontiguousarray(matrices).reshape(-1), matrices.shape[-1], 1


def product(a: Any, b: Any, start: Any = None) -> np.ndarray:
    """Return the matrix product of two arrays of the same real dtype.

    Parameters
    ----------
    a
        (..., M, K)
    b
        (..., K, N); leading axes broadcast.
    start
        (N,), where the sums start; zeros if None.

    Returns
    -------
    ndarray
        (..., M, N), freshly allocated.
    """
    rows, depth = a.shape[-2:]
    columns = b.shape[-1]
    if b.ndim == 2 and a.ndim > 2:  # one tall product instead of one per leading index
        rows = math.prod(a.shape[:-1])
        flat = product(a.reshape(rows, depth), b, start)
        return flat.reshape(*a.shape[:-1], columns)
    leading = a.shape[:-2]
    if leading != b.shape[:-2]:
        leading = np.broadcast_shapes(leading, b.shape[:-2])
        a, b = np.broadcast_to(a, (*leading, rows, depth)), np.broadcast_to(b, (*leading, depth, columns))
    matrices = math.prod(leading)
    result = buffers.empty((*leading, rows, columns), a.dtype)
    if result.size == 0:
        return result
    lanes = VECTOR_BYTES // a.itemsize
    padded = -(-columns // lanes) * lanes
    first = np.zeros(padded, a.dtype)
    if start is not None:
        first[:columns] = start
    left, a_row, a_k = _strided(a)
    right, b_row, b_column = _strided(b)
    if b_column == 1 and padded == columns:
        w_k = b_row
    else:
        packed = np.empty(matrices * depth * padded, a.dtype)
        pack_right(right, b_row, b_column, depth, columns, packed, lanes)
        right, w_k = packed, 0
    # Rows of a wide right operand lie pages apart and collide in the cache: a deep product copies what it works on.
    groups = -(-columns // (GROUP * lanes))
    tasks, panels_task = matrices * -(-rows // ROWS) * groups, DEPTH * GROUP * lanes
    if not (w_k and groups > 1 and depth >= 4 * DEPTH and tasks <= MOST_PANELS):
        panels_task = 0
    panels = buffers.empty((tasks * panels_task,), a.dtype)
    scratch = buffers.empty((tasks * ROWS * GROUP * lanes if padded != columns else 0,), a.dtype)
    multiply_all.launch(
        2.0 * matrices * rows * padded * depth,
        left, rows * depth, a_row, a_k, right, depth * (columns if w_k else padded), w_k, first,
        result.reshape(-1), scratch, panels, panels_task, matrices, rows, columns, depth, lanes,
    )  # fmt: skip
    return result
