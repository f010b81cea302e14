"""What ONNX's operators do to axes and over steps: rules for permutations, joined axes, masks, pooling and look-ups."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastseq import nn
from fastseq.interop.onnx_numpy import axes_of
from fastseq.interop.onnx_reader import Node, Reading, rule
from fastseq.interop.onnx_rules import apply, by_step, combine, linear, pooled, read, residual
from fastseq.interop.onnx_rules_attention import attended, divided, hidden_scores, joined, products
from fastseq.interop.onnx_values import Array, Flow, Heads, Initial, Known, Scores, State

# -- axes ---------------------------------------------------------------------------------------------------------


@rule("Transpose")
def transpose(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read a new order of axes.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        The value.
    """
    value = inputs[0]
    if not isinstance(value, (Flow, State, Heads)):
        reading.fail("the sequence or a state", "something else")
    rank = len(value.sizes)
    order = list(node.attributes.get("perm", range(rank)[::-1]))
    if sorted(order) != list(range(rank)):
        reading.fail(f"an order of {rank} axes", f"perm {order}")
    axes, sizes = "".join(value.axes[k] for k in order), tuple(value.sizes[k] for k in order)
    return [replace(value, axes=axes, sizes=sizes)]


@rule("Squeeze")
def squeeze(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read an axis of one direction left out.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        A recurrent operator's output or state, and since opset 13 the axes.
    """
    value = inputs[0]
    given = [None, None if len(inputs) < 2 or inputs[1] is None else reading.constant("axes", inputs[1])]
    axes = axes_of(given, node.attributes)
    if not isinstance(value, (Flow, State)) or axes is None or len(axes) != 1:
        reading.fail("the axis of directions of a recurrent operator's output", f"axes {axes}")
    place = axes[0] % len(value.sizes)
    if value.axes[place] != "D" or value.sizes[place] != 1:
        reading.fail("the axis of directions, of size 1", f"axis {place} of {value.axes}, of size {value.sizes[place]}")
    return [_without_directions(reading, value)]


def _without_directions(reading: Reading, value: Flow | State) -> Flow:
    """Return a value whose directions and units are one axis of features."""
    if isinstance(value, Flow):
        kept = [k for k, axis in enumerate(value.axes) if axis not in "DH"]
        axes = "".join(value.axes[k] for k in kept) + "F"
        return replace(value, axes=axes, sizes=(*(value.sizes[k] for k in kept), value.size("D") * value.size("H")))
    if value.number or len(value.steps) != 1:
        reading.fail("the final h of one layer", "c, or several layers' states")
    step = value.steps[0]
    count, hidden = value.sizes[value.axes.index("D")], value.sizes[value.axes.index("H")]
    flow = Flow(step, "BTF", (value.sizes[value.axes.index("B")], reading.masks.probe.steps, count * hidden))
    return pooled(reading, flow, nn.LastStep(bidirectional=count == 2), step.uses)


@rule("Reshape", "Flatten")
def reshape(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read directions and units joined, or features split into heads and joined again.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        The value and the sizes wanted.
    """
    value = inputs[0]
    if node.operator == "Flatten" and isinstance(value, Flow) and value.axes == "BF":
        return [value]
    if not isinstance(value, (Flow, State, Heads)) or len(inputs) < 2 or not isinstance(inputs[1], Known):
        reading.fail("the sequence or a state, and sizes", "something else")
    target = _target(reading, inputs[1].values, value.sizes)
    if target == value.sizes:
        return [value]
    if isinstance(value, Heads):
        return [joined(reading, value, target)]
    if "D" in value.axes:
        leading = tuple(n for axis, n in zip(value.axes, value.sizes, strict=True) if axis not in "DH")
        both = value.sizes[value.axes.index("D")] * value.sizes[value.axes.index("H")]
        beside = value.axes.endswith("DH") or value.sizes[value.axes.index("D")] == 1
        if target == (*leading, both) and beside and value.axes.endswith("H"):
            return [_without_directions(reading, value)]
    elif isinstance(value, Flow) and len(target) == 4:
        return [divided(reading, value, target)]
    reading.fail("directions and units joined, or heads", f"{value.axes} {value.sizes} to {target}")


def _target(reading: Reading, wanted: Array, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sizes that a Reshape asks for, 0 and -1 filled in."""
    found = [sizes[k] if n == 0 and k < len(sizes) else int(n) for k, n in enumerate(wanted.reshape(-1))]
    total, known = int(np.prod(sizes)), int(np.prod([n for n in found if n != -1]))
    if found.count(-1) > 1 or any(n < -1 for n in found) or len(found) > 8:
        reading.fail("sizes with at most one of -1", f"{found}")
    if -1 in found and known > 0:
        found[found.index(-1)] = total // known
    return tuple(found)


@rule("Split")
def split(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read an initial state split into those of the layers, or features into two halves.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        The value and perhaps the sizes.
    """
    value, count = inputs[0], len(node.outputs)
    given = node.attributes.get("split")
    parts = list(reading.constant("split", inputs[1])) if len(inputs) > 1 and inputs[1] is not None else given
    if parts is not None and len({int(n) for n in parts}) != 1:
        reading.fail("parts of one size", f"{list(parts)}")
    axis = node.attributes.get("axis", 0)
    if isinstance(value, Initial) and axis == 0 and value.layer is None:
        return [Initial(value.name, k) for k in range(count)]
    flow = reading.flow("input", value)
    if axis not in (-1, len(flow.axes) - 1) or count != 2 or flow.sizes[-1] % 2 or flow.stage or flow.axes != "BTF":
        reading.fail("the features of (B, T, F) split into halves", f"{count} parts along axis {axis} of {flow.axes}")
    half = (*flow.sizes[:-1], flow.sizes[-1] // 2)
    return [replace(flow, sizes=half, stage="half", detail=(k,)) for k in range(2)]


@rule("Concat")
def concat(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read final states of all layers put together, or the last steps of both directions.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        The values.
    """
    axis = node.attributes.get("axis", 0)
    states = [value for value in inputs if isinstance(value, State)]
    if states and len(states) == len(inputs) and axis == 0 and len({s.number for s in states}) == 1:
        steps = tuple(step for state in states for step in state.steps)
        return [State(steps, states[0].number, states[0].axes, states[0].sizes)]
    flows = [value for value in inputs if isinstance(value, Flow)]
    if len(flows) == len(inputs) == 2 and axis in (1, -1) and all(flow.stage == "half sum" for flow in flows):
        (one, ahead, uses), (other, back, also) = (flow.detail for flow in flows)
        if (one, ahead, other, back) == (0, "last", 1, "first") and flows[0].step is flows[1].step:
            # a row's first step is chosen or not, whether or not lengths were looked at
            size = flows[0].sizes[0], sum(flow.sizes[1] for flow in flows)
            whole = Flow(flows[0].step, "BTF", (size[0], reading.masks.probe.steps, size[1]))
            return [pooled(reading, whole, nn.LastStep(bidirectional=True), uses or also)]
    reading.fail("states of all layers along axis 0, or both directions' last steps", f"other values along axis {axis}")


# -- masks and pooling --------------------------------------------------------------------------------------------


@rule("Where")
def where(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read values hidden by a mask.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        The mask, and the values where it is True and where not.
    """
    mask, kept, fill = inputs
    if isinstance(kept, State) and isinstance(fill, Initial) and isinstance(mask, Known) and kept.axes == "DBH":
        some = reading.masks.probe.lengths[:, None] > 0
        if mask.values.shape == some.shape and np.array_equal(mask.values, some):
            return [kept]  # a row of length 0 keeps its initial state
    if isinstance(kept, Known) and isinstance(mask, Known):
        kept, fill, mask = fill, kept, Known(~mask.values.astype(bool), mask.constant)
    if not isinstance(mask, Known) or not isinstance(fill, Known) or fill.values.size != 1:
        reading.fail("a mask of sizes and lengths, and one number to fill in", "something else")
    number = float(fill.values.reshape(()))
    if isinstance(kept, Scores):
        return [hidden_scores(reading, kept, mask.values.astype(bool), number)]
    flow = reading.flow("X", kept)
    if flow.stage == "max" and number == 0:
        some = reading.masks.probe.lengths[:, None] > 0
        if mask.values.shape == some.shape and np.array_equal(mask.values, some):
            return [
                pooled(
                    reading, replace(flow, sizes=(*flow.sizes[:1], 1, *flow.sizes[1:]), axes="BTF"), nn.MaxPool(), True
                )
            ]
    kind = reading.masks.kind(mask.values, flow)
    if kind == ("valid", True) and flow.stage in ("", "zeroed", "other") and number in (0, -np.inf):
        return [replace(flow, stage="zeroed" if number == 0 else "lowered")]
    if kind is not None and kind[0] != "valid" and number == 0 and flow.stage in ("", "zeroed", "half"):
        return [replace(flow, stage="chosen", detail=(*(flow.detail or (None,)), *kind))]
    reading.fail(
        "a mask of valid steps or of last ones, with zeros or minus infinity", f"{number} where another mask says"
    )


@rule("ReduceSum", "ReduceMean", "ReduceMax")
def reduce_steps(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read a reduction over the steps.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        The sequence, and in later opsets the axes.
    """
    flow = reading.flow("data", inputs[0])
    given = [None, None if len(inputs) < 2 or inputs[1] is None else reading.constant("axes", inputs[1])]
    axes = axes_of(given, node.attributes, ())
    if flow.axes != "BTF" or [k % 3 for k in axes] != [1] or node.attributes.get("keepdims", 1):
        reading.fail("the steps of (B, T, F), not kept as an axis", f"axes {axes} of {flow.axes}")
    if node.operator == "ReduceSum" and flow.stage == "chosen":
        half, which, uses = flow.detail
        if half is not None:
            return [replace(flow, stage="half sum", axes="BF", sizes=(flow.sizes[0], flow.sizes[2]))]
        if which == "last":
            return [pooled(reading, replace(flow, stage=""), nn.LastStep(), uses)]
    if node.operator == "ReduceSum" and flow.stage == "zeroed":
        return [replace(flow, stage="sum", axes="BF", sizes=(flow.sizes[0], flow.sizes[2]))]
    if node.operator == "ReduceMax" and flow.stage == "lowered":
        return [replace(flow, stage="max", axes="BF", sizes=(flow.sizes[0], flow.sizes[2]))]
    pools = {"ReduceMean": nn.MeanPool, "ReduceMax": nn.MaxPool}
    if node.operator in pools and not flow.stage:
        return [pooled(reading, flow, pools[node.operator](), False)]
    reading.fail("the mean or maximum of all or of valid steps, or the sum of one", f"{flow.stage or 'all'} steps")


@rule("Gather")
def gather(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read a look-up in a table, or the last step of all rows.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        The table and indices, or the sequence and -1.
    """
    data, indices = inputs
    axis = node.attributes.get("axis", 0)
    if isinstance(data, Known):
        table, flow = reading.constant("data", data, 2), reading.flow("indices", indices)
        if axis != 0 or flow.axes not in ("BT", "TB") or table.dtype.kind != "f" or 0 in table.shape:
            reading.fail("a table (N, E) and indices (B, T)", f"{table.shape} and {flow.axes}")
        module = nn.Embedding(*table.shape, dtype=table.dtype)
        module.load_state_dict({"weight": table})
        return [apply(reading, flow, module, axes=flow.axes + "F", sizes=(*flow.sizes, table.shape[1]))]
    if not isinstance(indices, Known) or indices.values.shape != () or not isinstance(data, (Flow, State)):
        reading.fail("one step of the sequence", "something else")
    number, size = int(indices.values), data.sizes[axis % len(data.sizes)]
    if isinstance(data, State) and data.axes[axis % 3] == "D" and size == 1 and number in (0, -1):
        return [_without_directions(reading, data)]
    last = number == -1 or (number == size - 1 and not indices.constant)
    if isinstance(data, Flow) and data.axes == "BTF" and axis % 3 == 1 and not data.stage and last:
        return [pooled(reading, data, nn.LastStep(), False)]
    reading.fail("the last step, number -1", f"number {number} of axis {axis} of {data.axes}")


# -- arithmetic ---------------------------------------------------------------------------------------------------


@rule("Add", "Sub", "Mul", "Div")
def arithmetic(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read sums and products: with constants, with counts of steps, of a residual, of attention.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        Two values.
    """
    one, other = inputs
    value, known = (other, one) if isinstance(one, Known) else (one, other)
    if isinstance(value, (Heads, Scores)):
        return [attended(reading, node.operator, value, known)]
    if isinstance(value, Flow) and isinstance(known, Known):
        if value.stage == "sum" and node.operator == "Div" and value is one:
            count = np.maximum(reading.masks.probe.lengths, 1)[:, None]
            if known.values.shape == count.shape and (known.values == count).all():
                whole = replace(value, stage="", axes="BTF", sizes=(value.sizes[0], 1, value.sizes[1]))
                return [pooled(reading, whole, nn.MeanPool(), True)]
        return [combine(reading, node.operator, value, known, value is one)]
    if isinstance(one, Flow) and isinstance(other, Flow):
        for before, after in ((one, other), (other, one)):
            gate = after.step
            if node.operator == "Mul" and gate and isinstance(gate.module, nn.Sigmoid) and gate.before is before.step:
                return [by_step(reading, before, nn.SiLU())]
        found = residual(reading, one, other) if node.operator == "Add" else None
        if found is not None:
            return [found]
    reading.fail("a sequence and constants, or x + layers(x)", "other values")


@rule("MatMul")
def matmul(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read a weighted sum, or attention's products.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        Two values.
    """
    one, other = inputs
    if isinstance(one, (Heads, Scores)):
        return [products(reading, one, other)]
    weight = np.ascontiguousarray(reading.constant("B", other, 2).T)
    return [linear(reading, read(reading, "A", one), weight, None)]
