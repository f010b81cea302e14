"""Looking rows of a table up, and adding gradients back into it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor, record
from fastseq.simd.lanes import VECTOR_BYTES
from fastseq.simd.rows import add_rows

Array = NDArray[Any]


def indices_of(input: Any, count: int, lengths: Any = None) -> NDArray[np.int64]:
    """Return row numbers of a table as int64, with -1 where a position is past its row's length.

    Parameters
    ----------
    input
        Integers in 0..count-1, any shape; with ``lengths`` (B, T, ...), and anything past a row's length.
    count
        Rows of the table.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    ndarray
        Freshly allocated, C-contiguous.

    Raises
    ------
    TypeError
        If the input holds no integers.
    ValueError
        If an index is out of range.
    """
    given = array(input, "input")
    if given.dtype.kind not in "iu":
        if given.size or isinstance(input, (Tensor, np.ndarray)):
            raise checks.kind_error("input", "integers, the rows of the table", given)
        given = given.astype(np.int64)  # an empty list has no integers to tell by
    found = np.array(given, np.int64)
    if lengths is None:
        wrong = (found < 0) | (found >= count)
    else:
        if found.ndim < 2:
            raise checks.value_error("input", "shape (B, T, ...) beside lengths", given)
        valid = checks.lengths("lengths", lengths, found.shape[0], found.shape[1])
        past = np.arange(found.shape[1]) >= valid[:, None]
        found[past] = -1
        wrong = (found < 0) | (found >= count)
        wrong[past] = False
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise checks.value_error("input", f"indices in 0..{count - 1}", f"{given[place]} at {place}")
    return found


def embedding(
    input: Any, weight: Any, padding_idx: int | None = None, *, scale_grad_by_freq: bool = False, lengths: Any = None
) -> Tensor:
    """Return rows of a table.

    Parameters
    ----------
    input
        Integers in 0..N-1, any shape.
    weight
        (N, E)
    padding_idx
        The row that gets no gradient; negative counts from the end.
    scale_grad_by_freq
        Divide each row's gradient by how often the input names the row.
    lengths
        Valid steps per row of an input (B, T, ...), integers (B,): what stands past them is not looked at and gives
        zeros.

    Returns
    -------
    Tensor
        (..., E)

    Raises
    ------
    TypeError
        If the input holds no integers.
    ValueError
        If an index is out of range, or a shape does not fit.

    Notes
    -----
    Gradients of a row are added in the order of the input.
    """
    table = array(weight, "weight")
    if table.ndim != 2 or table.dtype.kind != "f":
        raise checks.value_error("weight", "floats of shape (N, E)", table)
    count, width = table.shape
    unused = None if padding_idx is None else checks.integer("padding_idx", padding_idx, -count, count - 1) % count
    places = indices_of(input, count, lengths)
    out = np.take(table, places, axis=0, mode="clip") if count else np.empty((*places.shape, width), table.dtype)
    if lengths is not None:
        out[places < 0] = 0

    def pull(g: Array) -> Array:
        flat = places.reshape(-1)
        if unused is not None:
            flat = np.where(flat == unused, -1, flat)
        d_table = np.zeros((count, width), table.dtype)
        if flat.size and width:
            rows = np.ascontiguousarray(g, table.dtype).reshape(-1)
            add_rows(rows, flat, d_table.reshape(-1), width, VECTOR_BYTES // table.itemsize)
            if scale_grad_by_freq:
                often = np.bincount(flat[flat >= 0], minlength=count)
                d_table /= np.maximum(often, 1)[:, None].astype(table.dtype)
        return d_table

    return record(out, (weight,), (pull,))
