"""Apply a model to many rows, batch by batch, results in the order of the input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.batch import bucket
from fastseq.nn import Module
from fastseq.training.objective import check_model, evaluating, gives_one_per_step, model_dtype, run
from fastseq.training.rows import Rows

Array = NDArray[Any]


def predict(model: Module, x: Any, *, lengths: Any = None, batch_size: int = 256) -> Array | list[Array]:
    """Return a model's output for many rows, in evaluation mode and without recording.

    Parameters
    ----------
    model
        The model; its modules keep their modes.
    x
        (B, T, F), or a list of sequences (T_i, F).
    lengths
        Valid steps per row of an array, integers (B,); None means all.
    batch_size
        Rows at a time; changes no bit of the result.

    Returns
    -------
    ndarray or list of ndarray
        (B, ...) in the order of ``x``. With one output per step and a list of unequal lengths: a list of (T_i, ...);
        with an array: (B, T, ...), zeros past each row's length.

    Raises
    ------
    TypeError, ValueError
        If the data are not finite numbers of the right shape.
    """
    rows = Rows("x", x, lengths, model_dtype(model))
    check_model(model, rows)
    checks.integer("batch_size", batch_size, minimum=1)
    per_step = rows.ragged and gives_one_per_step(model, rows)
    whole: Array | None = None
    parts: list[Array] = [np.empty(0)] * len(rows)
    for numbers, lengths_taken, output in outputs(model, rows, batch_size):
        if per_step and rows.given_as_list:
            for number, row, length in zip(numbers, output, lengths_taken, strict=True):
                parts[number] = row[:length].copy()
            continue
        if whole is None:
            shape = (rows.steps, *output.shape[2:]) if per_step else output.shape[1:]
            whole = np.zeros((len(rows), *shape), output.dtype)
        if per_step:
            steps = min(output.shape[1], rows.steps)
            valid = np.arange(steps) < lengths_taken[:, None]
            output = np.where(valid.reshape(valid.shape + (1,) * (output.ndim - 2)), output[:, :steps], 0)
            whole[numbers, :steps] = output
        else:
            whole[numbers] = output
    return parts if whole is None else whole


def outputs(model: Module, rows: Rows, batch_size: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Array]]:
    """Yield (row numbers, lengths, output) for all rows, longest first.

    Parameters
    ----------
    model
        The model.
    rows
        The data.
    batch_size
        Rows at a time.
    """
    with evaluating(model):
        for numbers in bucket(rows.lengths, batch_size):
            data, lengths = rows.take(numbers)
            yield numbers, lengths, run(model, data, lengths if rows.ragged else None)._data
