"""``from_onnx``: an ONNX file as a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from os import PathLike
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastseq import checks, nn
from fastseq.interop.gates import CELLS, cell_of, make
from fastseq.interop.onnx_graph import ABSENT, CHECKSUM, PRODUCER, checksum
from fastseq.interop.onnx_numpy import COMPUTED, compute
from fastseq.interop.onnx_values import Array, Flow, Initial, Known, Masks, Probe, State, Step
from fastseq.interop.source import Source, as_floats
from fastseq.nn.module import Module
from fastseq.persistence import ModelFileError

OLDEST_OPSET = 7


class TimeFirst(Exception):
    """The graph's input turned out to be (T, B, F)."""


class Node(NamedTuple):
    """One node of a graph.

    Parameters
    ----------
    operator, name
        ONNX's.
    attributes
        By name; tensors as arrays, text as str.
    outputs
        Names; "" for one that nobody wants.
    """

    operator: str
    name: str
    attributes: dict[str, Any]
    outputs: list[str]


Rule = Callable[["Reading", Node, list[Any]], list[Any]]
#: Operator to function (reading, node, inputs) -> outputs.
RULES: dict[str, Rule] = {}


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Put a function into the table of rules.

    Parameters
    ----------
    *operators
        What it reads.
    """

    def put(function: Rule) -> Rule:
        for operator in operators:
            RULES[operator] = function
        return function

    return put


def from_onnx(path: str | PathLike[str]) -> Module:
    """Return the model in an ONNX file.

    Parameters
    ----------
    path
        The file: a chain of recurrent operators, weighted sums, LayerNormalization, look-ups, activations, pooling
        over steps, attention of a row's steps to one another made of basic operators, and residuals around such
        chains. Sizes, lengths and masks may be computed in the graph.

    Returns
    -------
    Module
        A Sequential in evaluation mode; the recurrent layer itself where the file gives out its final states. Layers
        take arrays in the file's order of axes, and ``lengths`` in place of ``sequence_lens``. Recurrent operators
        behind one another become one layer with ``num_layers``.

    Raises
    ------
    ModelFileError
        If the file is damaged, of another kind, or holds what fastseq does not compute: the message names the
        operator, what was expected of it and what it has.
    ImportError
        If onnx is not installed.
    OSError
        If the file cannot be read.

    Notes
    -----
    Nothing in the file is run, and nothing outside it is opened: weights in other files are refused.
    """
    source = Source(path)
    model = _parsed(source)
    refused: list[tuple[int, ModelFileError]] = []
    for time_first in (False, True):
        reading = Reading(source, model, time_first)
        try:
            return reading.model().eval()
        except TimeFirst:
            continue
        except ModelFileError as error:
            refused.append((reading.position, error))
    # whichever order of axes explains more of the graph is the one to complain about
    raise max(refused, key=lambda entry: entry[0])[1]


def _parsed(source: Source) -> Any:
    onnx = checks.require("onnx", "onnx")
    from google.protobuf.message import DecodeError

    with open(source.path, "rb") as file:
        data = file.read()
    model = onnx.ModelProto()
    with source.guarded("an ONNX model", DecodeError):
        model.ParseFromString(data)
    if not model.HasField("graph") or not model.opset_import:
        source.fail("an ONNX model", "another kind of file: it has no graph")
    for tensor in model.graph.initializer:
        _check_tensor(source, onnx, tensor)
    with source.guarded("a valid ONNX model", onnx.checker.ValidationError, RuntimeError):
        onnx.checker.check_model(model)
    claimed = [entry.value for entry in model.metadata_props if entry.key == CHECKSUM]
    actual = checksum(model)
    if claimed != [actual] and (claimed or model.producer_name == PRODUCER):
        source.fail(
            f"the checksum {actual} of the graph",
            f"{claimed[0] if claimed else 'none'}: the file is damaged (or another program has changed what fastseq "
            f"wrote: without the metadata entry {CHECKSUM!r}, and with another producer_name, it is read as it is)",
        )
    version = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if version < OLDEST_OPSET:
        source.fail(f"opset {OLDEST_OPSET} or later", f"{version}")
    return model


def _check_tensor(source: Source, onnx: Any, tensor: Any) -> None:
    """Hold a tensor's shape against the bytes that are there, before anything is allocated for it."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        source.fail(f"initializer {tensor.name!r} in the file itself", "a reference to another file")
    with source.guarded(f"a kind of numbers for initializer {tensor.name!r}", KeyError):
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if tensor.raw_data and len(tensor.raw_data) != math.prod(tensor.dims) * dtype.itemsize:
        source.fail(f"{math.prod(tensor.dims)} numbers in initializer {tensor.name!r}", f"{len(tensor.raw_data)} bytes")
    if any(n < 0 for n in tensor.dims) or math.prod(tensor.dims) * dtype.itemsize > 8 * source.size:
        source.fail(f"a shape for initializer {tensor.name!r} that fits the file", f"{list(tensor.dims)}")


