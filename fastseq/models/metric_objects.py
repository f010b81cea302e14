"""Keras's metrics as objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.models import losses
from fastseq.models.accuracies import binary_accuracy, fitted
from fastseq.models.metrics import Metric, _binary_values, mean
from fastseq.training import metrics

Array = NDArray[Any]


class MeanSquaredError(Metric):
    """The mean square of the errors."""

    known_as = "mean_squared_error"


class RootMeanSquaredError(Metric):
    """The root of the mean square of the errors."""

    known_as = "root_mean_squared_error"

    def measure(self, y_true: Array, y_pred: Array, weights: Any = None) -> float:
        """Return the number over all samples, see `Metric.measure`."""
        if weights is None:
            return super().measure(y_true, y_pred)
        return float(np.sqrt(MeanSquaredError().measure(y_true, y_pred, weights)))


class MeanAbsoluteError(Metric):
    """The mean of the errors' sizes."""

    known_as = "mean_absolute_error"


class MeanAbsolutePercentageError(Metric):
    """The mean of the errors' sizes, in percent of the truth."""

    known_as = "mean_absolute_percentage_error"


class MeanSquaredLogarithmicError(Metric):
    """The mean square of the difference of log(1 + y)."""

    known_as = "mean_squared_logarithmic_error"


class LogCoshError(Metric):
    """The mean of log(cosh(error))."""

    known_as = "logcosh"


class CosineSimilarity(Metric):
    """The mean cosine between truth and prediction."""

    known_as = "cosine_similarity"


class KLDivergence(Metric):
    """The mean Kullback-Leibler divergence."""

    known_as = "kl_divergence"


class Poisson(Metric):
    """The mean of p - y log(p)."""

    known_as = "poisson"


class R2Score(Metric):
    """The share of the variance that is explained."""

    known_as = "r2_score"


class Accuracy(Metric):
    """How often predictions equal the truth."""

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return ones and zeros, see `Metric.values`."""
        right = (fitted(y_true, y_pred) == y_pred).astype(np.float64)
        return right.mean(axis=-1) if right.ndim > 1 else right


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
    name, dtype
        As in `Metric`.
    threshold
        Where yes begins.
    """

    known_as = "binary_accuracy"
    arguments = ("threshold",)

    def __init__(self, name: str | None = None, dtype: Any = None, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = checks.real("threshold", threshold, 0.0, 1.0)

    def measure(self, y_true: Array, y_pred: Array, weights: Any = None) -> float:
        """Return the number over all samples, see `Metric.measure`."""
        if weights is None:
            return binary_accuracy(y_true, y_pred, self.threshold)
        return mean(_binary_values(y_true, y_pred, self.threshold), weights)


class _Crossentropy(Metric):
    """The mean of a loss over classes with its options."""

    loss: type[losses.Loss]

    def __init__(self, name: str | None = None, dtype: Any = None, **options: Any) -> None:
        super().__init__(name)
        self._loss = self.loss(reduction=None, **options)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        own = {name: getattr(self._loss, name) for name in self._loss.arguments}
        return {"name": self.name, **own}

    def measure(self, y_true: Array, y_pred: Array, weights: Any = None) -> float:
        """Return the number over all samples, see `Metric.measure`."""
        return mean(self._loss.values(y_true, y_pred), weights)


class BinaryCrossentropy(_Crossentropy):
    """The mean cross-entropy of yes and no; ``from_logits`` and ``label_smoothing`` as in the loss."""

    known_as = "binary_crossentropy"
    loss = losses.BinaryCrossentropy


class CategoricalCrossentropy(_Crossentropy):
    """The mean cross-entropy of classes, truth one-hot; ``from_logits`` and ``label_smoothing`` as in the loss."""

    known_as = "categorical_crossentropy"
    loss = losses.CategoricalCrossentropy


class SparseCategoricalCrossentropy(_Crossentropy):
    """The mean cross-entropy of classes, truth as numbers of classes; ``from_logits`` as in the loss."""

    known_as = "sparse_categorical_crossentropy"
    loss = losses.SparseCategoricalCrossentropy


class TopKCategoricalAccuracy(Metric):
    """How often the right class is among the k with the largest probabilities, truth one-hot.

    Parameters
    ----------
    k
        How many count.
    name, dtype
        As in `Metric`.
    """

    known_as = "top_k_categorical_accuracy"
    arguments = ("k",)

    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name)
        self.k = checks.integer("k", k, 1)

    def measure(self, y_true: Array, y_pred: Array, weights: Any = None) -> float:
        """Return the number over all samples, see `Metric.measure`."""
        if weights is not None:
            return super().measure(y_true, y_pred, weights)
        return metrics.top_k_accuracy(self.classes(y_true, y_pred), y_pred, k=min(self.k, y_pred.shape[-1]))

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return ones and zeros, see `Metric.values`."""
        own = np.take_along_axis(y_pred, self.classes(y_true, y_pred)[..., None], -1)
        return ((y_pred > own).sum(axis=-1) < self.k).astype(np.float64)

    def classes(self, y_true: Array, y_pred: Array) -> Array:
        """Return the right classes' numbers.

        Parameters
        ----------
        y_true, y_pred
            Truth and prediction.
        """
        return np.asarray(y_true.argmax(axis=-1))


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """How often the right class is among the k with the largest probabilities, truth as numbers of classes.

    Parameters
    ----------
    k
        How many count.
    name, dtype
        As in `Metric`.
    """

    known_as = "sparse_top_k_categorical_accuracy"

    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(k, name)

    def classes(self, y_true: Array, y_pred: Array) -> Array:
        """Return the right classes' numbers, see `TopKCategoricalAccuracy.classes`."""
        return np.asarray(y_true.reshape(y_pred.shape[:-1]).astype(np.int64))


