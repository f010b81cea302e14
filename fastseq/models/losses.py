"""Keras's losses: names and order of arguments (truth first), over ``nn.functional``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks, nn
from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor
from fastseq.layers.activations import logits_of
from fastseq.models.divergences import CategoricalHinge, CosineSimilarity, Hinge, KLDivergence, Poisson, SquaredHinge
from fastseq.models.loss import EPSILON, Elementwise, Loss
from fastseq.nn import functional as F

Array = NDArray[Any]


class MeanSquaredError(Elementwise):
    """The mean square of the errors."""

    def entries(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the squares."""
        return F.mse_loss(y_pred, y_true, "none")


class MeanAbsoluteError(Elementwise):
    """The mean of the errors' sizes."""

    def entries(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the sizes."""
        return F.l1_loss(y_pred, y_true, "none")


class MeanAbsolutePercentageError(Elementwise):
    """The mean of the errors' sizes, in percent of the truth."""

    def entries(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the sizes in percent."""
        least = y_true.dtype.type(EPSILON)
        return F.l1_loss(y_pred, y_true, "none") * (100 / np.maximum(np.abs(y_true), least))


class MeanSquaredLogarithmicError(Elementwise):
    """The mean square of the difference of log(1 + y)."""

    def entries(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the squares."""
        least = y_true.dtype.type(EPSILON)
        return F.mse_loss(ops.log1p(ops.maximum(y_pred, least)), np.log1p(np.maximum(y_true, least)), "none")


class LogCosh(Elementwise):
    """The mean of log(cosh(error))."""

    def entries(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return log(cosh(error))."""
        error = y_pred - y_true
        return error + F.softplus(error * -2.0) - math.log(2.0)


class Huber(Elementwise):
    """Squares near zero, straight lines beyond ``delta``.

    Parameters
    ----------
    delta
        Where the lines begin.
    reduction, name, dtype
        As in `Loss`.
    """

    arguments = ("delta",)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name)
        self.delta = checks.real("delta", delta, 0.0, open_minimum=True)

    def entries(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the function of each error."""
        return F.huber_loss(y_pred, y_true, "none", self.delta)


class _Classes(Loss):
    """A loss over classes: from logits where they are known, else from probabilities.

    Parameters
    ----------
    from_logits
        Whether predictions are logits; a layer's softmax or sigmoid is seen through anyway.
    label_smoothing
        How much of the truth is spread over all classes, in 0..1.
    axis
        That of the classes, -1.
    reduction, name, dtype
        As in `Loss`.
    """

    arguments: tuple[str, ...] = ("from_logits", "label_smoothing")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name)
        self.from_logits = checks.boolean("from_logits", from_logits)
        if axis != -1:
            raise checks.value_error("axis", "-1", axis)
        self.label_smoothing = checks.real("label_smoothing", label_smoothing, 0.0, 1.0)

    def _logits(self, y_pred: Tensor) -> Tensor | None:
        return y_pred if self.from_logits else logits_of(y_pred)


def _clipped(probabilities: Any) -> Tensor:
    return ops.clip(probabilities, EPSILON, 1 - EPSILON)


class BinaryCrossentropy(_Classes, Elementwise):
    """Cross-entropy of probabilities of yes or no, each output by itself."""

    def entries(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the cross-entropy of each entry."""
        if self.label_smoothing:
            y_true = y_true * (1 - self.label_smoothing) + y_true.dtype.type(0.5 * self.label_smoothing)
        logits = self._logits(y_pred)
        if logits is not None:
            return F.binary_cross_entropy_with_logits(logits, y_true, reduction="none")
        p = _clipped(y_pred)
        return -(ops.log(p) * y_true + ops.log(1.0 - p) * (1 - y_true))


class CategoricalCrossentropy(_Classes):
    """Cross-entropy of probabilities of classes, truth as probabilities (one-hot)."""

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return one value per sample, see `Loss.call`."""
        if self.label_smoothing:
            classes = y_true.shape[-1]
            y_true = y_true * (1 - self.label_smoothing) + y_true.dtype.type(self.label_smoothing / classes)
        logits = self._logits(y_pred)
        if logits is not None:
            return F.cross_entropy(logits, y_true, reduction="none", axis=-1)
        shares = y_pred / ops.sum(y_pred, -1, keepdims=True)
        return -ops.sum(ops.log(_clipped(shares)) * y_true, -1)


class SparseCategoricalCrossentropy(_Classes):
    """Cross-entropy of probabilities of classes, truth as numbers of classes.

    Parameters
    ----------
    from_logits
        Whether predictions are logits; a layer's softmax is seen through anyway.
    ignore_class
        A class that does not count, or None.
    axis
        That of the classes, -1.
    reduction, name, dtype
        As in `Loss`.
    """

    arguments = ("from_logits", "ignore_class")
    sparse = True

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, 0.0, axis, reduction, name)
        self.ignore_class = None if ignore_class is None else checks.integer("ignore_class", ignore_class)

    def fitted(self, y_true: Array, y_pred: Tensor) -> Array:
        """Return integer classes in the prediction's shape without its last axis, see `Loss.fitted`."""
        wanted = tuple(y_pred.shape[:-1])
        found = y_true.reshape(wanted) if y_true.shape == (*wanted, 1) else y_true
        if found.shape != wanted:
            raise checks.value_error("y", f"classes of shape {('rows', *wanted[1:])}", f"shape {y_true.shape}")
        return found.astype(np.int64, copy=False)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> Tensor:
        """Return the weighted mean, see `Loss`; a class to ignore is left out of the mean's number, too."""
        if self.ignore_class is not None and isinstance(y_pred, Tensor):
            valid = self.fitted(array(y_true), y_pred) != self.ignore_class
            mask = valid if mask is None else valid & np.asarray(mask, bool)
            if mask.ndim == 1:
                scale = mask.size / max(int(mask.sum()), 1)
                own = mask * scale
                return super().__call__(y_true, y_pred, own if sample_weight is None else own * sample_weight)
        return super().__call__(y_true, y_pred, sample_weight, mask)

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return one value per sample, see `Loss.call`."""
        logits = self._logits(y_pred)
        ignored = -100 if self.ignore_class is None else self.ignore_class
        scores = ops.log(_clipped(y_pred)) if logits is None else logits
        return F.cross_entropy(scores, y_true, ignore_index=ignored, reduction="none", axis=-1)


class _Given(Loss):
    """A function of (y_true, y_pred) of the user's, or one of ``fastseq.nn``'s losses of (input, target)."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(name=getattr(function, "__name__", type(function).__name__))
        self.function = function

    def fitted(self, y_true: Array, y_pred: Tensor) -> Array:
        """Return the truth as it is."""
        return y_true

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return what the function returns: one value per sample, or one for all."""
        if isinstance(self.function, nn.Module):
            return self.function(y_pred, y_true)
        return self.function(y_true, y_pred)


_NAMES: dict[str, type[Loss]] = {
    "mse": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "mean_absolute_percentage_error": MeanAbsolutePercentageError,
    "msle": MeanSquaredLogarithmicError,
    "mean_squared_logarithmic_error": MeanSquaredLogarithmicError,
    "huber": Huber,
    "log_cosh": LogCosh,
    "logcosh": LogCosh,
    "binary_crossentropy": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "bce": BinaryCrossentropy,
    "kl_divergence": KLDivergence,
    "kld": KLDivergence,
    "poisson": Poisson,
    "cosine_similarity": CosineSimilarity,
    "hinge": Hinge,
    "squared_hinge": SquaredHinge,
    "categorical_hinge": CategoricalHinge,
}
_NAMES |= {name.upper(): _NAMES[name] for name in ("mse", "mae", "mape", "msle", "bce", "kld")}
_CLASSES = {one.__name__: one for one in _NAMES.values()}


def get(loss: Any) -> Loss:
    """Return a loss by name, or as it is.

    Parameters
    ----------
    loss
        A name, a `Loss`, a function of (y_true, y_pred), or a loss of ``fastseq.nn``.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        return _CLASSES[loss]() if loss in _CLASSES else _NAMES[checks.choice("loss", loss, _NAMES)]()
    if isinstance(loss, type) and issubclass(loss, Loss):
        return loss()
    if not callable(loss):
        raise checks.kind_error("loss", f"one of {', '.join(_NAMES)}, or a function of (y_true, y_pred)", loss)
    return _Given(loss)


def name_of(loss: Loss) -> str | None:
    """Return the name under which ``get`` finds a loss of the same kind with its defaults; None if there is none.

    Parameters
    ----------
    loss
        From ``get``.
    """
    kind = type(loss)
    plain = next((name for name, one in _NAMES.items() if one is kind), None)
    return plain if plain is not None and vars(loss) == vars(kind()) else None


def __getattr__(name: str) -> Any:
    """Return Keras's loss as a function of (y_true, y_pred) that gives one value per sample."""
    if name not in _NAMES:
        raise AttributeError(f"fastseq.losses has no attribute {name!r}; it has {', '.join((*_CLASSES, *_NAMES))}")

    def function(y_true: Any, y_pred: Any, **options: Any) -> Tensor:
        return _NAMES[name](reduction=None, **options)(y_true, y_pred)

    function.__name__ = name
    return function
