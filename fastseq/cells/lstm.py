"""Long short-term memory with a forget gate.

    i = sigmoid(slot_i)    f = sigmoid(slot_f)    g = tanh(slot_g)    o = sigmoid(slot_o)
    c = f * c_before + i * g
    h = o * tanh(c)

and slot_s = bias_s + W_s x + R_s h_before, with the rows of W and R in the order i f g o.

Hochreiter & Schmidhuber, Long Short-Term Memory, Neural Computation 9(8), 1997; the forget gate is from Gers,
Schmidhuber & Cummins, Learning to Forget, Neural Computation 12(10), 2000; the order of gates is PyTorch's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastseq.cells.contract import CellSpec, define
from fastseq.jit import shared
from fastseq.simd.lanes import fma, zero_like
from fastseq.simd.math import sigmoid, sigmoid_slope, tanh, tanh_slope


class LSTMWeights(NamedTuple):
    """Weights of an LSTM layer as gate panels."""

    panels: Any
    spec = CellSpec(slots=("i", "f", "g", "o"), memories=("c",), early=True)  # type: ignore[misc]


@shared
def activate(weights, slots):
    """Return the gates; see the module for the equations and `contract.step` for the arguments."""
    return sigmoid(slots[0]), sigmoid(slots[1]), tanh(slots[2]), sigmoid(slots[3])


@shared
def complete(weights, gates, h, memory):
    """Advance one step from the gates."""
    i, f, g, o = gates
    c = fma(f, memory[0], i * g)
    return gates, o * tanh(c), (c,)


def step(weights, slots, h, memory):
    """Advance one step."""
    return complete(weights, activate(weights, slots), h, memory)


def step_backward(weights, gates, h, memory, d_h, d_memory):
    """Go back one step; c is computed again, which is cheaper than keeping it."""
    i, f, g, o = gates
    before = memory[0]
    squashed = tanh(fma(f, before, i * g))
    d_c = fma(d_h * o, tanh_slope(squashed), d_memory[0])
    d_slots = (
        d_c * g * sigmoid_slope(i),
        d_c * before * sigmoid_slope(f),
        d_c * i * tanh_slope(g),
        d_h * squashed * sigmoid_slope(o),
    )
    return d_slots, zero_like(d_h), (d_c * f,)


define(LSTMWeights, step, step_backward, activate=activate, complete=complete)
