"""Keras's models: from a file, and weights for ``set_weights``."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks, nn
from fastseq.interop.gates import KERAS_CELLS, cell_of, directions_of, options_of, to_keras_arrays
from fastseq.interop.keras_files import KerasFile, opened, snake_case
from fastseq.interop.keras_layers import Layer, described, made
from fastseq.interop.source import Held, as_floats
from fastseq.nn.module import Module

Array = NDArray[Any]

MAX_LAYERS = 4096


class _Object:
    """A model in memory, of Keras or of ``fastseq.models``, as `KerasFile` shows one in a file."""

    def __init__(self, model: Any) -> None:
        self.source = Held(str(model.name))
        self._weights = {layer.name: layer.get_weights() for layer in model.layers}
        config = json.loads(json.dumps(model.get_config(), default=str))  # as a file would have it
        if "input_structure" in config:
            self.source.fail("a Sequential model", f"a {type(model).__name__} of inputs and outputs")
        if isinstance(config.get("input"), dict):  # where fastseq's keep their input
            inner = config["input"]["config"]
            shape = {"name": "", "batch_shape": [inner["batch_size"], *inner["shape"]], "dtype": inner["dtype"]}
            config = {**config, "layers": [{"class_name": "InputLayer", "config": shape}, *config["layers"]]}
        self.config = {"class_name": type(model).__name__, "config": config}

    def arrays(self, kind: str, name: str) -> list[Array]:
        """Return a layer's weights."""
        return [as_floats(np.asarray(values)) for values in self._weights.get(name, [])]


@contextmanager
def _shown(model: Any) -> Iterator[Any]:
    """Yield what shows a model: one in memory, or the file of that path."""
    if hasattr(model, "get_config") and hasattr(model, "layers"):
        yield _Object(model)
        return
    with opened(model) as file:
        yield file


def from_keras(path: Any) -> Module:
    """Return the model in a file of Keras; or a Keras-like model as one of ``fastseq.nn``.

    Parameters
    ----------
    path
        A model of Keras or of ``fastseq.models`` that has been built; or the path of what ``model.save`` wrote: a
        ``.keras`` file, or an ``.h5`` file (of Keras 2 as well). Sequential models, and Keras's functional ones that
        are a chain: LSTM, GRU in both forms, SimpleRNN, Bidirectional, Dense, Embedding, LayerNormalization,
        BatchNormalization, Conv1D, TimeDistributed, dropout, activations, pooling over windows and over all steps,
        Flatten, Masking.

    Returns
    -------
    Module
        A Sequential in evaluation mode, with Keras's names. A layer without return_sequences is followed by
        ``LastStep``. In place of masks it takes ``lengths``; past them outputs are zero, where Keras repeats the last
        one.

    Raises
    ------
    ModelFileError
        If the file is damaged, of another kind, or holds what fastseq does not compute: the message names the layer,
        what was expected of it and what it has.
    ImportError
        If h5py is not installed; Keras is not needed.
    OSError
        If the file cannot be read.

    Warns
    -----
    UserWarning
        If the model has masks; or noise in training that is left out, such as recurrent dropout.
    """
    with _shown(path) as file:
        chain = _chain(file)
        layers: list[Layer] = []
        rank = 3
        for kind, name, config in chain:
            arrays = [] if kind == "InputLayer" else file.arrays(kind, name)
            layers.append(Layer(file.source, kind, name, config, arrays, rank))
        counted = {f"{k} {n}": values for k, layer in enumerate(layers) for n, values in enumerate(layer.arrays)}
        modules: dict[str, Module] = {}
        with file.source.building(counted):
            for layer in layers:
                layer.rank = rank
                rank = _rank(layer)
                if layer.kind == "InputLayer":
                    continue
                for module in made(layer):
                    if layer.config.get("trainable") is False:
                        module.requires_grad_(False)
                    modules[_free_name(layer, module, modules)] = module
    for layer in layers:
        for remark in dict.fromkeys(layer.remarks):
            warnings.warn(remark, stacklevel=2)
    return nn.Sequential(modules).eval()


