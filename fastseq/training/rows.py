"""Data for training and prediction: rows of unequal length, whichever way they come, taken batch by batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.tensor import Tensor

Array = NDArray[Any]


class Rows:
    """Sequences (T_i, F), of one array or a list, with their lengths.

    Parameters
    ----------
    argument
        The name to use in messages.
    x
        (B, T, F) or a list (or array of objects) of (T_i, F).
    lengths
        Valid steps per row of an array, integers (B,); None means all. None for a list.
    dtype
        What the model computes in.
    """

    def __init__(self, argument: str, x: Any, lengths: Any, dtype: np.dtype) -> None:
        self.dtype = dtype
        x = _opened(argument, x)
        self.given_as_list = _is_list(x)
        self._array: Array | None = None
        self._list: list[Array] = []
        if self.given_as_list:
            if lengths is not None:
                raise checks.value_error(
                    "lengths", f"None where {argument} is a list, whose rows have their own", lengths
                )
            self._list = _sequences(argument, x, dtype)
            self.lengths = np.array([len(row) for row in self._list], np.int64)
            self.features = self._list[0].shape[1]
            self.steps = int(self.lengths.max())
        else:
            found = x._data if isinstance(x, Tensor) else np.asarray(x)
            if found.dtype.kind not in "fiub":
                raise checks.kind_error(argument, "numbers of shape (B, T, F)", found)
            if found.ndim != 3:
                hint = f"; a single feature is {argument}[:, :, None]" if found.ndim == 2 else ""
                raise ValueError(
                    f"{argument}: expected shape (B, T, F), or a list of (T_i, F), got shape {found.shape}{hint}"
                )
            if found.shape[0] == 0:
                raise checks.value_error(argument, "at least one row", found)
            self._array = np.ascontiguousarray(found, dtype)
            self.lengths = checks.lengths("lengths", lengths, found.shape[0], found.shape[1])
            self.steps, self.features = found.shape[1:]
        self.ragged = bool((self.lengths != self.steps).any())
        self._check_finite(argument)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lengths)

    def take(self, rows: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
        """Return some rows side by side, padded with zeros to the longest of them.

        Parameters
        ----------
        rows
            Row numbers.

        Returns
        -------
        data : ndarray
            (b, t, F); at least one step, even if all rows are empty.
        lengths : ndarray
            (b,).
        """
        lengths = self.lengths[rows]
        if self._array is not None and not self.ragged:
            return self._array[rows], lengths
        steps = max(1, int(lengths.max()))
        data = np.zeros((len(rows), steps, self.features), self.dtype)
        for target, row, length in zip(data, rows, lengths, strict=True):
            source = self._list[row] if self._array is None else self._array[row]
            target[:length] = source[:length]
        return data, lengths

    def _check_finite(self, argument: str) -> None:
        if self._array is not None and np.isfinite(self._array).all():
            return
        for number, length in enumerate(self.lengths):
            row = (self._list[number] if self._array is None else self._array[number])[:length]
            finite = np.isfinite(row)
            if not finite.all():
                step, feature = np.argwhere(~finite)[0]
                where = f"{row[step, feature]} in row {number}, step {step}, feature {feature}"
                raise checks.value_error(argument, "finite numbers", where)


class Targets:
    """What the model should say: one array per row, or one per step of each row.

    Parameters
    ----------
    argument
        The name to use in messages.
    y
        (B, ...), or a list of arrays (T_i, ...).
    rows
        The sequences they belong to.
    dtype
        Floats are converted to it, integers to int64.
    keep_integers
        Whether integers stay integers (classes) or become floats.
    """

    def __init__(self, argument: str, y: Any, rows: Rows, dtype: np.dtype, keep_integers: bool) -> None:
        self.argument = argument
        self._lengths = rows.lengths
        self._array: Array | None = None
        self._list: list[Array] = []
        y = _opened(argument, y)
        is_list = _is_list(y)
        if is_list and not isinstance(y, Iterable):
            raise checks.kind_error(argument, "an array or list of targets, one per row of x", y)
        parts = [_numbers(f"{argument}[{i}]", part) for i, part in enumerate(y)] if is_list else []
        shapes = {part.shape for part in parts}
        if len(shapes) > 1:
            self.per_step: bool | None = True
            _check_count(argument, len(parts), len(rows))
            for i, (part, length) in enumerate(zip(parts, rows.lengths, strict=True)):
                if part.ndim == 0 or len(part) != length or part.shape[1:] != parts[0].shape[1:]:
                    expected = ", ".join(map(str, (length, *parts[0].shape[1:])))
                    raise checks.value_error(f"{argument}[{i}]", f"shape ({expected}), one per step", part)
            kind = np.result_type(*{part.dtype for part in parts})
            wanted = _target_dtype(kind, dtype, keep_integers)
            self._list = [part.astype(wanted, copy=False) for part in parts]
        else:
            found = np.stack(parts) if parts else _numbers(argument, y)
            _check_count(argument, len(found) if found.ndim else 0, len(rows))
            self._array = found.astype(_target_dtype(found.dtype, dtype, keep_integers), copy=False)
            # With the shape alone, (B, T) may be one value per step or T values per row: the model's output tells.
            possible = rows.ragged and not rows.given_as_list and found.ndim >= 2 and found.shape[1] == rows.steps
            self.per_step = None if possible else False
        self._check_finite()

    def settle(self, per_step: bool) -> None:
        """Say whether an array (B, T, ...) holds one value per step, where its shape alone did not tell.

        Parameters
        ----------
        per_step
            True for one per step.
        """
        self.per_step = per_step
        self._check_finite()

    def one_per_step(self, rows: Rows) -> bool:
        """Say whether there is a target for every step of every row.

        Parameters
        ----------
        rows
            The sequences they belong to.
        """
        if self.per_step or rows.ragged or self._array is None:
            return bool(self.per_step)
        return self._array.ndim > 1 and self._array.shape[1] == rows.steps

    def take(self, rows: NDArray[np.int64], steps: int) -> Array:
        """Return the targets of some rows, padded with zeros where there is one per step.

        Parameters
        ----------
        rows
            Row numbers.
        steps
            t, the steps of the batch.

        Returns
        -------
        ndarray
            (b, ...) or (b, t, ...).
        """
        if self._array is not None and not self.per_step:
            return self._array[rows]
        first = self._list[0] if self._array is None else self._array[0]
        data = np.zeros((len(rows), steps, *first.shape[1:]), first.dtype)
        for target, row in zip(data, rows, strict=True):
            source = self._list[row] if self._array is None else self._array[row]
            length = self._lengths[row]
            target[:length] = source[:length]
        return data

    def _check_finite(self) -> None:
        if self._array is not None:
            if self._array.dtype.kind != "f" or np.isfinite(self._array).all():
                return
            # Where there may be one per step, what stands past a row's end does not matter.
            bounds = self._lengths if self.per_step is not False else [None] * len(self._array)
            parts: Iterable[Array] = (
                row[:stop] if row.ndim else row for row, stop in zip(self._array, bounds, strict=True)
            )
        else:
            parts = self._list
        for number, part in enumerate(parts):
            finite = np.isfinite(part)
            if not finite.all():
                place = tuple(int(i) for i in np.argwhere(~finite)[0])
                where = f"{part[place]} in row {number}" + (f" at {place}" if place else "")
                raise checks.value_error(self.argument, "finite numbers", where)


def _opened(argument: str, value: Any) -> Any:
    """Return what was given; an array of objects as the list that it is."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise checks.value_error(argument, "an array without masked entries (lengths say where rows end)", value)
    if isinstance(value, Tensor) or not hasattr(value, "__array__"):
        return value
    found = np.asarray(value)
    holds_arrays = found.dtype.kind == "O" and found.ndim == 1 and any(np.ndim(part) for part in found)
    return list(found) if holds_arrays else value


