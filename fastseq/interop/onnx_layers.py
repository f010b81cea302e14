"""How each layer is written as ONNX's operators: one function per kind of layer, found in ``WRITERS``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastseq import checks, nn
from fastseq.interop.gates import CELLS, cell_of, directions_of, options_of, to_onnx_arrays
from fastseq.interop.onnx_graph import Graph
from fastseq.nn.module import Module


class Writing:
    """One model that is being written.

    Parameters
    ----------
    graph
        Where to.
    rank
        How many axes the input has, that of features included.
    """

    def __init__(self, graph: Graph, rank: int) -> None:
        self.graph = graph
        self.rank = rank  # of what has been written last
        self.states: list[str] = []  # names of initial states; empty for zeros
        self.finals: list[str] = []  # names of the last recurrent layer's final states


Writer = Callable[[Writing, Any, str], str]
WRITERS: dict[type[Module], Writer] = {}


def writer(*kinds: type[Module]) -> Callable[[Writer], Writer]:
    """Put a function (writing, module, name of its input) -> name of its output into the table.

    Parameters
    ----------
    *kinds
        The layers that it writes; not their subclasses.
    """

    def put(function: Writer) -> Writer:
        for kind in kinds:
            WRITERS[kind] = function
        return function

    return put


def write(writing: Writing, path: str, module: Module, x: str) -> str:
    """Write a module's nodes.

    Parameters
    ----------
    writing
        Where to.
    path
        The module's path in the model.
    module
        The module.
    x
        Name of its input.

    Returns
    -------
    str
        Name of its output.

    Raises
    ------
    TypeError
        If no operator computes what it does.
    """
    kind = type(module)
    if kind is nn.Sequential:
        for name, child in module.named_children():
            x = write(writing, f"{path}.{name}" if path else name, child, x)
        return x
    if kind is nn.Residual:
        inner: Any = module
        before = writing.graph.zeroed(x) if inner.layer.uses_lengths else x
        return writing.graph.add("Add", before, write(writing, f"{path}.layer" if path else "layer", inner.layer, x))
    if kind not in WRITERS:
        known = ", ".join(sorted(found.__name__ for found in WRITERS))
        raise TypeError(
            f"model{'.' if path else ''}{path}: expected one of fastseq's layers that ONNX's operators can compute "
            f"({known}, Residual, Sequential), got {kind.__name__}"
        )
    writing.graph.place = path
    try:
        return WRITERS[kind](writing, module, x)
    except ValueError as error:
        raise ValueError(f"model{'.' if path else ''}{path} ({kind.__name__}): {error}") from None


def width_of(module: Module) -> int | None:
    """Return how many features a layer takes, None if any.

    Parameters
    ----------
    module
        A layer.
    """
    for name in ("input_size", "in_features", "embed_dim", "d_model"):
        if hasattr(module, name):
            return int(getattr(module, name))
    shape = getattr(module, "normalized_shape", None)
    if shape is not None:
        return int(shape[-1])
    features = getattr(module, "features", None)
    return features if isinstance(features, int) and features > 1 else None


# -- recurrent layers ---------------------------------------------------------------------------------------------


def _recurrent(writing: Writing, layer: Any, x: str) -> str:
    graph, cell, options = writing.graph, cell_of(layer), options_of(layer)
    assert cell is not None
    both, count = layer.num_directions == 2, CELLS[cell].states
    attributes: dict[str, Any] = {
        "hidden_size": layer.hidden_size,
        "direction": "bidirectional" if both else "forward",
    }
    if cell == "GRU":
        attributes["linear_before_reset"] = int(options["reset_after"])
    if cell == "RNN":
        attributes["activations"] = [options["nonlinearity"].capitalize()] * layer.num_directions
    if options.get("activation", "tanh") != "tanh":
        attributes["activations"] = ["Sigmoid", "Relu", "Relu"] * layer.num_directions
    if graph.batch_first:
        x = graph.add("Transpose", x, perm=[1, 0, 2])
    initial = [[""] * count] * layer.num_layers
    if writing.states:
        sizes = graph.constant([layer.num_directions] * layer.num_layers, np.int64)
        split = [graph.add_several("Split", layer.num_layers, state, sizes, axis=0) for state in writing.states]
        initial = [list(states) for states in zip(*split, strict=True)]
    finals: list[list[str]] = []
    for directions, states in zip(directions_of(layer), initial, strict=True):
        w, r, b, p = to_onnx_arrays(cell, directions)
        inputs = [x, graph.constant(w), graph.constant(r), "" if b is None else graph.constant(b)]
        inputs += [graph.lengths or "", *states, "" if p is None else graph.constant(p)]
        while not inputs[-1]:
            inputs.pop()
        y, *last = graph.add_several(CELLS[cell].operator, 1 + count, *inputs, **attributes)
        finals.append(last)
        if both:
            joined = graph.constant([0, 0, 2 * layer.hidden_size], np.int64)
            x = graph.add("Reshape", graph.add("Transpose", y, perm=[0, 2, 1, 3]), joined)
        else:
            x = graph.add("Squeeze", y, graph.constant([1], np.int64))
    writing.finals = [
        states[0] if len(states) == 1 else graph.add("Concat", *states, axis=0) for states in zip(*finals, strict=True)
    ]
    if writing.states and graph.lengths is not None:  # ONNX Runtime gives zeros for a row of length 0, not its state
        some = graph.add("Less", graph.constant(0, np.int32), graph.column("lengths", graph.lengths, 1))
        writing.finals = [graph.add("Where", some, *pair) for pair in zip(writing.finals, writing.states, strict=True)]
    return graph.add("Transpose", x, perm=[1, 0, 2]) if graph.batch_first else x


for _cell in CELLS:
    if hasattr(nn, _cell):
        writer(getattr(nn, _cell))(_recurrent)


# -- step by step -------------------------------------------------------------------------------------------------


@writer(nn.Linear)
def linear(writing: Writing, layer: nn.Linear, x: str) -> str:
    """Write a weighted sum of the features.

    Parameters
    ----------
    writing
        Where to.
    layer
        The layer.
    x
        Name of its input.
    """
    return affine(writing.graph, x, layer.weight, layer.bias)


def affine(graph: Graph, x: str, weight: Any, bias: Any) -> str:
    """Write x @ weight.T + bias.

    Parameters
    ----------
    graph
        Where to.
    x
        Name of the input.
    weight
        Tensor (O, I).
    bias
        Tensor (O,) or None.
    """
    product = graph.add("MatMul", x, graph.constant(weight.numpy().T))
    return product if bias is None else graph.add("Add", product, graph.constant(bias.numpy()))


def normalized(graph: Graph, x: str, layer: nn.LayerNorm) -> str:
    """Write a layer normalisation, whatever the lengths.

    Parameters
    ----------
    graph
        Where to.
    x
        Name of the input.
    layer
        The layer.
    """
    shape = layer.normalized_shape
    weight = np.ones(shape) if layer.weight is None else layer.weight.numpy()
    inputs = [x, graph.constant(weight), *([] if layer.bias is None else [graph.constant(layer.bias.numpy())])]
    return graph.add("LayerNormalization", *inputs, axis=-len(shape), epsilon=layer.eps)


@writer(nn.LayerNorm)
def layer_norm(writing: Writing, layer: nn.LayerNorm, x: str) -> str:
    """Write a layer normalisation; zeros past the lengths.

    Parameters
    ----------
    writing
        Where to.
    layer
        The layer.
    x
        Name of its input.
    """
    if len(layer.normalized_shape) != 1:
        raise checks.value_error("normalized_shape", "one size", layer.normalized_shape)
    return writing.graph.zeroed(normalized(writing.graph, x, layer))


@writer(nn.Embedding)
def embedding(writing: Writing, layer: nn.Embedding, x: str) -> str:
    """Write a look-up; zeros past the lengths.

    Parameters
    ----------
    writing
        Where to.
    layer
        The layer.
    x
        Name of its input.
    """
    if layer.max_norm is not None:
        raise checks.value_error("max_norm", "None", layer.max_norm)
    graph = writing.graph
    if graph.lengths is not None:  # indices in the padding may be anything
        x = graph.add("Where", graph.valid(), x, graph.constant(0, np.int64))
    return graph.zeroed(graph.add("Gather", graph.constant(layer.weight.numpy()), x, axis=0))


@writer(nn.Dropout, nn.VariationalDropout, nn.Identity)
def nothing(writing: Writing, layer: Module, x: str) -> str:
    """Write nothing: in evaluation these layers return their input.

    Parameters
    ----------
    writing
        Where to.
    layer
        The layer.
    x
        Name of its input.
    """
    return x


def activation(graph: Graph, word: str, x: str, **options: Any) -> str:
    """Write an activation function.

    Parameters
    ----------
    graph
        Where to.
    word
        Its name in ``fastseq.nn.functional``.
    x
        Name of the input.
    **options
        The function's.
    """
    plain = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}
    if word in plain:
        return graph.add(plain[word], x)
    if word == "silu":
        return graph.add("Mul", x, graph.add("Sigmoid", x))
    if word == "gelu":
        return graph.add("Gelu", x, approximate=options.get("approximate", "none"))
    if word == "elu":
        return graph.add("Elu", x, alpha=options.get("alpha", 1.0))
    if word == "leaky_relu":
        return graph.add("LeakyRelu", x, alpha=options.get("negative_slope", 0.01))
    if word in ("softmax", "log_softmax"):
        return graph.add("Softmax" if word == "softmax" else "LogSoftmax", x, axis=options["dim"])
    beta, threshold = options.get("beta", 1.0), options.get("threshold", 20.0)
    if threshold < 15:  # from there on, log(1 + exp(x)) is x in float32
        raise checks.value_error("threshold", "a number >= 15", threshold)
    if beta == 1.0:
        return graph.add("Softplus", x)
    return graph.add("Div", graph.add("Softplus", graph.add("Mul", x, graph.constant(beta))), graph.constant(beta))


#: Activation layers and the functions that they are.
ACTIVATIONS: dict[type[Module], str] = {
    nn.ReLU: "relu", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh", nn.SiLU: "silu", nn.GELU: "gelu", nn.ELU: "elu",
    nn.LeakyReLU: "leaky_relu", nn.Softplus: "softplus", nn.Softmax: "softmax", nn.LogSoftmax: "log_softmax",
}  # fmt: skip


@writer(*ACTIVATIONS)
def activation_layer(writing: Writing, layer: Module, x: str) -> str:
    """Write an activation layer.

    Parameters
    ----------
    writing
        Where to.
    layer
        The layer.
    x
        Name of its input.
    """
    return activation(writing.graph, ACTIVATIONS[type(layer)], x, **layer.config())


@writer(nn.MLP)
def mlp(writing: Writing, layer: nn.MLP, x: str) -> str:
    """Write dense layers with activations between them.

    Parameters
    ----------
    writing
        Where to.
    layer
        The layer.
    x
        Name of its input.
    """
    dense: list[Any] = list(layer.layers)
    for number, one in enumerate(dense):
        x = affine(writing.graph, x, one.weight, one.bias)
        if number < len(dense) - 1:
            x = activation(writing.graph, layer.activation, x)
    return writing.graph.zeroed(x)


@writer(nn.Standardize)
def standardize(writing: Writing, layer: nn.Standardize, x: str) -> str:
    """Write (x - mean) / std.

    Parameters
    ----------
    writing
        Where to.
    layer
        The layer.
    x
        Name of its input.
    """
    graph = writing.graph
    return graph.add("Div", graph.add("Sub", x, graph.constant(layer.mean.numpy())), graph.constant(layer.std.numpy()))


@writer(nn.Rescale)
def rescale(writing: Writing, layer: nn.Rescale, x: str) -> str:
    """Write x * scale + shift.

    Parameters
    ----------
    writing
        Where to.
    layer
        The layer.
    x
        Name of its input.
    """
    graph = writing.graph
    scaled = graph.add("Mul", x, graph.constant(layer.scale.numpy()))
    return graph.add("Add", scaled, graph.constant(layer.shift.numpy()))
