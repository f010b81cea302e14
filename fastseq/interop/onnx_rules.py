"""What ONNX's operators do to each step: rules from operators to layers, and sums and products with constants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastseq import nn
from fastseq.interop.gates import cell_of
from fastseq.interop.onnx_reader import Node, Reading, chain, merged_modules, rule
from fastseq.interop.onnx_values import Array, Flow, Known, Scores, Step
from fastseq.nn.module import Module

# -- what stands past the lengths ---------------------------------------------------------------------------------


def zeroing(module: Module) -> Module | None:
    """Return a layer that computes the same and gives zeros past the lengths; None if there is none.

    Parameters
    ----------
    module
        A layer.
    """
    kinds = (nn.LayerNorm, nn.MultiheadAttention, nn.Embedding, nn.MLP)
    if cell_of(module) or isinstance(module, kinds):
        return module
    if isinstance(module, nn.Linear):
        dense = nn.MLP(module.in_features, [], module.out_features, bias=module.bias is not None, dtype=module.dtype)
        dense.layers[0].load_state_dict(module.state_dict())
        return dense
    if isinstance(module, nn.Residual):
        inner = zeroing(module.layer)
        return None if inner is None else nn.Residual(inner)
    if isinstance(module, nn.Sequential) and len(module):
        last = zeroing(module[-1])
        return None if last is None else nn.Sequential(*list(module)[:-1], last)
    return None


def settled(reading: Reading, flow: Flow) -> Flow:
    """Return a flow that is the very output of its last layer, past the lengths too.

    Parameters
    ----------
    reading
        The pass.
    flow
        The flow.
    """
    if flow.stage == "zeroed" and flow.step is not None:
        module = zeroing(flow.step.module)
        if module is not None:
            flow.step.module = module
            return replace(flow, stage="")
    if flow.stage:
        reading.fail("an output whose values past the lengths are the last layer's", flow.stage)
    return flow


def read(reading: Reading, what: str, value: Any) -> Flow:
    """Return a flow for a layer that does not look past the lengths.

    Parameters
    ----------
    reading
        The pass.
    what
        The input's name, for messages.
    value
        What is known of it.
    """
    flow = reading.flow(what, value)
    if flow.stage not in ("", "zeroed", "other"):
        reading.fail("a sequence without masks of other kinds", flow.stage)
    return flow


def apply(reading: Reading, flow: Flow, module: Module, **changes: Any) -> Flow:
    """Return the flow behind one more layer.

    Parameters
    ----------
    reading
        The pass.
    flow
        What the layer reads.
    module
        The layer.
    **changes
        Fields of Flow that are others, and ``uses`` and ``weights`` of Step.
    """
    operator = f"{reading.node.operator} {reading.node.name!r}"
    step = Step(module, flow.step, operator, changes.pop("uses", None), changes.pop("weights", None))
    stage = changes.pop("stage", "")
    return replace(flow, step=step, stage=stage, detail=None, **changes)


def by_step(reading: Reading, flow: Flow, module: Module, **changes: Any) -> Flow:
    """Return the flow behind a layer that treats padding like any step: what was zero there is so no longer.

    Parameters
    ----------
    reading
        The pass.
    flow
        What the layer reads.
    module
        The layer.
    **changes
        As of ``apply``.
    """
    flow = read(reading, "input", flow)
    stage = flow.stage
    if stage == "zeroed" and flow.step is not None and zeroing(flow.step.module) is flow.step.module:
        stage = ""
    return apply(reading, flow, module, stage="other" if stage else "", **changes)


# -- step by step -------------------------------------------------------------------------------------------------


@rule("Dropout", "Identity", "Cast")
def same(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read operators that change nothing.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        The sequence, and for Dropout what does not matter.
    """
    floats = (reading.onnx.TensorProto.FLOAT, reading.onnx.TensorProto.DOUBLE)
    integers = (reading.onnx.TensorProto.INT32, reading.onnx.TensorProto.INT64)
    is_index = isinstance(inputs[0], Flow) and inputs[0].axes in ("BT", "TB")
    if node.operator == "Cast" and node.attributes["to"] not in (integers if is_index else floats):
        reading.fail("a cast to float", f"{node.attributes['to']}")
    return [inputs[0]]


