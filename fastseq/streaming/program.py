"""Translate a Sequential of causal layers into a program for `fastseq.sequence.step`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastseq import checks
from fastseq.buffers import aligned
from fastseq.nn import (
    ELU,
    GELU,
    MLP,
    BatchNorm1d,
    Conv1d,
    Dropout,
    Embedding,
    Identity,
    LastStep,
    LayerNorm,
    LeakyReLU,
    LearnedPositions,
    Linear,
    Module,
    MultiheadAttention,
    ReLU,
    Rescale,
    Residual,
    Sequential,
    Sigmoid,
    SiLU,
    SinusoidalPositions,
    Softplus,
    Standardize,
    Tagger,
    Tanh,
    TransformerEncoder,
    TransformerEncoderLayer,
    VariationalDropout,
    WeightDrop,
)
from fastseq.nn.recurrent import Recurrent
from fastseq.sequence import step
from fastseq.sequence.workspace import acc_size, lanes_per_vector
from fastseq.simd import dense, elementwise
from fastseq.streaming.history import nested, step_of

FUNCTIONS: dict[type, int] = {
    ReLU: elementwise.RELU,
    LeakyReLU: elementwise.LEAKY_RELU,
    Sigmoid: elementwise.SIGMOID,
    Tanh: elementwise.TANH,
    SiLU: elementwise.SILU,
}
ACTIVATIONS: dict[str, type[Module]] = {
    "relu": ReLU, "gelu": GELU, "silu": SiLU, "tanh": Tanh, "sigmoid": Sigmoid, "elu": ELU, "leaky_relu": LeakyReLU,
    "softplus": Softplus,
}  # fmt: skip
"""Layers of the functions that an MLP may have."""
PASSES = (Dropout, Identity, LastStep, VariationalDropout)
"""Layers that hand a step on as it is, outside training."""
SIZES: dict[type, str] = {
    Conv1d: "in_channels", MultiheadAttention: "embed_dim", TransformerEncoderLayer: "d_model",
    BatchNorm1d: "num_features", SinusoidalPositions: "features", LearnedPositions: "features",
}  # fmt: skip
"""Where layers that run behind the program say how many features they read."""


class StatePlace(NamedTuple):
    """A recurrent layer's states, h and each memory: places in the vectors, and in a record of all states; sizes."""

    places: tuple[int, ...]
    kept: tuple[int, ...]
    sizes: tuple[int, ...]


class Program(NamedTuple):
    """A translated model: the arrays of `sequence.step`, and where input, output and states are."""

    numbers: np.ndarray
    constants: np.ndarray
    vectors: np.ndarray
    cell: Any
    inputs: int
    outputs: slice
    states: tuple[StatePlace, ...]
    state_size: int

    @property
    def address(self) -> int:
        """The address of the program, which a kernel takes."""
        return self.numbers.ctypes.data


def flatten(model: Module) -> list[tuple[str, Module]]:
    """Return the layers of nested Sequentials, MLPs and Taggers in order, with their dotted names."""
    if isinstance(model, Tagger):  # a step's emissions; the best tags need the whole row
        inner = [(f"encoder.{name}".rstrip("."), layer) for name, layer in flatten(model.encoder)]
        return [*inner, ("drop", model.drop), ("scores", model.scores)]
    if isinstance(model, MLP):
        found = [(f"layers.{number}", layer) for number, layer in enumerate(model.layers)]
        after = [(model.activation, ACTIVATIONS[model.activation]())]
        return [one for dense in found[:-1] for one in (dense, *after)] + found[-1:]
    if not isinstance(model, Sequential):
        return [("", model)]
    found = []
    for name, layer in model.named_children():
        found += [(f"{name}.{inner}".rstrip("."), one) for inner, one in flatten(layer)]
    return found


