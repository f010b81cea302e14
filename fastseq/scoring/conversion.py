"""Arrow columns as NumPy arrays: ids, features and times; every bad cell is named with its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.checks import require
from fastseq.scoring.errors import ScoringError

Where = Callable[[int], str]
"""Says where a cell is that was given by its number from 0: file and line."""


def shifted(where: Where, offset: int) -> Where:
    """Return ``where`` for numbers that count from ``offset``."""
    return lambda number: where(offset + number)


def take_ids(array: Any, name: str, at: Where) -> Any:
    """Return ids as a plain Arrow array.

    Parameters
    ----------
    array
        Arrow array of any kind but a nested one, dictionary-encoded or not.
    name
        Name of the column.
    at
        Says where a cell of the array is.

    Raises
    ------
    ScoringError
        If an id is null, NaN or empty text.
    """
    pa, compute = require("pyarrow", "data"), require("pyarrow.compute", "data")
    types = pa.types
    array = array.dictionary_decode() if types.is_dictionary(array.type) else array
    for is_view, plain in (("is_string_view", pa.large_string()), ("is_binary_view", pa.large_binary())):
        if getattr(types, is_view, lambda _: False)(array.type):  # Arrow cannot take from views yet
            array = array.cast(plain)
    refuse_nulls(array, name, "an id", at)
    if types.is_string(array.type) or types.is_large_string(array.type):
        empty = to_numpy(compute.equal(array, ""))
        if empty.any():
            raise ScoringError(f"{at(_first(empty))}: expected an id in column {name!r}, found an empty cell")
    if types.is_floating(array.type):
        missing = np.isnan(to_numpy(array))
        if missing.any():
            raise ScoringError(f"{at(_first(missing))}: expected an id in column {name!r}, found nan")
    return array


def comparable(ids: Any) -> Any:
    """Return ids in a type that Arrow can compare."""
    pa = require("pyarrow", "data")
    ids = getattr(ids, "storage", ids)
    return ids.cast(pa.float32()) if pa.types.is_float16(ids.type) else ids


def id_keys(ids: Any) -> list[int]:
    """Return one 64-bit number per id: the same for the same id, and for others the same by rare chance only."""
    pa = require("pyarrow", "data")
    ids = comparable(ids)
    found = (_ticks(ids) if pa.types.is_temporal(ids.type) else ids).to_pylist()
    if pa.types.is_integer(ids.type) or pa.types.is_temporal(ids.type):
        return [value - (value >> 63 << 64) for value in found] if ids.type == pa.uint64() else found
    if not found or isinstance(found[0], (str, bytes, bool)):
        return [hash(value) for value in found]
    return [hash(str(value + 0)) for value in found]  # Python gives -1.0 and -2.0 one hash; 0 and -0.0 are one id


def take_numbers(array: Any, name: str, dtype: np.dtype, at: Where) -> NDArray[Any]:
    """Return a numeric column as NumPy array.

    Parameters
    ----------
    array
        Arrow array of integers, floats, decimals or booleans.
    name
        Name of the column.
    dtype
        float32 or float64: what to convert to.
    at
        Says where a cell of the array is.

    Raises
    ------
    ScoringError
        If a cell is null, NaN, infinite or beyond the range of ``dtype``.
    """
    pa = require("pyarrow", "data")
    refuse_nulls(array, name, "a finite number", at)
    if pa.types.is_decimal(array.type) or pa.types.is_dictionary(array.type):
        array = array.cast(pa.float64())
    with np.errstate(over="ignore"):
        values = to_numpy(array).astype(dtype)
    finite = np.isfinite(values)
    if not finite.all():
        bad = _first(~finite)
        raise ScoringError(f"{at(bad)}: expected a finite {dtype} in column {name!r}, found {array[bad].as_py()}")
    return values


def take_times(array: Any, name: str, at: Where) -> NDArray[Any]:
    """Return times as integers or floats that are ordered as the times are.

    Parameters
    ----------
    array
        Arrow array of timestamps, dates, times of day or numbers.
    name
        Name of the column.
    at
        Says where a cell of the array is.

    Raises
    ------
    ScoringError
        If the column is of another type or a cell is null or NaN.
    """
    types = require("pyarrow", "data").types
    array = array.dictionary_decode() if types.is_dictionary(array.type) else array
    refuse_nulls(array, name, "a time", at)
    if types.is_temporal(array.type):
        return to_numpy(_ticks(array))
    if not (types.is_integer(array.type) or types.is_floating(array.type)):
        raise ScoringError(
            f"{at(0)}: expected timestamps, dates or numbers in column {name!r}, found {array.type}; where rows are "
            "in order anyway, no time column need be named (time=None, --no-time)"
        )
    times = to_numpy(array)
    if times.dtype.kind == "f" and np.isnan(times).any():
        raise ScoringError(f"{at(_first(np.isnan(times)))}: expected a time in column {name!r}, found nan")
    return times


def refuse_nulls(array: Any, name: str, expected: str, at: Where) -> None:
    """Raise ScoringError if a cell is null.

    Parameters
    ----------
    array
        Arrow array.
    name
        Name of the column.
    expected
        What should be there, in words.
    at
        Says where a cell of the array is.
    """
    if array.null_count:
        bad = _first(to_numpy(array.is_null()))
        raise ScoringError(f"{at(bad)}: expected {expected} in column {name!r}, found an empty cell")


def refuse_disorder(times: NDArray[Any], previous: NDArray[Any], new: NDArray[np.bool_], name: str, at: Where) -> None:
    """Raise ScoringError if a time does not ascend within its series.

    Parameters
    ----------
    times
        Time of each row (N,).
    previous
        Time of the row above each (N,).
    new
        Where a series begins, so that nothing is compared (N,).
    name
        Name of the column.
    at
        Says where a row is.
    """
    bad = np.flatnonzero(~new & (times <= previous))
    if bad.size:
        row = int(bad[0])
        found = "the same time twice" if times[row] == previous[row] else "a time before the one above it"
        raise ScoringError(f"{at(row)}: expected ascending times in column {name!r} within a series, found {found}")


def to_numpy(array: Any) -> NDArray[Any]:
    """Return an Arrow array without nulls as NumPy array, without a copy where that is possible."""
    return array.to_numpy(zero_copy_only=False)


def _ticks(array: Any) -> Any:
    pa = require("pyarrow", "data")
    return array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64())


def _first(flags: NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(flags)[0])