def linear(reading: Reading, flow: Flow, weight: Array, bias: Array | None) -> Flow:
    """Return the flow behind x @ weight.T + bias.

    Parameters
    ----------
    reading
        The pass.
    flow
        What it reads.
    weight
        (O, I)
    bias
        (O,) or None.
    """
    if not flow.axes.endswith("F") or weight.shape[1] != (flow.size("F") or weight.shape[1]) or 0 in weight.shape:
        reading.fail(f"a matrix of {flow.sizes[-1]} rows for the features", f"{weight.T.shape}")
    if weight.dtype.kind != "f" or (bias is not None and bias.shape != weight.shape[:1]):
        reading.fail(f"{len(weight)} floats as bias", "other numbers")
    module = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, dtype=weight.dtype)
    module.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return by_step(reading, flow, module, sizes=(*flow.sizes[:-1], weight.shape[0]))


@rule("Gemm")
def gemm(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read a weighted sum with a bias.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        The features (B, I), the weights, the bias.
    """
    reading.check_attributes(alpha=1.0, beta=1.0, transA=0, transB=None)
    weight = reading.constant("B", inputs[1], 2)
    bias = None if len(inputs) < 3 or inputs[2] is None else reading.constant("C", inputs[2]).reshape(-1)
    weight = weight if node.attributes.get("transB", 0) else weight.T
    flow = reading.flow("A", inputs[0])
    if flow.axes != "BF":
        reading.fail("features (B, F)", flow.axes)
    return [linear(reading, flow, np.ascontiguousarray(weight), bias)]


@rule("LayerNormalization")
def layer_norm(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read a normalisation over the features.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        The sequence, the weight, the bias.
    """
    flow = read(reading, "X", inputs[0])
    reading.check_attributes(axis=None, epsilon=None, stash_type=1)
    weight = reading.constant("Scale", inputs[1], 1)
    bias = None if len(inputs) < 3 or inputs[2] is None else reading.constant("B", inputs[2], 1)
    if node.attributes.get("axis", -1) not in (-1, len(flow.axes) - 1) or not flow.axes.endswith("F"):
        reading.fail("axis -1, the features", f"{node.attributes.get('axis')}")
    if weight.shape[0] != (flow.size("F") or weight.shape[0]) or (bias is not None and bias.shape != weight.shape):
        reading.fail(f"{flow.size('F')} weights", f"{weight.shape}")
    if any(node.outputs[1:]):
        reading.fail("no outputs beside the first", "mean or deviation")
    module = nn.LayerNorm(
        weight.shape[0], decimal(node.attributes.get("epsilon", 1e-5)), bias=bias is not None, dtype=weight.dtype
    )
    module.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return [apply(reading, flow, module)]


def decimal(number: float) -> float:
    """Return the shortest decimal number that is this one in float32, as which attributes are kept.

    Parameters
    ----------
    number
        An attribute.
    """
    return float(str(np.float32(number)))


ACTIVATIONS: dict[str, Any] = {
    "Relu": lambda a: nn.ReLU(),
    "Sigmoid": lambda a: nn.Sigmoid(),
    "Tanh": lambda a: nn.Tanh(),
    "Elu": lambda a: nn.ELU(decimal(a.get("alpha", 1.0))),
    "LeakyRelu": lambda a: nn.LeakyReLU(decimal(a.get("alpha", 0.01))),
    "Softplus": lambda a: nn.Softplus(),
    "Gelu": lambda a: nn.GELU(a.get("approximate", "none")),
}


@rule(*ACTIVATIONS)
def activation(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read an activation function.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        The sequence.
    """
    return [by_step(reading, reading.flow("X", inputs[0]), ACTIVATIONS[node.operator](node.attributes))]


@rule("Softmax", "LogSoftmax")
def softmax(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read a softmax over features, or of attention.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        The sequence, or attention's products.
    """
    value = inputs[0]
    rank = len(value.sizes) if isinstance(value, (Flow, Scores)) else 0
    axis = node.attributes.get("axis", -1 if reading.opset >= 13 else 1)
    if axis not in (-1, rank - 1):
        reading.fail("the last axis", f"axis {axis}")
    if isinstance(value, Scores) and node.operator == "Softmax" and not value.normal:
        return [replace(value, normal=True)]
    kind = nn.Softmax if node.operator == "Softmax" else nn.LogSoftmax
    return [by_step(reading, reading.flow("X", value), kind(-1))]


# -- sums, products, residuals ------------------------------------------------------------------------------------


def _numbers(reading: Reading, flow: Flow, value: Known) -> Array:
    """Return a constant per feature, or one for all."""
    numbers = reading.constant("B", value)
    if numbers.dtype.kind not in "fiu" or (numbers.size not in (1, flow.sizes[-1]) or numbers.shape[-1:] not in (
        (), (1,), (flow.sizes[-1],))):  # fmt: skip
        reading.fail(f"one number or {flow.sizes[-1]}", f"shape {numbers.shape}")
    return numbers.reshape(-1)


def residual(reading: Reading, one: Flow, other: Flow) -> Flow | None:
    """Return x + layers(x) as a layer, if one flow comes from the other.

    Parameters
    ----------
    reading
        The pass.
    one, other
        The flows.
    """
    for before, after in ((one, other), (other, one)):
        steps = chain(after.step, before.step)
        begins = steps[0].before if steps else after.step
        if steps and begins is before.step and before.axes == after.axes and before.sizes == after.sizes:
            layers = merged_modules(steps, not reading.time_first)
            inner = layers[0] if len(layers) == 1 else nn.Sequential(*layers)
            stage = "" if before.stage in ("", "zeroed") and after.stage in ("", "zeroed") else "other"
            return apply(reading, replace(before, stage=""), nn.Residual(inner), weights=steps, stage=stage)
    return None


def combine(reading: Reading, operator: str, flow: Flow, value: Known, first: bool) -> Flow:
    """Return a flow after arithmetic with constants.

    Parameters
    ----------
    reading
        The pass.
    operator
        Add, Sub, Mul or Div.
    flow
        The features.
    value
        The constant.
    first
        Whether the flow is the first operand.
    """
    numbers = _numbers(reading, flow, value)
    last = flow.step.module if flow.step is not None else None
    if operator == "Add" and isinstance(last, nn.Linear) and last.bias is None and numbers.size == last.out_features:
        assert flow.step is not None
        before = replace(flow, step=flow.step.before, sizes=(*flow.sizes[:-1], last.in_features))
        return linear(reading, before, last.weight.numpy(), numbers.astype(last.dtype))
    if operator == "Add" and isinstance(last, nn.MultiheadAttention) and flow.step and flow.step.weights == "no bias":
        if numbers.shape != (last.embed_dim,):
            reading.fail(f"{last.embed_dim} numbers as attention's bias", f"shape {numbers.shape}")
        twin = nn.MultiheadAttention.from_config({**last.config(), "bias": True})
        zeros = np.zeros(3 * last.embed_dim, last.dtype)
        twin.load_state_dict({"in_proj_bias": zeros, **last.state_dict(), "out_proj.bias": numbers})
        return replace(flow, step=replace(flow.step, module=twin, weights=None))
    if not first and operator in ("Sub", "Div"):
        reading.fail("the sequence as the first operand", "the second")
    one, zero = np.ones_like(numbers), np.zeros_like(numbers)
    if operator == "Div" and isinstance(last, nn.Standardize) and (last.std.numpy() == 1).all() and (numbers > 0).all():
        assert flow.step is not None
        mean, std = np.broadcast_arrays(last.mean.numpy(), numbers)
        return by_step(reading, replace(flow, step=flow.step.before), nn.Standardize(mean, std, dtype=mean.dtype))
    if operator == "Add" and isinstance(last, nn.Rescale) and not last.shift.numpy().any():
        assert flow.step is not None
        scale, shift = np.broadcast_arrays(last.scale.numpy(), numbers)
        return by_step(reading, replace(flow, step=flow.step.before), nn.Rescale(scale, shift, dtype=scale.dtype))
    if operator == "Sub":
        return by_step(reading, flow, nn.Standardize(numbers, one, dtype=numbers.dtype))
    if operator == "Div" and not (numbers != 0).all():
        reading.fail("divisors that are not 0", "0")
    scale, shift = {"Add": (one, numbers), "Mul": (numbers, zero), "Div": (1 / numbers, zero)}[operator]
    return by_step(reading, flow, nn.Rescale(scale, shift, dtype=numbers.dtype))


def pooled(reading: Reading, flow: Flow, module: Module, uses: bool) -> Flow:
    """Return one vector per row.

    Parameters
    ----------
    reading
        The pass.
    flow
        A sequence.
    module
        The pooling layer.
    uses
        Whether the graph looks at lengths.
    """
    if reading.time_first:
        reading.fail("an input (B, T, F) for pooling over steps", "(T, B, F)")
    sizes = flow.size("B"), flow.size("F") if "F" in flow.axes else flow.size("D") * flow.size("H")
    return apply(reading, flow, module, uses=uses, axes="BF", sizes=sizes)
