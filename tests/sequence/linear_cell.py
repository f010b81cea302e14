"""Cells without nonlinearities: driver and products can be checked to the last bit against plain sums.

    m = m_before / 2 + A slots            h = B slots + m / 4 - h_before / 8

A and B are powers of two: with small integers for weights and inputs every number is a multiple of a power of two that
float64 holds exactly, so that no order of operations could change it.
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
    """Weights of the cell whose two slots take both products, as panels."""

    panels: Any
    spec = CellSpec(slots=("a", "b"), memories=("m",))


class SplitWeights(NamedTuple):
    """Weights of a cell with a slot for products with h only, and one for products with the input only."""

    panels: Any
    spec = CellSpec(("p", "a", "b", "q"), ("m",), inputs=("a", "b", "q"), recurrent=("b", "p", "a"))


class SingleWeights(NamedTuple):
    """Weights of a cell with one slot, whose panels hold several blocks."""

    panels: Any
    spec = CellSpec(slots=("a",), memories=("m",))


COEFFICIENTS = {
    LinearWeights: ((1.0, 0.0), (0.0, 1.0)),
    SplitWeights: ((0.5, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.25)),
    SingleWeights: ((1.0,), (0.5,)),
}
"""A and B."""
CELLS = list(COEFFICIENTS)

# The cache of kernels looks at the package's sources; what is compiled from this file carries its digest in the name.
_digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
for _cell in CELLS:
    _cell.__name__ = _cell.__qualname__ = f"{_cell.__name__}_{_digest}"
    globals()[_cell.__name__] = _cell


def step(weights, slots, h, memory):
    """One step."""
    m = memory[0] * 0.5 + slots[0]
    return slots, slots[1] + m * 0.25 - h * 0.125, (m,)


def step_backward(weights, gates, h, memory, d_h, d_memory):
    """One step back."""
    d_m = d_memory[0] + d_h * 0.25
    return (d_m, d_h), d_h * -0.125, (d_m * 0.5,)


def split_step(weights, slots, h, memory):
    """One step."""
    m = memory[0] * 0.5 + slots[0] * 0.5 + slots[1]
    return slots, slots[2] + slots[3] * 0.25 + m * 0.25 - h * 0.125, (m,)


def split_step_backward(weights, gates, h, memory, d_h, d_memory):
    """One step back."""
    d_m = d_memory[0] + d_h * 0.25
    return (d_m * 0.5, d_m, d_h, d_h * 0.25), d_h * -0.125, (d_m * 0.5,)


def single_step(weights, slots, h, memory):
    """One step."""
    m = memory[0] * 0.5 + slots[0]
    return slots, slots[0] * 0.5 + m * 0.25 - h * 0.125, (m,)


def single_step_backward(weights, gates, h, memory, d_h, d_memory):
    """One step back."""
    d_m = d_memory[0] + d_h * 0.25
    return (d_m + d_h * 0.5,), d_h * -0.125, (d_m * 0.5,)


define(LinearWeights, step, step_backward)
define(SplitWeights, split_step, split_step_backward)
define(SingleWeights, single_step, single_step_backward)


class Case(NamedTuple):
    """A batch and a layer of whole numbers, as float64."""

    x: np.ndarray
    initial: tuple[np.ndarray, np.ndarray]
    lengths: np.ndarray
    directions: list[tuple[np.ndarray, ...]]
    upstream: tuple[np.ndarray, np.ndarray, np.ndarray]
    cell: Any


def case(
    rng: np.random.Generator,
    batch: int,
    steps: int,
    inputs: int,
    units: int,
    directions: int,
    cell: Any = LinearWeights,
) -> Case:
    """Draw a case; lengths from 0 to T, padding is NaN."""

    def small(*shape: int) -> np.ndarray:
        return rng.integers(-2, 3, shape).astype(np.float64)

    lengths = rng.integers(0, steps + 1, batch)
    x = small(batch, steps, inputs)
    x[np.arange(steps) >= lengths[:, None]] = np.nan
    shape = (directions, batch, units)
    rows, state_rows = (len(slots) * units for slots in (cell.spec.input_rows, cell.spec.state_rows))
    weights = [
        (small(rows, inputs), small(state_rows, units), small(rows), small(state_rows)) for _ in range(directions)
    ]
    upstream = small(batch, steps, directions * units), small(*shape), small(*shape)
    return Case(x, (small(*shape), small(*shape)), lengths, weights, upstream, cell)


def run(given: Case, lengths: np.ndarray | None | str = "own") -> dict[str, np.ndarray]:
    """Outputs, states and all gradients of the real driver."""
    x, *initial = (Tensor(v.copy(), requires_grad=True) for v in (given.x, *given.initial))
    parameters = [tuple(Tensor(w.copy(), requires_grad=True) for w in d) for d in given.directions]
    layer = PackedLayer(given.cell, parameters)
    outputs = recurrent(layer, x, initial, given.lengths if isinstance(lengths, str) else lengths)
    sum((o * g).sum() for o, g in zip(outputs, given.upstream, strict=True)).backward()
    found = dict(zip(("out", "h", "m"), (o.numpy() for o in outputs), strict=True))
    found |= {"d_x": x.grad.numpy(), "d_h": initial[0].grad.numpy(), "d_m": initial[1].grad.numpy()}
    for d, weights in enumerate(parameters):
        found |= {f"d_{n}_{d}": w.grad.numpy() for n, w in zip(("w_ih", "w_hh", "b_ih", "b_hh"), weights, strict=True)}
    return found


def rows_of(cell: Any, units: int) -> list[np.ndarray]:
    """Where the rows of the input's matrix, and of h's, are among all rows of slots."""
    spec = cell.spec
    return [
        np.concatenate([spec.slots.index(slot) * units + np.arange(units) for slot in rows])
        for rows in (spec.input_rows, spec.state_rows)
    ]


def expected(given: Case, lengths: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The same with einsum, one row after the other, and the way back by hand."""
    lengths = given.lengths if lengths is None else lengths
    batch, steps, _ = given.x.shape
    units = given.initial[0].shape[2]
    to_m, to_h = (np.array(c) for c in COEFFICIENTS[given.cell])
    x_rows, h_rows = rows_of(given.cell, units)
    d_out, d_final_h, d_final_m = given.upstream
    out, h_n, m_n = (np.zeros_like(g) for g in given.upstream)
    d_x, d_h0, d_m0 = np.zeros_like(given.x), np.zeros_like(h_n), np.zeros_like(m_n)
    found = {"out": out, "h": h_n, "m": m_n, "d_x": d_x, "d_h": d_h0, "d_m": d_m0}
    for d, (w, r, b, b2) in enumerate(given.directions):
        d_w, d_r, d_b, d_b2 = np.zeros_like(w), np.zeros_like(r), np.zeros_like(b), np.zeros_like(b2)
        columns = slice(d * units, (d + 1) * units)
        for row in range(batch):
            times = list(range(int(lengths[row])))
            times = times[::-1] if d else times
            h, m = given.initial[0][d, row], given.initial[1][d, row]
            befores = []
            for t in times:
                befores.append(h)
                slots = np.zeros(len(to_m) * units)
                slots[x_rows] += b + np.einsum("sf,f->s", w, given.x[row, t])
                slots[h_rows] += b2 + np.einsum("su,u->s", r, h)
                slots = slots.reshape(len(to_m), units)
                m = m / 2 + np.einsum("s,su->u", to_m, slots)
                h = np.einsum("s,su->u", to_h, slots) + m / 4 - h / 8
                out[row, t, columns] = h
            h_n[d, row], m_n[d, row] = h, m
            d_h, d_m = d_final_h[d, row], d_final_m[d, row]
            for t, before in zip(times[::-1], befores[::-1], strict=True):
                d_h = d_h + d_out[row, t, columns]
                d_m = d_m + d_h / 4
                d_slots = (np.outer(to_m, d_m) + np.outer(to_h, d_h)).ravel()
                d_w += np.einsum("s,f->sf", d_slots[x_rows], given.x[row, t])
                d_r += np.einsum("s,u->su", d_slots[h_rows], before)
                d_b += d_slots[x_rows]
                d_b2 += d_slots[h_rows]
                d_x[row, t] += np.einsum("sf,s->f", w, d_slots[x_rows])
                d_h, d_m = np.einsum("su,s->u", r, d_slots[h_rows]) - d_h / 8, d_m / 2
            d_h0[d, row], d_m0[d, row] = d_h, d_m
        found |= {f"d_w_ih_{d}": d_w, f"d_w_hh_{d}": d_r, f"d_b_ih_{d}": d_b, f"d_b_hh_{d}": d_b2}
    return found
