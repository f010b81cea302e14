"""Arrow record batches in, whole series out: values one after another, a length and an id for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.checks import require
from fastseq.scoring.columns import Columns, is_list
from fastseq.scoring.errors import ScoringError
from fastseq.scoring.seen import SeenIds

Where = Callable[[int], str]
"""Says where a row is that was given by its number from 0: file and line."""


@dataclass(frozen=True)
class SeriesBlock:
    """Some whole series (S of them, N steps in all).

    Attributes
    ----------
    values
        Features of all series one after another (N, F).
    lengths
        Steps of each series, int64 (S,).
    ids
        Arrow array of S ids.
    first_rows
        Row number of each series' first row, from 0, int64 (S,): for messages.
    """

    values: NDArray[Any]
    lengths: NDArray[np.int64]
    ids: Any
    first_rows: NDArray[np.int64]


def series_blocks(
    batches: Iterable[Any], columns: Columns, dtype: np.dtype, input_size: int | None, where: Where
) -> Iterator[SeriesBlock]:
    """Yield the series of a table block by block, in input order; at most one unfinished series is held back.

    Parameters
    ----------
    batches
        Arrow record batches that hold the columns named in ``columns``.
    columns
        Which columns to read and the layout.
    dtype
        Dtype of the values to yield.
    input_size
        How many features the model takes, None where it does not say.
    where
        Says where a row is, for messages.

    Raises
    ------
    ScoringError
        For a null, NaN or infinite cell, times that do not ascend, an id that comes back after its rows ended,
        an empty series, lists of unequal lengths.
    """
    return (_lists if columns.lists else _long)(batches, columns, dtype, input_size, where)


def _long(
    batches: Iterable[Any], columns: Columns, dtype: np.dtype, input_size: int | None, where: Where
) -> Iterator[SeriesBlock]:
    """One row per observation: cut where the id changes and hold the last series back until its end is seen."""
    pa = require("pyarrow", "data")
    seen = SeenIds()
    held: list[NDArray[Any]] = []  # pieces of the series that is still open
    held_id: Any = None
    held_first = row = 0
    last_time: Any = None
    for batch in batches:
        if batch.num_rows == 0:
            continue
        ids = _ids(batch.column(columns.id), columns.id, row, where)
        values = np.empty((len(ids), len(columns.features)), dtype)
        for f, name in enumerate(columns.features):
            values[:, f] = _numbers(batch.column(name), name, dtype, lambda i, base=row: where(base + i))
        new = np.ones(len(ids), bool)
        if len(ids) > 1:
            new[1:] = require("pyarrow.compute", "data").not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
        new[0] = not held or ids[0].as_py() != held_id
        if columns.time is not None:
            times = _times(batch.column(columns.time), columns.time, lambda i, base=row: where(base + i))
            if last_time is not None and last_time.dtype != times.dtype:
                raise ScoringError(
                    f"{where(row)}: expected times of one type, found {times.dtype} after {last_time.dtype}"
                )
            previous = np.concatenate([times[:1] if last_time is None else last_time, times[:-1]])
            _ascending(times, previous, new, ids, columns.time, row, where)
            last_time = times[-1:]
        starts = np.flatnonzero(new)
        again = seen.add(ids.take(pa.array(starts)).to_pylist())
        if again >= 0:
            at = int(starts[again])
            raise ScoringError(
                f"{where(row + at)}: expected the rows of a series together, found {columns.id} "
                f"{ids[at].as_py()!r} again after its rows had ended"
            )
        if len(starts) == 0:
            held.append(values)
        else:
            block_ids, lengths, firsts = [], list(np.diff(starts)), list(starts[:-1] + row)
            head = values[: starts[0]]
            if held:
                block_ids.append(pa.array([held_id], ids.type))
                lengths.insert(0, sum(map(len, held)) + len(head))
                firsts.insert(0, held_first)
            if len(starts) > 1:
                block_ids.append(ids.take(pa.array(starts[:-1])))
            if block_ids:
                yield SeriesBlock(
                    np.concatenate([*held, values[: starts[-1]]]),
                    np.array(lengths, np.int64),
                    pa.concat_arrays(block_ids),
                    np.array(firsts, np.int64),
                )
            last = int(starts[-1])
            held, held_id, held_first = [values[last:].copy()], ids[last].as_py(), row + last
            kind = ids.type
        row += len(ids)
    if held:
        yield SeriesBlock(
            np.concatenate(held), np.array([sum(map(len, held))]), pa.array([held_id], kind), np.array([held_first])
        )


def _lists(
    batches: Iterable[Any], columns: Columns, dtype: np.dtype, input_size: int | None, where: Where
) -> Iterator[SeriesBlock]:
    """One row per series: the lists of a batch are already one after another in memory."""
    seen = SeenIds()
    row = 0
    for batch in batches:
        if batch.num_rows == 0:
            continue
        ids = _ids(batch.column(columns.id), columns.id, row, where)
        again = seen.add(ids.to_pylist())
        if again >= 0:
            raise ScoringError(
                f"{where(row + again)}: expected every {columns.id} once, found {ids[again].as_py()!r} again"
            )
        lengths, parts = None, []
        for name in columns.features:
            flat, sizes = _flatten(batch.column(name), name, row, where)
            if lengths is None:
                lengths, first = sizes, name
                empty = np.flatnonzero(sizes == 0)
                if empty.size:
                    raise ScoringError(
                        f"{where(row + int(empty[0]))}: expected at least one step in {name!r}, found none"
                    )
            _same_lengths(sizes, lengths, name, first, row, where)
            ends = np.cumsum(lengths)
            parts.append(_step_values(flat, name, dtype, input_size, ends, row, where))
        assert lengths is not None
        if columns.time is not None and is_list(batch.schema.field(columns.time).type):
            flat, sizes = _flatten(batch.column(columns.time), columns.time, row, where)
            _same_lengths(sizes, lengths, columns.time, first, row, where)
            at = _row_of_step(ends, row, where)
            times = _times(flat, columns.time, at)
            new = np.zeros(len(times), bool)
            new[ends - lengths] = True
            bad = np.flatnonzero(~new[1:] & ~(times[1:] > times[:-1])) + 1
            if bad.size:
                raise ScoringError(
                    f"{at(int(bad[0]))}: expected ascending times in {columns.time!r}, found "
                    f"{flat[int(bad[0])].as_py()} after {flat[int(bad[0]) - 1].as_py()}"
                )
        yield SeriesBlock(np.concatenate(parts, axis=1), lengths, ids, np.arange(row, row + len(ids)))
        row += len(ids)


def _step_values(
    flat: Any, name: str, dtype: np.dtype, input_size: int | None, ends: NDArray[np.int64], row: int, where: Where
) -> NDArray[Any]:
    """Values of a flattened list column (N, 1), or of a list-of-lists column (N, F)."""
    at = _row_of_step(ends, row, where)
    if not is_list(flat.type):
        return _numbers(flat, name, dtype, at)[:, None]
    inner, widths = _flatten(flat, name, 0, lambda step: at(step))
    width = int(widths[0]) if input_size is None else input_size
    wrong = np.flatnonzero(widths != width)
    if wrong.size:
        raise ScoringError(
            f"{at(int(wrong[0]))}: expected {width} features in every step of {name!r}, found {widths[wrong[0]]}"
        )
    return _numbers(inner, name, dtype, lambda i: at(i // width)).reshape(-1, width)


def _row_of_step(ends: NDArray[np.int64], row: int, where: Where) -> Where:
    """Say where a step of a flattened list column is: the row and the step in it."""

    def at(step: int) -> str:
        inside = int(np.searchsorted(ends, step, side="right"))
        return f"{where(row + inside)}, step {step - (int(ends[inside - 1]) if inside else 0) + 1}"

    return at


def _ids(array: Any, name: str, row: int, where: Where) -> Any:
    """Return ids as a plain array, or say where one is missing."""
    types, compute = require("pyarrow", "data").types, require("pyarrow.compute", "data")
    array = array.dictionary_decode() if types.is_dictionary(array.type) else array
    _no_nulls(array, name, row, where)
    if types.is_string(array.type) or types.is_large_string(array.type):
        bad = np.flatnonzero(compute.equal(array, "").to_numpy(zero_copy_only=False))
        if bad.size:
            raise ScoringError(f"{where(row + int(bad[0]))}: expected a value in column {name!r}, found an empty cell")
    return array


def _flatten(array: Any, name: str, row: int, where: Where) -> tuple[Any, NDArray[np.int64]]:
    """Return the entries of a list array one after another and the length of each list."""
    _no_nulls(array, name, row, where)
    sizes = require("pyarrow.compute", "data").list_value_length(array)
    return array.flatten(), sizes.to_numpy(zero_copy_only=False).astype(np.int64)


def _same_lengths(sizes: Any, lengths: Any, name: str, first: str, row: int, where: Where) -> None:
    ragged = np.flatnonzero(sizes != lengths)
    if ragged.size:
        at = int(ragged[0])
        raise ScoringError(
            f"{where(row + at)}: expected {lengths[at]} steps in {name!r} as in {first!r}, found {sizes[at]}"
        )


def _no_nulls(array: Any, name: str, row: int, where: Where) -> None:
    if array.null_count:
        at = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        raise ScoringError(f"{where(row + at)}: expected a value in column {name!r}, found an empty cell")


def _numbers(array: Any, name: str, dtype: np.dtype, at: Where) -> NDArray[Any]:
    """Return a numeric Arrow array as ``dtype``, or say where a cell is null, NaN or infinite."""
    pa = require("pyarrow", "data")
    if array.null_count:
        bad = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        raise ScoringError(f"{at(bad)}: expected a finite number in column {name!r}, found an empty cell")
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    with np.errstate(over="ignore"):
        values = array.to_numpy(zero_copy_only=False).astype(dtype)
    good = np.isfinite(values)
    if not good.all():
        bad = int(np.flatnonzero(~good)[0])
        raise ScoringError(f"{at(bad)}: expected a finite {dtype} in column {name!r}, found {array[bad].as_py()}")
    return values


def _times(array: Any, name: str, at: Where) -> NDArray[Any]:
    """Return times as integers or floats that order as the times do."""
    pa = require("pyarrow", "data")
    if array.null_count:
        bad = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        raise ScoringError(f"{at(bad)}: expected a time in column {name!r}, found an empty cell")
    types = pa.types
    if types.is_integer(array.type):
        return array.to_numpy(zero_copy_only=False)
    if types.is_floating(array.type):
        values = array.to_numpy(zero_copy_only=False)
        if np.isnan(values).any():
            bad = int(np.flatnonzero(np.isnan(values))[0])
            raise ScoringError(f"{at(bad)}: expected a time in column {name!r}, found NaN")
        return values
    if types.is_temporal(array.type):
        width = pa.int32() if array.type.bit_width == 32 else pa.int64()
        return array.cast(width).to_numpy(zero_copy_only=False)
    raise ScoringError(f"{at(0)}: expected times or numbers in column {name!r}, found {array.type}")


def _ascending(
    times: NDArray[Any], previous: NDArray[Any], new: NDArray[np.bool_], ids: Any, name: str, row: int, where: Where
) -> None:
    bad = np.flatnonzero(~new & (times <= previous))
    if bad.size:
        at = int(bad[0])
        found = "the same time twice" if times[at] == previous[at] else "a time before the one above it"
        raise ScoringError(
            f"{where(row + at)}: expected ascending times in column {name!r} within series {ids[at].as_py()!r}, "
            f"found {found}"
        )
