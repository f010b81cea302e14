"""Layers without weights that change how many steps there are, or the order of axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers.layer import Layer


def _ends(argument: str, value: Any) -> tuple[int, int]:
    """Return numbers of steps at the beginning and at the end, given as one for both or as two."""
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise checks.value_error(argument, "an integer or two", f"{value}")
    return checks.integer(argument, pair[0], 0), checks.integer(argument, pair[1], 0)


class Permute(Layer):
    """Return rows with their axes in another order.

    Parameters
    ----------
    dims
        The axes in their new order, numbered from 1.
    **options
        See `Layer`.
    """

    arguments = ("dims",)

    def __init__(self, dims: Any, **options: Any) -> None:
        super().__init__(**options)
        self.dims = tuple(checks.integer("dims", k, 1) for k in dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise checks.value_error("dims", f"an order of 1 to {len(self.dims)}", f"{self.dims}")

    def _checked(self, shape: Any) -> None:
        if len(shape) != len(self.dims) + 1:
            raise checks.value_error(f"{self.name}: input shape", f"{len(self.dims)} axes beside rows", f"{shape}")

    def call(self, inputs: Any) -> Tensor:
        """Return the turned rows."""
        self._checked(tuple(inputs.shape))
        return ops.permute(inputs, (0, *self.dims))

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        self._checked(shapes[0])
        return (shapes[0][0], *(shapes[0][k] for k in self.dims))


class _Steps(Layer):
    """Changes the number of steps of (B, T, F)."""

    def _count(self, steps: int) -> int:
        """Return how many steps become of these."""
        raise TypeError(f"{type(self).__name__}: expected a class that counts its steps, got one without")

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        if len(shapes[0]) != 3:
            raise checks.value_error(f"{self.name}: input shape", "(rows, steps, features)", f"{shapes[0]}")
        rows, steps, features = shapes[0]
        return (rows, None if steps is None else self._count(steps), features)


class UpSampling1D(_Steps):
    """Repeat every step.

    Parameters
    ----------
    size
        How often each comes.
    **options
        See `Layer`.
    """

    arguments = ("size",)

    def __init__(self, size: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.size = checks.single("size", size, 1)

    def _count(self, steps: int) -> int:
        return steps * self.size

    def call(self, inputs: Any) -> Tensor:
        """Return (B, T * size, F)."""
        self.compute_output_shape(inputs.shape)
        return ops.getitem(inputs, (slice(None), np.repeat(np.arange(inputs.shape[1]), self.size)))


class ZeroPadding1D(_Steps):
    """Add steps of zeros at the beginning and the end.

    Parameters
    ----------
    padding
        How many: for both, or (first, last).
    **options
        See `Layer`.
    """

    arguments = ("padding",)

    def __init__(self, padding: Any = 1, **options: Any) -> None:
        super().__init__(**options)
        self.padding = _ends("padding", padding)

    def _count(self, steps: int) -> int:
        return steps + sum(self.padding)

    def call(self, inputs: Any) -> Tensor:
        """Return (B, first + T + last, F)."""
        self.compute_output_shape(inputs.shape)
        rows, _, features = inputs.shape
        before, behind = (np.zeros((rows, count, features), inputs.dtype) for count in self.padding)
        return ops.concatenate([before, inputs, behind], 1)


class Cropping1D(_Steps):
    """Take steps away at the beginning and the end.

    Parameters
    ----------
    cropping
        How many: for both, or (first, last).
    **options
        See `Layer`.
    """

    arguments = ("cropping",)

    def __init__(self, cropping: Any = (1, 1), **options: Any) -> None:
        super().__init__(**options)
        self.cropping = _ends("cropping", cropping)

    def _count(self, steps: int) -> int:
        left = steps - sum(self.cropping)
        if left < 1:
            raise checks.value_error(f"{self.name}: input shape", f"more than {sum(self.cropping)} steps", f"{steps}")
        return left

    def call(self, inputs: Any) -> Tensor:
        """Return (B, T - first - last, F)."""
        self.compute_output_shape(inputs.shape)
        first = self.cropping[0]
        return ops.getitem(inputs, (slice(None), slice(first, inputs.shape[1] - self.cropping[1])))
