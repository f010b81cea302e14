"""Sums over rows: one chain per column, rows ascending, whatever the threads."""

from __future__ import annotations

from fastseq.jit import Int, Launcher, ReadReals, Reals, kernel, piece, share
from fastseq.simd.lanes import address, load, load_head, splat, store
from fastseq.simd.norm import put

TOGETHER = 4
"""Vectors of columns that a task adds up side by side."""


@piece
def sum_task(task, x, sums, rows, width, lanes):
    """Sum one group of columns."""
    first = task * TOGETHER * lanes
    if first + TOGETHER * lanes <= width:
        a, b, c, d = splat(x, 0.0), splat(x, 0.0), splat(x, 0.0), splat(x, 0.0)
        for r in range(rows):
            at = r * width + first
            a, b = a + load(x, at), b + load(x, at + lanes)
            c, d = c + load(x, at + 2 * lanes), d + load(x, at + 3 * lanes)
        store(sums, first, a)
        store(sums, first + lanes, b)
        store(sums, first + 2 * lanes, c)
        store(sums, first + 3 * lanes, d)
    else:
        for e in range(first, width, lanes):
            some = min(width - e, lanes)
            a = splat(x, 0.0)
            for r in range(rows):
                a = a + load_head(x, r * width + e, some)
            put(sums, e, a, some, lanes)


@kernel
def sum_rows(x: ReadReals, sums: Reals, rows: Int, width: Int, lanes: Int, launcher: Launcher):
    """Write the sums of the columns of x (rows, width)."""
    group = TOGETHER * lanes
    share(launcher, (width + group - 1) // group, sum_task, (address(x), address(sums), rows, width, lanes))