class _Writer:
    """Collects instructions, constants, and room for vectors."""

    def __init__(self, dtype: np.dtype, inputs: int, rows: int) -> None:
        self.dtype, self.rows = dtype, rows
        self.lanes = lanes_per_vector(dtype)
        self.size = self.constants_size = self.state_size = 0
        self.contents: list[tuple[int, np.ndarray]] = []
        self.numbers: list[int] = []
        self.states: list[StatePlace] = []
        self.cell: Any = None
        self.inputs, self.features = inputs, inputs
        self.source = self.first = self.rooms(inputs)

    def room(self, count: int) -> int:
        """Reserve elements among the vectors, whole lanes, and return their offset."""
        offset = self.size
        self.size += -(-count // self.lanes) * self.lanes
        return offset

    def rooms(self, count: int) -> tuple[int, int]:
        """Reserve a vector for every row; return the place of the first and the distance between them."""
        stride = -(-count // self.lanes) * self.lanes
        return self.room(self.rows * stride), stride

    def put(self, values: np.ndarray) -> int:
        """Add constants and return their offset."""
        flat = np.asarray(values, self.dtype).reshape(-1)
        offset = self.constants_size
        self.constants_size += -(-flat.size // self.lanes) * self.lanes
        self.contents.append((offset, flat))
        return offset

    def instruction(self, operation: int, target: tuple[int, int], outputs: int, *fields: int) -> None:
        """Add an instruction from the current vectors to those at ``target``, which become the current ones."""
        row = [operation, *self.source, *target, self.features, outputs, *fields]
        self.numbers += row + [0] * (step.FIELDS - len(row))
        self.source, self.features = target, outputs

    def recurrent(self, layer: Recurrent) -> None:
        """Add the layers of a stack."""
        self.cell = self.cell or layer.cell
        for number in range(layer.num_layers):
            layout = layer.packed(number).layout
            panels = self.put(layer.packed(number).panels(columns=False)[0])
            z, following = (self.room(self.rows * layout.z_row) for _ in range(2))
            memory = self.room(max(1, layout.memories) * self.rows * layout.units_row)
            acc = self.room(acc_size(layout, self.rows))
            h = z + layout.inputs_padded
            memories = [memory + j * self.rows * layout.units_row for j in range(layout.memories)]
            kept, after = self.state_size, self.state_size + layout.outputs_padded
            self.state_size = after + layout.memories * layout.units_padded
            places = kept, *range(after, self.state_size, layout.units_padded)
            sizes = layout.outputs, *[layout.units] * layout.memories
            self.states.append(StatePlace((h, *memories), places, sizes))
            fields = panels, z, following, memory, acc, kept, layout.units
            self.instruction(step.RECURRENT, (h, layout.z_row), layout.outputs, *fields)

    def linear(self, layer: Linear) -> None:
        """Add a dense layer."""
        weight = layer.weight._data
        columns, depth = weight.shape
        padded = -(-columns // self.lanes) * self.lanes
        panels = np.empty(depth * padded, self.dtype)
        dense.pack_right(weight.reshape(-1), 1, depth, depth, columns, panels, self.lanes)
        start = np.zeros(padded, self.dtype)
        if layer.bias is not None:
            start[:columns] = layer.bias._data
        self.instruction(step.DENSE, self.rooms(padded), columns, self.put(panels), self.put(start))

    def affine(self, operation: int, first: Any, second: Any) -> None:
        """Add a pair of vectors that act per feature; a single number acts on all features."""
        features = max(self.features, first._data.size)
        padded = -(-features // self.lanes) * self.lanes
        pair = []
        for values in (first._data, second._data):
            wide = np.ones(padded, self.dtype)
            wide[:features] = values
            pair.append(self.put(wide))
        self.instruction(operation, self.rooms(features), features, *pair)

    def function(self, kind: int, slope: float) -> None:
        """Add an elementwise function."""
        self.instruction(step.FUNCTION, self.rooms(self.features), self.features, kind, self.put(np.array([slope])))

    def program(self) -> Program:
        """Return what was written; vectors and states are zeros."""
        constants, vectors = aligned(self.constants_size, self.dtype), aligned(self.size, self.dtype)
        constants[:] = vectors[:] = 0
        for offset, values in self.contents:
            constants[offset : offset + values.size] = values
        head = dict.fromkeys(step.HEAD, 0) | {
            "constants": constants.ctypes.data, "vectors": vectors.ctypes.data, "lanes": self.lanes,
            "rows": self.rows, "vectors_size": self.size, "inputs": self.inputs,
            "first": self.first[0], "first_stride": self.first[1], "outputs": self.features,
            "result": self.source[0], "result_stride": self.source[1],
            "instructions": len(self.numbers) // step.FIELDS, "state_size": self.state_size,
        }  # fmt: skip
        numbers = np.array([*head.values(), *self.numbers], np.int64)
        outputs = slice(self.source[0], self.source[0] + self.features)
        return Program(
            numbers, constants, vectors, self.cell, self.inputs, outputs, tuple(self.states), self.state_size
        )


def _first_size(layers: list[tuple[str, Module]]) -> tuple[int, np.dtype]:
    """Return the number of features that the first layer with a fixed size reads, and the element type."""
    for _, layer in layers:
        if isinstance(layer, Recurrent):
            return layer.input_size, layer.dtype
        if isinstance(layer, Linear):
            return layer.in_features, layer.weight.dtype
        if isinstance(layer, (Standardize, Rescale)) and layer.features > 1:
            return layer.features, layer.dtype
        if isinstance(layer, (Residual, WeightDrop)):
            return _first_size(flatten(layer.layer))
        for kind, attribute in SIZES.items():
            if isinstance(layer, kind):
                return getattr(layer, attribute), layer.dtype
        if isinstance(layer, LayerNorm) and len(layer.normalized_shape) == 1:
            return layer.normalized_shape[0], layer.dtype
        if isinstance(layer, TransformerEncoder):
            return _first_size([("", layer.layers[0])])
        if isinstance(layer, Embedding):
            return 1, layer.dtype
    for name, layer in layers:
        if not isinstance(layer, PASSES):
            step_of(layer, _place(name, layer))  # one that looks ahead says so
    raise checks.kind_error("model", "a layer with a fixed number of inputs (LSTM, Linear)", layers[-1][1])


def _place(name: str, layer: Module) -> str:
    return f"model, layer {name or type(layer).__name__!r}"


def translate(model: Module, rows: int = 1) -> tuple[Program, list[Callable[[Any], Any]]]:
    """Translate a model.

    Parameters
    ----------
    model
        A Sequential (nested ones are looked into) or a single layer.
    rows
        How many rows the program shall have room for.

    Returns
    -------
    tuple
        The program for the layers up to the first that has no instruction, and the remaining layers, to be called as
        they are.

    Raises
    ------
    TypeError
        If a layer looks ahead (bidirectional, pooling over time, attention or convolution that is not causal).
    """
    if not isinstance(model, Module):
        raise checks.kind_error("model", "a fastseq.nn module", model)
    layers = flatten(model)
    if not layers:
        raise checks.value_error("model", "at least one layer", "an empty Sequential")
    inputs, dtype = _first_size(layers)
    writer = _Writer(dtype, inputs, rows)
    rest: list[Callable[[Any], Any]] = []
    for number, (name, layer) in enumerate(layers):
        place = _place(name, layer)
        if isinstance(layer, Recurrent):
            if layer.bidirectional:
                raise TypeError(f"{place}: expected a layer that looks back only, got a bidirectional one")
            if rest or writer.cell not in (None, layer.cell):  # a program has one kind of cell: the others get another
                rest.append(nested(layers[number:]))
                break
        if isinstance(layer, PASSES) and not getattr(layer, "bidirectional", False):
            continue
        if rest or not _write(writer, layer, place):
            rest.append(step_of(layer, place))
    return writer.program(), rest


def _write(writer: _Writer, layer: Module, place: str) -> bool:
    """Write a layer's instruction, or return False if there is none for it."""
    wanted = {Recurrent: "input_size", Linear: "in_features"}
    for kind, attribute in wanted.items():
        if isinstance(layer, kind) and getattr(layer, attribute) != writer.features:
            raise checks.value_error(place, f"{writer.features} inputs, as it is given", getattr(layer, attribute))
    own = next((t._data.dtype for t in (*layer.parameters(), *layer.buffers())), getattr(layer, "dtype", writer.dtype))
    if own != writer.dtype:
        raise TypeError(f"{place}: expected numbers of {writer.dtype} like the layers before it, got {own}")
    if isinstance(layer, Recurrent):
        writer.recurrent(layer)
    elif isinstance(layer, Linear):
        writer.linear(layer)
    elif isinstance(layer, Standardize):
        writer.affine(step.STANDARDIZE, layer.mean, layer.std)
    elif isinstance(layer, Rescale):
        writer.affine(step.RESCALE, layer.scale, layer.shift)
    elif type(layer) in FUNCTIONS:
        writer.function(FUNCTIONS[type(layer)], float(getattr(layer, "negative_slope", 0.0)))
    else:
        return False
    return True
