"""Sums over whole arrays, in an order that depends on nothing but their size."""

from __future__ import annotations

import numpy as np

from fastseq.jit import Doubles, Int, Launcher, ReadReals, kernel, piece, share
from fastseq.simd.lanes import address

CHUNK = 32768
"""Elements that are summed by themselves before the sums are."""


@piece
def square(value):
    """Return the square in double precision, in which no single one overflows."""
    return np.float64(value) * np.float64(value)


@piece
def sum_task(task, x, sums, size):
    """Add the squares of one chunk up, every eighth element together: one long chain of additions would wait."""
    first, last = task * CHUNK, min(size, (task + 1) * CHUNK)
    a = b = c = d = e = f = g = h = 0.0
    i = first
    while i + 8 <= last:
        a += square(x[i])
        b += square(x[i + 1])
        c += square(x[i + 2])
        d += square(x[i + 3])
        e += square(x[i + 4])
        f += square(x[i + 5])
        g += square(x[i + 6])
        h += square(x[i + 7])
        i += 8
    while i < last:
        a += square(x[i])
        i += 1
    sums[task] = ((a + b) + (c + d)) + ((e + f) + (g + h))


@kernel
def sum_squares(x: ReadReals, sums: Doubles, chunks: Int, launcher: Launcher):
    """Write the sums of all chunks, and return their sum."""
    share(launcher, chunks, sum_task, (address(x), address(sums), x.size))
    total = 0.0
    for chunk in range(chunks):
        total += sums[chunk]
    return total


def sum_of_squares(x: np.ndarray) -> float:
    """Return the sum of the squares of all elements, in double precision.

    Parameters
    ----------
    x
        float32 or float64, any shape.

    Returns
    -------
    float
    """
    chunks = -(-x.size // CHUNK)
    return sum_squares.launch(2.0 * x.size, x.ravel(), np.empty(chunks), chunks)
