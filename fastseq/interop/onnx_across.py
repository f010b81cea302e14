"""Layers that look across steps, as ONNX's operators: pooling, attention, Transformer encoders."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastseq import checks, nn
from fastseq.interop.onnx_graph import Graph
from fastseq.interop.onnx_layers import Writing, activation, affine, normalized, writer

#: The layers here; beside recurrent ones, they are those for which lengths matter.
ACROSS_STEPS = (
    nn.LastStep, nn.MeanPool, nn.MaxPool, nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder,
)  # fmt: skip


def _expect_batch_first(graph: Graph) -> None:
    if not graph.batch_first:
        raise checks.value_error("batch_first", "True in the model's other layers", "False")


def _pooled(writing: Writing) -> Graph:
    """Return the graph, of a layer that leaves no axis of steps."""
    _expect_batch_first(writing.graph)
    if writing.rank != 3:
        raise checks.value_error("layer", "one axis of steps to pool over", "none: another layer has pooled already")
    writing.rank = 2
    return writing.graph


def _steps(graph: Graph) -> str:
    """Return the name of 1, or of each row's length, as (1, 1) or (B, 1): what counts as the number of steps."""
    if graph.lengths is None:
        number = graph.once("number", "Cast", graph.sizes()[1], to=graph.onnx.TensorProto.INT32)
        return graph.column("number", number, 1)
    return graph.column("lengths", graph.lengths, 1)


@writer(nn.LastStep)
def last_step(writing: Writing, layer: nn.LastStep, x: str) -> str:
    """Write the output at the last valid step, or that and the one at step 0 of the reverse direction.

    Parameters
    ----------
    writing
        Where to.
    layer
        The layer.
    x
        Name of its input.
    """
    graph = _pooled(writing)
    if graph.lengths is None and not layer.bidirectional:
        return graph.add("Gather", x, graph.constant(-1, np.int64), axis=1)
    last = graph.add("Sub", _steps(graph), graph.constant(1, np.int32))
    chosen = graph.column("last", graph.add("Equal", graph.column("positions", graph.positions(), 0), last), 2)
    zero = graph.constant(0.0)
    if not layer.bidirectional:
        return graph.add("ReduceSum", graph.add("Where", chosen, x, zero), graph.constant([1], np.int64), keepdims=0)
    first = graph.add("Less", graph.column("positions", graph.positions(), 0), graph.constant(1, np.int32))
    first = graph.add("And", first, graph.add("Less", graph.constant(0, np.int32), _steps(graph)))
    ahead, back = graph.add_several("Split", 2, x, axis=2, num_outputs=2)
    first = graph.add("Unsqueeze", first, graph.constant([2], np.int64))
    halves = [graph.add("Where", chosen, ahead, zero), graph.add("Where", first, back, zero)]
    return graph.add(
        "Concat", *(graph.add("ReduceSum", h, graph.constant([1], np.int64), keepdims=0) for h in halves), axis=1
    )


@writer(nn.MeanPool)
def mean_pool(writing: Writing, layer: nn.MeanPool, x: str) -> str:
    """Write the mean over valid steps.

    Parameters
    ----------
    writing
        Where to.
    layer
        The layer.
    x
        Name of its input.
    """
    graph = _pooled(writing)
    if graph.lengths is None:
        return graph.add("ReduceMean", x, graph.constant([1], np.int64), keepdims=0)
    total = graph.add("ReduceSum", graph.zeroed(x), graph.constant([1], np.int64), keepdims=0)
    count = graph.add("Max", _steps(graph), graph.constant(1, np.int32))
    return graph.add("Div", total, graph.add("Cast", count, to=graph.onnx.TensorProto.FLOAT))


@writer(nn.MaxPool)
def max_pool(writing: Writing, layer: nn.MaxPool, x: str) -> str:
    """Write the maximum over valid steps.

    Parameters
    ----------
    writing
        Where to.
    layer
        The layer.
    x
        Name of its input.
    """
    graph = _pooled(writing)
    if graph.lengths is None:
        return graph.add("ReduceMax", x, graph.constant([1], np.int64), keepdims=0)
    least = graph.add("Where", graph.column("valid", graph.valid(), 2), x, graph.constant(-np.inf))
    found = graph.add("ReduceMax", least, graph.constant([1], np.int64), keepdims=0)
    some = graph.add("Less", graph.constant(0, np.int32), _steps(graph))
    return graph.add("Where", some, found, graph.constant(0.0))


