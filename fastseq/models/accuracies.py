"""Keras's accuracies: functions of (y_true, y_pred) over all samples of a pass, computed by ``training``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.training import metrics

Array = NDArray[Any]


def fitted(y_true: Array, y_pred: Array) -> Array:
    """Return the truth in the prediction's shape where they differ by an axis of length 1.

    Parameters
    ----------
    y_true, y_pred
        Truth and prediction.
    """
    same = y_true.shape == (*y_pred.shape, 1) or (*y_true.shape, 1) == y_pred.shape
    return y_true.reshape(y_pred.shape) if same else y_true


def binary_accuracy(y_true: Array, y_pred: Array, threshold: float = 0.5) -> float:
    """Return the share of probabilities on the right side of a threshold.

    Parameters
    ----------
    y_true, y_pred
        Zeros and ones, and probabilities.
    threshold
        Where yes begins.
    """
    return metrics.accuracy(fitted(y_true, y_pred).astype(np.int64).reshape(-1), y_pred.reshape(-1) - threshold)


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
