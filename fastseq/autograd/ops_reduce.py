"""Reductions: sum, mean, max, min, var, std, argmax, argmin, any, all, and the running sum.

Options are spelled as in NumPy (axis, keepdims) or as in PyTorch (dim, keepdim); an axis may be a tuple.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.autograd.operands import array, axes_of, axis_of, floating, one_of
from fastseq.autograd.tensor import Tensor, record, wrap

Array = NDArray[Any]


def _expand(g: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Undo a reduction's removal of axes: shape 1 in their place."""
    return g.reshape(tuple(1 if k in axes else n for k, n in enumerate(shape)))


def _spread(g: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Repeat a gradient along reduced axes; a read-only view where that saves memory."""
    if g.size == 1:
        return np.full(shape, g.item(), g.dtype)
    return np.broadcast_to(_expand(g, shape, axes), shape)


def reduction(axis: Any, keepdims: Any, dim: Any, keepdim: Any, ndim: int) -> tuple[tuple[int, ...], bool]:
    """Return the axes to reduce and whether to keep them, from either spelling.

    Parameters
    ----------
    axis, keepdims
        NumPy's spelling.
    dim, keepdim
        PyTorch's spelling.
    ndim
        The number of axes there are.

    Returns
    -------
    tuple of int, bool
    """
    axes = axes_of(one_of(axis, dim), ndim)
    return axes, bool(one_of(keepdims, keepdim, "keepdims"))


def sum(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
    """Return the sum over axes.

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
    """
    data = array(x)
    axes, keep = reduction(axis, keepdims, dim, keepdim, data.ndim)
    shape = data.shape
    return record(np.sum(data, axis=axes, keepdims=keep), (x,), (lambda g: _spread(g, shape, axes),))


def mean(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
    """Return the mean over axes; NaN where there is nothing to average.

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
    """
    data = floating(x)
    axes, keep = reduction(axis, keepdims, dim, keepdim, data.ndim)
    shape = data.shape
    count = math.prod(shape[k] for k in axes)
    out = np.sum(data, axis=axes, keepdims=keep) / (count or math.nan)
    return record(out, (x,), (lambda g: _spread(g / count, shape, axes),))


def _extreme(x: Any, axis: Any, keepdims: Any, dim: Any, keepdim: Any, reduce: np.ufunc) -> Tensor:
    data = array(x)
    axes, keep = reduction(axis, keepdims, dim, keepdim, data.ndim)
    best = reduce.reduce(data, axis=axes, keepdims=True)
    out = best if keep else best.reshape(tuple(n for k, n in enumerate(data.shape) if k not in axes))

    def pull(g: Array) -> Array:
        ties = data == best
        return ties * (g.reshape(best.shape) / np.sum(ties, axis=axes, keepdims=True, dtype=data.dtype))

    return record(out, (x,), (pull,), (x,))


def max(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
    """Return the largest value over axes; NaN wins.

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
        The values only, as in NumPy and torch.amax; ``argmax`` gives the place.

    Notes
    -----
    Elements that tie share the gradient evenly, as in torch.amax.
    """
    return _extreme(x, axis, keepdims, dim, keepdim, np.maximum)


def min(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
    """Return the smallest value over axes; NaN wins.

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
        The values only, as in NumPy and torch.amin; ``argmin`` gives the place.

    Notes
    -----
    Elements that tie share the gradient evenly, as in torch.amin.
    """
    return _extreme(x, axis, keepdims, dim, keepdim, np.minimum)


def _spread_of(x: Any, axis: Any, keepdims: Any, correction: float, dim: Any, keepdim: Any, root: bool) -> Tensor:
    data = floating(x)
    axes, keep = reduction(axis, keepdims, dim, keepdim, data.ndim)
    shape = data.shape
    count = math.prod(shape[k] for k in axes)
    freedom = count - correction if count > correction else math.nan
    centred = data - np.sum(data, axis=axes, keepdims=True) / (count or math.nan)
    out = np.sum(centred * centred, axis=axes, keepdims=keep) / freedom
    if not root:
        return record(out, (x,), (lambda g: centred * (_expand(g, shape, axes) * (2 / freedom)),))
    out = np.sqrt(out)

    def pull(g: Array) -> Array:
        # At deviation 0 the slope is taken as 0.
        return centred * _expand(np.where(out == 0, 0, g / (out * freedom)), shape, axes)

    return record(out, (x,), (pull,), saves_output=True)


def var(
    x: Any,
    axis: Any = None,
    keepdims: bool = False,
    correction: float = 1,
    *,
    dim: Any = None,
    keepdim: bool | None = None,
) -> Tensor:
    """Return the variance over axes.

    Parameters
    ----------
    x
        Any shape.
    axis
        Integer or tuple of integers; None for all.
    keepdims
        Keep the reduced axes with length 1.
    correction
        Subtracted from the count in the denominator: 1 (PyTorch's default) or 0 (NumPy's).
    dim, keepdim
        PyTorch's spelling of the same.

    Returns
    -------
    Tensor
        NaN where the count is not above the correction.
    """
    return _spread_of(x, axis, keepdims, correction, dim, keepdim, False)


def std(
    x: Any,
    axis: Any = None,
    keepdims: bool = False,
    correction: float = 1,
    *,
    dim: Any = None,
    keepdim: bool | None = None,
) -> Tensor:
    """Return the standard deviation over axes; the gradient at 0 is 0.

    Parameters
    ----------
    x
        Any shape.
    axis
        Integer or tuple of integers; None for all.
    keepdims
        Keep the reduced axes with length 1.
    correction
        Subtracted from the count in the denominator: 1 (PyTorch's default) or 0 (NumPy's).
    dim, keepdim
        PyTorch's spelling of the same.

    Returns
    -------
    Tensor
        NaN where the count is not above the correction.
    """
    return _spread_of(x, axis, keepdims, correction, dim, keepdim, True)


def cumsum(x: Any, axis: Any = None, *, dim: Any = None) -> Tensor:
    """Return the running sum along an axis.

    Parameters
    ----------
    x
        Any shape with at least one axis.
    axis
        The axis.
    dim
        PyTorch's spelling of the same.

    Returns
    -------
    Tensor
        Of x's shape.
    """
    data = array(x)
    along = axis_of(one_of(axis, dim), data.ndim)

    def pull(g: Array) -> Array:
        return np.flip(np.cumsum(np.flip(g, along), along), along)

    return record(np.cumsum(data, along), (x,), (pull,))


def argmax(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
    """Return the place of the largest value, the first among equals; integers without gradient.

    Parameters
    ----------
    x
        Any shape.
    axis
        One axis; None counts through the flattened array.
    keepdims
        Keep the reduced axis with length 1.
    dim, keepdim
        PyTorch's spelling of the same.

    Returns
    -------
    Tensor
    """
    return wrap(np.argmax(array(x), one_of(axis, dim), keepdims=one_of(keepdims, keepdim, "keepdims")))


def argmin(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
    """Return the place of the smallest value, the first among equals; integers without gradient.

    Parameters
    ----------
    x
        Any shape.
    axis
        One axis; None counts through the flattened array.
    keepdims
        Keep the reduced axis with length 1.
    dim, keepdim
        PyTorch's spelling of the same.

    Returns
    -------
    Tensor
    """
    return wrap(np.argmin(array(x), one_of(axis, dim), keepdims=one_of(keepdims, keepdim, "keepdims")))


def any(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
    """Return whether any element over axes is not 0.

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
        Bools.
    """
    axes, keep = reduction(axis, keepdims, dim, keepdim, array(x).ndim)
    return wrap(np.any(array(x), axis=axes, keepdims=keep))


def all(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
    """Return whether all elements over axes are not 0.

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
        Bools.
    """
    axes, keep = reduction(axis, keepdims, dim, keepdim, array(x).ndim)
    return wrap(np.all(array(x), axis=axes, keepdims=keep))
