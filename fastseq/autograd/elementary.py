"""The few numeric kernels behind the differentiable operations, each in one place.

Pullbacks use the same functions, so that replacing one here replaces it everywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def product(a: Array, b: Array) -> Array:
    """Return the matrix product ``a @ b`` with NumPy's rules for any number of axes.

    Parameters
    ----------
    a, b
        Arrays of at least one axis.

    Returns
    -------
    ndarray
        Freshly allocated.
    """
    if a.ndim > 2 and b.ndim == 2:
        # One product over all leading axes instead of one per leading index.
        return np.matmul(rows(a), b).reshape(*a.shape[:-1], b.shape[1])
    return np.matmul(a, b)


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
    return np.exp(x)


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
    return np.tanh(x)


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
    exp is taken of -|x|, which is at most one; NaN stays NaN.
    """
    small = exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)
