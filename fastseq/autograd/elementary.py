"""The few numeric kernels behind the differentiable operations, each in one place.

Pullbacks use the same functions, so that replacing one here replaces it everywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.simd import dense, elementwise, squares

Array = NDArray[Any]


def rows(x: Array) -> Array:
    """Return an array with all axes but the last merged into one.

    Parameters
    ----------
    x
        (..., N)

    Returns
    -------
    ndarray
        (M, N), a view where NumPy can make one.
    """
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # not -1: N may be 0


def product(a: Array, b: Array, start: Array | None = None) -> Array:
    """Return the matrix product ``a @ b`` with NumPy's rules for any number of axes.

    Parameters
    ----------
    a, b
        Arrays of at least one axis.
    start
        (N,), what every row's sums start from; zeros if None.

    Returns
    -------
    ndarray
        Freshly allocated.
    """
    if a.dtype != b.dtype or a.dtype.kind != "f":
        whole = np.matmul(a, b)
        return whole if start is None else whole + start
    if a.ndim == 1 or b.ndim == 1:
        left = a[None, :] if a.ndim == 1 else a
        right = b[:, None] if b.ndim == 1 else b
        whole = dense.product(left, right, start)
        whole = whole[..., 0] if b.ndim == 1 else whole
        if a.ndim > 1:
            return whole
        return whole[..., 0] if b.ndim == 1 else whole[..., 0, :]
    return dense.product(a, b, start)


def sum_of_squares(x: Array) -> float:
    """Return the sum of the squares of all elements, in double precision and a fixed order.

    Parameters
    ----------
    x
        float32 or float64, any shape.

    Returns
    -------
    float
    """
    return squares.sum_of_squares(x)


def exp(x: Array) -> Array:
    """Return e**x.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    ndarray
        Freshly allocated.
    """
    return elementwise.elementwise(elementwise.EXP, x) if x.dtype.kind == "f" else np.exp(x)


def log(x: Array) -> Array:
    """Return the natural logarithm.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    ndarray
        Freshly allocated.
    """
    return np.log(x)


def log1p(x: Array) -> Array:
    """Return log(1 + x), exact near 0.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    ndarray
        Freshly allocated.
    """
    return np.log1p(x)


def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    ndarray
        Freshly allocated.
    """
    return elementwise.elementwise(elementwise.TANH, x) if x.dtype.kind == "f" else np.tanh(x)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), without overflow.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    ndarray
        Freshly allocated.

    Notes
    -----
    The very function of the recurrent kernels and of streamed models, to the bit. For integers exp is taken of -|x|,
    which is at most one.
    """
    if x.dtype.kind == "f":
        return elementwise.elementwise(elementwise.SIGMOID, x)
    small = exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)
