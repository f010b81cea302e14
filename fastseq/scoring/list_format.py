"""Series as list columns, one row per series: the lists of a batch already stand one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.checks import require
from fastseq.scoring.columns import Columns, is_list
from fastseq.scoring.conversion import (
    Where,
    id_keys,
    refuse_disorder,
    refuse_nulls,
    shifted,
    take_ids,
    take_numbers,
    take_times,
    to_numpy,
)
from fastseq.scoring.errors import ScoringError
from fastseq.scoring.seen import SeenIds
from fastseq.scoring.series import SeriesBlock


def list_blocks(
    batches: Iterable[Any], columns: Columns, dtype: np.dtype, input_size: int | None, where: Where
) -> Iterator[SeriesBlock]:
    """Yield the series of each record batch.

    Parameters
    ----------
    batches
        Arrow record batches that hold ``columns.names``.
    columns
        Which columns to read.
    dtype
        Dtype of the values to yield.
    input_size
        How many numbers a step of a list-of-lists column must have; None takes the first step's.
    where
        Says where a row is.

    Raises
    ------
    ScoringError
        For a bad cell, an empty list, lists of unequal lengths, times that do not ascend, or an id seen before.
    """
    seen, row = SeenIds(), 0
    for batch in batches:
        if batch.num_rows == 0:
            continue
        at = shifted(where, row)
        ids = take_ids(batch.column(columns.id), columns.id, at)
        again = seen.add(id_keys(ids))
        if again >= 0:
            raise ScoringError(f"{at(again)}: expected every {columns.id} once, found {ids[again].as_py()!r} again")
        lengths, values = _features(batch, columns, dtype, input_size, at)
        _check_times(batch, columns, lengths, at)
        yield SeriesBlock(values, lengths, ids, np.arange(row, row + len(ids)))
        row += len(ids)


def _features(
    batch: Any, columns: Columns, dtype: np.dtype, input_size: int | None, at: Where
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the length of each series (S,) and their values one after another (N, F)."""
    first = columns.features[0]
    lengths = _sizes(batch.column(first), first, at)
    empty = np.flatnonzero(lengths == 0)
    if empty.size:
        raise ScoringError(f"{at(int(empty[0]))}: expected at least one step in column {first!r}, found an empty list")
    step_at = _step_places(lengths, at)
    parts = []
    for name in columns.features:
        _check_lengths(batch.column(name), name, lengths, first, at)
        steps = batch.column(name).flatten()
        if not is_list(steps.type):
            parts.append(take_numbers(steps, name, dtype, step_at)[:, None])
            continue
        widths = _sizes(steps, name, step_at)
        width = int(widths[0]) if input_size is None else input_size
        wrong = np.flatnonzero(widths != width)
        if wrong.size:
            raise ScoringError(
                f"{step_at(int(wrong[0]))}: expected {width} features in column {name!r}, found {widths[wrong[0]]}"
            )
        numbers = take_numbers(steps.flatten(), name, dtype, lambda i, w=width: step_at(i // w))  # type: ignore[misc]
        parts.append(numbers.reshape(len(steps), width))
    return lengths, np.concatenate(parts, axis=1)


def _check_times(batch: Any, columns: Columns, lengths: NDArray[np.int64], at: Where) -> None:
    """Check a list column of times; a single time per row says nothing about the order of steps."""
    name = columns.time
    if name is None or not is_list(batch.column(name).type):
        return
    _check_lengths(batch.column(name), name, lengths, columns.features[0], at)
    step_at = _step_places(lengths, at)
    times = take_times(batch.column(name).flatten(), name, step_at)
    new = np.zeros(len(times), bool)
    new[np.cumsum(lengths) - lengths] = True
    refuse_disorder(times, np.concatenate([times[:1], times[:-1]]), new, name, step_at)


def _sizes(lists: Any, name: str, at: Where) -> NDArray[np.int64]:
    """Return the length of each list, none of which may be null."""
    refuse_nulls(lists, name, "a list", at)
    return to_numpy(require("pyarrow.compute", "data").list_value_length(lists)).astype(np.int64)


def _check_lengths(lists: Any, name: str, lengths: NDArray[np.int64], first: str, at: Where) -> None:
    sizes = _sizes(lists, name, at)
    ragged = np.flatnonzero(sizes != lengths)
    if ragged.size:
        row = int(ragged[0])
        raise ScoringError(
            f"{at(row)}: expected {lengths[row]} steps in column {name!r} as in {first!r}, found {sizes[row]}"
        )


def _step_places(lengths: NDArray[np.int64], at: Where) -> Where:
    """Say where a step is when steps of all rows are counted on: the row, and the step within it from 1."""
    ends = np.cumsum(lengths)

    def step_at(step: int) -> str:
        row = int(np.searchsorted(ends, step, side="right"))
        return f"{at(row)}, step {step - int(ends[row] - lengths[row]) + 1}"

    return step_at
