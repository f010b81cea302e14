"""Layers without weights that put inputs together or into another shape."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers.layer import Layer


class _Merge(Layer):
    """Takes a list of inputs; masks of all hold."""

    supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the steps that count in every input that has a mask."""
        if not isinstance(mask, list):
            return mask
        found = [one for one in mask if one is not None]
        return reduce(lambda a, b: a & b, found) if found else None

    def build(self, input_shape: Any) -> None:
        """Check that there are several inputs, see `Layer.build`."""
        if not isinstance(input_shape, (list, tuple)) or not isinstance(input_shape[0], (list, tuple)):
            raise checks.value_error(f"{self.name}: inputs", "a list of two tensors or more", f"shape {input_shape}")
        if len(input_shape) < 2:
            raise checks.value_error(f"{self.name}: inputs", "a list of two tensors or more", "one")


class Concatenate(_Merge):
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
        """Return the joint mask, for inputs that are put side by side feature by feature."""
        return super().compute_mask(inputs, mask) if self.axis in (-1, inputs[0].ndim - 1) else None

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


class _Elementwise(_Merge):
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


class Add(_Elementwise):
    """Return the sum of a list of inputs."""

    def call(self, inputs: Any) -> Tensor:
        """Return the sum."""
        return reduce(ops.add, inputs)


class Multiply(_Elementwise):
    """Return the product, element by element, of a list of inputs."""

    def call(self, inputs: Any) -> Tensor:
        """Return the product."""
        return reduce(ops.mul, inputs)


class Average(_Elementwise):
    """Return the mean of a list of inputs."""

    def call(self, inputs: Any) -> Tensor:
        """Return the mean."""
        return reduce(ops.add, inputs) * (1.0 / len(inputs))


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