def _rank(layer: Layer) -> int:
    """Return how many axes a layer's output has."""
    config = layer.config
    if layer.kind == "InputLayer":
        shape = config.get("batch_shape", config.get("batch_input_shape"))
        if not isinstance(shape, list) or len(shape) not in (2, 3):
            layer.fail("an input (B, T, F), (B, T) or (B, F)", repr(shape))
        return len(shape)
    if layer.kind == "Embedding":
        return layer.rank + (layer.rank == 2)
    inner = config.get("layer") if layer.kind == "Bidirectional" else {"config": config}
    settings: Any = inner.get("config") if isinstance(inner, dict) else None
    if isinstance(settings, dict) and settings.get("return_sequences") is False:
        return 2
    return 2 if layer.kind.startswith("Global") or layer.kind == "Flatten" else layer.rank


def _free_name(layer: Layer, module: Module, taken: dict[str, Module]) -> str:
    """Return a name for a module: Keras's, where it can be one, for that which has the layer's weights."""
    wanted = layer.name.replace(".", "_") or "layer"
    if layer.arrays and not module.state_dict():
        wanted += f"_{snake_case(type(module).__name__)}"
    probe = nn.Sequential()
    while wanted in taken or wanted in probe.__dict__ or hasattr(type(probe), wanted):
        wanted += "_"
    return wanted


# -- the order of layers ------------------------------------------------------------------------------------------


def _chain(file: KerasFile) -> list[tuple[str, str, dict[str, Any]]]:
    """Return class, name and arguments of the layers, in the order in which they are applied."""
    source = file.source
    kind, name, config = described(source, file.config, "the model")
    entries = config.get("layers")
    if kind not in ("Sequential", "Functional", "Model"):
        source.fail("a Sequential model, or a functional one", f"{kind} {name!r}")
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_LAYERS:
        source.fail(f"1 to {MAX_LAYERS} layers in {kind} {name!r}", "none" if not entries else "others")
    found = [described(source, entry, f"layer {place}") for place, entry in enumerate(entries)]
    names = [label for _, label, _ in found]
    if len(set(names)) != len(names):
        source.fail("layers with names of their own", "one name twice")
    if kind == "Sequential":
        shape = found[0][2].get("batch_input_shape")  # Keras 2 left the input layer out
        if found[0][0] != "InputLayer" and isinstance(shape, list):
            found.insert(0, ("InputLayer", "", {"batch_shape": shape}))
        return found
    by_name = {label: place for place, label in enumerate(names)}
    end = _endpoint(file, config, "output_layers")
    start = _endpoint(file, config, "input_layers")
    order: list[int] = []
    current: str | None = end
    while current is not None:
        if current not in by_name or by_name[current] in order:
            source.fail("layers that are in the file, each once", repr(current))
        order.append(by_name[current])
        if current == start:
            break
        current = _before(file, entries[by_name[current]], current)
    unused = [place for place in range(len(found)) if place not in order and not _makes_a_mask(entries[place])]
    if unused:
        label, other = found[unused[0]][1], found[unused[0]][0]
        source.fail("layers one behind another", f"layer {label!r} ({other}) beside them")
    return [found[place] for place in order[::-1]]


def _makes_a_mask(entry: dict[str, Any]) -> bool:
    """Say whether this is one of the operations by which Keras computes masks, which are layers in newer files."""
    return entry.get("class_name") in ("NotEqual", "Any") and str(entry.get("module", "keras")).startswith("keras")


def _endpoint(file: KerasFile, config: dict[str, Any], what: str) -> str:
    found = config.get(what)
    while isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, list) or len(found) != 3 or not isinstance(found[0], str) or found[1:] != [0, 0]:
        file.source.fail(f"one of {what}", f"{found}")
    return found[0]


def _before(file: KerasFile, entry: dict[str, Any], name: str) -> str:
    """Return the name of the layer whose output a layer reads."""
    nodes, what = entry.get("inbound_nodes"), f"layer {name!r} ({entry.get('class_name')})"
    if not isinstance(nodes, list) or len(nodes) != 1:
        file.source.fail(f"{what} used once", f"{len(nodes) if isinstance(nodes, list) else 0} times")
    node = nodes[0]
    if isinstance(node, dict):
        arguments, options = node.get("args"), node.get("kwargs") or {}
        tensors = [_history(one) for one in arguments] if isinstance(arguments, list) else []
    else:  # Keras 2: [[name, node, tensor, options]]
        node = node if isinstance(node, list) else []
        tensors = [one[:3] if isinstance(one, list) and len(one) in (3, 4) else None for one in node]
        options = node[0][3] if tensors and isinstance(node[0], list) and len(node[0]) == 4 else {}
    if len(tensors) != 1 or tensors[0] is None or not isinstance(tensors[0][0], str) or tensors[0][1:] != [0, 0]:
        file.source.fail(f"{what} applied to one layer's output", "other arguments")
    if not isinstance(options, dict):
        file.source.fail(f"{what} with options by name", options)
    for option, value in options.items():
        if value not in (None, False) and option != "mask":
            file.source.fail(f"{what} called without {option}", "some")
    return tensors[0][0]


