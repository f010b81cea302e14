"""Long short-term memory with the rectifier where there is the hyperbolic tangent, as in Keras's ``activation="relu"``.

    i = sigmoid(slot_i)    f = sigmoid(slot_f)    g = max(slot_g, 0)    o = sigmoid(slot_o)
    c = f * c_before + i * g
    h = o * max(c, 0)

and slot_s = bias_s + W_s x + R_s h_before, with the rows of W and R in the order i f g o. Neither c nor h has a limit.

Hochreiter & Schmidhuber, Long Short-Term Memory, Neural Computation 9(8), 1997, whose g and h may be any
differentiable functions; the forget gate is from Gers, Schmidhuber & Cummins, Learning to Forget, 2000.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastseq.cells.contract import CellSpec, define
from fastseq.simd.lanes import at_least, fma, where_less, zero_like
from fastseq.simd.math import sigmoid, sigmoid_slope


class ReluLSTMWeights(NamedTuple):
    """Weights of a layer as gate panels."""

    panels: Any
    spec = CellSpec(slots=("i", "f", "g", "o"), memories=("c",))  # type: ignore[misc]


def step(weights, slots, h, memory):
    """Advance one step; see the module for the equations and `contract.step` for the arguments."""
    i, f, g, o = sigmoid(slots[0]), sigmoid(slots[1]), at_least(slots[2], 0.0), sigmoid(slots[3])
    c = fma(f, memory[0], i * g)
    return (i, f, g, o), o * at_least(c, 0.0), (c,)


def step_backward(weights, gates, h, memory, d_h, d_memory):
    """Go back one step; the slope at zero is zero, NaN stays, and c is computed again."""
    i, f, g, o = gates
    before = memory[0]
    c = fma(f, before, i * g)
    d_c = where_less(0.0, c, fma(d_h, o, d_memory[0]), d_memory[0] + at_least(c, 0.0))
    d_slots = (
        d_c * g * sigmoid_slope(i),
        d_c * before * sigmoid_slope(f),
        where_less(0.0, g, d_c * i, g),
        d_h * at_least(c, 0.0) * sigmoid_slope(o),
    )
    return d_slots, zero_like(d_h), (d_c * f,)


define(ReluLSTMWeights, step, step_backward)