class Reading:
    """One pass over a graph.

    Parameters
    ----------
    source
        The file.
    model
        The onnx.ModelProto.
    time_first
        Whether the input is (T, B, F).
    """

    def __init__(self, source: Source, model: Any, time_first: bool) -> None:
        self.source, self.proto, self.time_first = source, model, time_first
        self.onnx = checks.require("onnx", "onnx")
        self.opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        self.values: dict[str, Any] = {"": None}
        self.initials: list[str] = []
        self.node = Node("graph", "", {}, [])
        self.position = 0  # how many nodes have been read
        self.arrays = {tensor.name: self._array(tensor) for tensor in model.graph.initializer}
        self.masks = self._declare_inputs()

    def fail(self, expected: str, found: object) -> NoReturn:
        """Refuse the file, with the node that is being read.

        Parameters
        ----------
        expected
            What should be there.
        found
            What is there.
        """
        name = f" {self.node.name!r}" if self.node.name else ""
        self.source.fail(f"{expected} in {self.node.operator}{name}", found)

    def _array(self, tensor: Any) -> Array:
        with self.source.guarded(f"numbers in tensor {tensor.name!r}", KeyError):
            found = np.asarray(self.onnx.numpy_helper.to_array(tensor))
            if found.dtype.kind not in "fiub" and found.dtype.name not in ("bfloat16", "float16"):
                raise ValueError(f"dtype {found.dtype}")
            return found if found.dtype.kind in "iub" else as_floats(found)

    # -- inputs -------------------------------------------------------------------------------------------------

    def _declare_inputs(self) -> Masks:
        """Sort out which input is which; constants and inputs become values."""
        self.values |= {name: Known(values, True) for name, values in self.arrays.items()}
        main: Any = None
        lengths: list[str] = []
        for entry in self.proto.graph.input:
            kind = entry.type.tensor_type
            integer = kind.elem_type in (self.onnx.TensorProto.INT32, self.onnx.TensorProto.INT64)
            rank = len(kind.shape.dim) if kind.HasField("shape") else 3
            default = self.arrays.get(entry.name)
            if default is not None and not (integer and rank == 1 and default.tolist() == [ABSENT]):
                continue
            if integer and rank == 1:
                lengths.append(entry.name)
            elif main is None and rank == (2 if integer else rank) and rank in (2, 3):
                main = entry
            elif main is not None and not integer and rank == 3:
                self.initials.append(entry.name)
                self.values[entry.name] = Initial(entry.name)
            else:
                self.source.fail(f"input {entry.name!r} of a sequence, of lengths or of a state", f"{rank} axes")
        if main is None or len(lengths) > 1:
            self.source.fail("an input (B, T, F) and at most one of lengths (B,)", f"{len(lengths)} of lengths")
        integer = main.type.tensor_type.elem_type in (self.onnx.TensorProto.INT32, self.onnx.TensorProto.INT64)
        rank = 2 if integer else len(main.type.tensor_type.shape.dim) or 3
        axes = ("TB" if self.time_first else "BT") if rank == 3 or integer else "B"
        given = [dim.dim_value for dim in main.type.tensor_type.shape.dim] or [0] * rank
        sizes = {"B": 3, "T": 5, "F": 0}
        sizes |= {axis: size for axis, size in zip(axes + "F", given, strict=False) if size}
        rows, steps = sizes["B"], sizes["T"]
        if rows > 1 << 12 or steps > 1 << 16 or rows * steps > 1 << 20:
            self.source.fail(f"an input {main.name!r} whose sizes are left open, or small", f"{given}")
        probe = Probe(rows, steps, (steps - 1 - 2 * np.arange(rows)) % max(steps, 1))
        whole = axes if integer else axes + "F"
        self.values[main.name] = Flow(None, whole, tuple(sizes[axis] for axis in whole))
        for name in lengths:
            if steps < 3:
                self.source.fail("an input of at least 3 steps beside lengths", f"{steps}")
            kind = next(entry for entry in self.proto.graph.input if entry.name == name).type.tensor_type
            self.values[name] = Known(
                probe.lengths.astype(self.onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)), False
            )
        return Masks(probe)

    # -- nodes --------------------------------------------------------------------------------------------------

    def model(self) -> Module:
        """Return the model; raises TimeFirst if the input's order of axes is the other one."""
        with self.source.building(self.arrays):
            for proto in self.proto.graph.node:
                self._read(proto)
                self.position += 1
            return self._assembled()

    def _read(self, proto: Any) -> None:
        attributes: dict[str, Any] = {}
        operator = proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}"
        self.node = Node(operator, proto.name or (proto.output[0] if proto.output else ""), attributes, [*proto.output])
        for entry in proto.attribute:
            value = self.onnx.helper.get_attribute_value(entry)
            if isinstance(value, self.onnx.TensorProto):
                _check_tensor(self.source, self.onnx, value)
                value = self._array(value)
            elif isinstance(value, bytes):
                value = value.decode("utf-8", "replace")
            elif isinstance(value, list) and value and isinstance(value[0], bytes):
                value = [item.decode("utf-8", "replace") for item in value]
            attributes[entry.name] = value
        unknown = [name for name in proto.input if name not in self.values]
        if unknown:
            self.fail("inputs that are there", repr(unknown[0]))
        inputs = [self.values[name] for name in proto.input]
        for name, value in zip(proto.output, self._computed(inputs), strict=False):
            if name:
                self.values[name] = value

    def _computed(self, inputs: list[Any]) -> list[Any]:
        operator = self.node.operator
        if operator == "Constant":
            return [Known(self._constant(), True)]
        if operator == "Shape" and isinstance(inputs[0], (Flow, State)):
            whole = np.array(inputs[0].sizes, np.int64)
            part = slice(self.node.attributes.get("start", 0), self.node.attributes.get("end"))
            return [Known(whole[part], False)]
        if operator in COMPUTED and all(value is None or isinstance(value, Known) for value in inputs):
            try:
                found = compute(operator, [value and value.values for value in inputs], self.node.attributes)
            except ValueError as error:
                self.fail("inputs that fit", str(error))
            return [Known(found, all(value.constant for value in inputs if value is not None))]
        if operator not in RULES:
            self.fail("an operator that fastseq can read", operator)
        return RULES[operator](self, self.node, inputs)

    def _constant(self) -> Array:
        name, value = next(iter(self.node.attributes.items()), ("nothing", None))
        if name not in ("value", "value_int", "value_ints", "value_float", "value_floats"):
            self.fail("a constant of numbers", name)
        if isinstance(value, np.ndarray):
            return value
        return np.array(value, np.int64 if "int" in name else np.float32)

    # -- for the rules ------------------------------------------------------------------------------------------

    def check_attributes(self, **allowed: Any) -> None:
        """Refuse attributes other than these, or with other values than these; None lets any value through.

        Parameters
        ----------
        **allowed
            The values.
        """
        for name, value in self.node.attributes.items():
            if name not in allowed:
                self.fail(f"no attribute {name!r}", repr(value))
            if allowed[name] is not None and value != allowed[name]:
                self.fail(f"{name} {allowed[name]!r}", repr(value))

    def constant(self, what: str, value: Any, rank: int | None = None) -> Array:
        """Return a constant of the file.

        Parameters
        ----------
        what
            Its name, for messages.
        value
            What is known of it.
        rank
            How many axes it must have.
        """
        if not isinstance(value, Known) or not value.constant:
            self.fail(f"a constant for {what}", "a computed value")
        if rank is not None and value.values.ndim != rank:
            self.fail(f"{rank} axes of {what}", f"shape {value.values.shape}")
        return value.values

    def flow(self, what: str, value: Any) -> Flow:
        """Return features.

        Parameters
        ----------
        what
            The input's name, for messages.
        value
            What is known of it.
        """
        if not isinstance(value, Flow):
            kinds = {Known: "a constant or a size", State: "a final state"}
            self.fail(f"the sequence as {what}", kinds.get(type(value), "something else"))
        return value

    # -- the end ------------------------------------------------------------------------------------------------

    def _assembled(self) -> Module:
        self.node = Node("graph", self.proto.graph.name, {}, [])
        outputs = [self.values.get(entry.name) for entry in self.proto.graph.output]
        flow = outputs[0] if outputs else None
        if not isinstance(flow, Flow):
            self.fail("the sequence's features as the first output", type(flow).__name__)
        from fastseq.interop.onnx_rules import settled

        flow = settled(self, flow)
        steps = chain(flow.step, None)
        self._check_axes(flow)
        self._check_lengths(steps)
        layers = _merged(steps, not self.time_first)
        if len(outputs) > 1 or self.initials:
            self._check_states(steps, layers, outputs[1:])
            return layers[0]
        return nn.Sequential(*layers)

    def _check_axes(self, flow: Flow) -> None:
        order = "TB" if self.time_first else "BT"
        if flow.axes not in (order + "F", "BF") and not flow.axes.endswith("DH") and flow.axes != "TDBH":
            self.fail(f"an output with the input's order of axes, {order}F", flow.axes)

    def _check_lengths(self, steps: list[Step]) -> None:
        found: dict[bool, str] = {}
        for step in _all_steps(steps):
            if step.uses is not None:
                found[step.uses] = step.node
        if len(found) > 1:
            self.fail(
                f"lengths for all layers that look across steps or for none: {found[True]} has them", found[False]
            )

    def _check_states(self, steps: list[Step], layers: list[Module], outputs: list[Any]) -> None:
        if len(layers) != 1 or cell_of(layers[0]) is None:
            self.fail("states of a file that is one recurrent layer", ", ".join(type(m).__name__ for m in layers))
        count = CELLS[str(cell_of(layers[0]))].states
        wanted = tuple(step for step in steps)
        for number, state in enumerate(outputs):
            if not isinstance(state, State) or state.steps != wanted or state.number != number or state.axes != "DBH":
                self.fail(
                    "final states h_n, c_n of all layers, in this order, behind the outputs", f"output {number + 1}"
                )
        if self.initials and len(self.initials) != count:
            self.fail(f"{count} initial states or none", f"{len(self.initials)}")
        for place, step in enumerate(steps):
            for number, name in enumerate(self.initials):
                given = step.weights.initial[number]
                layer = None if len(steps) == 1 else place
                if (
                    given is None
                    or given.name != name
                    or given.layer not in (layer, place if len(steps) == 1 else layer)
                ):
                    self.fail(f"layer {place}'s part of the input {name!r} as its initial state", repr(given))


