"""Layers without weights that put inputs together or into another shape."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers.flow import Mask, mask_of
from fastseq.layers.layer import Layer


class Merge(Layer):
    """Takes a list of inputs. A step counts if it counts in one of them, as in Keras."""

    supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the steps that count in one input or another; None if an input has no mask: all steps count there."""
        if not isinstance(mask, list):
            return mask
        return None if any(one is None for one in mask) else reduce(np.logical_or, mask)

    def build(self, input_shape: Any) -> None:
        """Check that there are several inputs, see `Layer.build`."""
        if not isinstance(input_shape, (list, tuple)) or not isinstance(input_shape[0], (list, tuple)):
            raise checks.value_error(f"{self.name}: inputs", "a list of two tensors or more", f"shape {input_shape}")
        if len(input_shape) < 2:
            raise checks.value_error(f"{self.name}: inputs", "a list of two tensors or more", "one")


class Concatenate(Merge):
    """Put inputs side by side along an axis.

    Parameters
    ----------
    axis
        Which; not that of the rows.
    **options
        See `Layer`.
    """

    arguments = ("axis",)

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = checks.integer("axis", axis)

    def call(self, inputs: Any) -> Tensor:
        """Return the inputs side by side."""
        return ops.concatenate(inputs, self.axis)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the joint mask; or all masks one after the other, for inputs put one after the other in time."""
        ndim = inputs[0].ndim
        if self.axis % ndim == ndim - 1 or not isinstance(mask, list):
            return super().compute_mask(inputs, mask)
        if self.axis % ndim != 1 or all(one is None for one in mask):
            return None
        known = [np.ones(x.shape[:2], bool) if one is None else one for x, one in zip(inputs, mask, strict=True)]
        return np.concatenate(known, axis=1)

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        found, axis = [list(shape) for shape in shapes[0]], self.axis
        if len({len(shape) for shape in found}) > 1 or not -len(found[0]) <= axis < len(found[0]):
            raise checks.value_error(f"{self.name}: inputs", "as many axes each, the chosen one among them", f"{found}")
        sizes = [shape.pop(axis) for shape in found]
        if any(a != b and None not in (a, b) for shape in found for a, b in zip(shape, found[0], strict=True)):
            raise checks.value_error(f"{self.name}: inputs", f"the same sizes but for axis {axis}", f"{shapes[0]}")
        whole = list(found[0])
        whole.insert(axis % (len(whole) + 1), None if None in sizes else sum(sizes))
        return tuple(whole)


class _Elementwise(Merge):
    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        width = max(len(shape) for shape in shapes[0])
        found = [None] * width
        for shape in shapes[0]:
            for k, size in enumerate(reversed(shape), 1):
                if found[-k] in (None, 1):
                    found[-k] = size
                elif size not in (None, 1, found[-k]):
                    raise checks.value_error(f"{self.name}: inputs", "shapes that fit", f"{shapes[0]}")
        return tuple(found)


def _wide(mask: Mask, x: Tensor) -> Mask:
    """Return a mask with as many axes as the values."""
    return mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))


class Add(_Elementwise):
    """Return the sum of a list of inputs."""

    def call(self, inputs: Any) -> Tensor:
        """Return the sum."""
        return reduce(ops.add, inputs)


class Multiply(_Elementwise):
    """Return the product, element by element, of a list of inputs; one at a step that does not count is left out."""

    def call(self, inputs: Any) -> Tensor:
        """Return the product; zeros at steps that count in no input."""
        masks = [mask_of(x) for x in inputs]
        factors = [
            x if mask is None else ops.where(_wide(mask, x), x, x.dtype.type(1))
            for x, mask in zip(inputs, masks, strict=True)
        ]
        found = reduce(ops.mul, factors)
        joint = self.compute_mask(inputs, masks)
        return found if joint is None else ops.where(_wide(joint, found), found, found.dtype.type(0))


class Average(_Elementwise):
    """Return the mean of a list of inputs."""

    def call(self, inputs: Any) -> Tensor:
        """Return the mean."""
        return reduce(ops.add, inputs) * (1.0 / len(inputs))


class Subtract(_Elementwise):
    """Return the difference of two inputs."""

    def build(self, input_shape: Any) -> None:
        """Check that there are two inputs, see `Layer.build`."""
        super().build(input_shape)
        if len(input_shape) != 2:
            raise checks.value_error(f"{self.name}: inputs", "a list of two tensors", f"{len(input_shape)}")

    def call(self, inputs: Any) -> Tensor:
        """Return the first less the second."""
        return ops.sub(*inputs)


class Maximum(_Elementwise):
    """Return the largest, element by element, of a list of inputs."""

    def call(self, inputs: Any) -> Tensor:
        """Return the largest."""
        return reduce(ops.maximum, inputs)


class Minimum(_Elementwise):
    """Return the smallest, element by element, of a list of inputs."""

    def call(self, inputs: Any) -> Tensor:
        """Return the smallest."""
        return reduce(ops.minimum, inputs)


class Flatten(Layer):
    """Return rows with all their numbers in one axis."""

    def call(self, inputs: Any) -> Tensor:
        """Return (B, everything)."""
        return ops.reshape(inputs, (inputs.shape[0], -1))

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        rows, *rest = shapes[0]
        return (rows, None if None in rest else math.prod(rest))


class Reshape(Layer):
    """Return rows in another shape.

    Parameters
    ----------
    target_shape
        The shape without rows; one size may be -1.
    **options
        See `Layer`.
    """

    arguments = ("target_shape",)

    def __init__(self, target_shape: Any, **options: Any) -> None:
        super().__init__(**options)
        self.target_shape = tuple(checks.integer("target_shape", size, -1) for size in target_shape)

    def call(self, inputs: Any) -> Tensor:
        """Return (B, *target_shape)."""
        return ops.reshape(inputs, (inputs.shape[0], *self.target_shape))

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        rows, *rest = shapes[0]
        if -1 not in self.target_shape:
            return (rows, *self.target_shape)
        known = -math.prod(self.target_shape)
        size = None if None in rest else math.prod(rest) // known
        return (rows, *(size if n == -1 else n for n in self.target_shape))


class RepeatVector(Layer):
    """Return rows (B, F) repeated over n steps (B, n, F).

    Parameters
    ----------
    n
        How many steps.
    **options
        See `Layer`.
    """

    arguments = ("n",)

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(**options)
        self.n = checks.integer("n", n, 1)

    def call(self, inputs: Any) -> Tensor:
        """Return (B, n, F)."""
        return ops.broadcast_to(ops.unsqueeze(inputs, 1), (inputs.shape[0], self.n, inputs.shape[1]))

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        if len(shapes[0]) != 2:
            raise checks.value_error(f"{self.name}: input shape", "(rows, features)", f"{shapes[0]}")
        return (shapes[0][0], self.n, shapes[0][1])
