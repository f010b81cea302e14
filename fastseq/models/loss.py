"""What Keras's losses share: weights per sample, masks and reductions.

A loss gives one value per sample (per step, where there is one output per step). They are weighted, and their sum is
divided by their number: Keras's ``sum_over_batch_size``. Steps that do not count are left out of both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import no_grad, ops
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor
from fastseq.layers.activations import logits_of
from fastseq.layers.flow import flow

Array = NDArray[Any]
#: Keras clips probabilities by this much.
EPSILON = 1e-7
_REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none")


class Loss:
    """A loss: one value per sample, and their weighted mean.

    Parameters
    ----------
    reduction
        ``"sum_over_batch_size"`` or ``"mean"``, ``"mean_with_sample_weight"`` (divided by the sum of the weights),
        ``"sum"``, None or ``"none"`` (the values themselves).
    name
        Its name.
    dtype
        Without an effect: losses are computed in the predictions' element type.
    """

    #: Names of the constructor's arguments besides these.
    arguments: tuple[str, ...] = ()

    #: Whether targets are numbers of classes.
    sparse = False

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:  # fmt: skip
        if reduction is not None:
            checks.choice("reduction", reduction, _REDUCTIONS)
        self.reduction = {"none": None, "mean": "sum_over_batch_size"}.get(reduction or "none", reduction)
        self.name = name

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        own = {name: getattr(self, name) for name in self.arguments}
        return {"name": self.name, "reduction": self.reduction, **own}

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """Build a loss from what ``get_config`` returned.

        Parameters
        ----------
        config
            The constructor's arguments.
        """
        return cls(**config)

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return one value per sample.

        Parameters
        ----------
        y_true, y_pred
            Truth and prediction.
        """
        raise TypeError(f"{type(self).__name__}: expected a class with a call method, got one without")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> Tensor:
        """Return the weighted mean (or sum, or the values)."""
        prediction = y_pred if isinstance(y_pred, Tensor) else Tensor(np.asarray(y_pred))
        if prediction.dtype.kind in "iub":
            prediction = ops.cast(prediction, np.float32)
        truth = self.fitted(array(y_true), prediction)
        if mask is not None and prediction.ndim >= 3:
            truth, prediction = _without_padding(truth, prediction, np.asarray(mask, bool))
        values = self.call(truth, prediction)
        if not isinstance(values, Tensor):
            raise checks.kind_error("loss", "a function that returns a Tensor", values)
        factors = None if sample_weight is None else spread("sample_weight", array(sample_weight), values)
        if mask is not None and values.ndim >= 2:
            valid = spread("mask", np.asarray(mask, bool), values)
            values = ops.where(valid, values, values.dtype.type(0))
            if self.reduction == "mean_with_sample_weight":
                factors = valid if factors is None else factors * valid
            elif self.reduction == "sum_over_batch_size":
                scale = np.asarray(valid.size / max(int(valid.sum()), 1), values.dtype)
                factors = scale if factors is None else factors * scale
        if factors is not None:
            values = values * np.asarray(factors, values.dtype)
        if self.reduction is None:
            return values
        if self.reduction == "mean_with_sample_weight" and factors is not None:
            total = float(factors.sum())
            return ops.sum(values) * (1.0 / total if total else 0.0)
        return ops.sum(values) if self.reduction == "sum" else ops.mean(values)

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return one value per sample, without gradients.

        Parameters
        ----------
        y_true, y_pred
            Truth and prediction.
        """
        prediction = Tensor(y_pred)
        with no_grad():
            return np.asarray(self.call(self.fitted(y_true, prediction), prediction)._data)

    def fitted(self, y_true: Array, y_pred: Tensor) -> Array:
        """Return the truth in the prediction's shape, where they differ by an axis of length 1 at the end.

        Parameters
        ----------
        y_true, y_pred
            Truth and prediction.

        Raises
        ------
        ValueError
            If they do not fit: nothing is ever broadcast.
        """
        wanted = tuple(y_pred.shape)
        found = y_true
        if found.shape == (*wanted, 1) or (*found.shape, 1) == wanted:
            found = found.reshape(wanted)
        if found.shape != wanted:
            raise checks.value_error("y", f"shape {('rows', *wanted[1:])}, as the output", f"shape {y_true.shape}")
        return found.astype(y_pred.dtype, copy=False)


def _without_padding(truth: Array, prediction: Tensor, mask: Array) -> tuple[Array, Tensor]:
    """Return truth and prediction with zeros at steps that do not count: what stands there is never read."""

    def wide(ndim: int) -> Array:
        return mask.reshape(mask.shape + (1,) * (ndim - mask.ndim))

    logits = logits_of(prediction)
    zero = prediction.dtype.type(0)
    kept = ops.where(wide(prediction.ndim), prediction, zero)
    if logits is not None:
        kept = flow(kept, logits=ops.where(wide(logits.ndim), logits, zero))
    return np.where(wide(truth.ndim), truth, truth.dtype.type(0)), kept


def spread(argument: str, factors: Array, values: Tensor | Array) -> Array:
    """Return factors per sample, or per step, in the shape of the values.

    Parameters
    ----------
    argument
        The name to use in messages.
    factors
        (N,), or of the values' shape, or with one more axis of length 1.
    values
        (N, ...)

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    wanted = tuple(values.shape)
    if factors.ndim == len(wanted) + 1 and factors.shape[-1] == 1:
        factors = factors[..., 0]
    if factors.shape != wanted[: factors.ndim]:
        raise checks.value_error(argument, f"shape {wanted} or {wanted[:1]}", factors)
    return np.broadcast_to(factors.reshape(factors.shape + (1,) * (len(wanted) - factors.ndim)), wanted)


class Elementwise(Loss):
    """The mean over the last axis of a function of each entry."""

    def entries(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the function of each entry.

        Parameters
        ----------
        y_true, y_pred
            Truth and prediction, of the same shape.
        """
        raise TypeError(f"{type(self).__name__}: expected a class with an entries method, got one without")

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return one value per sample, see `Loss.call`."""
        found = self.entries(y_true, y_pred)
        return ops.mean(found, -1) if found.ndim > 1 else found
