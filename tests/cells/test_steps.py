"""The equations of cells as plain NumPy: against the oracle, and their way back against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.cells import contract
from fastseq.cells.gru import GRUWeights
from fastseq.cells.gru_reset_before import GRUResetBeforeWeights
from fastseq.cells.lstm_relu import ReluLSTMWeights
from fastseq.cells.minimal import MinGRUWeights, MinLSTMWeights
from fastseq.cells.peephole import PeepholeWeights
from fastseq.cells.rnn import ReluWeights, TanhWeights
from tests import naive

H = 5
CELLS = {
    "gru": (GRUWeights, naive.gru_step),
    "gru, reset before": (GRUResetBeforeWeights, naive.gru_reset_before_step),
    "tanh": (TanhWeights, naive.rnn_step),
    "relu": (ReluWeights, naive.rnn_relu_step),
    "minGRU": (MinGRUWeights, naive.min_gru_step),
    "minLSTM": (MinLSTMWeights, naive.min_lstm_step),
    "peephole": (PeepholeWeights, naive.peephole_step),
    "LSTM relu": (ReluLSTMWeights, naive.lstm_relu_step),
}
each_cell = pytest.mark.parametrize("name", CELLS)


def random_parts(cell, rng):
    """Slots, h, memories and vectors in one list."""
    spec = cell.spec
    return list(rng.standard_normal((len(spec.slots) + 1 + len(spec.memories) + len(spec.vectors), H)))


def split(cell, parts):
    """The same as slots, h, memories and vectors."""
    slots, memories = len(cell.spec.slots), len(cell.spec.memories)
    last = slots + 1 + memories
    return tuple(parts[:slots]), parts[slots], tuple(parts[slots + 1 : last]), tuple(parts[last:])


@each_cell
def test_a_step_is_the_oracles(name, rng):
    cell, oracle = CELLS[name]
    spec = cell.spec
    for _ in range(20):
        x, (_, h, memory, vectors) = rng.standard_normal(3), split(cell, random_parts(cell, rng))
        w_ih = rng.standard_normal((len(spec.input_rows) * H, 3))
        w_hh = rng.standard_normal((len(spec.state_rows) * H, H))
        b_ih, b_hh = rng.standard_normal(len(w_ih)), rng.standard_normal(len(w_hh))
        slots = dict.fromkeys(spec.slots, 0)
        for rows, product in ((spec.input_rows, w_ih @ x + b_ih), (spec.own_rows, w_hh @ h + b_hh)):
            slots |= {slot: slots[slot] + part for slot, part in zip(rows, product.reshape(-1, H), strict=False)}
        if spec.second in slots:
            u = contract.operand(cell(None), tuple(slots.values()), h)
            slots[spec.second] = slots[spec.second] + w_hh[-H:] @ u + b_hh[-H:]
        _, got_h, got_memory = contract.step(cell(None), tuple(slots.values()), h, memory, vectors)
        want = oracle(x, h, *memory, w_ih, w_hh, b_ih, b_hh, *vectors)
        for got, right in zip((got_h, *got_memory), want, strict=True):
            np.testing.assert_allclose(got, right, rtol=1e-11, atol=1e-13)


FACTORS = np.random.default_rng(5).standard_normal(H)
"""In place of a second product's matrix: its diagonal, so that units stay apart, as elsewhere in this file."""


def stepped(cell, parts):
    """What a step returns, its second product included."""
    slots, h, memory, vectors = split(cell, parts)
    if cell.spec.second in cell.spec.slots:
        place = cell.spec.slots.index(cell.spec.second)
        whole = slots[place] + FACTORS * contract.operand(cell(None), slots, h)
        slots = (*slots[:place], whole, *slots[place + 1 :])
    return contract.step(cell(None), slots, h, memory, vectors)


