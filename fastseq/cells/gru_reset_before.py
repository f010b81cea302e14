"""Gated recurrent unit whose reset gate acts on h, before the recurrent product.

    r = sigmoid(slot_r)    z = sigmoid(slot_z)    n = tanh(slot_n)
    h = (1 - z) * n + z * h_before

and slot_s = bias_s + W_s x + R_s h_before for s in r z, but slot_n = bias_n + W_n x + R_n (r * h_before): a second
product in each step. The rows of W and R are in the order r z n.

Cho et al., Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation, 2014, section
2.3; the order of gates and the meaning of z are PyTorch's. Keras has this cell as reset_after=False, ONNX as
linear_before_reset=0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastseq.cells.contract import CellSpec, define
from fastseq.simd.lanes import fma
from fastseq.simd.math import sigmoid, sigmoid_slope, tanh, tanh_slope


class GRUResetBeforeWeights(NamedTuple):
    """Weights of the layer as gate panels."""

    panels: Any
    spec = CellSpec(slots=("r", "z", "n"), recurrent=("r", "z"), second="n")  # type: ignore[misc]


def operand(weights, slots, h):
    """Return what R_n is multiplied by."""
    return sigmoid(slots[0]) * h


def step(weights, slots, h, memory):
    """Advance one step; see the module for the equations and `contract.step` for the arguments."""
    r, z, n = sigmoid(slots[0]), sigmoid(slots[1]), tanh(slots[2])
    return (r, z, n), fma(z, h - n, n), ()


def step_backward(weights, gates, h, memory, d_h, d_memory):
    """Go back one step; the reset gate itself is left for `operand_backward`, since nothing else depends on it."""
    r, z, n = gates
    return (r, d_h * (h - n) * sigmoid_slope(z), d_h * (1.0 - z) * tanh_slope(n)), d_h * z, ()


def operand_backward(weights, d_slots, h, d_operand):
    """Go back through the operand."""
    r = d_slots[0]
    return (d_operand * h * sigmoid_slope(r), d_slots[1], d_slots[2]), d_operand * r


define(GRUResetBeforeWeights, step, step_backward, operand, operand_backward)
