"""Measures of fit by name, as functions of (y_true, y_pred).

All take ``lengths``, valid steps per row for arrays (B, T, ...): what stands past them counts for nothing. ``fit`` cuts
its rows itself. F1, the confusion matrix and R2 are computed by scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from fastseq import checks
from fastseq.training.metrics_classes import accuracy, confusion_matrix, f1, perplexity, top_k_accuracy
from fastseq.training.metrics_errors import Array, mae, mse, r2, rmse

__all__ = [
    "METRICS", "Metric", "accuracy", "confusion_matrix", "f1", "mae", "mse", "perplexity", "r2", "resolve", "rmse",
    "top_k_accuracy",
]  # fmt: skip

Metric = Callable[[Array, Array], float]

METRICS: dict[str, Metric] = {
    "mae": mae,
    "mse": mse,
    "rmse": rmse,
    "r2": r2,
    "accuracy": accuracy,
    "top_5_accuracy": top_k_accuracy,
    "f1_macro": partial(f1, average="macro"),
    "f1_micro": partial(f1, average="micro"),
    "f1_weighted": partial(f1, average="weighted"),
    "perplexity": perplexity,
}

BY_SKLEARN = {"r2", "f1_macro", "f1_micro", "f1_weighted"}


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
                if name in BY_SKLEARN:
                    checks.require("sklearn.metrics", "demo")  # say so before an epoch is spent
            elif callable(one):
                found[getattr(one, "__name__", type(one).__name__)] = one
            else:
                raise checks.kind_error("metrics", f"one of {', '.join(METRICS)} or a function (y_true, y_pred)", one)
    for name in found:
        if name in ("loss", "lr", "seconds") or name.startswith("val_") or not callable(found[name]):
            raise checks.value_error("metrics", "functions under names that are not in use", name)
    return found
