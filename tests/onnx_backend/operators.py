"""The table of ONNX operators that fastseq computes.

An operator is one function of (attributes by name, inputs in order with None where one is left out) that returns the
outputs in order. It takes its place in the table with ``@operator("LSTM")``; `backend` imports the files they are in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Arrays = Sequence[Any]
Operator = Callable[[dict[str, Any], Arrays], Arrays]

OPERATORS: dict[tuple[str, str], Operator] = {}


class Unsupported(Exception):
    """fastseq does not compute this operator with these options."""


def operator(name: str, domain: str = "") -> Callable[[Operator], Operator]:
    """Put a function into the table."""

    def put(function: Operator) -> Operator:
        assert (domain, name) not in OPERATORS
        OPERATORS[domain, name] = function
        return function

    return put


def options(attributes: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Attributes with their defaults; one that is not named here is refused."""
    unknown = set(attributes) - set(defaults)
    if unknown:
        raise Unsupported(f"attributes {sorted(unknown)}")
    return {**defaults, **attributes}


def padded(inputs: Arrays, count: int) -> list[Any]:
    """All inputs an operator may have, None for those left out at the end."""
    return [*inputs, *[None] * (count - len(inputs))]


def plain(*tensors: Any) -> list[np.ndarray]:
    """Arrays of their own for fastseq's tensors."""
    return [np.array(tensor.numpy()) for tensor in tensors]
