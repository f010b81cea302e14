"""Operators of symbolic tensors: arithmetic with numbers and with each other, and indexing, as layers of a graph.

As in Keras they hand on no masks.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers.layer import Layer
from fastseq.layers.symbolic import KerasTensor

_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,
}
#: Sizes that stand for an unknown one: what depends on it differs between them.
_UNKNOWN = (10007, 10009)


def _agreed(found: Any) -> tuple[int | None, ...]:
    return tuple(None if a != b else a for a, b in zip(*found, strict=True))


class Arithmetic(Layer):
    """An operation of the input with a number; or of two inputs.

    Parameters
    ----------
    operation
        ``"add"``, ``"subtract"``, ``"multiply"``, ``"divide"`` or ``"power"``.
    number
        The number; None for two inputs.
    reflected
        Whether the number stands before the operator.
    **options
        See `Layer`.
    """

    arguments = ("operation", "number", "reflected")
    supports_masking = True

    def __init__(self, operation: str, number: float | None = None, reflected: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.operation = checks.choice("operation", operation, _OPERATIONS)
        self.number = None if number is None else checks.real("number", number)
        self.reflected = checks.boolean("reflected", reflected)

    def call(self, inputs: Any) -> Tensor:
        """Return the result."""
        one, two = inputs if self.number is None else (inputs, self.number)
        return _OPERATIONS[self.operation](*((two, one) if self.reflected else (one, two)))  # type: ignore[no-any-return]

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None, as in Keras."""

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        if self.number is not None:
            return tuple(shapes[0])
        sizes = [[[unknown if n is None else n for n in shape] for shape in shapes[0]] for unknown in _UNKNOWN]
        return _agreed([np.broadcast_shapes(*map(tuple, both)) for both in sizes])


class GetItem(Layer):
    """A part of the input: ``x[:, -1]`` is a sequence's last step.

    Parameters
    ----------
    key
        Integers, slices, None and Ellipsis; or, from a configuration, lists (start, stop, step) and ``"..."``.
    **options
        See `Layer`.
    """

    supports_masking = True

    def __init__(self, key: Any, **options: Any) -> None:
        super().__init__(**options)
        self.key = tuple(map(_read, key if isinstance(key, (tuple, list)) else [key]))

    def call(self, inputs: Any) -> Tensor:
        """Return the part."""
        return ops.getitem(inputs, self.key)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None, as in Keras."""

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        sizes = [[unknown if n is None else n for n in shapes[0]] for unknown in _UNKNOWN]
        try:
            found = [np.broadcast_to(np.zeros(()), size)[self.key].shape for size in sizes]
        except IndexError as error:
            raise checks.value_error("key", f"one for the shape {shapes[0]} ({error})", f"{self.key}") from error
        return _agreed(found)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, see `Layer.get_config`."""
        return {**super().get_config(), "key": list(map(_written, self.key))}


def _read(part: Any) -> Any:
    if isinstance(part, (list, slice)):
        ends = part if isinstance(part, list) else [part.start, part.stop, part.step]
        return slice(*[None if n is None else checks.integer("key", n) for n in ends])
    if part is None or part is Ellipsis or part == "...":
        return Ellipsis if part == "..." else part
    return checks.integer("key", part)


def _written(part: Any) -> Any:
    if isinstance(part, slice):
        return [part.start, part.stop, part.step]
    return "..." if part is Ellipsis else part


def operate(operation: str, tensor: KerasTensor, other: Any, reflected: bool = False) -> Any:
    """Return the symbolic result of an operator.

    Parameters
    ----------
    operation
        Its name, see `Arithmetic`.
    tensor
        One operand.
    other
        The other: a symbolic tensor or a number.
    reflected
        Whether ``other`` stands before the operator.
    """
    if isinstance(other, KerasTensor):
        return Arithmetic(operation)([tensor, other])
    if isinstance(other, (int, float, np.number)) and not isinstance(other, bool):
        return Arithmetic(operation, float(other), reflected)(tensor)
    return NotImplemented
