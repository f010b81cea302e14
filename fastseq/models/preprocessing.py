"""What Keras's listings prepare data with: to_categorical and pad_sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks

Array = NDArray[Any]


def to_categorical(x: Any, num_classes: int | None = None) -> Array:
    """Return numbers of classes as vectors with a 1 where the number says.

    Parameters
    ----------
    x
        Integers from 0 on, any shape; an axis of length 1 at the end is left out.
    num_classes
        How many classes there are; one more than the largest number if None.

    Returns
    -------
    ndarray
        float32 (..., num_classes).

    Raises
    ------
    ValueError
        If a number is no class.
    """
    found = np.asarray(getattr(x, "_data", x))
    if found.dtype.kind not in "iuf":
        raise checks.kind_error("x", "integers", found)
    found = found.astype(np.int64)
    if found.ndim > 1 and found.shape[-1] == 1:
        found = found[..., 0]
    largest = int(found.max(initial=-1))
    count = largest + 1 if num_classes is None else checks.integer("num_classes", num_classes, 1)
    if found.size and (found.min() < 0 or largest >= count):
        raise checks.value_error("x", f"classes 0 to {count - 1}", f"{int(found.min())} to {largest}")
    out = np.zeros((*found.shape, count), np.float32)
    np.put_along_axis(out, found[..., None], np.float32(1), -1)
    return out


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> Array:
    """Return sequences of unequal lengths as one array.

    Parameters
    ----------
    sequences
        Lists or arrays (T_i, ...).
    maxlen
        How many steps the result has; as many as the longest has if None.
    dtype
        The result's.
    padding
        Whether shorter ones are filled up at their beginning, ``"pre"``, or end, ``"post"``.
    truncating
        Whether longer ones lose their beginning, ``"pre"``, or their end, ``"post"``.
    value
        What they are filled with.

    Returns
    -------
    ndarray
        (B, maxlen, ...)
    """
    if not hasattr(sequences, "__len__"):
        raise checks.kind_error("sequences", "a list of sequences", sequences)
    ahead = checks.choice("padding", padding, ("pre", "post")) == "pre"
    keeps_end = checks.choice("truncating", truncating, ("pre", "post")) == "pre"
    rows = [np.asarray(getattr(row, "_data", row)) for row in sequences]
    for number, row in enumerate(rows):
        if not row.ndim or row.shape[1:] != next((one.shape[1:] for one in rows if len(one)), ()) and len(row):
            raise checks.value_error(f"sequences[{number}]", "a sequence like the others", row)
    longest = max((len(row) for row in rows), default=0)
    steps = longest if maxlen is None else checks.integer("maxlen", maxlen, 0)
    rest = next((row.shape[1:] for row in rows if len(row)), ())
    out = np.full((len(rows), steps, *rest), value, dtype)
    for target, row in zip(out, rows, strict=True):
        part = row[max(len(row) - steps, 0) :] if keeps_end else row[:steps]
        if len(part):
            target[steps - len(part) if ahead else 0 :][: len(part)] = part
    return out
