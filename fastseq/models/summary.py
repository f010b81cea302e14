"""The table that ``summary`` prints, with Keras's columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastseq.layers import Layer
from fastseq.layers.flow import flat

if TYPE_CHECKING:
    from fastseq.models.model import Model


def summary_of(model: Model, line_length: int | None = None) -> str:
    """Return the table of a model's layers.

    Parameters
    ----------
    model
        The model.
    line_length
        The table's width; by default as wide as its contents.
    """
    branches = model.graph is not None and _branches(model)
    header = ["Layer (type)", "Output Shape", "Param #"] + (["Connected to"] if branches else [])
    rows = [_row(model, layer, branches) for layer in model.layers]
    widths = [max(len(line[k]) for line in [header, *rows]) for k in range(len(header))]
    if line_length is not None:
        widths[0] = max(len(header[0]), widths[0], line_length - sum(widths[1:]) - 3 * len(widths) - 1)
    rule = "+".join("-" * (width + 2) for width in widths)
    lines = [f'Model: "{model.name}"', f"+{rule}+", _line(header, widths), f"+{rule.replace('-', '=')}+"]
    for row in rows:
        lines += [_line(row, widths), f"+{rule}+"]
    every, learnt = model.count_params(), sum(_size(weight) for weight in model.trainable_weights)
    lines.append(f" Total params: {every:,} ({_memory(model.weights)})")
    lines.append(f" Trainable params: {learnt:,} ({_memory(model.trainable_weights)})")
    lines.append(f" Non-trainable params: {every - learnt:,} ({_memory(model.non_trainable_weights)})")
    return "\n".join(lines)


def _line(cells: list[str], widths: list[int]) -> str:
    pairs = enumerate(zip(cells, widths, strict=True))
    padded = [cell.rjust(width) if k == 2 else cell.ljust(width) for k, (cell, width) in pairs]
    return "| " + " | ".join(padded) + " |"


def _row(model: Model, layer: Layer, branches: bool) -> list[str]:
    nodes = [node for node in layer.nodes if model.graph is None or any(node is one for one in model.graph.nodes)]
    shapes = [tensor.shape for tensor in nodes[0].outputs] if nodes else []
    shape = "?" if not shapes else str(shapes[0]) if len(shapes) == 1 else ", ".join(map(str, shapes))
    params = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
    found = [f"{layer.name} ({type(layer).__name__})", shape, params]
    if branches:
        sources = [tensor for node in nodes for tensor in node.inputs]
        connected = [f"{tensor.name}[{_number(model, tensor)}][{tensor.index}]" for tensor in sources]
        found.append(", ".join(connected) or "-")
    return found


def _number(model: Model, tensor: Any) -> int:
    own = [node for node in tensor.node.layer.nodes if any(node is one for one in model.graph.nodes)]  # type: ignore[union-attr]
    return next(k for k, node in enumerate(own) if node is tensor.node)


def _branches(model: Model) -> bool:
    """Whether the layers are more than a chain."""
    graph: Any = model.graph
    feeds = [id(tensor) for node in graph.calls for tensor in node.inputs]
    several = any(len(flat(node.inputs)) > 1 for node in graph.calls) or len(feeds) > len(set(feeds))
    return several or len(graph.inputs) > 1 or len(graph.outputs) > 1


def _size(weight: Any) -> int:
    size = 1
    for length in weight.shape:
        size *= int(length)
    return size


def _memory(weights: Any) -> str:
    amount = float(sum(_size(weight) * weight.dtype.itemsize for weight in weights))
    for unit in ("B", "KB", "MB"):
        if amount < 1024:
            return f"{amount:.2f} {unit}"
        amount /= 1024
    return f"{amount:.2f} GB"