def chain(last: Step | None, first: Step | None) -> list[Step]:
    """Return the steps behind ``first``, up to ``last``, in order.

    Parameters
    ----------
    last
        Where to end.
    first
        Where to begin; None for the graph's input.
    """
    found: list[Step] = []
    while last is not None and last is not first:
        found.append(last)
        last = last.before
    return found[::-1]


def _all_steps(steps: list[Step]) -> list[Step]:
    """Return steps and those inside residuals."""
    found = []
    for step in steps:
        found += [step, *(_all_steps(step.weights) if isinstance(step.weights, list) else [])]
    return found


def merged_modules(steps: list[Step], batch_first: bool) -> list[Module]:
    """Return the layers of a chain; recurrent ones behind one another become one where they fit.

    Parameters
    ----------
    steps
        The chain.
    batch_first
        As of the layers.
    """
    return _merged(steps, batch_first)


def _merged(steps: list[Step], batch_first: bool) -> list[Module]:
    layers: list[Module] = []
    stack: list[Any] = []
    for step in steps:
        own = step.weights if cell_of(step.module) else None
        if own is not None and stack and own.alike(stack[-1]):
            stack.append(own)
            layers[-1] = make(own.cell, [one.directions for one in stack], batch_first, **own.options)
            continue
        stack = [] if own is None else [own]
        layers.append(step.module)
    return layers


__all__ = ["ModelFileError", "Node", "Reading", "TimeFirst", "chain", "from_onnx", "merged_modules", "rule"]
