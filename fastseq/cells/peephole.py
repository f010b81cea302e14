"""Long short-term memory whose gates see the memory, each unit its own.

    i = sigmoid(slot_i + p_i * c_before)    f = sigmoid(slot_f + p_f * c_before)    g = tanh(slot_g)
    c = f * c_before + i * g
    o = sigmoid(slot_o + p_o * c)
    h = o * tanh(c)

and slot_s = bias_s + W_s x + R_s h_before, with the rows of W and R in the order i f g o.

Gers & Schmidhuber, Recurrent Nets that Time and Count, IJCNN 2000; the input and the forget gate see the memory before
the step, the output gate the one after it, as in ONNX.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastseq.cells.contract import CellSpec, define
from fastseq.simd.lanes import fma, zero_like
from fastseq.simd.math import sigmoid, sigmoid_slope, tanh, tanh_slope


class PeepholeWeights(NamedTuple):
    """Weights of a layer as gate panels."""

    panels: Any
    spec = CellSpec(  # type: ignore[misc]
        slots=("i", "f", "g", "o"), memories=("c",), vectors=("weight_ci", "weight_cf", "weight_co")
    )


def step(weights, slots, h, memory, vectors):
    """Advance one step; see the module for the equations and `contract.step` for the arguments."""
    before = memory[0]
    i, f = sigmoid(fma(vectors[0], before, slots[0])), sigmoid(fma(vectors[1], before, slots[1]))
    g = tanh(slots[2])
    c = fma(f, before, i * g)
    o = sigmoid(fma(vectors[2], c, slots[3]))
    return (i, f, g, o), o * tanh(c), (c,)


def step_backward(weights, gates, h, memory, d_h, d_memory, vectors):
    """Go back one step; c is computed again, which is cheaper than keeping it."""
    i, f, g, o = gates
    before = memory[0]
    c = fma(f, before, i * g)
    squashed = tanh(c)
    d_o = d_h * squashed * sigmoid_slope(o)
    d_c = fma(d_o, vectors[2], fma(d_h * o, tanh_slope(squashed), d_memory[0]))
    d_i, d_f = d_c * g * sigmoid_slope(i), d_c * before * sigmoid_slope(f)
    d_before = fma(d_i, vectors[0], fma(d_f, vectors[1], d_c * f))
    return (d_i, d_f, d_c * i * tanh_slope(g), d_o), zero_like(d_h), (d_before,), (d_i * before, d_f * before, d_o * c)


define(PeepholeWeights, step, step_backward)
