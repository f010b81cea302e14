"""What all losses do at the end: leave padding out, add up, and send the gradient back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.operands import array, fit
from fastseq.autograd.tensor import Tensor, record

Array = NDArray[Any]
Slope = Callable[[Any], Array]

REDUCTIONS = ("mean", "sum", "none")


class Operand(NamedTuple):
    """Something that a loss was computed from."""

    value: Any
    shape: tuple[int, ...]  # in which it was broadcast to the values
    slope: Slope  # from an upstream gradient to a fresh array of the values' shape


def floating(argument: str, value: Any) -> Array:
    """Return the ndarray behind an operand, or raise unless its dtype is a floating one.

    Parameters
    ----------
    argument
        The name to use in messages.
    value
        Tensor, ndarray or number.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError
        If it holds integers or bools.
    """
    found = array(value)
    if found.dtype.kind != "f":
        raise checks.kind_error(argument, "float32 or float64", found)
    return found


def broadcasts_to(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Return whether an array of a shape broadcasts to another one.

    Parameters
    ----------
    shape
        Of the array.
    whole
        What it is to become.
    """
    try:
        return np.broadcast_shapes(shape, whole) == whole
    except ValueError:
        return False


def padding_of(lengths: Any, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Return which steps do not count, or None where all do.

    Parameters
    ----------
    lengths
        Valid steps per row, integers (B,); None means all.
    shape
        (B, T, ...) of what they count in.

    Returns
    -------
    ndarray of bool, or None
        (B, T)

    Raises
    ------
    ValueError
        If there is no axis of steps, or the lengths do not fit.
    """
    if lengths is None:
        return None
    if len(shape) < 2:
        raise checks.value_error("lengths", "None for an input without steps", f"lengths for shape {shape}")
    found = checks.lengths("lengths", lengths._data if isinstance(lengths, Tensor) else lengths, shape[0], shape[1])
    return None if (found == shape[1]).all() else np.arange(shape[1]) >= found[:, None]


def reduced(
    values: Array,
    operands: Sequence[Operand],
    reduction: str,
    padding: NDArray[np.bool_] | None,
    saved: tuple[Any, ...] = (),
) -> Tensor:
    """Return losses reduced, as one node of the tape; padding counts for nothing and gets gradient 0.

    Parameters
    ----------
    values
        One loss per element, (B, T, ...) where there is padding; written to.
    operands
        What they were computed from.
    reduction
        ``"mean"``, ``"sum"``, ``"none"``, or ``"batchmean"``: the sum divided by the number of rows.
    padding
        (B, T), what does not count; None where all does.
    saved
        The operands whose values the slopes read.

    Returns
    -------
    Tensor
        A scalar, or with ``"none"`` the shape of the values. The mean of no element is NaN.
    """
    count = values.size
    if padding is not None:
        values[padding] = 0
        count = (padding.size - int(np.count_nonzero(padding))) * math.prod(values.shape[2:])
    if reduction == "batchmean":
        count = len(values) if values.ndim else 1
    divided = reduction in ("mean", "batchmean")
    out = values if reduction == "none" else np.add.reduce(values, axis=None)
    with np.errstate(invalid="ignore", over="ignore"):
        if divided:
            out = out / (count or math.nan)

    def through(operand: Operand) -> Callable[[Array], Array]:
        found = array(operand.value)
        shape, dtype = found.shape, found.dtype

        def pull(g: Array) -> Array:
            part = operand.slope(g / count if divided and count else g)
            if padding is not None:
                part[padding] = 0  # slopes are fresh arrays
            return fit(part, operand.shape, dtype).reshape(shape)

        return pull

    return record(out, [o.value for o in operands], [through(o) for o in operands], saved)