class _Counted(Metric):
    """A metric of how many are taken for yes, rightly and wrongly, at thresholds."""

    def counts(self, y_true: Array, y_pred: Array, weights: Any, thresholds: Array) -> tuple[Array, ...]:
        """Return true positives, false positives, false negatives and true negatives at each threshold.

        Parameters
        ----------
        y_true, y_pred
            Zeros and ones, and probabilities.
        weights
            Weights per sample, or None.
        thresholds
            Above which a probability means yes.
        """
        truth = fitted(y_true, y_pred).astype(bool)
        factors = np.ones(truth.shape) if weights is None else np.asarray(weights, np.float64)
        factors = np.broadcast_to(factors.reshape(factors.shape + (1,) * (truth.ndim - factors.ndim)), truth.shape)
        order = np.argsort(y_pred, axis=None, kind="stable")
        below = np.searchsorted(y_pred.ravel()[order], thresholds, side="right")
        totals = []
        for part in (truth, ~truth):
            sums = np.concatenate([[0.0], np.cumsum((factors * part).ravel()[order])])
            totals.append((sums[-1] - sums[below], sums[below]))
        (true_yes, false_no), (false_yes, true_no) = totals
        return true_yes, false_yes, false_no, true_no


def _share(part: Array, rest: Array) -> Array:
    whole = part + rest
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)


class Precision(_Counted):
    """Which share of those taken for yes are.

    Parameters
    ----------
    thresholds
        Above which probability yes is meant; 0.5 if None.
    name, dtype
        As in `Metric`.
    """

    known_as = "precision"
    arguments = ("thresholds",)

    def __init__(self, thresholds: float | None = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name)
        self.thresholds = None if thresholds is None else checks.real("thresholds", thresholds, 0.0, 1.0)

    def _limit(self, y_pred: Array) -> Array:
        return np.array([0.5 if self.thresholds is None else self.thresholds], y_pred.dtype)

    def measure(self, y_true: Array, y_pred: Array, weights: Any = None) -> float:
        """Return the number over all samples, see `Metric.measure`."""
        right, wrong, _, _ = self.counts(y_true, y_pred, weights, self._limit(y_pred))
        return float(_share(right, wrong)[0])


class Recall(Precision):
    """Which share of those that are yes are taken for it.

    Parameters
    ----------
    thresholds
        Above which probability yes is meant; 0.5 if None.
    name, dtype
        As in `Metric`.
    """

    known_as = "recall"

    def __init__(self, thresholds: float | None = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(thresholds, name)

    def measure(self, y_true: Array, y_pred: Array, weights: Any = None) -> float:
        """Return the number over all samples, see `Metric.measure`."""
        right, _, missed, _ = self.counts(y_true, y_pred, weights, self._limit(y_pred))
        return float(_share(right, missed)[0])


class AUC(_Counted):
    """The area under the curve of true against false positives, with straight lines between thresholds.

    Parameters
    ----------
    num_thresholds
        At how many thresholds it is counted.
    curve
        ``"ROC"``.
    name, dtype
        As in `Metric`.
    """

    known_as = "auc"
    arguments = ("num_thresholds", "curve")

    def __init__(
        self, num_thresholds: int = 200, curve: str = "ROC", name: str | None = None, dtype: Any = None
    ) -> None:  # fmt: skip
        super().__init__(name)
        self.num_thresholds = checks.integer("num_thresholds", num_thresholds, 2)
        self.curve = checks.choice("curve", curve, ("ROC",))
        inner = np.arange(1, self.num_thresholds - 1) / (self.num_thresholds - 1)
        self.thresholds = np.concatenate([[-losses.EPSILON], inner, [1 + losses.EPSILON]])

    def measure(self, y_true: Array, y_pred: Array, weights: Any = None) -> float:
        """Return the number over all samples, see `Metric.measure`."""
        true_yes, false_yes, false_no, true_no = self.counts(
            y_true, y_pred, weights, self.thresholds.astype(y_pred.dtype)
        )
        x, y = _share(false_yes, true_no), _share(true_yes, false_no)
        return float(((x[:-1] - x[1:]) * (y[:-1] + y[1:]) / 2).sum())


_KINDS: tuple[type[Metric], ...] = (
    MeanSquaredError, RootMeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError,
    LogCoshError, CosineSimilarity, KLDivergence, Poisson, R2Score, Accuracy, CategoricalAccuracy,
    SparseCategoricalAccuracy, BinaryAccuracy, BinaryCrossentropy, CategoricalCrossentropy,
    SparseCategoricalCrossentropy, TopKCategoricalAccuracy, SparseTopKCategoricalAccuracy, Precision, Recall, AUC,
)  # fmt: skip
__all__ = [kind.__name__ for kind in _KINDS]
#: Metrics by their class's name and by Keras's name.
BY_NAME = {kind.__name__: kind for kind in _KINDS} | {kind.known_as: kind for kind in _KINDS if kind.known_as}
