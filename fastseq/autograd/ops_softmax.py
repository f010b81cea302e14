"""softmax, its logarithm and logsumexp, safe from overflow.

Options are spelled as in NumPy (axis, keepdims) or as in PyTorch (dim, keepdim).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import elementary
from fastseq.autograd.operands import array, axis_of, one_of
from fastseq.autograd.ops_elementwise import cast
from fastseq.autograd.ops_reduce import reduction
from fastseq.autograd.tensor import Tensor, record

Array = NDArray[Any]


def softmax_arrays(data: Array, axis: int) -> Array:
    """Return exp(x) / sum exp(x) along an axis of an ndarray, without overflow.

    Parameters
    ----------
    data
        Any shape.
    axis
        The axis that sums to one.

    Returns
    -------
    ndarray
        NaN where a row is NaN, all -inf, or has +inf.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        out = elementary.exp(data - np.max(data, axis=axis, keepdims=True, initial=-np.inf))
    with np.errstate(invalid="ignore", divide="ignore"):
        out /= np.sum(out, axis=axis, keepdims=True)
    return out


def log_softmax_arrays(data: Array, axis: int) -> Array:
    """Return x - log(sum exp(x)) along an axis of an ndarray, without overflow.

    Parameters
    ----------
    data
        Any shape.
    axis
        The axis whose exponentials sum to one.

    Returns
    -------
    ndarray
        NaN where a row is NaN, all -inf, or has +inf.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        shifted = data - np.max(data, axis=axis, keepdims=True, initial=-np.inf)
        shifted -= elementary.log(np.sum(elementary.exp(shifted), axis=axis, keepdims=True))
    return shifted


def _floating(x: Any) -> Array:
    data = array(x)
    return data if data.dtype.kind == "f" else data.astype(np.float64)


def _along(axis: Any, dim: Any, data: Array) -> Any:
    """Return the axis that is meant; a number counts as one element of an axis, as in PyTorch."""
    found = one_of(axis, dim)
    along = axis_of(-1 if found is None else found, data.ndim or 1)
    return along if data.ndim else ()


def softmax(x: Any, axis: Any = None, *, dim: Any = None, dtype: Any = None) -> Tensor:
    """Return exp(x) / sum exp(x) along an axis.

    Parameters
    ----------
    x
        Any shape.
    axis
        The axis that sums to one; the last if not given.
    dim
        PyTorch's spelling of the same.
    dtype
        float32 or float64, to convert x to first.

    Returns
    -------
    Tensor
    """
    if dtype is not None:
        x = cast(x, checks.float_dtype("dtype", dtype))
    data = _floating(x)
    along = _along(axis, dim, data)
    out = softmax_arrays(data, along)
    return record(out, (x,), (lambda g: out * (g - np.sum(g * out, axis=along, keepdims=True)),), saves_output=True)


def log_softmax(x: Any, axis: Any = None, *, dim: Any = None, dtype: Any = None) -> Tensor:
    """Return the logarithm of softmax, exact where softmax itself would round to 0.

    Parameters
    ----------
    x
        Any shape.
    axis
        The axis whose exponentials sum to one; the last if not given.
    dim
        PyTorch's spelling of the same.
    dtype
        float32 or float64, to convert x to first.

    Returns
    -------
    Tensor
    """
    if dtype is not None:
        x = cast(x, checks.float_dtype("dtype", dtype))
    data = _floating(x)
    along = _along(axis, dim, data)
    out = log_softmax_arrays(data, along)
    return record(
        out, (x,), (lambda g: g - elementary.exp(out) * np.sum(g, axis=along, keepdims=True),), saves_output=True
    )


def logsumexp(
    x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None
) -> Tensor:
    """Return log(sum(exp(x))) over axes, without overflow.

    Parameters
    ----------
    x
        Any shape.
    axis
        Integer or tuple of integers; None for all.
    keepdims
        Keep the reduced axes with length 1.
    dim, keepdim
        PyTorch's spelling of the same.

    Returns
    -------
    Tensor
        -inf over no elements or over -inf only.
    """
    data = _floating(x)
    axes, keep = reduction(axis, keepdims, dim, keepdim, data.ndim)
    top = np.max(data, axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isinf(top), 0, top)
    with np.errstate(divide="ignore", over="ignore"):
        full = elementary.log(np.sum(elementary.exp(data - top), axis=axes, keepdims=True)) + top
    out = full if keep else full.reshape(tuple(n for k, n in enumerate(data.shape) if k not in axes))

    def pull(g: Array) -> Array:
        return g.reshape(full.shape) * elementary.exp(data - full)

    return record(out, (x,), (pull,), (x,), saves_output=True)
