"""A cell without nonlinearities: driver and products can be checked to the last bit against plain sums.

    m = m_before / 2 + slot_a            h = slot_b + m / 4 - h_before / 8

With small integers for weights and inputs every number is a multiple of a power of two that float64 holds exactly,
so that no order of operations could change it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastseq.autograd.recurrent import PackedLayer, recurrent
from fastseq.autograd.tensor import Tensor
from fastseq.cells.contract import CellSpec, define


class LinearWeights(NamedTuple):
    """Weights of the linear cell as panels."""

    panels: Any
    spec = CellSpec(slots=("a", "b"), memories=("m",))


# The cache of kernels looks at the package's sources; what is compiled from this file carries its digest in the name.
_digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
LinearWeights.__name__ = LinearWeights.__qualname__ = f"LinearWeights_{_digest}"
globals()[LinearWeights.__name__] = LinearWeights


def step(weights, slots, h, memory):
    """One step."""
    m = memory[0] * 0.5 + slots[0]
    return slots, slots[1] + m * 0.25 - h * 0.125, (m,)


def step_backward(weights, gates, h, memory, d_h, d_memory):
    """One step back."""
    d_m = d_memory[0] + d_h * 0.25
    return (d_m, d_h), d_h * -0.125, (d_m * 0.5,)


define(LinearWeights, step, step_backward)


class Case(NamedTuple):
    """A batch and a layer of whole numbers, as float64."""

    x: np.ndarray
    initial: tuple[np.ndarray, np.ndarray]
    lengths: np.ndarray
    directions: list[tuple[np.ndarray, ...]]
    upstream: tuple[np.ndarray, np.ndarray, np.ndarray]


def case(rng: np.random.Generator, batch: int, steps: int, inputs: int, units: int, directions: int) -> Case:
    """Draw a case; lengths from 0 to T, padding is NaN."""

    def small(*shape: int) -> np.ndarray:
        return rng.integers(-2, 3, shape).astype(np.float64)

    lengths = rng.integers(0, steps + 1, batch)
    x = small(batch, steps, inputs)
    x[np.arange(steps) >= lengths[:, None]] = np.nan
    shape = (directions, batch, units)
    weights = [
        (small(2 * units, inputs), small(2 * units, units), small(2 * units), small(2 * units))
        for _ in range(directions)
    ]
    upstream = small(batch, steps, directions * units), small(*shape), small(*shape)
    return Case(x, (small(*shape), small(*shape)), lengths, weights, upstream)


def run(given: Case, lengths: np.ndarray | None | str = "own") -> dict[str, np.ndarray]:
    """Outputs, states and all gradients of the real driver."""
    x, *initial = (Tensor(v.copy(), requires_grad=True) for v in (given.x, *given.initial))
    parameters = [tuple(Tensor(w.copy(), requires_grad=True) for w in d) for d in given.directions]
    layer = PackedLayer(LinearWeights, parameters)
    outputs = recurrent(layer, x, initial, given.lengths if isinstance(lengths, str) else lengths)
    sum((o * g).sum() for o, g in zip(outputs, given.upstream, strict=True)).backward()
    found = dict(zip(("out", "h", "m"), (o.numpy() for o in outputs), strict=True))
    found |= {"d_x": x.grad.numpy(), "d_h": initial[0].grad.numpy(), "d_m": initial[1].grad.numpy()}
    for d, weights in enumerate(parameters):
        found |= {f"d_{n}_{d}": w.grad.numpy() for n, w in zip(("w_ih", "w_hh", "b_ih", "b_hh"), weights, strict=True)}
    return found


def expected(given: Case, lengths: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The same with einsum, one row after the other, and the way back by hand."""
    lengths = given.lengths if lengths is None else lengths
    batch, steps, _ = given.x.shape
    units = given.initial[0].shape[2]
    d_out, d_final_h, d_final_m = given.upstream
    out, h_n, m_n = (np.zeros_like(g) for g in given.upstream)
    d_x, d_h0, d_m0 = np.zeros_like(given.x), np.zeros_like(h_n), np.zeros_like(m_n)
    found = {"out": out, "h": h_n, "m": m_n, "d_x": d_x, "d_h": d_h0, "d_m": d_m0}
    for d, (w, r, b, b2) in enumerate(given.directions):
        d_w, d_r, d_b = np.zeros_like(w), np.zeros_like(r), np.zeros_like(b)
        columns = slice(d * units, (d + 1) * units)
        for row in range(batch):
            times = list(range(int(lengths[row])))
            times = times[::-1] if d else times
            h, m = given.initial[0][d, row], given.initial[1][d, row]
            befores = []
            for t in times:
                befores.append(h)
                slots = b + b2 + np.einsum("sf,f->s", w, given.x[row, t]) + np.einsum("su,u->s", r, h)
                m = m / 2 + slots[:units]
                h = slots[units:] + m / 4 - h / 8
                out[row, t, columns] = h
            h_n[d, row], m_n[d, row] = h, m
            d_h, d_m = d_final_h[d, row], d_final_m[d, row]
            for t, before in zip(times[::-1], befores[::-1], strict=True):
                d_h = d_h + d_out[row, t, columns]
                d_m = d_m + d_h / 4
                d_slots = np.concatenate([d_m, d_h])
                d_w += np.einsum("s,f->sf", d_slots, given.x[row, t])
                d_r += np.einsum("s,u->su", d_slots, before)
                d_b += d_slots
                d_x[row, t] += np.einsum("sf,s->f", w, d_slots)
                d_h, d_m = np.einsum("su,s->u", r, d_slots) - d_h / 8, d_m / 2
            d_h0[d, row], d_m0[d, row] = d_h, d_m
        found |= {f"d_w_ih_{d}": d_w, f"d_w_hh_{d}": d_r, f"d_b_ih_{d}": d_b, f"d_b_hh_{d}": d_b}
    return found
