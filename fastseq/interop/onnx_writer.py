"""``to_onnx``: a model as an ONNX file."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np

from fastseq import checks, nn
from fastseq.interop.gates import CELLS, cell_of
from fastseq.interop.onnx_across import ACROSS_STEPS
from fastseq.interop.onnx_graph import ABSENT, INPUT, Graph
from fastseq.interop.onnx_layers import WRITERS, Writing, width_of, write
from fastseq.nn.module import Module
from fastseq.persistence import write_file


def to_onnx(
    model: Module,
    path: str | PathLike[str],
    *,
    lengths: str = "optional",
    states: bool = False,
    steps: bool | None = None,
) -> None:
    """Write a model as an ONNX file, which ONNX Runtime 1.20 and later runs.

    Parameters
    ----------
    model
        A layer or a Sequential: recurrent layers, Linear, LayerNorm, Embedding, MultiheadAttention (as attention of
        a row's steps to one another), activations, pooling, Standardize and Rescale, Residual, MLP and Transformer
        encoders. Dropout is left out, as in evaluation.
    path
        Where to; replaced as a whole or not at all.
    lengths
        Whether the file takes an input ``lengths``, int32 (B,), each row's valid steps, which becomes
        ``sequence_lens``: ``"optional"`` (rows are full where it is not given), ``"required"`` or ``"none"``.
    states
        Whether a recurrent layer takes inputs ``h_0`` (and ``c_0``); for a single layer, not for a Sequential.
    steps
        Whether the input has an axis of steps. A model whose layers all work step by step, such as an MLP, may do
        with or without; None means without for those.

    Raises
    ------
    TypeError
        If the model is none, or holds a layer that cannot be written; the message names it.
    ValueError
        If a layer's option cannot be written, or a weight is not finite.
    ImportError
        If onnx is not installed.
    OSError
        If the file cannot be written; the former file is untouched then.

    Notes
    -----
    The input is ``x`` (B, T, F), in whatever order of axes the model takes, and the output ``y``; a recurrent layer
    also gives ``h_n`` (and ``c_n``). The file computes in float32, as ONNX Runtime's recurrent operators do: weights
    in float64 are rounded. Opset 20, IR version 9.
    """
    if not isinstance(model, Module):
        raise checks.kind_error("model", "a Module", model)
    checks.choice("lengths", lengths, ("optional", "required", "none"))
    cell = cell_of(model)
    if checks.boolean("states", states) and cell is None:
        raise checks.value_error("states", "False for anything but one recurrent layer", type(model).__name__)
    _check_weights(model)
    graph = Graph(_batch_first(model))
    leaves = [module for module in model.modules() if type(module) in WRITERS]
    across = any(cell_of(module) is not None or isinstance(module, ACROSS_STEPS) for module in leaves)
    if steps is not None and not checks.boolean("steps", steps) and across:
        raise checks.value_error("steps", "True for a model that looks across steps", "False")
    writing = Writing(graph, 3 if across or steps else 2)
    _declare_input(writing, leaves)
    if across and lengths != "none":
        name = "rows" if lengths == "optional" else "batch"
        graph.inputs.append(graph.value_info("lengths", np.int32, [name]))
        if lengths == "optional":
            graph.initializers.append(graph.onnx.numpy_helper.from_array(np.array([ABSENT], np.int32), "lengths"))
            graph.optional_lengths("lengths")
        else:
            graph.lengths = "lengths"
    if states:
        assert cell is not None
        count: Any = model
        shape = [count.num_layers * count.num_directions, "batch", count.hidden_size]
        writing.states = ["h_0", "c_0"][: CELLS[cell].states]
        graph.inputs += [graph.value_info(name, np.float32, shape) for name in writing.states]
    y = write(writing, "", model, INPUT)
    graph.finish("y", y, [*graph.axes, None] if writing.rank == 3 else ["batch", None])
    if cell is not None:
        for name, value in zip(("h_n", "c_n"), writing.finals, strict=False):
            graph.finish(name, value, [None, "batch", None])
    write_file(path, [graph.serialized()])


def _check_weights(model: Module) -> None:
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        if values.dtype.kind != "f":
            continue
        with np.errstate(over="ignore"):
            finite = np.isfinite(values.astype(np.float32))
        if not finite.all():
            where = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise checks.value_error(name, "weights that are finite in float32", f"{values[where]} at index {where}")


def _batch_first(model: Module) -> bool:
    """Return the order of axes of all layers that have one."""
    found = {bool(module.batch_first) for module in model.modules() if hasattr(module, "batch_first")}
    if len(found) > 1:
        raise checks.value_error("model", "one batch_first for all layers", "both True and False")
    return found.pop() if found else True


def _declare_input(writing: Writing, leaves: list[Module]) -> None:
    graph = writing.graph
    first = next(
        (module for module in leaves if width_of(module) is not None or isinstance(module, nn.Embedding)), None
    )
    axes = graph.axes[: writing.rank - 1] if graph.batch_first else graph.axes
    if isinstance(first, nn.Embedding):
        graph.inputs.append(graph.value_info(INPUT, np.int64, axes))
        return
    features = None if first is None else width_of(first)
    graph.inputs.append(graph.value_info(INPUT, np.float32, [*axes, "features" if features is None else features]))
