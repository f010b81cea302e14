"""Keras's metrics: by name, as objects, and as functions of (y_true, y_pred) over all samples of a pass.

Most are means of one value per sample: those of a loss, or ones and zeros for right and wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.conversion import as_array
from fastseq.models import losses
from fastseq.models.accuracies import (
    accuracy,
    binary_accuracy,
    categorical_accuracy,
    fitted,
    sparse_categorical_accuracy,
)
from fastseq.models.loss import spread
from fastseq.training import metrics

Array = NDArray[Any]
#: Of (y_true, y_pred) and, where samples have weights, those.
Function = Callable[..., float]


def _of_errors(function: Any) -> Function:
    return lambda y_true, y_pred: function(fitted(y_true, y_pred).astype(y_pred.dtype), y_pred)


def mean(values: Array, weights: Any = None) -> float:
    """Return the mean of values per sample, or per step.

    Parameters
    ----------
    values
        (N, ...)
    weights
        Weights per sample, (N,) or of the values' shape; None for ones.
    """
    if weights is None:
        return float(values.mean(dtype=np.float64))
    factors = spread("sample_weight", np.asarray(weights, np.float64), values)
    total = factors.sum()
    return float((values * factors).sum() / total) if total else 0.0


class Metric:
    """A metric as an object, for ``compile``, or by itself: ``update_state`` with batches, then ``result``.

    One of your own writes ``measure``; or, as in Keras, ``update_state``, ``result`` and ``reset_state``.

    Parameters
    ----------
    name
        What logs call it; by default Keras's name.
    dtype
        Without an effect: numbers are counted in float64.
    """

    #: Keras's name, which is one of those that ``compile`` takes.
    known_as = ""
    #: Names of the constructor's arguments besides ``name``.
    arguments: tuple[str, ...] = ()

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        self.name = (self.known_as or type(self).__name__.lower()) if name is None else name
        self._seen: list[tuple[Array, Array, Any]] = []

    def measure(self, y_true: Array, y_pred: Array, weights: Any = None) -> float:
        """Return the number over all samples.

        Parameters
        ----------
        y_true, y_pred
            Truth and prediction.
        weights
            Weights per sample, or None.
        """
        if weights is None and self.known_as in _NAMES:
            return _NAMES[self.known_as](y_true, y_pred)
        return mean(self.values(y_true, y_pred), weights)

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return one value per sample.

        Parameters
        ----------
        y_true, y_pred
            Truth and prediction.
        """
        if self.known_as not in _PER_SAMPLE:
            raise checks.value_error("sample_weight", f"None for {self.name}, which is no mean over samples", "some")
        return _PER_SAMPLE[self.known_as](y_true, y_pred)

    def over(self, y_true: Array, y_pred: Array, weights: Any = None) -> float:
        """Return the number over all samples of a pass, whichever way the class computes it.

        Parameters
        ----------
        y_true, y_pred
            Truth and prediction.
        weights
            Weights per sample, or None.
        """
        if type(self).update_state is Metric.update_state:
            return self.measure(y_true, y_pred, weights)
        self.reset_state()
        self.update_state(y_true, y_pred, *([] if weights is None else [weights]))
        return float(np.asarray(self.result()))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch.

        Parameters
        ----------
        y_true, y_pred
            Truth and prediction.
        sample_weight
            Weights per sample, or None.
        """
        true, said = as_array("y_true", y_true), as_array("y_pred", y_pred)
        if said.dtype.kind in "iub":
            said = said.astype(np.float32)
        self._seen.append((true, said, None if sample_weight is None else np.asarray(sample_weight)))

    def result(self) -> float:
        """Return the number over the batches taken; 0 if there are none."""
        if not self._seen:
            return 0.0
        true, said = (np.concatenate([one[k] for one in self._seen]) for k in (0, 1))
        if all(one[2] is None for one in self._seen):
            return self.measure(true, said)
        weights = [np.ones(len(one[0])) if one[2] is None else one[2] for one in self._seen]
        sizes = [len(one[0]) for one in self._seen]
        given = [np.full(n, one) if one.ndim == 0 else one for n, one in zip(sizes, weights, strict=True)]
        return self.measure(true, said, np.concatenate(given))

    def reset_state(self) -> None:
        """Forget the batches."""
        self._seen = []

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Take a batch, and return the number over all batches so far."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {"name": self.name, **{name: getattr(self, name) for name in self.arguments}}

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """Build a metric from what ``get_config`` returned.

        Parameters
        ----------
        config
            The constructor's arguments.
        """
        return cls(**config)


def _loss_values(name: str) -> Callable[[Array, Array], Array]:
    """Return a function that gives a loss's values."""
    return lambda y_true, y_pred: losses.get(name).values(y_true, y_pred)


