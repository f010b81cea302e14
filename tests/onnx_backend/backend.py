"""fastseq as a backend of ``onnx.backend``: a model's nodes one after the other, each by a function of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.base import Backend, BackendRep

from tests.onnx_backend import attention, losses, recurrent, training  # noqa: F401 - they fill the table
from tests.onnx_backend.operators import OPERATORS, Unsupported


def value_of(attribute: onnx.AttributeProto) -> Any:
    """An attribute's value, text as str."""
    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


class FastseqRep(BackendRep):
    """A model that is ready to run."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for node in graph.node:
            if (node.domain, node.op_type) not in OPERATORS:
                raise Unsupported(f"operator {node.domain}.{node.op_type}")

    def run(self, inputs: Sequence[np.ndarray], **kwargs: Any) -> tuple[np.ndarray, ...]:
        """The graph's outputs for its inputs, in their order."""
        names = [one.name for one in self.graph.input if one.name not in self.constants]
        values: dict[str, Any] = {"": None} | self.constants | dict(zip(names, inputs, strict=True))
        for node in self.graph.node:
            attributes = {one.name: value_of(one) for one in node.attribute}
            found = OPERATORS[node.domain, node.op_type](attributes, [values[name] for name in node.input])
            values |= {name: value for name, value in zip(node.output, found, strict=False) if name}
        return tuple(np.asarray(values[one.name]) for one in self.graph.output)


class FastseqBackend(Backend):
    """fastseq on the CPU."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> FastseqRep:
        """A model that is ready to run, after ONNX's own checks."""
        super().prepare(model, device, **kwargs)
        return FastseqRep(model.graph)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether this is the CPU."""
        return device == "CPU"
