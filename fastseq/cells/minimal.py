"""Gated units whose gates see the input only, so that nothing but an elementwise recurrence is left of time.

minGRU:     z = sigmoid(slot_z)                               h = (1 - z) * h_before + z * slot_n
minLSTM:    f = sigmoid(slot_f)    i = sigmoid(slot_i)        h = (f * h_before + i * slot_n) / (f + i)

and slot_s = bias_s + W_s x, with the rows of W in the order z n, or f i n.

Feng et al., Were RNNs All We Needed?, arXiv 2410.01201, sections 3.1 and 3.2 (3.2.3: the gates divided by their sum).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastseq.cells.contract import CellSpec, define
from fastseq.simd.lanes import fma
from fastseq.simd.math import sigmoid, sigmoid_slope


class MinGRUWeights(NamedTuple):
    """Weights of a minGRU layer as gate panels."""

    panels: Any
    spec = CellSpec(slots=("z", "n"), recurrent=())  # type: ignore[misc]


class MinLSTMWeights(NamedTuple):
    """Weights of a minLSTM layer as gate panels."""

    panels: Any
    spec = CellSpec(slots=("f", "i", "n"), recurrent=())  # type: ignore[misc]


def min_gru_step(weights, slots, h, memory):
    """Advance one step; see the module for the equations and `contract.step` for the arguments."""
    z, n = sigmoid(slots[0]), slots[1]
    return (z, n), fma(z, n - h, h), ()


def min_gru_step_backward(weights, gates, h, memory, d_h, d_memory):
    """Go back one step."""
    z, n = gates
    return (d_h * (n - h) * sigmoid_slope(z), d_h * z), d_h * (1.0 - z), ()


def min_lstm_step(weights, slots, h, memory):
    """Advance one step."""
    f, i, n = sigmoid(slots[0]), sigmoid(slots[1]), slots[2]
    return (f, i, n), fma(i / (f + i), n - h, h), ()


def min_lstm_step_backward(weights, gates, h, memory, d_h, d_memory):
    """Go back one step; f / (f + i) and i / (f + i) move against one another."""
    f, i, n = gates
    kept, taken = f / (f + i), i / (f + i)
    d_share = d_h * (h - n) * kept * taken
    return (d_share * (1.0 - f), -d_share * (1.0 - i), d_h * taken), d_h * kept, ()


define(MinGRUWeights, min_gru_step, min_gru_step_backward)
define(MinLSTMWeights, min_lstm_step, min_lstm_step_backward)
