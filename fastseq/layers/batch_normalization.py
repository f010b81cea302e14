"""BatchNormalization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastseq import checks, nn
from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor
from fastseq.layers import initializers, regularizers
from fastseq.layers.same_shape import SameShape
from fastseq.layers.weights import Weight, gamma_and_beta


class BatchNormalization(SameShape):
    """Bring each feature to mean 0 and variance 1, then scale by gamma and add beta (`nn.BatchNorm1d`).

    In training mean and variance are those of the batch, over the steps that count, and moving averages of them are
    kept; else, and where ``trainable`` is False, they are the averages.

    Parameters
    ----------
    axis
        The features' axis.
    momentum
        The share of the moving averages that stays in each batch.
    epsilon
        Added to the variance.
    center, scale
        Whether there are beta and gamma.
    beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer
        What draws the first values.
    beta_regularizer, gamma_regularizer
        Penalties, or None.
    **options
        See `Layer`.
    """

    arguments = (
        "axis", "momentum", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer",
        "moving_mean_initializer", "moving_variance_initializer", "beta_regularizer", "gamma_regularizer",
    )  # fmt: skip

    norm: nn.BatchNorm1d

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        given = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
        self.axis = checks.integer("axis", given)
        self.momentum = checks.real("momentum", momentum, 0.0, 1.0)
        self.epsilon = checks.real("epsilon", epsilon, 0.0, open_minimum=True)
        self.center = checks.boolean("center", center)
        self.scale = checks.boolean("scale", scale)
        self.beta_initializer = initializers.get("beta_initializer", beta_initializer)
        self.gamma_initializer = initializers.get("gamma_initializer", gamma_initializer)
        self.moving_mean_initializer = initializers.get("moving_mean_initializer", moving_mean_initializer)
        self.moving_variance_initializer = initializers.get("moving_variance_initializer", moving_variance_initializer)
        self.beta_regularizer = regularizers.get("beta_regularizer", beta_regularizer)
        self.gamma_regularizer = regularizers.get("gamma_regularizer", gamma_regularizer)

    def build(self, input_shape: Any) -> None:
        """Make the module, see `Layer.build`."""
        rank = len(input_shape)
        if not (-rank < self.axis < rank and self.axis):
            raise checks.value_error(f"{self.name}: axis", f"one of {rank}, not that of the rows", self.axis)
        size = input_shape[self.axis]
        if size is None:
            raise checks.value_error(f"{self.name}: input shape", f"a known size of axis {self.axis}", f"{input_shape}")
        norm = self.norm = nn.BatchNorm1d(
            int(size), self.epsilon, 1.0 - self.momentum, self.scale or self.center, bias=self.center, unbiased=False,
            dtype=self.dtype,
        )  # fmt: skip
        self.weights_built = [
            *gamma_and_beta(self, norm),
            _average("moving_mean", norm, "running_mean", self.moving_mean_initializer),
            _average("moving_variance", norm, "running_var", self.moving_variance_initializer),
        ]

    def call(self, inputs: Any, mask: Any = None) -> Tensor:
        """Return the normalised inputs.

        Parameters
        ----------
        inputs
            Any shape with the features' axis.
        mask
            Which places count, bools of the inputs' shape without the last axis, or None.
        """
        turned = inputs if self.axis in (-1, inputs.ndim - 1) else ops.swapaxes(inputs, self.axis, inputs.ndim - 1)
        if turned.shape[-1] != self.norm.num_features:
            expected = f"{self.norm.num_features} in axis {self.axis}, which it was built for"
            raise checks.value_error(f"{self.name}: input shape", expected, f"{tuple(inputs.shape)}")
        self.norm.train(self.training and self._trainable)
        counted = None
        if mask is not None and self.norm.training:
            given = np.asarray(array(mask))
            wanted = tuple(inputs.shape[:-1])
            fits = len(given.shape) == len(wanted) and all(
                n in (1, m) for n, m in zip(given.shape, wanted, strict=True)
            )
            if turned is not inputs or not fits:
                expected = f"bools of shape {wanted}, beside features in the last axis"
                raise checks.value_error("mask", expected, given)
            counted = np.broadcast_to(given.astype(bool), wanted).reshape(-1)
        rows = ops.reshape(turned, (-1, turned.shape[-1]))
        found = ops.reshape(self.norm(rows, counted=counted), turned.shape)
        return found if turned is inputs else ops.swapaxes(found, self.axis, inputs.ndim - 1)


def _average(label: str, norm: nn.BatchNorm1d, name: str, initializer: Callable[..., Any]) -> Weight:
    """Return a moving average as a weight, which no optimiser teaches."""

    def read() -> Any:
        return norm.get_buffer(name)._data

    def write(values: Any) -> None:
        setattr(norm, name, np.array(values))

    return Weight(label, [], read, write, initializer)
