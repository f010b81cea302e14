"""Arrow record batches in, Arrow record batches out: the part of scoring that knows no files and no engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.checks import require
from fastseq.scoring.columns import Columns, choose_columns
from fastseq.scoring.conversion import Where
from fastseq.scoring.errors import ScoringError
from fastseq.scoring.list_format import list_blocks
from fastseq.scoring.long_format import long_blocks
from fastseq.scoring.network import Network
from fastseq.scoring.series import SeriesBlock

_WINDOW_STEPS = 1 << 18  # steps to gather before series are sorted by length and scored
_BATCH_STEPS = 1 << 16  # padded steps of one batch; a longer series goes alone
_BATCH_ROWS = 1 << 16  # rows of one record batch, longer ones are cut


def score_batches(
    model: Callable[..., Any],
    batches: Iterable[Any],
    *,
    id: str = "unique_id",
    time: str | None = "ds",
    features: Sequence[str] | None = None,
    batch_size: int = 256,
) -> Iterator[Any]:
    """Score the series in a stream of Arrow record batches and yield record batches of predictions.

    Takes series in long format (one row per observation, the rows of a series together and ascending in time) or
    with list columns (one row per series; each feature a list column, or one list-of-lists column). This is what
    Dask's ``map_partitions``, Spark's ``mapInArrow`` or Ray's ``map_batches`` call on partitions that hold whole
    series.

    Parameters
    ----------
    model
        Called as ``model(x, lengths=lengths)`` with x (B, T, F) and integer lengths (B,), gives a Tensor (B, C), or
        (B, T, C), of which each row's last valid step is taken; (B,) is taken for C = 1, and of a tuple the first. A
        Module is put into evaluation mode meanwhile; one that takes no lengths gets series of one length at a time.
    batches
        Record batches of one schema; or a table that hands them out by the Arrow protocol: of pyarrow, a data frame
        of pandas, polars or narwhals, a relation of DuckDB.
    id
        Name of the column that tells series apart.
    time
        Name of the column that must ascend within a series; None checks nothing.
    features
        Names of the feature columns in the order of the model's inputs; None takes all other numeric columns.
    batch_size
        Largest number of series per call of the model. It changes no bit of the predictions.

    Yields
    ------
    pyarrow.RecordBatch
        One row per series in input order: the id, then ``prediction`` (C = 1) or ``prediction_0`` to
        ``prediction_{C-1}``.

    Raises
    ------
    ScoringError
        If a column is missing or not numeric, a cell is empty, NaN or infinite, times do not ascend, an id comes
        back after its rows ended, or the number of features is not the model's.

    Notes
    -----
    Memory is constant but for the longest series and eight bytes per id.
    """
    checks.integer("batch_size", batch_size, 1)
    network = Network(model)
    stream = _record_batches(batches)
    first = next(stream, None)
    if first is None:
        return
    columns = choose_columns(
        first.schema, id=id, time=time, features=features, input_size=network.input_size, source="batches"
    )
    rows = (piece for batch in chain((first,), stream) for piece in _cut(batch))
    for batch, _ in predict_batches(network, rows, columns, batch_size, lambda row: f"row {row + 1}"):
        yield batch


def predict_batches(
    network: Network, batches: Iterable[Any], columns: Columns, batch_size: int, where: Where
) -> Iterator[tuple[Any, int]]:
    """Score a stream of record batches whose columns are known.

    Parameters
    ----------
    network
        The model.
    batches
        Record batches that hold ``columns.names``.
    columns
        Which columns to read and the layout.
    batch_size
        Largest number of series per call of the model.
    where
        Says where a row is, for messages.

    Yields
    ------
    tuple
        A record batch of predictions, and how many observations it stands for.
    """
    window: list[SeriesBlock] = []
    steps = series = 0
    blocks = (
        list_blocks(batches, columns, network.dtype, network.input_size, where)
        if columns.lists
        else long_blocks(batches, columns, network.dtype, where)
    )
    for block in blocks:
        window.append(block)
        steps, series = steps + len(block.values), series + len(block.lengths)
        if steps >= _WINDOW_STEPS or series >= 16 * batch_size:
            yield _predict_window(network, window, columns, batch_size, where), steps
            window, steps, series = [], 0, 0
    if window:
        yield _predict_window(network, window, columns, batch_size, where), steps


def _predict_window(
    network: Network, window: list[SeriesBlock], columns: Columns, batch_size: int, where: Where
) -> Any:
    """Score some series in batches of similar length and give the predictions in input order."""
    pa = require("pyarrow", "data")
    values = np.concatenate([block.values for block in window])
    lengths = np.concatenate([block.lengths for block in window])
    first_rows = np.concatenate([block.first_rows for block in window])
    ids = pa.concat_arrays([block.ids for block in window])
    starts = np.cumsum(lengths) - lengths
    predictions: NDArray[Any] | None = None
    for rows in _buckets(lengths, batch_size, network.takes_lengths):
        steps = np.arange(int(lengths[rows[0]]))
        valid = steps < lengths[rows, None]
        inputs = np.zeros((len(rows), len(steps), values.shape[1]), values.dtype)
        inputs[valid] = values[(starts[rows, None] + steps)[valid]]
        try:
            found = network.predict(inputs, lengths[rows])
        except ScoringError:
            raise
        except ValueError as error:
            raise ScoringError(f"{where(int(first_rows[rows[0]]))}: the model refused the series: {error}") from error
        if predictions is None:
            predictions = np.empty((len(lengths), found.shape[1]), found.dtype)
        if found.shape[1] != predictions.shape[1]:
            raise ScoringError(
                f"model: expected as many predictions for every series, found {predictions.shape[1]} and "
                f"{found.shape[1]} for series of {len(steps)} steps"
            )
        predictions[rows] = found
    assert predictions is not None
    width = predictions.shape[1]
    names = ["prediction"] if width == 1 else [f"prediction_{c}" for c in range(width)]
    if columns.id in names:
        raise ScoringError(f"id: expected a column that is not named like a prediction, found {columns.id!r}")
    return pa.record_batch(
        [ids, *(pa.array(np.ascontiguousarray(predictions[:, c])) for c in range(width))], [columns.id, *names]
    )


def _buckets(lengths: NDArray[np.int64], batch_size: int, mixed: bool) -> Iterator[NDArray[np.int64]]:
    """Yield series numbers in batches, longest first, bounded in series and padded steps; not mixed, of one length."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        count = max(1, min(batch_size, _BATCH_STEPS // max(1, longest)))
        rows = order[start : start + count]
        rows = rows if mixed else rows[lengths[rows] == longest]
        yield rows
        start += len(rows)


def _record_batches(batches: Any) -> Iterator[Any]:
    """Return the record batches of whatever was given."""
    if hasattr(batches, "__arrow_c_stream__"):
        return iter(require("pyarrow", "data").RecordBatchReader.from_stream(batches))
    if hasattr(batches, "__arrow_c_array__"):
        return iter([require("pyarrow", "data").record_batch(batches)])
    if isinstance(batches, str) or not isinstance(batches, Iterable):
        raise checks.kind_error("batches", "record batches, a table or a data frame", batches)
    return iter(batches)


def _cut(batch: Any) -> Iterator[Any]:
    for start in range(0, batch.num_rows, _BATCH_ROWS):
        yield batch.slice(start, _BATCH_ROWS)