def _is_list(value: Any) -> bool:
    return not isinstance(value, (np.ndarray, Tensor)) and not hasattr(value, "__array__")


def _sequences(argument: str, x: Any, dtype: np.dtype) -> list[Array]:
    try:
        given = list(x)
    except TypeError:
        raise checks.kind_error(argument, "an array (B, T, F) or a list of (T_i, F)", x) from None
    if not given:
        raise checks.value_error(argument, "at least one row", "none")
    rows: list[Array] = []
    found = [_numbers(f"{argument}[{i}]", part) for i, part in enumerate(given)]
    features = next((row.shape[1] for row in found if row.ndim == 2), None)
    for i, row in enumerate(found):
        if row.shape == (0,) and features is not None:  # an empty list
            row = row.reshape(0, features)
        if row.ndim != 2 or (rows and row.shape[1] != rows[0].shape[1]):
            raise checks.value_error(f"{argument}[{i}]", f"shape (T, {rows[0].shape[1] if rows else 'F'})", row)
        rows.append(np.ascontiguousarray(row, dtype))
    return rows


def _numbers(argument: str, value: Any) -> Array:
    found = value._data if isinstance(value, Tensor) else np.asarray(value)
    if found.dtype.kind not in "fiub":
        raise checks.kind_error(argument, "numbers", found)
    return found


def _target_dtype(found: np.dtype, dtype: np.dtype, keep_integers: bool) -> np.dtype:
    return np.dtype(np.int64) if keep_integers and found.kind in "iub" else dtype


def _check_count(argument: str, found: int, rows: int) -> None:
    if found != rows:
        raise checks.value_error(argument, f"{rows} rows, as many as x", f"{found}")
