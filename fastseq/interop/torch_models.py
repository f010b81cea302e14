"""PyTorch's weights into fastseq's models and back; models built from nothing but names and shapes."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks, nn
from fastseq.interop.gates import CELLS, MATRICES, cell_of, direction_of, make, options_of
from fastseq.interop.source import Source
from fastseq.interop.torch_files import Arrays, arrays_of, read_state, without_prefix
from fastseq.nn.module import Module

RECURRENT = re.compile(r"(weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)_l(\d+)(_reverse)?")
ADVICE = "build the model and give it: from_torch(state_dict, model)"


def from_torch(
    source: Mapping[str, Any] | str | PathLike[str],
    model: Module | None = None,
    *,
    pool: Module | None = None,
    num_heads: int | None = None,
    nonlinearity: str = "tanh",
) -> Module:
    """Return a model with PyTorch's weights.

    Parameters
    ----------
    source
        A ``state_dict()``; or the path of a file: safetensors, or of ``torch.save``, which is read with
        ``torch.load(weights_only=True)`` and runs no code.
    model
        A model whose parameters have these names and shapes; it is filled and returned. Without one, the model is
        made from names and shapes: recurrent layers, Linear, LayerNorm, Embedding, MultiheadAttention in the order
        in which they come, in a Sequential with PyTorch's names (or the layer itself, where names have no path).
    pool
        A layer to put behind the last recurrent layer, such as ``nn.LastStep()``: a state dict does not name layers
        without weights. Without one, what follows is applied step by step.
    num_heads
        Of attention layers, which do not show it.
    nonlinearity
        Of RNN layers, which do not show it: ``"tanh"`` or ``"relu"``.

    Returns
    -------
    Module
        In evaluation mode if it was made here; a given model in the mode that it had.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If the weights do not fit the model, or names and shapes do not say what the model is: the message names the
        layer. Nothing is changed then. A ModelFileError, which is one, where a file is to blame.
    ImportError
        If the file takes PyTorch, which is not installed.

    Notes
    -----
    Dropout is not in a state dict either: layers made here have none.
    """
    if model is not None and not isinstance(model, Module):
        raise checks.kind_error("model", "a Module or None", model)
    if pool is not None and not isinstance(pool, Module):
        raise checks.kind_error("pool", "a Module or None", pool)
    if isinstance(source, Mapping):
        return _filled(arrays_of(source), model, pool, num_heads, nonlinearity)
    if not isinstance(source, (str, PathLike)):
        raise checks.kind_error("source", "a mapping from names to tensors, or a path", source)
    arrays = read_state(source)
    with Source(source).building(arrays, "the weights of a model that fastseq can hold"):
        return _filled(arrays, model, pool, num_heads, nonlinearity)


def _filled(
    arrays: Arrays, model: Module | None, pool: Module | None, num_heads: int | None, nonlinearity: str
) -> Module:
    if model is None:
        return _built(without_prefix(arrays), pool, num_heads, nonlinearity).eval()
    for name, layer in model.named_modules():
        _check_counterpart(name or "model", layer)
    model.load_state_dict(without_prefix(arrays, model.state_dict()))
    return model


def _check_counterpart(name: str, layer: Module) -> None:
    """Refuse a layer whose weights have PyTorch's names and shapes, but not PyTorch's meaning."""
    cell = cell_of(layer)
    if cell == "GRU" and not options_of(layer)["reset_after"]:
        raise checks.value_error(
            f"{name} (GRU)", "reset_after=True, the only GRU that PyTorch has", "reset_after=False"
        )
    if cell == "LSTM" and options_of(layer)["activation"] != "tanh":
        raise checks.value_error(f"{name} (LSTM)", "activation='tanh', the only one that PyTorch has", "'relu'")


def to_torch(model: Module) -> OrderedDict[str, Any]:
    """Return a model's weights as PyTorch takes them.

    Parameters
    ----------
    model
        The model.

    Returns
    -------
    OrderedDict of str to torch.Tensor
        For ``load_state_dict`` of the same layers in PyTorch; copies, on the CPU.

    Raises
    ------
    TypeError
        If it is no model.
    ValueError
        If a layer computes what no layer of PyTorch does with weights of these names.
    ImportError
        If PyTorch is not installed.
    """
    if not isinstance(model, Module):
        raise checks.kind_error("model", "a Module", model)
    torch = checks.require("torch", "torch")
    for name, layer in model.named_modules():
        _check_counterpart(name or "model", layer)
    return OrderedDict((name, torch.from_numpy(value.numpy().copy())) for name, value in model.state_dict().items())


# -- models from names and shapes ---------------------------------------------------------------------------------


class _Built:
    """A layer made from a group of arrays, with what is known of its ends."""

    def __init__(self, path: str, module: Module, inputs: int | None, outputs: int) -> None:
        self.path, self.module, self.inputs, self.outputs = path, module, inputs, outputs


def _refuse(path: str, expected: str, found: str) -> ValueError:
    return ValueError(f"state_dict: expected {expected} at {path!r}, got {found}; {ADVICE}")


def _groups(arrays: Arrays) -> dict[str, Arrays]:
    """Return arrays by the path of the layer they belong to, in order."""
    groups: dict[str, Arrays] = {}
    for name, values in arrays.items():
        path, _, attribute = name.rpartition(".")
        groups.setdefault(path, {})[attribute] = values
    for path in [path for path in groups if "in_proj_bias" in groups[path] or "in_proj_weight" in groups[path]]:
        inner = f"{path}.out_proj" if path else "out_proj"
        for attribute, values in groups.pop(inner, {}).items():
            groups[path][f"out_proj.{attribute}"] = values
    return groups


def _built(arrays: Arrays, pool: Module | None, num_heads: int | None, nonlinearity: str) -> Module:
    if not arrays:
        raise checks.value_error("state_dict", "arrays", "none")
    groups = _groups(arrays)
    layers: list[_Built] = []
    for position, (path, group) in enumerate(groups.items()):
        following = [_inputs(other) for other in list(groups.values())[position + 1 : position + 2]]
        layers.append(_layer(path, group, num_heads, nonlinearity, following[0] if following else None))
        module = layers[-1].module
        module.load_state_dict(group)
    _check_chain(layers)
    if len(layers) == 1 and layers[0].path == "" and pool is None:
        return layers[0].module
    if any(layer.path == "" for layer in layers):
        raise _refuse("", "layers that all have names", "weights of the model itself beside those of layers")
    if pool is not None:
        places = [k for k, layer in enumerate(layers) if cell_of(layer.module)]
        if not places:
            raise checks.value_error("pool", "None for a model without recurrent layers", type(pool).__name__)
        last = layers[places[-1]]
        inside = last.path.rpartition(".")[0]
        name = f"{inside}.pool" if inside else "pool"
        if name in groups or any(path.startswith(name + ".") for path in groups):
            raise _refuse(name, "no layer of that name, which the pool is to have", "one")
        layers.insert(places[-1] + 1, _Built(name, pool, None, last.outputs))
    return _nested([(layer.path.split("."), layer.module) for layer in layers], "")


def _nested(layers: list[tuple[list[str], Module]], path: str) -> Module:
    """Return Sequentials within Sequentials, as the dots in the names say."""
    children: dict[str, list[tuple[list[str], Module]]] = {}
    last = None
    for names, module in layers:
        if names[0] in children and names[0] != last:
            raise _refuse(f"{path}{names[0]}", "the layers of one part behind one another", "others between them")
        last = names[0]
        children.setdefault(last, []).append((names[1:], module))
    numbers = [int(name) for name in children if name.isdigit()]
    if numbers and numbers != list(range(len(children))):
        gap = next((k for k in range(len(children)) if k not in numbers), numbers[-1])
        raise _refuse(f"{path}{gap}", "a layer with weights at every position", "one without, which may be any")
    made = {}
    for name, inner in children.items():
        single = len(inner) == 1 and not inner[0][0]
        made[name] = inner[0][1] if single else _nested(inner, f"{path}{name}.")
    return nn.Sequential(made)


def _check_chain(layers: list[_Built]) -> None:
    for before, after in zip(layers, layers[1:], strict=False):
        if after.inputs is not None and after.inputs != before.outputs:
            raise _refuse(after.path, f"{before.outputs} inputs, what {before.path!r} gives", f"{after.inputs}")
        if isinstance(before.module, nn.Linear) and isinstance(after.module, nn.Linear):
            raise _refuse(after.path, "a Linear layer behind another kind", "two in a row: what is between has no name")


def _inputs(group: Arrays) -> int | None:
    """Return how many features a layer takes, as far as shapes show."""
    for name in ("weight_ih_l0", "in_proj_weight", "weight"):
        if name in group and group[name].ndim:
            return group[name].shape[-1]
    return None


def _layer(path: str, group: Arrays, num_heads: int | None, nonlinearity: str, following: int | None) -> _Built:
    if any(RECURRENT.fullmatch(name) for name in group):
        return _recurrent(path, group, nonlinearity)
    if any(name.startswith("in_proj") for name in group):
        return _attention(path, group, num_heads)
    weight, names = group.get("weight"), set(group)
    if weight is not None and weight.dtype.kind == "f" and names <= {"weight", "bias"} and 0 not in weight.shape:
        kind: Any = weight.dtype
        bias = group.get("bias")
        if weight.ndim == 1 and (bias is None or bias.shape == weight.shape):
            size = weight.shape[0]
            return _Built(path, nn.LayerNorm(size, bias=bias is not None, dtype=kind), size, size)
        if weight.ndim == 2 and (bias is not None or not _is_embedding(path, weight, following)):
            outputs, inputs = weight.shape
            return _Built(path, nn.Linear(inputs, outputs, bias is not None, dtype=kind), inputs, outputs)
        if weight.ndim == 2:
            return _Built(path, nn.Embedding(*weight.shape, dtype=kind), None, weight.shape[1])
    shapes = ", ".join(f"{name} {values.shape}" for name, values in group.items())
    raise _refuse(path, "an LSTM, GRU, RNN, Linear, LayerNorm, Embedding or MultiheadAttention", shapes[:300])


def _is_embedding(path: str, weight: NDArray[Any], following: int | None) -> bool:
    """Say whether a lone matrix is a table of vectors: by its name, or because only then the next layer fits."""
    if "emb" in path.lower():
        return True
    table, linear = following == weight.shape[1], following == weight.shape[0]
    if table == linear and following is not None:
        raise _refuse(path, "a layer whose shapes say what it is", f"weight {weight.shape}: Linear or Embedding")
    return table


def _recurrent(path: str, group: Arrays, nonlinearity: str) -> _Built:
    for name, values in group.items():
        if not RECURRENT.fullmatch(name):
            raise _refuse(path, "parameters of a recurrent layer", name)
        if values.dtype.kind != "f":
            raise _refuse(path, f"floats in {name}", str(values.dtype))
    if any(name.startswith("weight_hr") for name in group):
        return _projected(path, group)
    hidden = group["weight_hh_l0"] if "weight_hh_l0" in group else np.empty(0)
    inputs = group["weight_ih_l0"] if "weight_ih_l0" in group else np.empty(0)
    if hidden.ndim != 2 or inputs.ndim != 2 or 0 in (*hidden.shape, *inputs.shape):
        raise _refuse(path, "weight_ih_l0 and weight_hh_l0", ", ".join(f"{k} {v.shape}" for k, v in group.items()))
    rows, units = hidden.shape
    plain = {name: len(cell.own) for name, cell in CELLS.items() if not cell.vectors}
    cells = [name for name, count in plain.items() if count * units == rows]
    if not cells:
        gates = " or ".join(f"{count} ({name})" for name, count in plain.items())
        raise _refuse(path, f"{gates} times {units} rows in weight_hh_l0", f"{rows}")
    both, bias = "weight_ih_l0_reverse" in group, "bias_ih_l0" in group
    stack = []
    for k in range(1 + max(int(found[2]) for found in map(RECURRENT.fullmatch, group) if found)):
        endings = [f"_l{k}", f"_l{k}_reverse"][: 2 if both else 1]
        stack.append([direction_of(group, end) for end in endings])
        wanted = {name + end for end in endings for name in MATRICES[: None if bias else 2]}
        missing = sorted(wanted - set(group))
        if missing:
            raise _refuse(path, missing[0], "no such array")
    wanted = {name.rpartition("_l")[0] for name in group}
    if not bias and any(name.startswith("bias") for name in wanted):
        raise _refuse(path, "bias_ih and bias_hh in all layers or in none", ", ".join(sorted(group)))
    options: dict[str, Any] = {"nonlinearity": nonlinearity} if cells[0] == "RNN" else {}
    layer = make(cells[0], stack, **options)
    return _Built(path, layer, inputs.shape[1], units * (2 if both else 1))


def _projected(path: str, group: Arrays) -> _Built:
    """Return an LSTM with projections."""
    first, matrix = (group.get(name, np.empty(0)) for name in ("weight_ih_l0", "weight_hr_l0"))
    if first.ndim != 2 or matrix.ndim != 2 or 0 in (*first.shape, *matrix.shape):
        raise _refuse(path, "weight_ih_l0 and weight_hr_l0", ", ".join(f"{k} {v.shape}" for k, v in group.items()))
    (size, units), both = matrix.shape, "weight_ih_l0_reverse" in group
    if size >= units or first.shape[0] != 4 * units:
        raise _refuse(path, f"weight_hr_l0 (P, H), P < H, and {4 * units} rows in weight_ih_l0", f"{first.shape}")
    layers = 1 + max(int(found[2]) for found in map(RECURRENT.fullmatch, group) if found)
    bias: Any = "bias_ih_l0" in group
    layer = nn.LSTM(first.shape[1], units, layers, bias, bidirectional=both, proj_size=size, dtype=first.dtype)
    wanted = {name: parameter.shape for name, parameter in layer.named_parameters()}
    for name in sorted({*wanted, *group}):
        found = group[name].shape if name in group else "no such array"
        if found != wanted.get(name):
            raise _refuse(path, f"{name} {wanted.get(name, 'not there')}", f"{found}")
    layer.load_state_dict(group)
    return _Built(path, layer, first.shape[1], size * (2 if both else 1))


def _attention(path: str, group: Arrays, num_heads: int | None) -> _Built:
    weight = group.get("in_proj_weight")
    if weight is None or weight.ndim != 2 or weight.shape[0] != 3 * weight.shape[1] or weight.dtype.kind != "f":
        raise _refuse(path, "in_proj_weight (3E, E)", ", ".join(f"{k} {v.shape}" for k, v in group.items()))
    if num_heads is None:
        raise _refuse(path, "num_heads=, which an attention layer's weights do not show,", "None")
    size, kind = weight.shape[1], weight.dtype
    more = {"bias": "in_proj_bias" in group, "add_bias_kv": "bias_k" in group}
    layer = nn.MultiheadAttention(size, num_heads, **more, dtype=kind)  # type: ignore[arg-type]
    return _Built(path, layer, size, size)
