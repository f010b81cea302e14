"""How the recurrent operators LSTM, GRU and RNN are read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastseq.interop.gates import CELLS, Direction, from_onnx_arrays, make
from fastseq.interop.onnx_reader import Node, Reading, TimeFirst, rule
from fastseq.interop.onnx_rules import apply, read
from fastseq.interop.onnx_values import Initial, Known, State


class Recurrence(NamedTuple):
    """A recurrent operator's weights.

    Parameters
    ----------
    cell
        A name in ``CELLS``.
    directions
        One or two.
    options
        Of the cell.
    initial
        For each state, the input that gives it, or None for zeros.
    """

    cell: str
    directions: list[Direction]
    options: dict[str, Any]
    initial: list[Initial | None]

    def alike(self, before: Recurrence) -> bool:
        """Say whether this can be the next of the stacked layers of one module.

        Parameters
        ----------
        before
            The operator before.
        """
        one, other = self.directions[0], before.directions[0]
        return (
            (self.cell, self.options, len(self.directions)) == (before.cell, before.options, len(before.directions))
            and one.weight_hh.shape == other.weight_hh.shape
            and (one.bias_ih is None) == (other.bias_ih is None)
            and one.weight_ih.shape[1] == len(self.directions) * other.weight_hh.shape[1]
        )


@rule(*{cell.operator for cell in CELLS.values()})
def recurrent(reading: Reading, node: Node, inputs: list[Any]) -> list[Any]:
    """Read LSTM, GRU, RNN.

    Parameters
    ----------
    reading
        The pass.
    node
        The node.
    inputs
        X, W, R, B, sequence_lens, the initial states, peepholes.
    """
    cell, states = node.operator, CELLS[node.operator].states  # the cell without peepholes has the operator's name
    inputs = [*inputs, *[None] * (8 - len(inputs))]
    (x, given_w, given_r, given_b, lengths), rest = inputs[:5], inputs[5:]
    w, r = reading.constant("W", given_w, 3), reading.constant("R", given_r, 3)
    b = None if given_b is None else reading.constant("B", given_b, 2)
    hidden, count, layout = r.shape[2], len(r), node.attributes.get("layout", 0)
    given_p = next((value for value in rest[states:] if value is not None), None)
    p = None if given_p is None else reading.constant("P", given_p, 2)
    if p is not None:
        cell = next((name for name, entry in CELLS.items() if entry.operator == cell and entry.vectors), "")
        if not cell:
            reading.fail("no peepholes", "some")
    options = _options(reading, node.operator, count)
    if p is not None and options:
        reading.fail("activations Sigmoid, Tanh, Tanh beside peepholes", f"{node.attributes['activations']}")
    flow = read(reading, "X", x)
    if flow.axes == "BTF" and layout == 0:
        if not reading.time_first:
            raise TimeFirst
        reading.fail("X (T, B, F)", "(B, T, F)")
    if flow.axes != ("BTF" if layout else "TBF"):
        reading.fail("X (B, T, F)" if layout else "X (T, B, F)", flow.axes)
    gates = len(CELLS[cell].onnx) * hidden
    wanted: dict[str, tuple[int, ...]] = {
        "W": (count, gates, flow.size("F") or w.shape[2]),
        "R": (count, gates, hidden),
    }
    wanted |= {} if b is None else {"B": (count, 2 * gates)}
    wanted |= {"P": (count, 3 * hidden)}
    for name, found in (("W", w), ("R", r), ("B", b), ("P", p)):
        if found is not None and (found.shape != wanted[name] or 0 in found.shape or found.dtype.kind != "f"):
            reading.fail(f"floats of shape {wanted[name]} as {name}", f"{found.dtype} of shape {found.shape}")
    if node.attributes.get("hidden_size", hidden) != hidden:
        reading.fail(f"hidden_size {hidden}, as R has", f"{node.attributes['hidden_size']}")
    initial = [
        _initial(reading, name, value) for name, value in zip(("initial_h", "initial_c"), rest[:states], strict=False)
    ]
    directions = from_onnx_arrays(cell, w, r, b, p)
    own = Recurrence(cell, directions, options, initial)
    module = make(cell, [directions], not reading.time_first, **options)
    rows, steps = flow.size("B"), flow.size("T")
    axes = "BTDH" if layout else "TDBH"
    sizes = {"B": rows, "T": steps, "D": count, "H": hidden}
    y = apply(
        reading, flow, module, uses=_uses_lengths(reading, lengths), weights=own, axes=axes,
        sizes=tuple(sizes[axis] for axis in axes),
    )  # fmt: skip
    place = "BDH" if layout else "DBH"
    finals = [State((y.step,), k, place, tuple(sizes[axis] for axis in place)) for k in range(states)]
    return [y, *finals]


def _options(reading: Reading, cell: str, count: int) -> dict[str, Any]:
    """Check the attributes of a recurrent operator; return what they say of the cell."""
    attributes = reading.node.attributes
    direction = attributes.get("direction", "forward")
    if direction != ("forward" if count == 1 else "bidirectional"):
        reading.fail(
            "direction forward, or bidirectional with weights for both", f"{direction} with weights for {count}"
        )
    usual = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}[cell]
    given = [str(word).capitalize() for word in attributes.get("activations", usual * count)]
    options: dict[str, Any] = {}
    if cell == "RNN" and given == ["Relu"] * count:
        options["nonlinearity"] = "relu"
    elif cell == "LSTM" and given == ["Sigmoid", "Relu", "Relu"] * count:
        options["activation"] = "relu"
    elif given != usual * count:
        reading.fail(f"activations {usual * count}", f"{given}")
    if cell == "GRU":
        options["reset_after"] = bool(attributes.get("linear_before_reset", 0))
    reading.check_attributes(
        activations=None, direction=None, hidden_size=None, layout=None, linear_before_reset=None, input_forget=0
    )
    return options


def _uses_lengths(reading: Reading, lengths: Any) -> bool:
    if lengths is None:
        return False
    probe = reading.masks.probe
    if isinstance(lengths, Known) and lengths.values.shape == (probe.rows,):
        if np.array_equal(lengths.values, probe.lengths) and not lengths.constant:
            return True
        if (lengths.values == probe.steps).all():
            return False
    reading.fail("sequence_lens that are the input of lengths, or T for every row", "something else")


def _initial(reading: Reading, name: str, value: Any) -> Initial | None:
    if value is None or (isinstance(value, Known) and not value.values.any()):
        return None
    if not isinstance(value, Initial):
        reading.fail(f"zeros or an input as {name}", "other numbers")
    return value
