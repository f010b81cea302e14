"""Measures of chosen classes and of the scores that they were chosen by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.ops_softmax import log_softmax_arrays
from fastseq.training.metrics_errors import Array, array_of, mean_of, valid_steps

AVERAGES = ("macro", "micro", "weighted")


def _classes(y_true: Any, y_pred: Any, lengths: Any) -> tuple[Array, Array]:
    """Return the right and the chosen classes, in one axis."""
    true, predicted = valid_steps(y_true, y_pred, lengths)
    if predicted.ndim == true.ndim + 1 and predicted.shape[:-1] == true.shape and predicted.shape[-1] > 1:
        chosen = predicted.argmax(axis=-1)
    elif predicted.size != true.size:
        raise checks.value_error("y_pred", f"scores {(*true.shape, 'C')}, or logits like y_true", predicted)
    else:
        chosen = (predicted > 0).reshape(true.shape)
    return true.reshape(-1), chosen.reshape(-1).astype(np.int64)


def _scores(y_true: Any, y_pred: Any, lengths: Any, ignore_index: int | None) -> tuple[Array, Array]:
    """Return the right classes (N,) and the scores (N, C)."""
    true, predicted = valid_steps(y_true, y_pred, lengths)
    if true.dtype.kind not in "iu":
        raise checks.kind_error("y_true", "integer classes", true)
    if predicted.shape[:-1] != true.shape or predicted.ndim != true.ndim + 1:
        raise checks.value_error("y_pred", f"scores of shape {(*true.shape, 'C')}", predicted)
    true, predicted = true.reshape(-1), predicted.reshape(true.size, predicted.shape[-1])
    if ignore_index is not None:
        kept = true != ignore_index
        true, predicted = true[kept], predicted[kept]
    wrong = true[(true < 0) | (true >= predicted.shape[1])]
    if wrong.size:
        raise checks.value_error("y_true", f"classes in 0..{predicted.shape[1] - 1}", int(wrong[0]))
    return true, predicted


def accuracy(y_true: Array, y_pred: Array, *, lengths: Any = None) -> float:
    """Return the share of right classes.

    Parameters
    ----------
    y_true
        Integer classes (N, ...); or 0 and 1 in the shape of ``y_pred``.
    y_pred
        Scores (N, ..., C), of which the largest counts; or logits of two classes, of which the sign counts.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    float
        In 0..1; NaN of nothing.
    """
    true, chosen = _classes(y_true, y_pred, lengths)
    return mean_of(chosen == true)


def top_k_accuracy(y_true: Array, y_pred: Array, *, k: int = 5, lengths: Any = None) -> float:
    """Return how often the right class is among the k with the largest scores.

    Parameters
    ----------
    y_true
        Integer classes (N, ...).
    y_pred
        Scores (N, ..., C). A class is among the k if fewer than k have a larger score.
    k
        How many.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    float
        In 0..1; NaN of nothing.
    """
    true, scores = _scores(y_true, y_pred, lengths, None)
    own = scores[np.arange(len(true)), true][:, None]
    place = np.count_nonzero(~(scores <= own), axis=1)  # NaN is larger than anything
    return mean_of(place < checks.integer("k", k, 1))


def f1(y_true: Array, y_pred: Array, *, average: str = "macro", lengths: Any = None) -> float:
    """Return the harmonic mean of precision and recall over the classes (scikit-learn's ``f1_score``).

    Parameters
    ----------
    y_true
        Integer classes (N, ...).
    y_pred
        Scores (N, ..., C), of which the largest counts; or logits of two classes, of which the sign counts.
    average
        ``"macro"``: the mean over the classes that occur; ``"weighted"`` by how often they occur; ``"micro"``: from all
        counts together.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    float
        A class without a right prediction counts 0.
    """
    checks.choice("average", average, AVERAGES)
    true, chosen = _classes(y_true, y_pred, lengths)
    if not true.size:
        return float("nan")
    score = checks.require("sklearn.metrics", "demo").f1_score
    return float(score(true.astype(np.int64), chosen, average=average, zero_division=0))


def confusion_matrix(
    y_true: Array, y_pred: Array, *, num_classes: int | None = None, lengths: Any = None
) -> NDArray[np.int64]:
    """Return how often each class was taken for each (scikit-learn's ``confusion_matrix``).

    Parameters
    ----------
    y_true
        Integer classes (N, ...).
    y_pred
        Scores (N, ..., C), of which the largest counts; or logits of two classes, of which the sign counts.
    num_classes
        C; None for the number of scores, or two.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    ndarray
        (C, C): right class by row, chosen class by column.
    """
    true, chosen = _classes(y_true, y_pred, lengths)
    scores = array_of("y_pred", y_pred)
    several = scores.ndim == array_of("y_true", y_true).ndim + 1 and scores.shape[-1] > 1
    count = (
        (scores.shape[-1] if several else 2) if num_classes is None else checks.integer("num_classes", num_classes, 1)
    )
    for argument, values in (("y_true", true), ("y_pred", chosen)):
        wrong = values[(values < 0) | (values >= count)]
        if wrong.size:
            raise checks.value_error(argument, f"classes in 0..{count - 1}", int(wrong[0]))
    if not true.size:
        return np.zeros((count, count), np.int64)
    matrix = checks.require("sklearn.metrics", "demo").confusion_matrix
    return np.asarray(matrix(true.astype(np.int64), chosen, labels=np.arange(count)), np.int64)


def perplexity(y_true: Array, y_pred: Array, *, ignore_index: int = -100, lengths: Any = None) -> float:
    """Return e to the mean cross entropy: among how many equally likely classes the model seems to choose.

    Parameters
    ----------
    y_true
        Integer classes (N, ...).
    y_pred
        Logits or log probabilities (N, ..., C).
    ignore_index
        Predictions with this class do not count.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    float
        1 or more; NaN of nothing.
    """
    true, scores = _scores(y_true, y_pred, lengths, checks.integer("ignore_index", ignore_index))
    logarithms = log_softmax_arrays(scores.astype(np.float64), 1)
    with np.errstate(over="ignore"):
        return float(np.exp(-mean_of(logarithms[np.arange(len(true)), true])))