def _history(argument: Any) -> Any:
    config = argument.get("config") if isinstance(argument, dict) else None
    found = config.get("keras_history") if isinstance(config, dict) else None
    return found if isinstance(found, list) and len(found) == 3 else None


# -- and back -----------------------------------------------------------------------------------------------------


def to_keras_weights(model: Module) -> list[Array]:
    """Return a model's weights as Keras takes them.

    Parameters
    ----------
    model
        A layer or a Sequential of recurrent layers, Linear (Dense), Embedding, LayerNorm, BatchNorm1d, Conv1d, PReLU
        (with ``shared_axes=[1]``), MultiheadAttention, MLP, and layers without weights. A recurrent layer with
        ``num_layers`` stands for as many layers of Keras, one with ``bidirectional`` for its Bidirectional.

    Returns
    -------
    list of ndarray
        For ``set_weights`` of the model of the same layers in Keras.

    Raises
    ------
    TypeError
        If a layer's weights have no counterpart in Keras; the message names it.
    """
    if not isinstance(model, Module):
        raise checks.kind_error("model", "a Module", model)
    return _weights("model", model)


def _weights(path: str, module: Any) -> list[Array]:
    cell = cell_of(module)
    if cell is not None and cell in KERAS_CELLS.values():
        separate = cell == "GRU" and options_of(module)["reset_after"]
        every = [one for directions in directions_of(module) for one in directions]
        return [array for one in every for array in to_keras_arrays(cell, one, separate)]
    own = {name: tensor.numpy().copy() for name, tensor in module._parameters.items() if tensor is not None}
    bias = [own["bias"]] if "bias" in own else []
    if isinstance(module, nn.Linear):
        return [np.ascontiguousarray(own["weight"].T), *bias]
    if isinstance(module, nn.Conv1d):
        return [np.ascontiguousarray(own["weight"].transpose(2, 1, 0)), *bias]
    if isinstance(module, (nn.Embedding, nn.LayerNorm, nn.BatchNorm1d)):
        learned = {name for name, tensor in module._parameters.items() if tensor is not None and tensor.requires_grad}
        averages = [t.numpy().copy() for n, t in module.named_buffers() if n in ("running_mean", "running_var")]
        if bias and learned == {"bias"}:
            return [*bias, *averages]  # a normalisation without scale, as from_keras builds it
        return [*own.values(), *averages]
    if isinstance(module, nn.PReLU):
        return [own["weight"][None]]
    if isinstance(module, nn.MultiheadAttention):
        return _attention(path, module)
    if isinstance(module, (nn.Sequential, nn.MLP, nn.Bidirectional)):
        children = module.layers if isinstance(module, nn.MLP) else module
        return [a for name, child in children.named_children() for a in _weights(f"{path}.{name}", child)]
    if module.state_dict():
        raise TypeError(f"{path}: expected a layer whose weights Keras has too, got {type(module).__name__}")
    return []


def _attention(path: str, module: nn.MultiheadAttention) -> list[Array]:
    """Return kernels (E, N, K) and biases (N, K) of queries, keys and values, then (N, K, E) and (E,)."""
    size, heads = module.embed_dim, module.num_heads
    if module.in_proj_weight is None:
        raise TypeError(f"{path}: expected kdim and vdim of {size}, got {module.kdim} and {module.vdim}")
    if module.add_bias_kv or module.add_zero_attn:
        raise TypeError(f"{path}: expected attention without extra keys, which Keras does not have, got one with them")
    found: list[Array] = []
    for part in range(3):
        rows = slice(part * size, (part + 1) * size)
        found.append(module.in_proj_weight.numpy()[rows].T.reshape(size, heads, size // heads).copy())
        if module.in_proj_bias is not None:
            found.append(module.in_proj_bias.numpy()[rows].reshape(heads, size // heads).copy())
    found.append(module.out_proj.weight.numpy().T.reshape(heads, size // heads, size).copy())
    return found if module.out_proj.bias is None else [*found, module.out_proj.bias.numpy().copy()]
