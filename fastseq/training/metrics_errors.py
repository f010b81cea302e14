"""Means of errors, and what measures share: arrays cut to their valid steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.tensor import Tensor

Array = NDArray[Any]


def array_of(argument: str, value: Any) -> Array:
    """Return an argument as an ndarray of numbers.

    Parameters
    ----------
    argument
        The name to use in messages.
    value
        Array, Tensor or list.
    """
    found = value._data if isinstance(value, Tensor) else np.asarray(value)
    if found.dtype.kind not in "fiub":
        raise checks.kind_error(argument, "numbers", found)
    return found


def valid_steps(y_true: Any, y_pred: Any, lengths: Any) -> tuple[Array, Array]:
    """Return both as arrays, cut to the valid steps (N, ...) where there are lengths.

    Parameters
    ----------
    y_true, y_pred
        (B, T, ...) with lengths.
    lengths
        Valid steps per row, integers (B,); None means all.
    """
    true, predicted = array_of("y_true", y_true), array_of("y_pred", y_pred)
    if lengths is None:
        return true, predicted
    if true.ndim < 2 or predicted.shape[:2] != true.shape[:2]:
        raise checks.value_error("y_pred", f"shape (B, T, ...) like y_true, of shape {true.shape}", predicted)
    rows, steps = true.shape[:2]
    found = checks.lengths("lengths", lengths._data if isinstance(lengths, Tensor) else lengths, rows, steps)
    counts = np.arange(steps) < found[:, None]
    return true[counts], predicted[counts]


def mean_of(values: Array) -> float:
    """Return the mean in double precision; of nothing it is NaN.

    Parameters
    ----------
    values
        Any shape.
    """
    return float(np.mean(values, dtype=np.float64)) if values.size else float("nan")


def _errors(y_true: Any, y_pred: Any, lengths: Any) -> Array:
    true, predicted = valid_steps(y_true, y_pred, lengths)
    if true.shape != predicted.shape:
        raise checks.value_error("y_pred", f"shape {true.shape}, as y_true's (nothing is broadcast)", predicted)
    return true - np.asarray(predicted, np.result_type(true, predicted, np.float32))


def mae(y_true: Array, y_pred: Array, *, lengths: Any = None) -> float:
    """Return the mean absolute error.

    Parameters
    ----------
    y_true, y_pred
        Of one shape.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    float
        0 or more; NaN of nothing.
    """
    return mean_of(np.abs(_errors(y_true, y_pred, lengths)))


def mse(y_true: Array, y_pred: Array, *, lengths: Any = None) -> float:
    """Return the mean squared error.

    Parameters
    ----------
    y_true, y_pred
        Of one shape.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    float
        0 or more; NaN of nothing.
    """
    return mean_of(np.square(_errors(y_true, y_pred, lengths), dtype=np.float64))


def rmse(y_true: Array, y_pred: Array, *, lengths: Any = None) -> float:
    """Return the root of the mean squared error.

    Parameters
    ----------
    y_true, y_pred
        Of one shape.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    float
        0 or more; NaN of nothing.
    """
    return float(np.sqrt(mse(y_true, y_pred, lengths=lengths)))


def r2(y_true: Array, y_pred: Array, *, lengths: Any = None) -> float:
    """Return the share of the variance that is explained, the mean over features (scikit-learn's ``r2_score``).

    Parameters
    ----------
    y_true, y_pred
        Of one shape (N, ...).
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    float
        1 at best; 0 for the mean of y_true; NaN for fewer than two entries.
    """
    _errors(y_true, y_pred, lengths)
    true, predicted = valid_steps(y_true, y_pred, lengths)
    if len(true) < 2:
        return float("nan")
    score = checks.require("sklearn.metrics", "demo").r2_score
    return float(score(true.reshape(len(true), -1), predicted.reshape(len(true), -1)))
