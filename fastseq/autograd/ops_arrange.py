"""Elements moved, repeated or cut away: chunk, roll, repeat, expand, movedim, tril, triu, pad, one_hot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.operands import array, axis_of
from fastseq.autograd.ops_arithmetic import where
from fastseq.autograd.ops_shape import broadcast_to, permute, reshape, sizes_of, split
from fastseq.autograd.tensor import Tensor, record, wrap

Array = NDArray[Any]


def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Return x cut into at most so many pieces of like length along an axis, as views.

    Parameters
    ----------
    x
        Any shape.
    chunks
        How many.
    dim
        The axis.
    """
    data = array(x)
    count = checks.integer("chunks", chunks, 1)
    return split(x, max(1, -(-data.shape[axis_of(dim, data.ndim, "dim")] // count)), dim)


def roll(x: Any, shifts: Any, dims: Any = None) -> Tensor:
    """Return x moved along axes; what leaves at one end comes in at the other.

    Parameters
    ----------
    x
        Any shape.
    shifts
        How far, one integer or one for each axis.
    dims
        The axis or axes; None moves the flat tensor.
    """
    far = tuple(shifts) if isinstance(shifts, (tuple, list)) else (shifts,)
    far = tuple(checks.integer("shifts", shift) for shift in far)
    if dims is None:
        axes = None
        if len(far) != 1:
            raise checks.value_error("shifts", "one integer where there are no dims", str(far))
        return record(np.roll(array(x), far[0]), (x,), (lambda g: np.roll(g, -far[0]),))
    axes = tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    axes = tuple(axis_of(axis, array(x).ndim, "dims") for axis in axes)
    if len(axes) != len(far):
        raise checks.value_error("shifts", f"{len(axes)}, one for each of dims", str(far))
    back = tuple(-shift for shift in far)
    return record(np.roll(array(x), far, axes), (x,), (lambda g: np.roll(g, back, axes),))


def repeat(x: Any, *repeats: Any) -> Tensor:
    """Return x several times along each axis (PyTorch's meaning, not NumPy's).

    Parameters
    ----------
    x
        Any shape.
    *repeats
        How often, as integers or one tuple; those beyond x's axes make new ones in front.
    """
    data, counts = array(x), sizes_of("repeats", repeats)
    if len(counts) < data.ndim:
        raise checks.value_error("repeats", f"at least {data.ndim}, one for each axis", str(counts))
    shape = (1,) * (len(counts) - data.ndim) + data.shape
    apart = tuple(n for pair in zip(counts, shape, strict=True) for n in pair)

    def pull(g: Array) -> Array:
        return np.add.reduce(g.reshape(apart), tuple(range(0, len(apart), 2))).reshape(data.shape)

    return record(np.tile(data, counts), (x,), (pull,))


def tile(x: Any, *dims: Any) -> Tensor:
    """Return x several times along each axis, the last ones where there are fewer numbers than axes.

    Parameters
    ----------
    x
        Any shape.
    *dims
        How often, as integers or one tuple.
    """
    counts = sizes_of("dims", dims)
    return repeat(x, (1,) * (array(x).ndim - len(counts)) + counts)


def expand(x: Any, *sizes: Any) -> Tensor:
    """Return x repeated along axes of length 1, as a read-only view.

    Parameters
    ----------
    x
        Any shape.
    *sizes
        The new lengths, as integers or one tuple; -1 leaves an axis as it is.
    """
    wanted, shape = sizes_of("sizes", sizes, -1), array(x).shape
    fresh = len(wanted) - len(shape)
    if fresh < 0 or -1 in wanted[:fresh]:
        raise checks.value_error("sizes", f"lengths for shape {shape}, -1 only for axes that are there", str(wanted))
    found = (*wanted[:fresh], *(n if size == -1 else size for size, n in zip(wanted[fresh:], shape, strict=True)))
    if any(n not in (1, size) for size, n in zip(found[fresh:], shape, strict=True)):
        raise checks.value_error("sizes", f"lengths that shape {shape} broadcasts to", str(wanted))
    return broadcast_to(x, found)


def movedim(x: Any, source: Any, destination: Any) -> Tensor:
    """Return x with axes moved to other places, the others in their order.

    Parameters
    ----------
    x
        Any shape.
    source, destination
        Integers, or tuples of as many.
    """
    numbered = np.empty(range(array(x).ndim))  # axis k has length k
    return permute(x, np.moveaxis(numbered, source, destination).shape)


def unflatten(x: Any, dim: int, sizes: Sequence[int]) -> Tensor:
    """Return x with one axis as several.

    Parameters
    ----------
    x
        Any shape.
    dim
        The axis.
    sizes
        Their lengths; one may be -1.
    """
    shape = array(x).shape
    along = axis_of(dim, len(shape), "dim")
    wanted = sizes_of("sizes", (tuple(sizes),), -1)
    known = math.prod(n for n in wanted if n != -1)
    if known != shape[along] and not (wanted.count(-1) == 1 and known and shape[along] % known == 0):
        raise checks.value_error("sizes", f"lengths whose product is {shape[along]}", str(wanted))
    return reshape(x, (*shape[:along], *(shape[along] // known if n == -1 else n for n in wanted), *shape[along + 1 :]))


def _triangle(x: Any, lower: bool, diagonal: int) -> Tensor:
    data = array(x)
    if data.ndim < 2:
        raise checks.value_error("input", "two axes or more", data)
    keep = np.tri(data.shape[-2], data.shape[-1], checks.integer("diagonal", diagonal) - (0 if lower else 1), bool)
    return where(keep if lower else ~keep, x, data.dtype.type(0))


def tril(x: Any, diagonal: int = 0) -> Tensor:
    """Return the lower triangle of the last two axes, zeros elsewhere.

    Parameters
    ----------
    x
        At least two axes.
    diagonal
        The last diagonal that stays, counted upwards from the main one.
    """
    return _triangle(x, True, diagonal)


def triu(x: Any, diagonal: int = 0) -> Tensor:
    """Return the upper triangle of the last two axes, zeros elsewhere.

    Parameters
    ----------
    x
        At least two axes.
    diagonal
        The first diagonal that stays, counted upwards from the main one.
    """
    return _triangle(x, False, diagonal)


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Return x with one number around it, or cut where a number of places is negative.

    Parameters
    ----------
    input
        Any shape.
    pad
        How many places before and behind the last axis, then the one before it, and so on.
    mode
        ``"constant"``.
    value
        The number; None for 0.
    """
    checks.choice("mode", mode, ("constant",))
    data, places = array(input), [checks.integer("pad", n) for n in pad]
    if len(places) % 2 or len(places) > 2 * data.ndim:
        raise checks.value_error("pad", f"an even number of integers, at most {2 * data.ndim}", str(places))
    ends = [(0, 0)] * (data.ndim - len(places) // 2) + list(zip(places[::2], places[1::2], strict=True))[::-1]
    if any(n + before + behind < 0 for n, (before, behind) in zip(data.shape, ends, strict=True)):
        raise checks.value_error("pad", f"no more cut than shape {data.shape} has", str(places))
    inner = tuple(
        slice(max(0, -before), n - max(0, -behind)) for n, (before, behind) in zip(data.shape, ends, strict=True)
    )
    grown = [(max(0, before), max(0, behind)) for before, behind in ends]
    out = np.pad(data[inner], grown, constant_values=0 if value is None else value)
    own = tuple(slice(before, n - behind) for n, (before, behind) in zip(out.shape, grown, strict=True))

    def pull(g: Array) -> Array:
        whole = np.zeros(data.shape, data.dtype)
        whole[inner] = g[own]
        return whole

    return record(out, (input,), (pull,))


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """Return integers as rows of zeros with a one.

    Parameters
    ----------
    tensor
        Integers >= 0 of any shape.
    num_classes
        How long the rows are; -1 for the largest integer and one more.
    """
    data = array(tensor)
    if data.dtype.kind not in "iu":
        raise checks.kind_error("tensor", "integers", data)
    if num_classes == -1 and not data.size:
        raise checks.value_error("num_classes", "a number where there is no integer to learn it from", num_classes)
    classes = int(data.max()) + 1 if num_classes == -1 else checks.integer("num_classes", num_classes, 1)
    if data.size and not (data.min() >= 0 and data.max() < classes):
        raise checks.value_error("tensor", f"integers in 0..{classes - 1}", data)
    return wrap((data[..., None] == np.arange(classes)).astype(np.int64))


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Return the coordinates of a grid, one tensor for each axis.

    Parameters
    ----------
    *tensors
        Vectors, or one list of them.
    indexing
        ``"ij"``; ``"xy"`` swaps the first two axes.
    """
    found = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    checks.choice("indexing", indexing, ("ij", "xy"))
    vectors = [array(one).reshape(-1) for one in found]
    return tuple(wrap(one) for one in np.meshgrid(*vectors, indexing=indexing))  # type: ignore[call-overload]
