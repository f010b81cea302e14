"""exp, sigmoid, tanh and what is made of them, over arrays: the same bits wherever an element stands."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastseq import buffers
from fastseq.jit import Int, ReadReals, Real, Reals, kernel, piece
from fastseq.simd import math
from fastseq.simd.lanes import VECTOR_BYTES, address, at_least, at_most, load, load_head, store, store_head

KINDS = ("exp", "sigmoid", "tanh", "relu", "leaky_relu", "silu")
EXP, SIGMOID, TANH, RELU, LEAKY_RELU, SILU = range(len(KINDS))


@piece
def function_of(kind, x, slope):
    """Return the function numbered ``kind`` of a vector; NaN in, NaN out."""
    if kind == EXP:
        return math.exp(x)
    if kind == SIGMOID:
        return math.sigmoid(x)
    if kind == TANH:
        return math.tanh(x)
    if kind == RELU:
        return at_least(x, 0.0)
    if kind == LEAKY_RELU:
        return at_least(x, 0.0) + at_most(x, 0.0) * slope
    x = at_least(x, -1000.0)  # sigmoid is never quite zero: times -1e38 it would be felt
    return x * math.sigmoid(x)


@piece
def apply(kind, slope, x, at, y, to, count, lanes):
    """Write the function of ``count`` elements; x and y may be the same."""
    whole = count - count % lanes
    for i in range(0, whole, lanes):
        store(y, to + i, function_of(kind, load(x, at + i), slope))
    if whole < count:
        store_head(y, to + whole, function_of(kind, load_head(x, at + whole, count - whole), slope), count - whole)


@kernel
def apply_all(x: ReadReals, y: Reals, kind: Int, slope: Real, lanes: Int):
    """Write the function of all elements."""
    apply(kind, slope, address(x), 0, address(y), 0, x.size, lanes)


def elementwise(kind: int, x: np.ndarray, slope: float = 0.0) -> np.ndarray:
    """Return a function of every element of an array.

    Parameters
    ----------
    kind
        One of the numbers above.
    x
        float32 or float64, any shape.
    slope
        Of leaky_relu on the negative side.

    Returns
    -------
    ndarray
        Freshly allocated, C-contiguous.
    """
    source: Any = np.ascontiguousarray(x)
    result = buffers.empty(source.shape, source.dtype)
    apply_all(source.reshape(-1), result.reshape(-1), kind, slope, VECTOR_BYTES // source.itemsize)
    return result.reshape(x.shape)
