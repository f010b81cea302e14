"""Series in long format, one row per observation: cut where the id changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.checks import require
from fastseq.scoring.columns import Columns
from fastseq.scoring.conversion import (
    Where,
    comparable,
    id_keys,
    refuse_disorder,
    shifted,
    take_ids,
    take_numbers,
    take_times,
    to_numpy,
)
from fastseq.scoring.errors import ScoringError
from fastseq.scoring.seen import SeenIds
from fastseq.scoring.series import SeriesBlock


def long_blocks(batches: Iterable[Any], columns: Columns, dtype: np.dtype, where: Where) -> Iterator[SeriesBlock]:
    """Yield the series that end in each record batch; the one still open is held back.

    Parameters
    ----------
    batches
        Arrow record batches that hold ``columns.names``.
    columns
        Which columns to read.
    dtype
        Dtype of the values to yield.
    where
        Says where a row is.

    Raises
    ------
    ScoringError
        For a bad cell, times that do not ascend, or an id that comes back after its rows had ended.
    """
    cutter = _Cutter(columns, dtype, where)
    for batch in batches:
        if batch.num_rows:
            block = cutter.feed(batch)
            if block is not None:
                yield block
    block = cutter.finish()
    if block is not None:
        yield block


class _Cutter:
    """Cuts a stream of rows into series.

    Open is the series that the last row belongs to: `_pieces` of values, its `_id` as an Arrow array of one, and
    `_first_row`.
    """

    def __init__(self, columns: Columns, dtype: np.dtype, where: Where) -> None:
        self._columns, self._dtype, self._where = columns, dtype, where
        self._seen = SeenIds()
        self._row = 0
        self._pieces: list[NDArray[Any]] = []
        self._id: Any = None
        self._first_row = 0
        self._last_time: NDArray[Any] | None = None

    def feed(self, batch: Any) -> SeriesBlock | None:
        """Take a record batch and return the series that ended in it."""
        at = shifted(self._where, self._row)
        ids = take_ids(batch.column(self._columns.id), self._columns.id, at)
        values = np.empty((len(ids), len(self._columns.features)), self._dtype)
        for f, name in enumerate(self._columns.features):
            values[:, f] = take_numbers(batch.column(name), name, self._dtype, at)
        new = self._begins(ids)
        self._check_times(batch, new, at)
        starts = np.flatnonzero(new)
        self._check_ids(ids, starts, at)
        block = None
        if len(starts):
            block = self._cut(ids, values, starts)
        else:
            self._pieces.append(values)
        self._row += len(ids)
        return block

    def finish(self) -> SeriesBlock | None:
        """Return the series that was still open."""
        if not self._pieces:
            return None
        values = np.concatenate(self._pieces)
        return SeriesBlock(values, np.array([len(values)]), self._id, np.array([self._first_row]))

    def _begins(self, ids: Any) -> NDArray[np.bool_]:
        """Say which rows begin a series (N,)."""
        new, ids = np.empty(len(ids), bool), comparable(ids)
        new[0] = self._id is None or not comparable(self._id).equals(ids.slice(0, 1))
        if len(ids) > 1:
            new[1:] = to_numpy(require("pyarrow.compute", "data").not_equal(ids[1:], ids[:-1]))
        return new

    def _check_times(self, batch: Any, new: NDArray[np.bool_], at: Where) -> None:
        name = self._columns.time
        if name is None:
            return
        times = take_times(batch.column(name), name, at)
        before = times[:1] if self._last_time is None else self._last_time
        refuse_disorder(times, np.concatenate([before, times[:-1]]), new, name, at)
        self._last_time = times[-1:].copy()

    def _check_ids(self, ids: Any, starts: NDArray[np.int64], at: Where) -> None:
        pa = require("pyarrow", "data")
        again = self._seen.add(id_keys(ids.take(pa.array(starts))))
        if again >= 0:
            row = int(starts[again])
            raise ScoringError(
                f"{at(row)}: expected the rows of a series together, found {self._columns.id} {ids[row].as_py()!r} "
                "again after its rows had ended"
            )

    def _cut(self, ids: Any, values: NDArray[Any], starts: NDArray[np.int64]) -> SeriesBlock | None:
        """Return the open series and all that follow but the last, which is open from now on."""
        pa = require("pyarrow", "data")
        last = int(starts[-1])
        block = None
        if self._pieces or len(starts) > 1:
            lengths, first_rows, names = np.diff(starts), starts[:-1] + self._row, [ids.take(pa.array(starts[:-1]))]
            if self._pieces:
                opened = sum(map(len, self._pieces)) + int(starts[0])
                lengths, first_rows = np.append(opened, lengths), np.append(self._first_row, first_rows)
                names.insert(0, self._id)
            block = SeriesBlock(
                np.concatenate([*self._pieces, values[:last]]), lengths, pa.concat_arrays(names), first_rows
            )
        self._pieces, self._id, self._first_row = [values[last:].copy()], ids.slice(last, 1), self._row + last
        return block
