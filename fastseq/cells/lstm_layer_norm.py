"""Long short-term memory with layer normalisation.

    a_s = LN(W_s x) + LN(R_s h_before)                                  for s in i f g o
    i = sigmoid(a_i)    f = sigmoid(a_f)    g = tanh(a_g)    o = sigmoid(a_o)
    c = f * c_before + i * g
    h = o * tanh(LN(c))

and LN(v) = (v - mean(v)) / sqrt(var(v) + 1e-5) * gain + bias, with a gain and a bias of its own in each of its three
places. The products with x and with h are normalised apart, each over its 4H numbers together; the memory that is
carried on is c, not LN(c). The products themselves have no bias: it would be subtracted with the mean.

Ba, Kiros & Hinton, Layer Normalization, arXiv 1607.06450, equations 20 to 22; the order of gates is PyTorch's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastseq.cells.contract import CellSpec, define
from fastseq.jit import shared
from fastseq.simd.lanes import fma, zero_like
from fastseq.simd.math import sigmoid, sigmoid_slope, tanh, tanh_slope

INPUT, STATE, MEMORY = ("xi", "xf", "xg", "xo"), ("hi", "hf", "hg", "ho"), ("c",)


class LayerNormWeights(NamedTuple):
    """Weights of the layer as gate panels."""

    panels: Any
    spec = CellSpec(  # type: ignore[misc]
        slots=(*INPUT, *STATE, *MEMORY),
        memories=("c",),
        inputs=INPUT,
        recurrent=STATE,
        vectors=(*["gain_ih"] * 4, *["gain_hh"] * 4, "gain_c", *["bias_ih"] * 4, *["bias_hh"] * 4, "bias_c"),
        standardized=(INPUT, STATE, MEMORY),
    )


@shared
def gate(slots, vectors, number):
    """Return the sum whose function is a gate; the slots are standardised."""
    biases = vectors[9 + number] + vectors[13 + number]
    return fma(vectors[number], slots[number], fma(vectors[4 + number], slots[4 + number], biases))


@shared
def gate_backward(slots, vectors, number, d):
    """Return the gradients of the two slots, of their two gains, and of their biases."""
    return d * vectors[number], d * vectors[4 + number], d * slots[number], d * slots[4 + number], d


@shared
def remembered(slots, memory, vectors):
    """Return c after the step."""
    i, f = sigmoid(gate(slots, vectors, 0)), sigmoid(gate(slots, vectors, 1))
    return fma(f, memory[0], i * tanh(gate(slots, vectors, 2)))


def made(weights, slots, memory, vectors):
    """Return what is standardised for h."""
    return remembered(slots, memory, vectors)


def step(weights, slots, h, memory, vectors):
    """Advance one step; see the module for the equations and `contract.step` for the arguments."""
    o, squashed = sigmoid(gate(slots, vectors, 3)), tanh(fma(vectors[8], slots[8], vectors[17]))
    return slots, o * squashed, (remembered(slots, memory, vectors),)


def step_backward(weights, gates, h, memory, d_h, d_memory, vectors):
    """Go back one step as far as the output gate and the standardised memory."""
    zero = zero_like(d_h)
    o, squashed = sigmoid(gate(gates, vectors, 3)), tanh(fma(vectors[8], gates[8], vectors[17]))
    d_squashed = d_h * o * tanh_slope(squashed)
    d_x, d_s, d_gain_x, d_gain_s, d_bias = gate_backward(gates, vectors, 3, d_h * squashed * sigmoid_slope(o))
    d_slots = (zero, zero, zero, d_x, zero, zero, zero, d_s, d_squashed * vectors[8])
    d_gains = (zero, zero, zero, d_gain_x, zero, zero, zero, d_gain_s, d_squashed * gates[8])
    d_biases = (zero, zero, zero, d_bias, zero, zero, zero, d_bias, d_squashed)
    return d_slots, zero, d_memory, d_gains + d_biases


def made_backward(weights, gates, d_slots, memory, d_memory, vectors, d_vectors):
    """Go back through the memory and the gates that it is made of."""
    i, f, g = sigmoid(gate(gates, vectors, 0)), sigmoid(gate(gates, vectors, 1)), tanh(gate(gates, vectors, 2))
    d_c = d_memory[0] + d_slots[8]
    xi, hi, gain_xi, gain_hi, bias_i = gate_backward(gates, vectors, 0, d_c * g * sigmoid_slope(i))
    xf, hf, gain_xf, gain_hf, bias_f = gate_backward(gates, vectors, 1, d_c * memory[0] * sigmoid_slope(f))
    xg, hg, gain_xg, gain_hg, bias_g = gate_backward(gates, vectors, 2, d_c * i * tanh_slope(g))
    slots = (xi, xf, xg, d_slots[3], hi, hf, hg, d_slots[7], zero_like(d_c))
    gains = (gain_xi, gain_xf, gain_xg, d_vectors[3], gain_hi, gain_hf, gain_hg, d_vectors[7], d_vectors[8])
    biases = (bias_i, bias_f, bias_g, d_vectors[12], bias_i, bias_f, bias_g, d_vectors[16], d_vectors[17])
    return slots, (d_c * f,), gains + biases


define(LayerNormWeights, step, step_backward, made=made, made_backward=made_backward)
