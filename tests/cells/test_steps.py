"""The equations of cells as plain NumPy: against the oracle, and their way back against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.cells import contract
from fastseq.cells.gru import GRUWeights
from fastseq.cells.rnn import ReluWeights, TanhWeights
from tests import naive

H = 5
CELLS = {
    "gru": (GRUWeights, naive.gru_step),
    "tanh": (TanhWeights, naive.rnn_step),
    "relu": (ReluWeights, naive.rnn_relu_step),
}
each_cell = pytest.mark.parametrize("name", CELLS)


def step_of(weights, parts):
    """A step from slots, h and memories in one list."""
    slots = len(weights.spec.slots)
    return contract.step(weights, tuple(parts[:slots]), parts[slots], tuple(parts[slots + 1 :]))


def random_parts(weights, rng):
    return list(rng.standard_normal((len(weights.spec.slots) + 1 + len(weights.spec.memories), H)))


@each_cell
def test_a_step_is_the_oracles(name, rng):
    cell, oracle = CELLS[name]
    spec, weights = cell.spec, cell(None)
    for _ in range(20):
        x, parts = rng.standard_normal(3), random_parts(cell, rng)
        h = parts[len(spec.slots)]
        w_ih, w_hh = (
            rng.standard_normal((len(spec.input_rows) * H, 3)),
            rng.standard_normal((len(spec.state_rows) * H, H)),
        )
        b_ih, b_hh = rng.standard_normal(len(w_ih)), rng.standard_normal(len(w_hh))
        slots = dict.fromkeys(spec.slots, 0)
        for rows, product in ((spec.input_rows, w_ih @ x + b_ih), (spec.state_rows, w_hh @ h + b_hh)):
            slots |= {slot: slots[slot] + part for slot, part in zip(rows, np.split(product, len(rows)), strict=True)}
        memory = parts[len(spec.slots) + 1 :]
        _, got_h, got_memory = contract.step(weights, tuple(slots.values()), h, tuple(memory))
        want = oracle(x, h, *memory, w_ih, w_hh, b_ih, b_hh)
        for got, right in zip((got_h, *got_memory), want, strict=True):
            np.testing.assert_allclose(got, right, rtol=1e-11, atol=1e-13)


@each_cell
def test_a_step_back_is_the_derivative(name, rng):
    cell, _ = CELLS[name]
    weights, parts = cell(None), random_parts(cell, rng)
    slots = len(cell.spec.slots)
    gates, h_after, memory_after = step_of(weights, parts)
    upstream = [rng.standard_normal(H) for _ in (h_after, *memory_after)]
    memory = tuple(parts[slots + 1 :])
    d_slots, d_h, d_memory = contract.step_backward(
        weights, gates, parts[slots], memory, upstream[0], tuple(upstream[1:])
    )

    def value(moved):
        _, h, after = step_of(weights, moved)
        return sum(a * g for a, g in zip((h, *after), upstream, strict=True))

    for place, got in enumerate((*d_slots, d_h, *d_memory)):
        ways = []
        for eps in (1e-6, -1e-6):
            other = [p.copy() for p in parts]
            other[place] += eps
            ways.append(value(other))
        np.testing.assert_allclose(got, (ways[0] - ways[1]) / 2e-6, rtol=1e-6, atol=1e-8, err_msg=str(place))


@each_cell
def test_nan_passes_both_ways(name, rng):
    cell, _ = CELLS[name]
    weights, parts = cell(None), random_parts(cell, rng)
    slots = len(cell.spec.slots)
    for slot in range(slots):
        spoilt = [p.copy() for p in parts]
        spoilt[slot][2] = np.nan
        gates, after, memory = step_of(weights, spoilt)
        assert np.flatnonzero(np.isnan(after)).tolist() == [2]
        back = contract.step_backward(
            weights, gates, spoilt[slots], tuple(spoilt[slots + 1 :]), np.ones(H), tuple(np.ones(H) for _ in memory)
        )
        assert any(np.isnan(d[2]) for d in back[0])


def test_what_a_specification_says():
    assert GRUWeights.spec.order == (-1, 0, 1, 2, 2, 0, 1, -1)
    assert GRUWeights.spec.shape == (4, 0, 1, 3, 0, 3, 1)
    assert TanhWeights.spec.order == (0, 0)
    assert TanhWeights.spec.shape == (1, 0, 0, 1, 0, 1, 4)
