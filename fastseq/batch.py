"""Rows of unequal length side by side: padding, and batches that need little of it.

A batch is an array (B, T, F) and the valid steps of each row, integers (B,). What stands past a row's length is never
read by layers and losses that take lengths; here it is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks

MEGA = 50  # batches that are sorted by length together: large enough for little padding, small enough to stay random


class PaddedBatch(NamedTuple):
    """Rows (B, T, ...) and their valid steps (B,), int64."""

    data: NDArray[Any]
    lengths: NDArray[np.int64]


def pad(sequences: Sequence[Any], steps: int | None = None, dtype: DTypeLike | None = None) -> PaddedBatch:
    """Put sequences of unequal length into one array, zeros behind them.

    Parameters
    ----------
    sequences
        Arrays (T_i, ...) that agree in all axes but the first; at least one.
    steps
        T of the result, at least the longest length; None for the longest.
    dtype
        Of the result; None for the sequences' common one.

    Returns
    -------
    PaddedBatch
        ``data`` (B, T, ...) and ``lengths`` (B,).

    Raises
    ------
    TypeError, ValueError
        If there is no sequence, or they do not agree.
    """
    rows = [np.asarray(sequence) for sequence in sequences]
    if not rows:
        raise checks.value_error("sequences", "at least one sequence", "none")
    for i, row in enumerate(rows):
        if row.dtype.kind not in "fiub":
            raise checks.kind_error(f"sequences[{i}]", "an array of numbers", row)
        if row.ndim == 0 or row.shape[1:] != rows[0].shape[1:]:
            expected = ", ".join(map(str, ("T", *rows[0].shape[1:])))
            raise checks.value_error(f"sequences[{i}]", f"shape ({expected}), like those before it", row)
    found = np.array([len(row) for row in rows], np.int64)
    width = int(found.max()) if steps is None else checks.integer("steps", steps, minimum=int(found.max()))
    wanted = np.result_type(*{row.dtype for row in rows}) if dtype is None else np.dtype(dtype)
    data = np.zeros((len(rows), width, *rows[0].shape[1:]), wanted)
    for target, row in zip(data, rows, strict=True):
        target[: len(row)] = row
    return PaddedBatch(data, found)


def unpad(data: NDArray[Any], lengths: Any) -> list[NDArray[Any]]:
    """Cut rows to their lengths.

    Parameters
    ----------
    data
        (B, T, ...).
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    list of ndarray
        Views (T_i, ...).
    """
    if not isinstance(data, np.ndarray) or data.ndim < 2:
        raise checks.value_error("data", "an array (B, T, ...)", data)
    found = checks.lengths("lengths", lengths, data.shape[0], data.shape[1])
    return [row[:n] for row, n in zip(data, found, strict=True)]


def bucket(
    lengths: NDArray[np.int64], batch_size: int, rng: np.random.Generator | None = None
) -> list[NDArray[np.int64]]:
    """Cut rows into batches of like lengths, so that little is padded.

    Parameters
    ----------
    lengths
        Valid steps per row, (B,).
    batch_size
        Rows per batch; the last batch may have fewer.
    rng
        Shuffles rows and batches; None keeps the given order where lengths are equal, longest first.

    Returns
    -------
    list of ndarray
        Row numbers, each row once.

    Notes
    -----
    Rows are shuffled, then sorted by length inside groups of 50 batches, cut, and the batches shuffled.
    """
    size = checks.integer("batch_size", batch_size, minimum=1)
    rows = len(lengths)
    if rng is None:
        order = np.argsort(-lengths, kind="stable")
        return [order[start : start + size] for start in range(0, rows, size)]
    order = rng.permutation(rows)
    if rows == 0 or lengths.min() == lengths.max():
        return [order[start : start + size] for start in range(0, rows, size)]
    batches = []
    for start in range(0, rows, size * MEGA):
        group = order[start : start + size * MEGA]
        group = group[np.argsort(-lengths[group], kind="stable")]
        # The short batch, if any, is the one of the shortest rows of the last group.
        batches += [group[i : i + size] for i in range(0, len(group), size)]
    return [batches[i] for i in rng.permutation(len(batches))]
