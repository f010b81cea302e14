"""What depends on the order of values: extremes with their places, sort, topk, median, unique."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.operands import array, axis_of
from fastseq.autograd.ops_select import gather, take_along_dim
from fastseq.autograd.ops_shape import reshape, squeeze
from fastseq.autograd.tensor import Tensor, wrap

Array = NDArray[Any]


class Picked(NamedTuple):
    """Values, and the places where they stood along the axis."""

    values: Tensor
    indices: Tensor


def _picked(x: Any, places: Array, axis: int, keepdim: bool) -> Picked:
    """Return the elements at one place of each line."""
    if not array(x).ndim:
        return Picked(reshape(x, ()), wrap(np.zeros((), np.int64)))
    values = gather(x, axis, places)
    return Picked(values if keepdim else squeeze(values, axis), wrap(places if keepdim else places.squeeze(axis)))


def _line(x: Any, dim: Any) -> tuple[Array, int]:
    """Return the array (with one axis at least) and the axis, or raise where the axis is empty."""
    data = np.atleast_1d(array(x))
    axis = axis_of(dim, data.ndim, "dim")
    if not data.shape[axis]:
        raise checks.value_error("dim", "an axis that is not empty", array(x))
    return data, axis


def extreme(x: Any, dim: int, keepdim: bool, largest: bool) -> Picked:
    """Return the largest (or smallest) value along an axis and its first place; NaN wins.

    Parameters
    ----------
    x
        Any shape.
    dim
        The axis.
    keepdim
        Keep it with length 1.
    largest
        Whether the largest is wanted.

    Notes
    -----
    The gradient goes to that place only, as in ``torch.max(x, dim)``; ``amax`` shares it among equals.
    """
    data, axis = _line(x, dim)
    return _picked(x, (np.argmax if largest else np.argmin)(data, axis, keepdims=True), axis, keepdim)


def median(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the median, the lower one of two; NaN wins.

    Parameters
    ----------
    x
        Any shape.
    dim
        The axis; None for the median of all elements, without its place.
    keepdim
        Keep the axis with length 1.

    Returns
    -------
    Tensor, or values and indices
    """
    if dim is None:
        return median(reshape(x, -1), 0).values
    data, axis = _line(x, dim)
    places = np.argsort(data, axis, kind="stable").take([(data.shape[axis] - 1) // 2], axis)
    missing = data != data
    places = np.where(missing.any(axis, keepdims=True), missing.argmax(axis, keepdims=True), places)
    return _picked(x, places, axis, keepdim)


def argsort(x: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Return the places of the values in order; equal ones keep theirs, NaN counts as the largest.

    Parameters
    ----------
    x
        Any shape.
    dim
        The axis.
    descending
        Whether the largest comes first.
    stable
        Always so.
    """
    data = np.atleast_1d(array(x))
    axis = axis_of(dim, data.ndim, "dim")
    if descending:  # sorted backwards, so that equal values keep their order
        found = data.shape[axis] - 1 - np.flip(np.argsort(np.flip(data, axis), axis, kind="stable"), axis)
    else:
        found = np.argsort(data, axis, kind="stable")
    return wrap(found.reshape(array(x).shape))


def sort(x: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Picked:
    """Return the values in order along an axis, and the places where they stood.

    Parameters
    ----------
    x
        Any shape.
    dim
        The axis.
    descending
        Whether the largest comes first.
    stable
        Always so.
    """
    places = argsort(x, dim, descending)
    return Picked(take_along_dim(x, places, dim) if array(x).ndim else reshape(x, ()), places)


def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Picked:
    """Return the k largest (or smallest) values along an axis, in order, and their places.

    Parameters
    ----------
    x
        Any shape.
    k
        How many.
    dim
        The axis.
    largest
        Whether the largest are wanted.
    sorted
        Always so.
    """
    data = np.atleast_1d(array(x))
    axis = axis_of(dim, data.ndim, "dim")
    count = checks.integer("k", k, 0, data.shape[axis])
    places = np.atleast_1d(argsort(x, dim, largest)._data).take(range(count), axis)
    return Picked(gather(x if array(x).ndim else reshape(x, 1), axis, places), wrap(places))


def unique(
    x: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Return the values that occur, each once, in ascending order.

    Parameters
    ----------
    x
        Any shape.
    sorted
        Always so.
    return_inverse
        Whether to return each element's place among them, too.
    return_counts
        Whether to return how often each occurs, too.
    dim
        Compare slices along this axis; None compares elements.

    Returns
    -------
    Tensor or tuple of Tensor
    """
    data = array(x)
    options: Any = {"return_inverse": return_inverse, "return_counts": return_counts, "axis": dim}
    found: Any = np.unique(data, **options)
    if not isinstance(found, tuple):
        return wrap(found)
    parts = list(found)
    if return_inverse:
        parts[1] = parts[1].reshape(data.shape if dim is None else -1)
    return tuple(wrap(part) for part in parts)
