"""Operations that move elements: reshape, transpose, indexing, concatenate, stack, split, flip, matmul's axes.

Results share memory with their operand wherever NumPy makes a view, and then share its version counter too, so that
a write through one is noticed by the other's guards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import buffers, checks
from fastseq.autograd.inplace import plain_index
from fastseq.autograd.operands import array, axes_of, axis_of, fit, one_of
from fastseq.autograd.tensor import Tensor, make_node, record

Array = NDArray[Any]


def _view(data: Array, x: Any, pullback: Callable[[Array], Array]) -> Tensor:
    out = record(data, (x,), (pullback,))
    if isinstance(x, Tensor):
        out._version = x._version
    return out


def sizes_of(argument: str, sizes: tuple[Any, ...], minimum: int | None = None) -> tuple[int, ...]:
    """Return integers that were given as f(x, 2, 3) or as f(x, (2, 3)).

    Parameters
    ----------
    argument
        The name to use in messages.
    sizes
        What was given.
    minimum
        The least integer allowed.
    """
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    return tuple(checks.integer(argument, size, minimum) for size in sizes)


def reshape(x: Any, *shape: Any) -> Tensor:
    """Return the elements in another shape.

    Parameters
    ----------
    x
        Any shape.
    *shape
        The new lengths, as integers or one tuple; one may be -1.

    Returns
    -------
    Tensor
    """
    data = array(x)
    former = data.shape
    return _view(data.reshape(sizes_of("shape", shape)), x, lambda g: g.reshape(former))


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return x with a run of axes merged into one.

    Parameters
    ----------
    x
        Any shape.
    start_dim, end_dim
        First and last axis of the run.

    Returns
    -------
    Tensor
    """
    shape = array(x).shape
    if not shape:
        return reshape(x, 1)
    first, last = axis_of(start_dim, len(shape), "start_dim"), axis_of(end_dim, len(shape), "end_dim")
    if last < first:
        raise checks.value_error("end_dim", f"an axis from {first} on", last)
    return reshape(x, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


def squeeze(x: Any, axis: Any = None, *, dim: Any = None) -> Tensor:
    """Return x without axes of length 1.

    Parameters
    ----------
    x
        Any shape.
    axis
        Only these axes, where they have length 1; None for all such axes.
    dim
        PyTorch's spelling of the same.

    Returns
    -------
    Tensor
    """
    data = array(x)
    axes = axes_of(one_of(axis, dim), data.ndim)
    return reshape(x, tuple(n for k, n in enumerate(data.shape) if n != 1 or k not in axes))


def unsqueeze(x: Any, axis: Any = None, *, dim: Any = None) -> Tensor:
    """Return x with an axis of length 1 put in.

    Parameters
    ----------
    x
        Any shape.
    axis
        The place of the new axis in the result.
    dim
        PyTorch's spelling of the same.

    Returns
    -------
    Tensor
    """
    data = array(x)
    place = axis_of(one_of(axis, dim), data.ndim + 1)
    return reshape(x, (*data.shape[:place], 1, *data.shape[place:]))


def permute(x: Any, *axes: Any) -> Tensor:
    """Return x with its axes in another order.

    Parameters
    ----------
    x
        Any shape.
    *axes
        Every axis once, as integers or one tuple.

    Returns
    -------
    Tensor
    """
    data = array(x)
    order = tuple(axis_of(k, data.ndim, "axes") for k in sizes_of("axes", axes))
    if sorted(order) != list(range(data.ndim)):
        raise checks.value_error("axes", f"each of the {data.ndim} axes once", str(order))
    back = tuple(order.index(k) for k in range(data.ndim))
    return _view(data.transpose(order), x, lambda g: g.transpose(back))


def transpose(x: Any, *axes: Any) -> Tensor:
    """Return x with two axes swapped, all axes reversed, or all axes in another order.

    Parameters
    ----------
    x
        Any shape.
    *axes
        Two integers swap these axes (PyTorch's meaning); none reverses all axes; one tuple, or more than two
        integers, is an order of all axes (NumPy's meaning).

    Returns
    -------
    Tensor
    """
    if len(axes) == 2:
        return swapaxes(x, *axes)
    return permute(x, *axes) if axes else permute(x, tuple(range(array(x).ndim))[::-1])


def swapaxes(x: Any, axis0: int, axis1: int) -> Tensor:
    """Return x with two axes swapped.

    Parameters
    ----------
    x
        Any shape.
    axis0, axis1
        The two axes.

    Returns
    -------
    Tensor
    """
    data = array(x)
    first, second = axis_of(axis0, data.ndim, "axis0"), axis_of(axis1, data.ndim, "axis1")
    return _view(data.swapaxes(first, second), x, lambda g: g.swapaxes(first, second))


def broadcast_to(x: Any, *shape: Any) -> Tensor:
    """Return x repeated along axes, as a read-only view.

    Parameters
    ----------
    x
        Any shape.
    *shape
        The shape to broadcast to, as integers or one tuple.

    Returns
    -------
    Tensor
    """
    data = array(x)
    former, dtype = data.shape, data.dtype
    return _view(np.broadcast_to(data, sizes_of("shape", shape)), x, lambda g: fit(g, former, dtype))


def flip(x: Any, axis: Any = None, *, dim: Any = None) -> Tensor:
    """Return x with the order along axes reversed.

    Parameters
    ----------
    x
        Any shape.
    axis
        Integer or tuple of integers; None for all.
    dim
        PyTorch's spelling of the same.

    Returns
    -------
    Tensor
    """
    data = array(x)
    axes = axes_of(one_of(axis, dim), data.ndim)
    return _view(np.flip(data, axes), x, lambda g: np.flip(g, axes))


def _is_basic(part: Any) -> bool:
    is_integer = isinstance(part, (int, np.integer)) and not isinstance(part, (bool, np.bool_))
    return is_integer or part is None or part is Ellipsis or isinstance(part, slice)


def getitem(x: Any, index: Any) -> Tensor:
    """Return x[index] with NumPy's rules: slices, integers, None, ..., integer and bool arrays.

    Parameters
    ----------
    x
        Any shape.
    index
        The index; its arrays may be Tensors.

    Returns
    -------
    Tensor
        A view for slices and integers, else a copy. Elements picked more than once collect all their gradients.
    """
    data = array(x)
    plain = plain_index(index)
    parts = plain if isinstance(plain, tuple) else (plain,)
    shape, dtype = data.shape, data.dtype
    basic = all(map(_is_basic, parts))
    # Each element is picked at most once unless an integer array is among the indices.
    once = basic or all(_is_basic(p) or (isinstance(p, np.ndarray) and p.dtype == bool) for p in parts)

    def pull(g: Array) -> Array:
        out = buffers.zeros(shape, dtype)
        if once:
            out[plain] = g
        else:
            np.add.at(out, plain, g)
        return out

    picked = data[plain]
    return _view(picked, x, pull) if basic else record(picked, (x,), (pull,))


def _piece(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, slice(start, stop))


def concatenate(tensors: Sequence[Any], axis: Any = None, *, dim: Any = None) -> Tensor:
    """Return tensors joined along an axis they have.

    Parameters
    ----------
    tensors
        At least one; shapes agree except along the axis.
    axis
        The axis; the first if not given.
    dim
        PyTorch's spelling of the same.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If there is none, or the shapes do not fit.
    """
    parts = [array(tensor) for tensor in tensors]
    if not parts:
        raise checks.value_error("tensors", "at least one tensor", "none")
    along = one_of(axis, dim)
    along = axis_of(0 if along is None else along, parts[0].ndim)
    pullbacks = []
    start = 0
    for part in parts:
        if part.ndim != parts[0].ndim:
            raise checks.value_error("tensors", f"{parts[0].ndim} axes in each", part)
        stop = start + part.shape[along]
        pullbacks.append(_slicer(_piece(along, start, stop), part.dtype))
        start = stop
    return record(np.concatenate(parts, along), tuple(tensors), pullbacks)


def _slicer(piece: Any, dtype: np.dtype[Any]) -> Callable[[Array], Array]:
    return lambda g: np.asarray(g[piece], dtype)


def stack(tensors: Sequence[Any], axis: Any = None, *, dim: Any = None) -> Tensor:
    """Return tensors of one shape joined along a new axis.

    Parameters
    ----------
    tensors
        At least one.
    axis
        The place of the new axis in the result; the first if not given.
    dim
        PyTorch's spelling of the same.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If there is none, or the shapes differ.
    """
    parts = [array(tensor) for tensor in tensors]
    if not parts:
        raise checks.value_error("tensors", "at least one tensor", "none")
    along = one_of(axis, dim)
    along = axis_of(0 if along is None else along, parts[0].ndim + 1)
    pullbacks = [_slicer((*(slice(None),) * along, k), part.dtype) for k, part in enumerate(parts)]
    return record(np.stack(parts, along), tuple(tensors), pullbacks)


def _pieces(x: Any, places: list[Any], views: tuple[Array, ...]) -> tuple[Tensor, ...]:
    """Return views of one array as the outputs of one node, so that the gradient is assembled once."""
    data = array(x)
    shape, dtype = data.shape, data.dtype

    def backward(grads: tuple[Array | None, ...]) -> tuple[Array, ...]:
        out = np.zeros(shape, dtype)
        for place, g in zip(places, grads, strict=True):
            if g is not None:
                out[place] = g
        return (out,)

    outputs = make_node((x,), views, backward, saves=False)
    if isinstance(x, Tensor):
        for out in outputs:
            out._version = x._version
    return outputs


def split(x: Any, size: Any, axis: Any = None, *, dim: Any = None) -> tuple[Tensor, ...]:
    """Return x cut into pieces along an axis, as in PyTorch.

    Parameters
    ----------
    x
        Any shape.
    size
        The length of every piece (the last may be shorter), or a sequence with the length of each.
    axis
        The axis; the first if not given.
    dim
        PyTorch's spelling of the same.

    Returns
    -------
    tuple of Tensor
        Views.

    Raises
    ------
    ValueError
        If the lengths do not add up to the axis.
    """
    data = array(x)
    along = one_of(axis, dim)
    along = axis_of(0 if along is None else along, data.ndim)
    total = data.shape[along]
    if isinstance(size, (tuple, list)):
        sizes = [checks.integer("size", n, 0) for n in size]
    else:
        every = checks.integer("size", size, 1)
        sizes = [min(every, total - start) for start in range(0, total, every)] or [0]
    if sum(sizes) != total:
        raise checks.value_error("size", f"lengths that add up to {total}", str(sizes))
    ends = np.cumsum(sizes).tolist()
    places = [_piece(along, end - n, end) for n, end in zip(sizes, ends, strict=True)]
    return _pieces(x, places, tuple(data[place] for place in places))


def unbind(x: Any, axis: Any = None, *, dim: Any = None) -> tuple[Tensor, ...]:
    """Return the slices of x along an axis, which is dropped.

    Parameters
    ----------
    x
        Any shape with at least one axis.
    axis
        The axis; the first if not given.
    dim
        PyTorch's spelling of the same.

    Returns
    -------
    tuple of Tensor
        Views.

    Raises
    ------
    TypeError
        If x has no axis.
    """
    data = array(x)
    if data.ndim == 0:
        raise checks.kind_error("x", "a tensor with at least one axis (to iterate over)", data)
    along = one_of(axis, dim)
    along = axis_of(0 if along is None else along, data.ndim)
    places: list[Any] = [(*(slice(None),) * along, k) for k in range(data.shape[along])]
    return _pieces(x, places, tuple(data[place] for place in places))
