"""Elements picked by places, and put in places: gather, scatter, index_select, masked_select, take and the like.

Picking is indexing, so that the gradient comes from ``getitem``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.operands import array, axis_of, fit, raw
from fastseq.autograd.ops_shape import getitem, reshape
from fastseq.autograd.tensor import Tensor, record, wrap

Array = NDArray[Any]


def _places(name: str, index: Any, size: int) -> Array:
    """Return integer places along an axis, or raise unless all of them exist."""
    found = array(index)
    if found.dtype.kind not in "iu":
        raise checks.kind_error(name, "integers", found)
    if found.size and not (found.min() >= 0 and found.max() < size):
        raise checks.value_error(name, f"places in 0..{size - 1}", int(found.min() if found.min() < 0 else found.max()))
    return found


def _grid(data: Array, dim: Any, index: Any) -> tuple[Any, ...]:
    """Return the index of NumPy that means PyTorch's ``index`` along an axis."""
    along = axis_of(dim, data.ndim, "dim")
    places = _places("index", index, data.shape[along])
    if places.ndim != data.ndim:
        raise checks.value_error("index", f"{data.ndim} axes, as many as the tensor has", places)
    if any(have < want for k, (have, want) in enumerate(zip(data.shape, places.shape, strict=True)) if k != along):
        raise checks.value_error("index", f"at most shape {data.shape}, axis {along} aside", places)
    grid: list[Any] = list(np.ogrid[tuple(map(slice, places.shape))])
    grid[along] = places
    return tuple(grid)


def gather(x: Any, dim: int, index: Any) -> Tensor:
    """Return the elements at places along an axis, one for each entry of ``index``.

    Parameters
    ----------
    x
        Any shape.
    dim
        The axis.
    index
        Integers, with as many axes as x, and none longer but along ``dim``.

    Returns
    -------
    Tensor
        Of the shape of ``index``.
    """
    return getitem(x, _grid(array(x), dim, index))


def take_along_dim(x: Any, indices: Any, dim: int | None = None) -> Tensor:
    """Return the elements at places along an axis; all other axes broadcast.

    Parameters
    ----------
    x
        Any shape.
    indices
        Integers.
    dim
        The axis; None takes from the flat tensor.
    """
    if dim is None:
        return gather(reshape(x, -1), 0, reshape(indices, -1))
    data, places = array(x), array(indices)
    along = axis_of(dim, data.ndim, "dim")
    wanted, found = list(data.shape), list(places.shape)
    wanted[along] = found[along] = 1
    shape = np.broadcast_shapes(tuple(wanted), tuple(found))
    spread = [(*shape[:along], axes[along], *shape[along + 1 :]) for axes in (data.shape, places.shape)]
    grid = _grid(np.broadcast_to(data, spread[0]), along, np.broadcast_to(places, spread[1]))
    ones = [k for k, n in enumerate(data.shape) if n == 1 and k != along]
    return getitem(x, tuple(np.zeros_like(part) if k in ones else part for k, part in enumerate(grid)))


def index_select(x: Any, dim: int, index: Any) -> Tensor:
    """Return slices along an axis, one for each entry of ``index``.

    Parameters
    ----------
    x
        Any shape.
    dim
        The axis.
    index
        Integers (N,).
    """
    data = array(x)
    along = axis_of(dim, data.ndim, "dim")
    places = _places("index", index, data.shape[along])
    if places.ndim > 1:
        raise checks.value_error("index", "one axis", places)
    return getitem(x, (slice(None),) * along + (places.reshape(-1),))


def masked_select(x: Any, mask: Any) -> Tensor:
    """Return the elements where a mask is True, along one axis.

    Parameters
    ----------
    x
        Any shape.
    mask
        Bools that broadcast with it.
    """
    data, valid = array(x), array(mask)
    if valid.dtype != bool:
        raise checks.kind_error("mask", "bools", valid)
    shape = np.broadcast_shapes(data.shape, valid.shape)
    places = np.broadcast_to(np.arange(data.size).reshape(data.shape), shape)[np.broadcast_to(valid, shape)]
    return getitem(reshape(x, -1), places)


def take(x: Any, index: Any) -> Tensor:
    """Return the elements at places in the flat tensor.

    Parameters
    ----------
    x
        Any shape.
    index
        Integers of any shape.
    """
    return getitem(reshape(x, -1), _places("index", index, array(x).size))


def select(x: Any, dim: int, index: int) -> Tensor:
    """Return one slice along an axis, which is dropped.

    Parameters
    ----------
    x
        Any shape.
    dim
        The axis.
    index
        The place, negative ones counting from the end.
    """
    data = array(x)
    along = axis_of(dim, data.ndim, "dim")
    return getitem(x, (slice(None),) * along + (axis_of(index, data.shape[along], "index"),))


