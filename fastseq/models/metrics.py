"""Keras's metrics by name: functions of (y_true, y_pred) over all samples of a pass, computed by ``training``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.training import metrics

Array = NDArray[Any]
Function = Callable[[Array, Array], float]


def _fitted(y_true: Array, y_pred: Array) -> Array:
    """Return the truth in the prediction's shape where they differ by an axis of length 1."""
    same = y_true.shape == (*y_pred.shape, 1) or (*y_true.shape, 1) == y_pred.shape
    return y_true.reshape(y_pred.shape) if same else y_true


def _of_errors(function: Any) -> Function:
    return lambda y_true, y_pred: function(_fitted(y_true, y_pred).astype(y_pred.dtype), y_pred)


def binary_accuracy(y_true: Array, y_pred: Array, threshold: float = 0.5) -> float:
    """Return the share of probabilities on the right side of a threshold.

    Parameters
    ----------
    y_true, y_pred
        Zeros and ones, and probabilities.
    threshold
        Where yes begins.
    """
    return metrics.accuracy(_fitted(y_true, y_pred).astype(np.int64).reshape(-1), y_pred.reshape(-1) - threshold)


def categorical_accuracy(y_true: Array, y_pred: Array) -> float:
    """Return how often the largest probability is that of the right class, truth one-hot.

    Parameters
    ----------
    y_true, y_pred
        (N, ..., C)
    """
    return metrics.accuracy(y_true.argmax(axis=-1), y_pred)


def sparse_categorical_accuracy(y_true: Array, y_pred: Array) -> float:
    """Return how often the largest probability is that of the right class, truth as numbers of classes.

    Parameters
    ----------
    y_true, y_pred
        (N, ...) or (N, ..., 1), and (N, ..., C).
    """
    return metrics.accuracy(y_true.reshape(y_pred.shape[:-1]).astype(np.int64), y_pred)


def accuracy(y_true: Array, y_pred: Array) -> float:
    """Return the accuracy that fits the shapes: binary, of numbers of classes, or one-hot.

    Parameters
    ----------
    y_true, y_pred
        Truth and probabilities.
    """
    if y_pred.shape[-1] == 1:
        return binary_accuracy(y_true, y_pred)
    if y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1:
        return sparse_categorical_accuracy(y_true, y_pred)
    return categorical_accuracy(y_true, y_pred)


_NAMES: dict[str, Function] = {
    "accuracy": accuracy,
    "acc": accuracy,
    "binary_accuracy": binary_accuracy,
    "categorical_accuracy": categorical_accuracy,
    "sparse_categorical_accuracy": sparse_categorical_accuracy,
    "mse": _of_errors(metrics.mse),
    "mean_squared_error": _of_errors(metrics.mse),
    "mae": _of_errors(metrics.mae),
    "mean_absolute_error": _of_errors(metrics.mae),
    "rmse": _of_errors(metrics.rmse),
    "root_mean_squared_error": _of_errors(metrics.rmse),
    "r2_score": _of_errors(metrics.r2),
}


class Metric:
    """A metric as an object, for ``compile``: a name of one's own for the same numbers.

    Parameters
    ----------
    name
        What logs call it; by default Keras's name.
    """

    #: Keras's name, which is one of those that ``compile`` takes.
    known_as = ""

    def __init__(self, name: str | None = None) -> None:
        self.name = self.known_as if name is None else name

    def __call__(self, y_true: Array, y_pred: Array) -> float:
        """Return the number over all samples."""
        return _NAMES[self.known_as](y_true, y_pred)


class MeanSquaredError(Metric):
    """The mean square of the errors."""

    known_as = "mean_squared_error"


class RootMeanSquaredError(Metric):
    """The root of the mean square of the errors."""

    known_as = "root_mean_squared_error"


class MeanAbsoluteError(Metric):
    """The mean of the errors' sizes."""

    known_as = "mean_absolute_error"


class R2Score(Metric):
    """The share of the variance that is explained."""

    known_as = "r2_score"


class CategoricalAccuracy(Metric):
    """How often the right class has the largest probability, truth one-hot."""

    known_as = "categorical_accuracy"


class SparseCategoricalAccuracy(Metric):
    """How often the right class has the largest probability, truth as numbers of classes."""

    known_as = "sparse_categorical_accuracy"


class BinaryAccuracy(Metric):
    """The share of probabilities on the right side of a threshold.

    Parameters
    ----------
    name
        What logs call it.
    threshold
        Where yes begins.
    """

    known_as = "binary_accuracy"

    def __init__(self, name: str | None = None, *, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = checks.real("threshold", threshold, 0.0, 1.0)

    def __call__(self, y_true: Array, y_pred: Array) -> float:
        """Return the number over all samples."""
        return binary_accuracy(y_true, y_pred, self.threshold)


def get(metric: Any) -> tuple[str, Function]:
    """Return a metric's name and function.

    Parameters
    ----------
    metric
        A name, a `Metric`, or a function of (y_true, y_pred), arrays over all samples, whose mean counts.
    """
    if isinstance(metric, str):
        return metric, _NAMES[checks.choice("metrics", metric, _NAMES)]
    if isinstance(metric, type) and issubclass(metric, Metric):
        metric = metric()
    if isinstance(metric, Metric):
        return metric.name, metric
    if not callable(metric):
        raise checks.kind_error("metrics", f"one of {', '.join(_NAMES)}, or a function of (y_true, y_pred)", metric)
    return getattr(metric, "__name__", type(metric).__name__), lambda t, p: float(np.mean(np.asarray(metric(t, p))))
