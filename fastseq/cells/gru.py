"""Gated recurrent unit whose reset gate acts on the recurrent product.

    r = sigmoid(slot_r)    z = sigmoid(slot_z)    n = tanh(slot_x + r * slot_m)
    h = (1 - z) * n + z * h_before

and slot_s = bias_s + W_s x + R_s h_before for s in r z; the candidate has a slot for each of its two products,
slot_x = bias_x + W_n x and slot_m = bias_m + R_n h_before. The rows of W and R are in the order r z n.

Cho et al., Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation, 2014; the
reset gate behind the product, the order of gates and the meaning of z are those of PyTorch (and cuDNN).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastseq.cells.contract import CellSpec, define
from fastseq.jit import shared
from fastseq.simd.lanes import fma
from fastseq.simd.math import sigmoid, sigmoid_slope, tanh, tanh_slope


class GRUWeights(NamedTuple):
    """Weights of a GRU layer as gate panels."""

    panels: Any
    spec = CellSpec(slots=("m", "r", "z", "x"), inputs=("r", "z", "x"), recurrent=("r", "z", "m"), early=True)  # type: ignore[misc]


@shared
def activate(weights, slots):
    """Return the slots with r and z made; see the module for the equations and `contract.step` for the arguments."""
    return slots[0], sigmoid(slots[1]), sigmoid(slots[2]), slots[3]


@shared
def complete(weights, slots, h, memory):
    """Advance one step from r and z."""
    m, r, z, x = slots
    n = tanh(fma(r, m, x))
    return (m, r, z, n), fma(z, h - n, n), ()


def step(weights, slots, h, memory):
    """Advance one step."""
    return complete(weights, activate(weights, slots), h, memory)


def step_backward(weights, gates, h, memory, d_h, d_memory):
    """Go back one step; the gate of slot m is its product with h, that of slot x the candidate."""
    m, r, z, n = gates
    d_x = d_h * (1.0 - z) * tanh_slope(n)
    d_slots = (d_x * r, d_x * m * sigmoid_slope(r), d_h * (h - n) * sigmoid_slope(z), d_x)
    return d_slots, d_h * z, ()


define(GRUWeights, step, step_backward, activate=activate, complete=complete)