def narrow(x: Any, dim: int, start: int, length: int) -> Tensor:
    """Return a stretch along an axis, as a view.

    Parameters
    ----------
    x
        Any shape.
    dim
        The axis.
    start, length
        Where it begins and how long it is.
    """
    data = array(x)
    along = axis_of(dim, data.ndim, "dim")
    size = data.shape[along]
    first = checks.integer("start", start, -size, size)
    first += size if first < 0 else 0
    return getitem(
        x, (slice(None),) * along + (slice(first, first + checks.integer("length", length, 0, size - first)),)
    )


def _put(x: Any, dim: int, index: Any, src: Any, add: bool) -> Tensor:
    data, source = array(x), raw(src)
    grid = _grid(data, dim, index)
    shape = np.broadcast_shapes(*(part.shape for part in grid))
    cut = tuple(map(slice, shape))
    if isinstance(source, np.ndarray):
        if source.ndim != data.ndim or any(have < want for have, want in zip(source.shape, shape, strict=True)):
            raise checks.value_error("src", f"shape {shape}, that of index, or larger", source)
        source = source[cut]
    out = data.copy()
    if add:
        np.add.at(out, grid, source)
    else:
        out[grid] = source

    def to_x(g: Array) -> Array:
        if add:
            return g
        rest = g.copy()
        rest[grid] = 0
        return rest

    def to_source(g: Array) -> Array:
        whole = np.zeros(src.shape, src.dtype)
        whole[cut] = g[grid]
        return whole

    return record(out, (x, src), (to_x, to_source))


def scatter(x: Any, dim: int, index: Any, src: Any = None, *, value: Any = None) -> Tensor:
    """Return x with elements of ``src`` at places along an axis.

    Parameters
    ----------
    x
        Any shape.
    dim
        The axis.
    index
        Integers, with as many axes as x; where a place comes twice, the last element stays.
    src
        A number, or a tensor that is at least as large as ``index``.
    value
        PyTorch's other name of a number.
    """
    return _put(x, dim, index, src if value is None else value, False)


def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Tensor:
    """Return x with the elements of ``src`` added at places along an axis.

    Parameters
    ----------
    x
        Any shape.
    dim
        The axis.
    index
        Integers, with as many axes as x.
    src
        A tensor that is at least as large as ``index``.
    """
    return _put(x, dim, index, src, True)


def nonzero(x: Any, *, as_tuple: bool = False) -> Any:
    """Return the places of the elements that are not 0.

    Parameters
    ----------
    x
        Any shape.
    as_tuple
        Whether to return one tensor for each axis, which works as an index.

    Returns
    -------
    Tensor or tuple of Tensor
        Integers (N, axes), or (N,) for each axis.
    """
    found = np.nonzero(np.atleast_1d(array(x)))
    if as_tuple:
        return tuple(wrap(part) for part in found)
    return wrap(np.stack(found[: array(x).ndim], 1) if array(x).ndim else np.zeros((len(found[0]), 0), np.int64))


def repeat_interleave(x: Any, repeats: Any, dim: int | None = None) -> Tensor:
    """Return every slice along an axis several times, one behind the other.

    Parameters
    ----------
    x
        Any shape.
    repeats
        How often, one integer or one for each slice.
    dim
        The axis; None takes the flat tensor.
    """
    if dim is None:
        return repeat_interleave(reshape(x, -1), repeats, 0)
    data, counts = array(x), array(repeats)
    along = axis_of(dim, data.ndim, "dim")
    if counts.dtype.kind not in "iu" or (counts < 0).any():
        raise checks.value_error("repeats", "integers >= 0", counts)
    if counts.size not in (1, data.shape[along]):
        raise checks.value_error("repeats", f"one integer, or {data.shape[along]}, one for each slice", counts)
    return index_select(x, along, np.repeat(np.arange(data.shape[along]), counts.reshape(-1)))


def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return the diagonals of two axes, along the last axis.

    Parameters
    ----------
    x
        At least two axes.
    offset
        How far above the main one.
    dim1, dim2
        The axes.
    """
    data = array(x)
    first, second = axis_of(dim1, data.ndim, "dim1"), axis_of(dim2, data.ndim, "dim2")
    shape, dtype = data.shape, data.dtype

    def pull(g: Array) -> Array:
        out = np.zeros(shape, dtype)
        lines = np.diagonal(out, offset, first, second)
        lines.flags.writeable = True
        lines[...] = g
        return out

    return record(np.diagonal(data, offset, first, second).copy(), (x,), (pull,))


_diagonal = diagonal  # an argument below has its name


def diag(x: Any, diagonal: int = 0) -> Tensor:
    """Return the square matrix with a vector on its diagonal; of a matrix, its diagonal.

    Parameters
    ----------
    x
        One or two axes.
    diagonal
        How far above the main one.
    """
    data = array(x)
    if data.ndim == 2:
        return _diagonal(x, diagonal)
    if data.ndim != 1:
        raise checks.value_error("input", "one or two axes", data)
    return record(np.diag(data, diagonal), (x,), (lambda g: fit(np.diagonal(g, diagonal), data.shape, data.dtype),))