def _attention(graph: Graph, x: str, layer: nn.MultiheadAttention, causal: bool) -> str:
    """Write attention of a row's steps to one another; x holds no NaN past the lengths."""
    heads, size = layer.num_heads, layer.embed_dim
    inner = size // heads
    split = graph.constant([0, 0, heads, inner], np.int64)
    projected = []
    for place, name in enumerate("qkv"):
        part = slice(place * size, (place + 1) * size)
        own = layer._parameters[f"{name}_proj_weight"]
        joint: Any = layer.in_proj_weight
        weight = own if own is not None else joint[part]
        bias = None if layer.in_proj_bias is None else layer.in_proj_bias[part]
        value = graph.add("Reshape", affine(graph, x, weight, bias), split)
        projected.append(graph.add("Transpose", value, perm=[0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]))
    queries, keys, values = projected
    scores = graph.add("Mul", graph.add("MatMul", queries, keys), graph.constant(1 / math.sqrt(inner)))
    mask = None if graph.lengths is None else graph.column("valid", graph.valid(), 1, 2)
    if causal:
        rows, columns = (graph.column("positions", graph.positions(), axis) for axis in (1, 0))
        before = graph.once("causal", "LessOrEqual", columns, rows)
        mask = before if mask is None else graph.once("causal and valid", "And", before, mask)
    if mask is not None:
        scores = graph.add("Where", mask, scores, graph.constant(-np.inf))
    found = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), values)
    found = graph.add(
        "Reshape", graph.add("Transpose", found, perm=[0, 2, 1, 3]), graph.constant([0, 0, size], np.int64)
    )
    return affine(graph, found, layer.out_proj.weight, layer.out_proj.bias)


@writer(nn.MultiheadAttention)
def attention(writing: Writing, layer: nn.MultiheadAttention, x: str) -> str:
    """Write attention of a row's steps to one another.

    Parameters
    ----------
    writing
        Where to.
    layer
        The layer.
    x
        Name of its input.
    """
    if not layer.kdim == layer.embed_dim == layer.vdim:
        raise checks.value_error("kdim", f"embed_dim = {layer.embed_dim}, for attention of a row to itself", layer.kdim)
    for name in ("add_bias_kv", "add_zero_attn"):
        if getattr(layer, name):
            raise checks.value_error(name, "False: extra keys are not written", True)
    graph = writing.graph
    _expect_batch_first(graph)
    return graph.zeroed(_attention(graph, graph.zeroed(x), layer, layer.causal))


def _encoder_layer(graph: Graph, x: str, layer: nn.TransformerEncoderLayer) -> str:
    """Write one encoder layer; x holds no NaN past the lengths."""

    def dense(value: str) -> str:
        inner = activation(graph, layer.activation, affine(graph, value, layer.linear1.weight, layer.linear1.bias))
        return affine(graph, inner, layer.linear2.weight, layer.linear2.bias)

    if layer.norm_first:
        x = graph.add("Add", x, _attention(graph, normalized(graph, x, layer.norm1), layer.self_attn, layer.causal))
        return graph.add("Add", x, dense(normalized(graph, x, layer.norm2)))
    x = graph.add("Add", x, _attention(graph, x, layer.self_attn, layer.causal))
    x = normalized(graph, x, layer.norm1)
    return normalized(graph, graph.add("Add", x, dense(x)), layer.norm2)


@writer(nn.TransformerEncoderLayer)
def encoder_layer(writing: Writing, layer: nn.TransformerEncoderLayer, x: str) -> str:
    """Write an encoder layer.

    Parameters
    ----------
    writing
        Where to.
    layer
        The layer.
    x
        Name of its input.
    """
    _expect_batch_first(writing.graph)
    return writing.graph.zeroed(_encoder_layer(writing.graph, writing.graph.zeroed(x), layer))


@writer(nn.TransformerEncoder)
def encoder(writing: Writing, layer: nn.TransformerEncoder, x: str) -> str:
    """Write a stack of encoder layers.

    Parameters
    ----------
    writing
        Where to.
    layer
        The stack.
    x
        Name of its input.
    """
    graph = writing.graph
    _expect_batch_first(graph)
    x = graph.zeroed(x)
    inner: list[Any] = list(layer.layers)
    for one in inner:
        # a row without steps has no key to look at: NaN there must not reach the next layer's keys of other steps
        x = graph.zeroed(_encoder_layer(graph, x, one))
    return x if layer.norm is None else graph.zeroed(normalized(graph, x, layer.norm))
