"""Save and load models: the architecture as JSON, the weights as arrays, nothing else.

A model is a tree of built-in layers. A node of the tree is ``{"type": name, "config": arguments, "children": ...}``;
only containers, and layers that are built around others, have children. Loading looks names up in a fixed table, checks
arguments against the arrays that are really in the file, and never runs code from it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import __version__, checks, nn
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init
from fastseq.nn.module import LoadResult, Module
from fastseq.persistence.arrays import ModelFileError, read_arrays, write_arrays
from fastseq.persistence.atomic import as_text
from fastseq.persistence.values import Packer

FORMAT = 1
MAX_DEPTH = 32
#: Base classes and lists without a forward: no model is one.
_NO_LAYERS = {"Module", "ModuleList", "ModuleDict", "Parameter"}

Path = str | os.PathLike[str]


#: Models of Keras's face, each with the module that it is in: loaded only where a file names one.
_FACES = {"models.Sequential": "fastseq.models", "models.Model": "fastseq.models"}


def layer_type(name: Any) -> type[Module] | None:
    """Return the class that a model file calls so; None if there is none.

    Parameters
    ----------
    name
        What stands in the file.
    """
    if isinstance(name, str) and name in _FACES:
        return getattr(import_module(_FACES[name]), name.rpartition(".")[2])
    return layer_types().get(name) if isinstance(name, str) else None


def type_name(kind: type[Module]) -> str:
    """Return what a model file calls a class; its own name if it may not stand in one.

    Parameters
    ----------
    kind
        The class of a layer or model.
    """
    face = f"models.{kind.__name__}"
    return face if kind.__module__.startswith(_FACES.get(face, "-")) else kind.__name__


@cache
def layer_types() -> dict[str, type[Module]]:
    """Return the layers that a model file may name: those that ``fastseq.nn`` exports, losses aside.

    Returns
    -------
    dict of str to type
        Name to class.
    """
    found = {name: getattr(nn, name) for name in nn.__all__ if name not in _NO_LAYERS and not name.endswith("Loss")}
    return {name: kind for name, kind in found.items() if isinstance(kind, type) and issubclass(kind, Module)}


def save(model: Any, path: Path, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a model built from fastseq's own layers to one file; or a ``state_dict()``, or a dict of such and numbers.

    Parameters
    ----------
    model
        The model. Or a dict (or list, or Tensor), in which there may be dicts, lists, Tensors, arrays, numbers, texts
        and None, as PyTorch's listings save checkpoints.
    path
        Where to; a safetensors file. It is replaced as a whole or not at all.
    metadata
        JSON values to keep with it, such as names of features; ``read_metadata`` returns them.

    Raises
    ------
    TypeError
        If the model or a part of it is not one of fastseq's own layers, or ``metadata`` holds other values.
    ValueError
        If a weight is not finite, or ``metadata`` are nested too deeply or hold numbers that no reader takes.
    OSError
        If the file cannot be written.
    """
    if isinstance(model, (Mapping, list, tuple, Tensor)) and metadata is None:
        packer = Packer(argument="model")
        values = packer.pack(model)
        write_arrays(
            path, packer.arrays, {"kind": "values", "format": FORMAT, "fastseq": __version__, "values": values}
        )
        return
    _check_model(model)
    as_text(path)
    tree = _describe(model, "model", 0)
    arrays, shared = _named_arrays(model)
    document = {
        "kind": "model",
        "format": FORMAT,
        "fastseq": __version__,
        "dtype": _main_dtype(arrays),
        "model": tree,
        "shared": shared,
        "frozen": [name for name, p in model.named_parameters() if not p.requires_grad],
        "metadata": _json_values(metadata),
    }
    write_arrays(path, arrays, document)


def check_savable(model: Module) -> None:
    """Raise what `save` would raise for a model's layers, before any work is put into it.

    Parameters
    ----------
    model
        The model.

    Raises
    ------
    TypeError
        If the model or a part of it is not one of fastseq's own layers.
    """
    _check_model(model)
    _describe(model, "model", 0)


