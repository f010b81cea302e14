"""Measures of fit by name, as functions of (y_true, y_pred)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks

Array = NDArray[Any]
Metric = Callable[[Array, Array], float]


def mae(y_true: Array, y_pred: Array) -> float:
    """Return the mean absolute error.

    Parameters
    ----------
    y_true, y_pred
        Of one shape.
    """
    return float(np.mean(np.abs(y_true - y_pred), dtype=np.float64))


def mse(y_true: Array, y_pred: Array) -> float:
    """Return the mean squared error.

    Parameters
    ----------
    y_true, y_pred
        Of one shape.
    """
    return float(np.mean(np.square(y_true - y_pred, dtype=np.float64)))


def rmse(y_true: Array, y_pred: Array) -> float:
    """Return the root of the mean squared error.

    Parameters
    ----------
    y_true, y_pred
        Of one shape.
    """
    return float(np.sqrt(mse(y_true, y_pred)))


def accuracy(y_true: Array, y_pred: Array) -> float:
    """Return the share of right classes.

    Parameters
    ----------
    y_true
        Integer classes (N, ...); or 0 and 1 in the shape of ``y_pred``.
    y_pred
        Scores (N, ..., C), of which the largest counts; or logits of two classes, of which the sign counts.
    """
    if y_pred.ndim == y_true.ndim + 1 and y_pred.shape[-1] > 1:
        chosen = y_pred.argmax(axis=-1)
    else:
        chosen = (y_pred > 0).reshape(y_true.shape)
    return float(np.mean(chosen == y_true))


METRICS: dict[str, Metric] = {"mae": mae, "mse": mse, "rmse": rmse, "accuracy": accuracy}


def resolve(metrics: str | Metric | Iterable[str | Metric] | Mapping[str, Metric]) -> dict[str, Metric]:
    """Return measures by name.

    Parameters
    ----------
    metrics
        Names, functions of (y_true, y_pred), or a mapping from names to functions.

    Returns
    -------
    dict of str to callable
        In the order given.
    """
    if isinstance(metrics, Mapping):
        found = dict(metrics)
    else:
        found = {}
        for one in [metrics] if isinstance(metrics, str) or callable(metrics) else metrics:
            if isinstance(one, str):
                name = checks.choice("metrics", one, METRICS)
                found[name] = METRICS[name]
            elif callable(one):
                found[getattr(one, "__name__", type(one).__name__)] = one
            else:
                raise checks.kind_error("metrics", f"one of {', '.join(METRICS)} or a function (y_true, y_pred)", one)
    for name in found:
        if name in ("loss", "lr", "seconds") or name.startswith("val_") or not callable(found[name]):
            raise checks.value_error("metrics", "functions under names that are not in use", name)
    return found
