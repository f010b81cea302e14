"""Elementwise operations of two operands, with broadcasting: + - * / **, maximum, minimum, where, clip."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastseq.autograd.operands import array, differentiable, fit, pair, raw, scaled, unchanged
from fastseq.autograd.tensor import Tensor, record, wrap


def add(a: Any, b: Any) -> Tensor:
    """Return a + b.

    Parameters
    ----------
    a, b
        Operands whose shapes broadcast.

    Returns
    -------
    Tensor
    """
    x, y = pair(a, b)
    out = x + y
    return record(out, (a, b), (unchanged(a, x, out), unchanged(b, y, out)))


def sub(a: Any, b: Any) -> Tensor:
    """Return a - b.

    Parameters
    ----------
    a, b
        Operands whose shapes broadcast.

    Returns
    -------
    Tensor
    """
    x, y = pair(a, b)
    out = x - y
    return record(out, (a, b), (unchanged(a, x, out), scaled(y, -1) if differentiable(b) else None))


def mul(a: Any, b: Any) -> Tensor:
    """Return a * b.

    Parameters
    ----------
    a, b
        Operands whose shapes broadcast.

    Returns
    -------
    Tensor
    """
    x, y = pair(a, b)
    first, second = differentiable(a), differentiable(b)
    return record(
        x * y,
        (a, b),
        (scaled(x, y) if first else None, scaled(y, x) if second else None),
        (a if second else None, b if first else None),
    )


def _over(x: Any, y: Any) -> Any:
    whole = np.result_type(x, y).kind in "iub"
    return np.true_divide(x, y, dtype=np.float32) if whole else x / y


def div(a: Any, b: Any) -> Tensor:
    """Return a / b.

    Parameters
    ----------
    a, b
        Operands whose shapes broadcast.

    Returns
    -------
    Tensor
    """
    x, y = pair(a, b)
    out = _over(x, y)
    first = second = None
    if differentiable(a):
        shape, dtype = x.shape, x.dtype

        def first(g: Any) -> Any:
            return fit(g / y, shape, dtype)

    if differentiable(b):

        def second(g: Any) -> Any:
            return fit(-g * out / y, y.shape, y.dtype)

    return record(out, (a, b), (first, second), (b,), second is not None)


def pow(a: Any, b: Any) -> Tensor:
    """Return a ** b.

    Parameters
    ----------
    a, b
        Operands whose shapes broadcast.

    Returns
    -------
    Tensor

    Notes
    -----
    The gradient is 0 with respect to a base with exponent 0, and to an exponent >= 0 whose base is 0, as in PyTorch.
    """
    x, y = pair(a, b)
    out = x**y

    def to_base(g: Any) -> Any:
        if isinstance(y, (int, float)):
            slope = 0 * g if y == 0 else g * (2 * x) if y == 2 else g * (y * x ** (y - 1))
        else:
            slope = np.where(y == 0, 0, g * (y * np.asarray(x) ** np.where(y == 0, 1, y - 1)))
        return fit(slope, x.shape, x.dtype)

    def to_exponent(g: Any) -> Any:
        slope = np.where((np.asarray(x) == 0) & (y >= 0), 0, g * (out * np.log(x)))
        return fit(slope, y.shape, y.dtype)

    return record(out, (a, b), (to_base, to_exponent), (a, b), differentiable(b))


def _choose(a: Any, b: Any, larger: bool) -> Tensor:
    x, y = pair(a, b)

    def share(g: Any, mine: Any, other: Any) -> Any:
        loses = np.less(mine, other) if larger else np.greater(mine, other)
        part = np.where(loses, 0, np.where(np.equal(mine, other), g / 2, g))
        return fit(part, mine.shape, mine.dtype)

    out = np.maximum(x, y) if larger else np.minimum(x, y)
    return record(out, (a, b), (lambda g: share(g, x, y), lambda g: share(g, y, x)), (a, b))


def maximum(a: Any, b: Any) -> Tensor:
    """Return the larger of two operands, elementwise; NaN wins.

    Parameters
    ----------
    a, b
        Operands whose shapes broadcast.

    Returns
    -------
    Tensor

    Notes
    -----
    Equal operands get half of the gradient each, as in PyTorch.
    """
    return _choose(a, b, True)


def minimum(a: Any, b: Any) -> Tensor:
    """Return the smaller of two operands, elementwise; NaN wins.

    Parameters
    ----------
    a, b
        Operands whose shapes broadcast.

    Returns
    -------
    Tensor

    Notes
    -----
    Equal operands get half of the gradient each, as in PyTorch.
    """
    return _choose(a, b, False)


def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """Return x limited to min..max.

    Parameters
    ----------
    x
        Any shape.
    min, max
        Limits, numbers or arrays that broadcast; None for no limit. A limit that requires grad gets one.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If both limits are None.

    Notes
    -----
    The gradient passes where min <= x <= max, limits included, as in PyTorch.
    """
    if min is None and max is None:
        raise ValueError("min: expected a limit for min, max or both, got None for both")
    if differentiable(min) or differentiable(max):
        lower = x if min is None else maximum(x, min)
        return lower if max is None else minimum(lower, max)  # type: ignore[return-value]
    data = array(x)
    low, high = (None if limit is None else raw(limit) for limit in (min, max))
    out = np.clip(data, low, high)
    shape, dtype = data.shape, data.dtype

    def pull(g: Any) -> Any:
        inside = np.ones(g.shape, bool)
        if low is not None:
            inside &= ~(data < low)
        if high is not None:
            inside &= ~(data > high)
        return fit(np.where(inside, g, 0), shape, dtype)

    return record(out, (x,), (pull,), (x,))


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Return a where the condition holds, else b.

    Parameters
    ----------
    condition
        Bool operand.
    a, b
        Operands; all three shapes broadcast.

    Returns
    -------
    Tensor

    Notes
    -----
    What is not chosen, NaN included, reaches neither value nor gradient.
    """
    mask, (x, y) = raw(condition), pair(a, b)
    if not isinstance(x, np.ndarray) and not isinstance(y, np.ndarray):  # two numbers: as a new tensor of them
        x, y = pair(array(a), array(b))
    return record(
        np.where(mask, x, y),
        (a, b),
        (
            lambda g: fit(np.where(mask, g, 0), x.shape, x.dtype),
            lambda g: fit(np.where(mask, 0, g), y.shape, y.dtype),
        ),
        (condition,),
    )


def masked_fill(x: Any, mask: Any, value: float) -> Tensor:
    """Return x with one number in place of the elements where the mask is True.

    Parameters
    ----------
    x
        Any shape.
    mask
        Bools that broadcast to it.
    value
        The number.

    Returns
    -------
    Tensor
    """
    return where(mask, raw(value), x)


def compare(ufunc: np.ufunc, a: Any, b: Any) -> Tensor:
    """Return an elementwise comparison or logical operation as a bool (or integer) tensor without gradient.

    Parameters
    ----------
    ufunc
        NumPy's function, for example ``np.less``.
    a, b
        Operands whose shapes broadcast.

    Returns
    -------
    Tensor
    """
    return wrap(ufunc(*pair(a, b)))
