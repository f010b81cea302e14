"""Keras's losses between distributions, directions and signs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.models.loss import EPSILON, Elementwise, Loss

Array = NDArray[Any]


class KLDivergence(Loss):
    """The Kullback-Leibler divergence, sum of y log(y / p) over the last axis."""

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return one value per sample, see `Loss.call`."""
        least = y_true.dtype.type(EPSILON)
        truth = np.clip(y_true, least, 1)
        return ops.sum((np.log(truth) - ops.log(ops.clip(y_pred, EPSILON, 1.0))) * truth, -1)


class Poisson(Elementwise):
    """The mean of p - y log(p)."""

    def entries(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return p - y log(p)."""
        return y_pred - ops.log(y_pred + EPSILON) * y_true


class CosineSimilarity(Loss):
    """The cosine between truth and prediction, negative: -1 where they point the same way.

    Parameters
    ----------
    axis
        Along which axis they are vectors.
    reduction, name, dtype
        As in `Loss`.
    """

    arguments = ("axis",)

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name)
        self.axis = checks.integer("axis", axis)

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return one value per sample, see `Loss.call`."""
        length = np.sqrt(np.maximum(np.square(y_true).sum(self.axis, keepdims=True), 1e-12)).astype(y_true.dtype)
        own = ops.sqrt(ops.maximum(ops.sum(ops.square(y_pred), self.axis, keepdims=True), 1e-12))
        return -ops.sum(y_pred / own * (y_true / length), self.axis)


def _signs(y_true: Array) -> Array:
    """Return zeros and ones as -1 and 1; other truths as they are."""
    return 2 * y_true - 1 if np.isin(y_true, (0, 1)).all() else y_true


class Hinge(Elementwise):
    """The mean of max(1 - y p, 0), truth -1 and 1, or 0 and 1."""

    def entries(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return max(1 - y p, 0)."""
        return ops.maximum(1.0 - y_pred * _signs(y_true), 0.0)


class SquaredHinge(Hinge):
    """The mean square of max(1 - y p, 0), truth -1 and 1, or 0 and 1."""

    def entries(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the squares."""
        return ops.square(super().entries(y_true, y_pred))


class CategoricalHinge(Loss):
    """The largest score of a wrong class less that of the right one, and 1, truth one-hot; not below 0."""

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return one value per sample, see `Loss.call`."""
        right, wrong = ops.sum(y_pred * y_true, -1), ops.max(y_pred * (1 - y_true), -1)
        return ops.maximum(wrong - right + 1.0, 0.0)
