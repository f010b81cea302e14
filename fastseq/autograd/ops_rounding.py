"""Whole numbers from others: floor, ceil, round, trunc, sign, remainder, floor_divide. Their slopes are 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.autograd.operands import array, differentiable, fit, pair
from fastseq.autograd.tensor import Tensor, record, wrap

Array = NDArray[Any]


def _flat(x: Any, out: Array) -> Tensor:
    return record(out, (x,), (np.zeros_like,))


def floor(x: Any) -> Tensor:
    """Return the largest whole number that is not above each element.

    Parameters
    ----------
    x
        Any shape.
    """
    return _flat(x, np.floor(array(x)))


def ceil(x: Any) -> Tensor:
    """Return the smallest whole number that is not below each element.

    Parameters
    ----------
    x
        Any shape.
    """
    return _flat(x, np.ceil(array(x)))


def trunc(x: Any) -> Tensor:
    """Return each element without what stands behind the point.

    Parameters
    ----------
    x
        Any shape.
    """
    return _flat(x, np.trunc(array(x)))


def round(x: Any, *, decimals: int = 0) -> Tensor:
    """Return the nearest whole number, the even one of two.

    Parameters
    ----------
    x
        Any shape.
    decimals
        How many places stay behind the point.
    """
    return _flat(x, np.round(array(x), decimals))


def sign(x: Any) -> Tensor:
    """Return -1, 0 or 1.

    Parameters
    ----------
    x
        Any shape.
    """
    data = array(x)
    return wrap(data.copy()) if data.dtype == bool else _flat(x, np.sign(data))


def remainder(a: Any, b: Any) -> Tensor:
    """Return what is left of a when b is taken away as often as it fits, with b's sign: a % b.

    Parameters
    ----------
    a, b
        Operands whose shapes broadcast.
    """
    x, y = pair(a, b)
    out = np.remainder(x, y)
    times = np.floor_divide(x, y) if differentiable(b) else None
    return record(out, (a, b), (lambda g: fit(g, x.shape, x.dtype), lambda g: fit(-g * times, y.shape, y.dtype)))


def floor_divide(a: Any, b: Any) -> Tensor:
    """Return the floor of a / b, without gradient.

    Parameters
    ----------
    a, b
        Operands whose shapes broadcast.
    """
    return wrap(np.floor_divide(*pair(a, b)))