def _binary_values(y_true: Array, y_pred: Array, threshold: float = 0.5) -> Array:
    right = (fitted(y_true, y_pred).astype(np.int64) == (y_pred > threshold)).astype(np.float64)
    return right.mean(axis=-1) if right.ndim > 1 else right


def _sparse_values(y_true: Array, y_pred: Array) -> Array:
    return (y_true.reshape(y_pred.shape[:-1]) == y_pred.argmax(axis=-1)).astype(np.float64)


def _categorical_values(y_true: Array, y_pred: Array) -> Array:
    return (y_true.argmax(axis=-1) == y_pred.argmax(axis=-1)).astype(np.float64)


def _accuracy_values(y_true: Array, y_pred: Array) -> Array:
    if y_pred.shape[-1] == 1:
        return _binary_values(y_true, y_pred)
    sparse = y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1
    return _sparse_values(y_true, y_pred) if sparse else _categorical_values(y_true, y_pred)


_BY_LOSS = {
    "mse": "mse", "mean_squared_error": "mse", "mae": "mae", "mean_absolute_error": "mae", "mape": "mape",
    "mean_absolute_percentage_error": "mape", "msle": "msle", "mean_squared_logarithmic_error": "msle",
    "logcosh": "log_cosh", "binary_crossentropy": "binary_crossentropy", "bce": "binary_crossentropy",
    "categorical_crossentropy": "categorical_crossentropy",
    "sparse_categorical_crossentropy": "sparse_categorical_crossentropy", "kl_divergence": "kl_divergence",
    "poisson": "poisson", "hinge": "hinge", "squared_hinge": "squared_hinge", "categorical_hinge": "categorical_hinge",
}  # fmt: skip
_BY_LOSS |= {name.upper(): name for name in ("mse", "mae", "mape", "msle", "bce")} | {"BCE": "binary_crossentropy"}
#: One value per sample, by name.
_PER_SAMPLE: dict[str, Callable[[Array, Array], Array]] = {
    **{name: _loss_values(loss) for name, loss in _BY_LOSS.items()},
    "cosine_similarity": lambda y_true, y_pred: -_loss_values("cosine_similarity")(y_true, y_pred),
    "accuracy": _accuracy_values,
    "acc": _accuracy_values,
    "binary_accuracy": _binary_values,
    "categorical_accuracy": _categorical_values,
    "sparse_categorical_accuracy": _sparse_values,
}
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


def get(metric: Any) -> tuple[str, Function]:
    """Return a metric's name and function.

    Parameters
    ----------
    metric
        A name, a `Metric`, or a function of (y_true, y_pred), arrays over all samples, whose mean counts.
    """
    from fastseq.models import metric_objects

    if isinstance(metric, str):
        kinds = metric_objects.BY_NAME
        if metric in _NAMES or metric in _PER_SAMPLE:
            plain = Metric(metric)
            plain.known_as = metric  # type: ignore[misc]
            return metric, plain.over
        kind = kinds.get(metric) or kinds[checks.choice("metrics", metric, {**_NAMES, **_PER_SAMPLE, **kinds})]
        return metric, kind().over
    if isinstance(metric, type) and issubclass(metric, Metric):
        metric = metric()
    if isinstance(metric, Metric):
        return metric.name, metric.over
    if not callable(metric):
        expected = f"one of {', '.join({**_NAMES, **_PER_SAMPLE})}, or a function of (y_true, y_pred)"
        raise checks.kind_error("metrics", expected, metric)
    name = getattr(metric, "__name__", type(metric).__name__)
    return name, lambda t, p, w=None: mean(np.atleast_1d(np.asarray(metric(t, p))), w)


def __getattr__(name: str) -> Any:
    """Look up the metrics that are objects."""
    from fastseq.models import metric_objects

    if name not in metric_objects.__all__:
        raise AttributeError(f"fastseq.metrics has no attribute {name!r}; it has {', '.join(metric_objects.__all__)}")
    return getattr(metric_objects, name)