def load(path: Path, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """Read a model, or a dict of values, that ``save`` wrote.

    Parameters
    ----------
    path
        The file.
    map_location
        ``"cpu"`` or None.
    weights_only
        Stands here for PyTorch's listings; no file's code ever runs.

    Returns
    -------
    Module
        The model, in evaluation mode; ``train()`` switches dropout and the like on again. Or the values, tuples as
        lists.

    Raises
    ------
    ModelFileError
        If the file is damaged, of another kind, or names what this version does not know.
    OSError
        If it cannot be read.

    Notes
    -----
    Loading runs no code from the file, draws no random numbers, and takes memory in proportion to the file's size.
    """
    if map_location is not None and not checks.is_device("map_location", map_location):
        raise checks.kind_error("map_location", "'cpu' or None", map_location)
    arrays, document = _read(path, "model", "values")
    if document["kind"] == "values":
        try:
            return Packer(arrays).unpack(document["values"])
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
            raise ModelFileError(path, "whole values", f"{type(error).__name__}: {error}"[:300]) from error
    shared, frozen = document.get("shared", {}), document.get("frozen", [])
    if not isinstance(shared, dict) or not all(isinstance(name, str) for name in shared.values()):
        raise ModelFileError(path, "names of shared arrays", repr(shared)[:100])
    if not isinstance(frozen, list) or not all(isinstance(name, str) for name in frozen):
        raise ModelFileError(path, "names of frozen parameters", repr(frozen)[:100])
    given = dict(arrays)
    for alias, name in shared.items():
        if alias in arrays or name not in arrays:
            raise ModelFileError(path, "a shared array that is in the file once", f"{alias!r} for {name!r}")
        given[alias] = arrays[name]
    plan = init.Plan(len(given), sum(values.size for values in given.values()))
    try:
        with init.rebuilding(plan):
            model = _build(path, document.get("model"), "model", 0)
    except (TypeError, ValueError, OverflowError, MemoryError, ArithmeticError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(path, "layers that fit the arrays in the file", f"{error}"[:300]) from error
    _fill(path, model, given)
    _share(model, shared)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name in frozen:
            parameter.requires_grad = False
    return model.eval()


def read_metadata(path: Path) -> dict[str, Any]:
    """Return what was given to ``save`` as ``metadata``.

    Parameters
    ----------
    path
        A file that ``save`` wrote.

    Returns
    -------
    dict
        JSON values.

    Raises
    ------
    ModelFileError
        If the file is damaged or no model.
    """
    found = _read(path, "model")[1].get("metadata", {})
    if not isinstance(found, dict):
        raise ModelFileError(path, "metadata with names", repr(found)[:100])
    return found


def save_state(model: Module, path: Path) -> None:
    """Write the weights of any Module, without its architecture.

    Parameters
    ----------
    model
        The model; of any class.
    path
        Where to; a safetensors file. It is replaced as a whole or not at all.

    Raises
    ------
    ValueError
        If a weight is not finite.
    OSError
        If the file cannot be written.
    """
    _check_model(model)
    arrays, shared = _named_arrays(model)
    write_arrays(path, arrays, {"kind": "state", "format": FORMAT, "fastseq": __version__, "shared": shared})


def load_state(model: Module, path: Path, *, strict: bool = True) -> LoadResult:
    """Copy weights from a file into a model that is there already.

    Parameters
    ----------
    model
        The model.
    path
        A file of ``save_state`` or ``save``, or a safetensors file of another program with the same names.
    strict
        Whether missing and unknown names are errors.

    Returns
    -------
    LoadResult
        ``missing_keys`` and ``unexpected_keys``.

    Raises
    ------
    ModelFileError
        If the file is damaged or its arrays do not fit; the model is unchanged then.
    """
    _check_model(model)
    arrays, document = read_arrays(path)
    if document is not None:
        _check_format(path, document, ("state", "model"))
        for alias, name in document.get("shared", {}).items():
            if name in arrays:
                arrays[alias] = arrays[name]
    try:
        return model.load_state_dict(arrays, strict=strict)
    except ValueError as error:
        raise ModelFileError(path, f"the weights of this {type(model).__name__}", str(error)) from error


def _json_values(metadata: Any) -> dict[str, Any]:
    """Return metadata as a dict, or raise unless it holds JSON values only."""
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping) or not all(isinstance(name, str) for name in metadata):
        raise checks.kind_error("metadata", "a mapping of names to JSON values", metadata)
    try:
        json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"metadata: expected JSON values (arrays as lists), got one that is none: {error}") from None
    return dict(metadata)


def _check_model(model: Any) -> None:
    if not isinstance(model, Module):
        raise checks.kind_error("model", "a Module", model)


def _describe(module: Module, path: str, depth: int) -> dict[str, Any]:
    """Return a module's node of the tree."""
    name = type_name(type(module))
    if layer_type(name) is not type(module):
        if type(module).__module__.startswith("fastseq."):
            raise TypeError(f"{path}: expected a layer that a file can hold, got {type(module).__name__}")
        raise TypeError(
            f"{path}: expected one of fastseq's own layers, got {type(module).__module__}.{type(module).__name__}; "
            "a file cannot hold a class of yours. Keep its weights instead: fs.save_state(model, path), and "
            "fs.load_state(model, path) into a model that you have built"
        )
    if depth > MAX_DEPTH:
        raise ValueError(f"{path}: expected containers nested at most {MAX_DEPTH} deep, got more")
    node: dict[str, Any] = {"type": name, "config": module.config()}
    if isinstance(module, nn.Sequential) or module._parts:
        children = [(key, child) for key, child in module.named_children() if key in (module._parts or (key,))]
        node["children"] = [[key, _describe(child, f"{path}.{key}", depth + 1)] for key, child in children]
    return node


