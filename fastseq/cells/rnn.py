"""Simple recurrent network.

    h = tanh(slot)   or   h = max(slot, 0),        slot = bias + W x + R h_before

Elman, Finding Structure in Time, Cognitive Science 14(2), 1990.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastseq.cells.contract import CellSpec, define
from fastseq.simd.lanes import at_least, where_less, zero_like
from fastseq.simd.math import tanh, tanh_slope


class TanhWeights(NamedTuple):
    """Weights of a layer with the hyperbolic tangent, as gate panels."""

    panels: Any
    spec = CellSpec(slots=("a",))  # type: ignore[misc]


class ReluWeights(NamedTuple):
    """Weights of a layer with the rectifier, as gate panels."""

    panels: Any
    spec = CellSpec(slots=("a",))  # type: ignore[misc]


def tanh_step(weights, slots, h, memory):
    """Advance one step; see the module for the equations and `contract.step` for the arguments."""
    a = tanh(slots[0])
    return (a,), a, ()


def tanh_step_backward(weights, gates, h, memory, d_h, d_memory):
    """Go back one step."""
    return (d_h * tanh_slope(gates[0]),), zero_like(d_h), ()


def relu_step(weights, slots, h, memory):
    """Advance one step."""
    a = at_least(slots[0], 0.0)
    return (a,), a, ()


def relu_step_backward(weights, gates, h, memory, d_h, d_memory):
    """Go back one step; the slope at zero is zero, and NaN stays."""
    return (where_less(0.0, gates[0], d_h, gates[0]),), zero_like(d_h), ()


define(TanhWeights, tanh_step, tanh_step_backward)
define(ReluWeights, relu_step, relu_step_backward)
