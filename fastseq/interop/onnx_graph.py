"""An ONNX graph that is being written: nodes, constants, and what is known of steps and lengths."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastseq import __version__, checks

OPSET = 20  # has LayerNormalization and Gelu; ONNX Runtime takes it since 1.17
IR_VERSION = 9
CHECKSUM = "fastseq_checksum"
INPUT = "x"
PRODUCER = "fastseq"

#: What stands for a length that is not given, where lengths are optional.
ABSENT = -1


class Graph:
    """Nodes in order and constants; every float constant becomes float32.

    Parameters
    ----------
    batch_first
        Whether arrays are (B, T, F) or (T, B, F).
    """

    def __init__(self, batch_first: bool) -> None:
        self.onnx = checks.require("onnx", "onnx")
        self.batch_first = batch_first
        self.axes = ("batch", "steps") if batch_first else ("steps", "batch")
        self.nodes: list[Any] = []
        self.constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.initializers: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.lengths: str | None = None  # int32 (B,), None if all rows are full
        self.place = ""  # path of the module that is being written
        self._known: dict[str, str] = {}

    # -- pieces -------------------------------------------------------------------------------------------------

    def constant(self, values: Any, dtype: Any = None) -> str:
        """Return the name of a constant; equal ones are kept once.

        Parameters
        ----------
        values
            Numbers or an array.
        dtype
            Element type; float32 for floats unless given.
        """
        found = np.asarray(values, dtype)
        if found.dtype.kind == "f":
            found = found.astype(np.float32)
        found = np.ascontiguousarray(found).reshape(found.shape)
        key = (found.dtype.str, found.shape, found.tobytes())
        if key not in self.constants:
            name = self.constants[key] = f"c{len(self.constants)}"
            self.initializers.append(self.onnx.numpy_helper.from_array(found, name))
        return self.constants[key]

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; return the output's name.

        Parameters
        ----------
        operator
            ONNX's name.
        *inputs
            Names of values.
        **attributes
            ONNX's.
        """
        return self.add_several(operator, 1, *inputs, **attributes)[0]

    def add_several(self, operator: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with several outputs; return the outputs' names.

        Parameters
        ----------
        operator
            ONNX's name.
        count
            How many outputs.
        *inputs
            Names of values.
        **attributes
            ONNX's.
        """
        number = len(self.nodes)
        outputs = [f"v{number}" if count == 1 else f"v{number}_{k}" for k in range(count)]
        name = f"{self.place or 'model'}/{operator}_{number}"
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), outputs, name, **attributes))
        return outputs

    # -- steps and lengths --------------------------------------------------------------------------------------

    def once(self, key: str, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node that is needed in several places, once.

        Parameters
        ----------
        key
            What it computes.
        operator
            ONNX's name.
        *inputs
            Names of values.
        **attributes
            ONNX's.
        """
        if key not in self._known:
            self._known[key] = self.add(operator, *inputs, **attributes)
        return self._known[key]

    def sizes(self) -> tuple[str, str]:
        """Return the names of B and T, each int64 (1,), of the graph's input."""
        shape = self.once("shape", "Shape", INPUT, start=0, end=2)
        rows, steps = (0, 1) if self.batch_first else (1, 0)
        one = [self.once(f"size{k}", "Gather", shape, self.constant([k], np.int64)) for k in (rows, steps)]
        return one[0], one[1]

    def optional_lengths(self, given: str) -> None:
        """Let lengths that are not given be T.

        Parameters
        ----------
        given
            int32 (B,), or one number below 0.
        """
        rows, steps = self.sizes()
        full = self.add("Cast", steps, to=self.onnx.TensorProto.INT32)
        absent = self.add("Less", given, self.constant([0], np.int32))
        self.lengths = self.add("Expand", self.add("Where", absent, full, given), rows)

    def positions(self) -> str:
        """Return the name of 0 .. T - 1, int32 (T,)."""
        _, steps = self.sizes()
        number = self.once("steps", "Squeeze", steps, self.constant([0], np.int64))
        count = self.once("steps32", "Cast", number, to=self.onnx.TensorProto.INT32)
        return self.once("positions", "Range", self.constant(0, np.int32), count, self.constant(1, np.int32))

    def column(self, key: str, values: str, *axes: int) -> str:
        """Return values with further axes of one element.

        Parameters
        ----------
        key
            What it is.
        values
            The values.
        *axes
            Where the new axes stand.
        """
        return self.once(f"{key}{axes}", "Unsqueeze", values, self.constant(list(axes), np.int64))

    def valid(self) -> str:
        """Return the name of the mask of valid steps, (B, T) or (T, B); there must be lengths."""
        assert self.lengths is not None
        rows = self.column("lengths", self.lengths, 1 if self.batch_first else 0)
        steps = self.column("positions", self.positions(), 0 if self.batch_first else 1)
        return self.once("valid", "Less", steps, rows)

    def zeroed(self, values: str) -> str:
        """Return values with zeros past the lengths.

        Parameters
        ----------
        values
            (B, T, F) or (T, B, F).
        """
        if self.lengths is None:
            return values
        return self.add("Where", self.column("valid", self.valid(), 2), values, self.constant(0.0))

    # -- the whole ----------------------------------------------------------------------------------------------

    def value_info(self, name: str, dtype: Any, shape: Iterable[int | str | None]) -> Any:
        """Return the description of an input or output.

        Parameters
        ----------
        name
            Its name.
        dtype
            NumPy's element type.
        shape
            Sizes, names of sizes, or None for those that are not known.
        """
        element = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.onnx.helper.make_tensor_value_info(name, element, list(shape))

    def finish(self, name: str, value: str, shape: Iterable[int | str | None]) -> None:
        """Give a value out.

        Parameters
        ----------
        name
            The output's name.
        value
            The value's.
        shape
            Sizes, names of sizes, or None for those that are not known.
        """
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name], f"output/{name}"))
        self.outputs.append(self.value_info(name, np.float32, shape))

    def serialized(self) -> bytes:
        """Return the model as bytes, with a checksum."""
        helper = self.onnx.helper
        graph = helper.make_graph(self.nodes, "fastseq", self.inputs, self.outputs, self.initializers)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name=PRODUCER, producer_version=__version__
        )
        self.onnx.checker.check_model(model)
        entry = model.metadata_props.add()
        entry.key, entry.value = CHECKSUM, checksum(model)
        return model.SerializeToString(deterministic=True)


def checksum(model: Any) -> str:
    """Return a digest of a model without its metadata.

    Parameters
    ----------
    model
        An onnx.ModelProto.

    Returns
    -------
    str
        32 hexadecimal digits (BLAKE2b).
    """
    bare = type(model)()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    return hashlib.blake2b(bare.SerializeToString(deterministic=True), digest_size=16).hexdigest()