def _build(path: Path, node: Any, place: str, depth: int) -> Module:
    """Build the module that a node describes."""
    if not isinstance(node, dict) or not {"type", "config"} <= set(node) <= {"type", "config", "children"}:
        raise ModelFileError(path, f"a layer's type and configuration at {place}", repr(node)[:100])
    name, config, children = node["type"], node["config"], node.get("children")
    kind = layer_type(name)
    if kind is None:
        raise ModelFileError(path, f"a layer that this version knows at {place}", f"{name!r}"[:100])
    if not isinstance(config, dict):
        raise ModelFileError(path, f"the arguments of {name} at {place}", repr(config)[:100])
    sequential = issubclass(kind, nn.Sequential)
    if not (sequential or kind._parts):
        if children is not None:
            raise ModelFileError(path, f"no children of {name} at {place}", "some")
        return kind.from_config(config)
    if (config and sequential) or not isinstance(children, list) or depth > MAX_DEPTH:
        raise ModelFileError(
            path, f"a list of children of {name}, at most {MAX_DEPTH} deep, at {place}", "something else"
        )
    layers: dict[str, Module] = {}
    for child in children:
        if not isinstance(child, list) or len(child) != 2 or not isinstance(child[0], str) or child[0] in layers:
            raise ModelFileError(path, f"children with names of their own at {place}", repr(child)[:100])
        if not sequential and (child[0] not in kind._parts or child[0] in config):
            raise ModelFileError(path, f"children of {name} named {', '.join(kind._parts)}", repr(child[0])[:100])
        layers[child[0]] = _build(path, child[1], f"{place}.{child[0]}", depth + 1)
    return kind(layers) if issubclass(kind, nn.Sequential) else kind.from_config({**config, **layers})


def _named_arrays(model: Module) -> tuple[dict[str, NDArray], dict[str, str]]:
    """Return name to array, each array once, and other name to first name for those that are used again."""
    arrays: dict[str, NDArray] = {}
    shared: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, tensor in _tensors(model).items():
        if id(tensor) in first:
            shared[name] = first[id(tensor)]
            continue
        first[id(tensor)] = name
        values = tensor._data
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise ValueError(f"{name}: expected finite weights, got {values[where]} at index {where}")
        arrays[name] = values
    return arrays, shared


def _tensors(model: Module) -> dict[str, Tensor]:
    """Return the tensors themselves under the names of ``state_dict``."""
    found: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    found.update(model.named_buffers(remove_duplicate=False))
    return {name: found[name] for name in model.state_dict()}


def _main_dtype(arrays: Mapping[str, NDArray]) -> str:
    floats = [values.dtype for values in arrays.values() if values.dtype.kind == "f"]
    return str(np.result_type(*floats)) if floats else "float32"


def _read(path: Path, *kinds: str) -> tuple[dict[str, NDArray], dict[str, Any]]:
    arrays, document = read_arrays(path)
    if document is None:
        raise ModelFileError(path, f"a {kinds[0]} that fastseq wrote", "a safetensors file of another program")
    _check_format(path, document, kinds)
    return arrays, document


def _check_format(path: Path, document: Mapping[str, Any], kinds: tuple[str, ...]) -> None:
    number = document.get("format")
    if type(number) is not int or number < 1:
        raise ModelFileError(path, "a format number", repr(number)[:100])
    if number > FORMAT:
        raise ModelFileError(
            path,
            f"format {FORMAT} or older, which fastseq {__version__} reads",
            f"format {number}, written by fastseq {document.get('fastseq')!r}"[:200],
        )
    if document.get("kind") not in kinds:
        raise ModelFileError(path, f"a file of kind {' or '.join(kinds)}", repr(document.get("kind"))[:100])


def _fill(path: Path, model: Module, arrays: Mapping[str, NDArray]) -> None:
    """Give the model the arrays as its storage, in the dtypes of the file."""
    tensors = _tensors(model)
    for name in (*tensors, *arrays):
        want = tuple(tensors[name].shape) if name in tensors else None
        have = arrays[name].shape if name in arrays else None
        if want != have:
            raise ModelFileError(path, f"{name}: {_shape(want)}", _shape(have))
    for name, tensor in tensors.items():
        values = arrays[name]
        if (values.dtype.kind == "f") != (tensor._data.dtype.kind == "f"):
            raise ModelFileError(path, f"{name}: {tensor._data.dtype}", str(values.dtype))
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ModelFileError(path, f"{name}: finite weights", "infinity or not a number")
        tensor._data = values
        tensor._version[0] += 1
    for module in model.modules():
        own = [t._data.dtype for t in (*module._parameters.values(), *module._buffers.values()) if t is not None]
        if own and "dtype" in module.__dict__:
            module.__dict__["dtype"] = own[0]


def _shape(shape: tuple[int, ...] | None) -> str:
    return "no such array" if shape is None else f"shape {shape} ({math.prod(shape)} numbers)"


def _share(model: Module, shared: Mapping[str, str]) -> None:
    """Let names that shared a tensor when the model was saved share it again."""
    tensors = _tensors(model)
    owners = dict(model.named_modules(remove_duplicate=False))
    for alias, name in shared.items():
        place, _, attribute = alias.rpartition(".")
        owner: Any = owners[place]
        registry = owner._parameters if attribute in owner._parameters else owner._buffers
        registry[attribute] = tensors[name]
