"""Elementwise functions of one operand: neg, abs, exp, log, sqrt, tanh, sigmoid, relu and the like."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastseq.autograd import elementary
from fastseq.autograd.operands import array, floating
from fastseq.autograd.tensor import Tensor, record


def neg(x: Any) -> Tensor:
    """Return -x.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    Tensor
    """
    return record(-array(x), (x,), (np.negative,))


def abs(x: Any) -> Tensor:
    """Return the absolute value; the gradient at 0 is 0.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    Tensor
    """
    data = array(x)
    return record(np.abs(data), (x,), (lambda g: g * np.sign(data),), (x,))


def square(x: Any) -> Tensor:
    """Return x * x.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    Tensor
    """
    data = array(x)
    return record(data * data, (x,), (lambda g: g * (2 * data),), (x,))


def exp(x: Any) -> Tensor:
    """Return e**x.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    Tensor
    """
    out = elementary.exp(floating(x))
    return record(out, (x,), (lambda g: g * out,), saves_output=True)


def expm1(x: Any) -> Tensor:
    """Return e**x - 1, exact near 0.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    Tensor
    """
    out = np.expm1(floating(x))
    return record(out, (x,), (lambda g: g * (out + 1),), saves_output=True)


def log(x: Any) -> Tensor:
    """Return the natural logarithm.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    Tensor
    """
    data = floating(x)
    return record(elementary.log(data), (x,), (lambda g: g / data,), (x,))


def log1p(x: Any) -> Tensor:
    """Return log(1 + x), exact near 0.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    Tensor
    """
    data = floating(x)
    return record(elementary.log1p(data), (x,), (lambda g: g / (data + 1),), (x,))


def sqrt(x: Any) -> Tensor:
    """Return the square root.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    Tensor
    """
    out = np.sqrt(floating(x))
    return record(out, (x,), (lambda g: g / (2 * out),), saves_output=True)


def sin(x: Any) -> Tensor:
    """Return the sine.

    Parameters
    ----------
    x
        Any shape, in radians.

    Returns
    -------
    Tensor
    """
    data = floating(x)
    return record(np.sin(data), (x,), (lambda g: g * np.cos(data),), (x,))


def cos(x: Any) -> Tensor:
    """Return the cosine.

    Parameters
    ----------
    x
        Any shape, in radians.

    Returns
    -------
    Tensor
    """
    data = floating(x)
    return record(np.cos(data), (x,), (lambda g: -g * np.sin(data),), (x,))


def erf(x: Any) -> Tensor:
    """Return the error function.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    Tensor
    """
    from scipy import special  # here, since it takes longer to import than fastseq itself

    data = floating(x)
    return record(special.erf(data), (x,), (lambda g: g * (2 / np.pi**0.5 * elementary.exp(-data * data)),), (x,))


def tanh(x: Any) -> Tensor:
    """Return the hyperbolic tangent.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    Tensor
    """
    out = elementary.tanh(floating(x))
    return record(out, (x,), (lambda g: g * (1 - out * out),), saves_output=True)


def sigmoid(x: Any) -> Tensor:
    """Return 1 / (1 + exp(-x)).

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    Tensor
    """
    out = elementary.sigmoid(floating(x))
    return record(out, (x,), (lambda g: g * (out * (1 - out)),), saves_output=True)


def relu(x: Any) -> Tensor:
    """Return max(x, 0); the gradient at 0 is 0, NaN stays NaN.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    Tensor
    """
    out = np.maximum(array(x), 0)
    return record(out, (x,), (lambda g: np.where(out <= 0, 0, g),), saves_output=True)


def cast(x: Any, dtype: Any) -> Tensor:
    """Return x in another dtype; its gradient comes back in x's own.

    Parameters
    ----------
    x
        Any shape.
    dtype
        float32, float64, an integer dtype or bool. The same dtype gives x back.

    Returns
    -------
    Tensor
    """
    source = x if isinstance(x, Tensor) else Tensor(x)
    former = source._data.dtype
    wanted = np.dtype(dtype)
    if wanted == former:
        return source
    if wanted.kind != "f":
        return Tensor(source._data, dtype=wanted)
    return record(Tensor(source._data, dtype=wanted)._data, (source,), (lambda g: g.astype(former),))


def clone(x: Any) -> Tensor:
    """Return a copy that the gradient passes through.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    Tensor
    """
    return record(array(x).copy(), (x,), (None,))