def forth_and_back(cell, parts, upstream):
    """Gradients of all parts."""
    _, h, memory, vectors = split(cell, parts)
    gates, _, _ = stepped(cell, parts)
    d_slots, d_h, d_memory, d_vectors = contract.step_backward(
        cell(None), gates, h, memory, upstream[0], tuple(upstream[1:]), vectors
    )
    if cell.spec.second in cell.spec.slots:
        d_operand = FACTORS * d_slots[cell.spec.slots.index(cell.spec.second)]
        d_slots, more = contract.operand_backward(cell(None), d_slots, h, d_operand)
        d_h = d_h + more
    return [*d_slots, d_h, *d_memory, *d_vectors]


@each_cell
def test_a_step_back_is_the_derivative(name, rng):
    cell, _ = CELLS[name]
    parts = random_parts(cell, rng)
    upstream = [rng.standard_normal(H) for _ in range(1 + len(cell.spec.memories))]

    def value(moved):
        _, h, after = stepped(cell, moved)
        return sum(a * g for a, g in zip((h, *after), upstream, strict=True))

    found = forth_and_back(cell, parts, upstream)
    assert len(found) == len(parts)
    for place, got in enumerate(found):
        ways = []
        for eps in (1e-6, -1e-6):
            other = [p.copy() for p in parts]
            other[place] += eps
            ways.append(value(other))
        np.testing.assert_allclose(got, (ways[0] - ways[1]) / 2e-6, rtol=1e-6, atol=1e-8, err_msg=str(place))


@each_cell
def test_nan_passes_both_ways(name, rng):
    cell, _ = CELLS[name]
    parts, count = random_parts(cell, rng), 1 + len(cell.spec.memories)
    for slot in range(len(cell.spec.slots)):
        spoilt = [p.copy() for p in parts]
        spoilt[slot][2] = np.nan
        _, after, _ = stepped(cell, spoilt)
        assert np.flatnonzero(np.isnan(after)).tolist() == [2]
        back = forth_and_back(cell, spoilt, [np.ones(H)] * count)
        assert any(np.isnan(d[2]) for d in back[: len(cell.spec.slots)])


def test_what_a_specification_says():
    assert GRUWeights.spec.order == (-1, 0, 1, 2, 2, 0, 1, -1)
    assert GRUWeights.spec.shape == (4, 0, 1, 3, 0, 3, 1, 0, -1, 0, 1)
    assert TanhWeights.spec.order == (0, 0)
    assert TanhWeights.spec.shape == (1, 0, 0, 1, 0, 1, 4, 0, -1, 0, 0)
    assert MinGRUWeights.spec.order == (0, 1, -1, -1)
    assert MinGRUWeights.spec.shape == (2, 0, 0, 2, 0, 0, 2, 0, -1, 0, 0)
    assert PeepholeWeights.spec.shape == (4, 1, 0, 4, 0, 4, 1, 3, -1, 0, 0)
    assert GRUResetBeforeWeights.spec.order == (0, 1, 2, 0, 1, -1)
    assert GRUResetBeforeWeights.spec.shape == (3, 0, 0, 3, 0, 2, 1, 0, 2, 0, 0)
    assert GRUResetBeforeWeights.spec.state_rows == ("r", "z", "n")


@pytest.mark.parametrize("cell", [cell for cell in contract.all_cells() if cell.spec.early])
def test_the_two_parts_of_an_early_step_are_the_step(cell, rng):
    slots, h, memory, _ = split(cell, random_parts(cell, rng))
    early = contract.activate(cell(None), slots)
    whole, parts = contract.step(cell(None), slots, h, memory), contract.complete(cell(None), early, h, memory)
    for one, other in zip((*whole[0], whole[1], *whole[2]), (*parts[0], parts[1], *parts[2]), strict=True):
        assert one.tobytes() == other.tobytes()
    changed = [one is not other for one, other in zip(slots, early, strict=True)]
    assert any(changed), "the first part does nothing"


def test_a_step_in_one_part_is_what_is_left_of_it(rng):
    slots, h, memory, _ = split(TanhWeights, random_parts(TanhWeights, rng))
    whole, rest = (
        contract.step(TanhWeights(None), slots, h, memory),
        contract.complete(TanhWeights(None), slots, h, memory),
    )
    assert whole[1].tobytes() == rest[1].tobytes()
