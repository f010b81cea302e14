"""Activation functions that are layers in Keras: ReLU, LeakyReLU, ELU, PReLU, Softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastseq import checks, nn
from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor
from fastseq.layers import activations, initializers, regularizers
from fastseq.layers.same_shape import SameShape


class ReLU(SameShape):
    """Return x from ``threshold`` to ``max_value``, ``max_value`` above, negative_slope * (x - threshold) below.

    Parameters
    ----------
    max_value
        The largest output; None for no limit.
    negative_slope
        The slope below the threshold.
    threshold
        Where x begins.
    **options
        See `Layer`.
    """

    arguments = ("max_value", "negative_slope", "threshold")

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.max_value = None if max_value is None else checks.real("max_value", max_value, 0.0)
        self.negative_slope = checks.real("negative_slope", negative_slope, 0.0)
        self.threshold = checks.real("threshold", threshold, 0.0)

    def call(self, inputs: Any) -> Tensor:
        """Return the function of the inputs."""
        functional = nn.functional
        if self.threshold:
            below = (inputs - self.threshold) * self.negative_slope
            found = ops.where(array(inputs) > self.threshold, inputs, below)
        else:
            slope = self.negative_slope
            found = functional.leaky_relu(inputs, slope) if slope else functional.relu(inputs)
        return found if self.max_value is None else ops.clip(found, None, self.max_value)


class LeakyReLU(SameShape):
    """Return x where positive, else negative_slope * x (`nn.LeakyReLU`).

    Parameters
    ----------
    negative_slope
        The slope on the negative side.
    **options
        See `Layer`; ``alpha`` is Keras 2's name of the slope.
    """

    arguments = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        negative_slope = options.pop("alpha", negative_slope)
        super().__init__(**options)
        self.negative_slope = checks.real("negative_slope", negative_slope)

    def call(self, inputs: Any) -> Tensor:
        """Return the function of the inputs."""
        return nn.functional.leaky_relu(inputs, self.negative_slope)


class ELU(SameShape):
    """Return x where positive, else alpha * (exp(x) - 1) (`nn.ELU`).

    Parameters
    ----------
    alpha
        The limit on the negative side is -alpha.
    **options
        See `Layer`.
    """

    arguments = ("alpha",)

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = checks.real("alpha", alpha)

    def call(self, inputs: Any) -> Tensor:
        """Return the function of the inputs."""
        return nn.functional.elu(inputs, self.alpha)


class PReLU(SameShape):
    """Return x where positive, else alpha * x, with an alpha for each place of a row that is learnt.

    Parameters
    ----------
    alpha_initializer
        What draws the first values.
    alpha_regularizer
        A penalty, or None.
    shared_axes
        The axes along which one alpha holds: ``[1]`` for all steps.
    **options
        See `Layer`.
    """

    arguments = ("alpha_initializer", "alpha_regularizer", "shared_axes")

    alpha: Any

    def __init__(
        self, alpha_initializer: Any = "zeros", alpha_regularizer: Any = None, shared_axes: Any = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.alpha_initializer = initializers.get("alpha_initializer", alpha_initializer)
        self.alpha_regularizer = regularizers.get("alpha_regularizer", alpha_regularizer)
        if shared_axes is not None:
            given = shared_axes if isinstance(shared_axes, (tuple, list)) else [shared_axes]
            shared_axes = [checks.integer("shared_axes", k, 1) for k in given]
        self.shared_axes = shared_axes

    def build(self, input_shape: Any) -> None:
        """Make the weight, see `Layer.build`."""
        sizes = list(input_shape[1:])
        for k in self.shared_axes or ():
            if k > len(sizes):
                raise checks.value_error("shared_axes", f"axes of {input_shape}", k)
            sizes[k - 1] = 1
        if None in sizes:
            raise checks.value_error(f"{self.name}: input shape", "known sizes of axes not shared", f"{input_shape}")
        self.alpha = self.add_weight(sizes, self.alpha_initializer, regularizer=self.alpha_regularizer, name="alpha")

    def call(self, inputs: Any) -> Tensor:
        """Return the function of the inputs."""
        sizes = self.alpha.shape
        fits = len(sizes) == inputs.ndim - 1 and all(n in (1, m) for n, m in zip(sizes, inputs.shape[1:], strict=True))
        if not fits:
            raise checks.value_error(f"{self.name}: input", f"shape (rows, ...) that fits {sizes}", inputs._data)
        return nn.functional.prelu(inputs, self.alpha)


class Softmax(SameShape):
    """Return exp(x) / sum exp(x) along an axis, or several together.

    Parameters
    ----------
    axis
        The axis that sums to one, or several.
    **options
        See `Layer`.
    """

    arguments = ("axis",)

    def __init__(self, axis: Any = -1, **options: Any) -> None:
        super().__init__(**options)
        several = isinstance(axis, (tuple, list))
        self.axis: Any = [checks.integer("axis", k) for k in axis] if several else checks.integer("axis", axis)

    def call(self, inputs: Any, mask: Any = None) -> Tensor:
        """Return the function of the inputs.

        Parameters
        ----------
        inputs
            Any shape.
        mask
            Which entries count, bools that broadcast to the inputs; the others give 0. None for all.
        """
        if mask is None and self.axis in (-1, inputs.ndim - 1, [-1]):
            return activations.apply("softmax", inputs)
        shown = None
        if mask is not None:
            given = np.asarray(array(mask))
            shown = given if given.dtype.kind == "b" else given > 0.5
            try:
                np.broadcast_to(shown, inputs.shape)
            except ValueError:
                raise checks.value_error("mask", f"one that broadcasts to {tuple(inputs.shape)}", given) from None
            inputs = ops.where(shown, inputs, inputs.dtype.type(-1e9))
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        found = ops.softmax(inputs, axes[0]) if len(axes) == 1 else _together(inputs, axes)
        return found if shown is None else ops.where(shown, found, found.dtype.type(0))


def _together(x: Any, axes: list[int]) -> Tensor:
    """Return the softmax over several axes at once."""
    places = sorted({checks.integer("axis", k, -x.ndim, x.ndim - 1) % x.ndim for k in axes})
    order = [k for k in range(x.ndim) if k not in places] + places
    turned = ops.permute(x, order)
    rest = turned.shape[: x.ndim - len(places)]
    found = ops.reshape(ops.softmax(ops.reshape(turned, (*rest, -1)), -1), turned.shape)
    return ops.permute(found, [int(k) for k in np.argsort(order)])
