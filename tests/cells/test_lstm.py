"""The LSTM's equations as plain NumPy: against the oracle, and its way back against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.cells import contract, lstm
from fastseq.cells.lstm import LSTMWeights
from tests import naive

WEIGHTS = LSTMWeights(None)
H = 5


def random_step(rng, scale: float = 1.0):
    """Slots, h and c of one row."""
    return tuple(scale * rng.standard_normal((4, H))), rng.standard_normal(H), (rng.standard_normal(H),)


def test_its_specification():
    assert LSTMWeights.spec.slots == ("i", "f", "g", "o")
    assert LSTMWeights.spec.memories == ("c",)
    assert len(contract.slot_pattern(WEIGHTS)) == 4
    assert len(contract.memory_pattern(WEIGHTS)) == 1


def test_a_step_is_the_oracles(rng):
    for _ in range(50):
        slots, h, memory = random_step(rng, 3.0)
        # slots given as biases of a layer whose weights are zero
        zeros = np.zeros((4 * H, H))
        bias = np.concatenate(slots)
        want_h, want_c = naive.lstm_step(np.zeros(H), h, memory[0], zeros, zeros, bias, np.zeros(4 * H))
        gates, got_h, (got_c,) = contract.step(WEIGHTS, slots, h, memory)
        np.testing.assert_allclose(got_h, want_h, rtol=1e-13)
        np.testing.assert_allclose(got_c, want_c, rtol=1e-12, atol=1e-14)
        for slot, gate, function in zip(slots, gates, (naive.sigmoid,) * 2 + (np.tanh, naive.sigmoid), strict=True):
            np.testing.assert_allclose(gate, [function(v) for v in slot], rtol=1e-13)


def test_a_step_back_is_the_derivative(rng):
    slots, h, memory = random_step(rng)
    d_h, d_c = rng.standard_normal(H), rng.standard_normal(H)

    def value(*parts: np.ndarray) -> float:
        _, h_after, (c_after,) = contract.step(WEIGHTS, parts[:4], parts[4], (parts[5],))
        return float(h_after @ d_h + c_after @ d_c)

    parts = [*slots, h, memory[0]]
    gates, _, _ = contract.step(WEIGHTS, slots, h, memory)
    d_slots, d_before, d_memory, nothing = contract.step_backward(WEIGHTS, gates, h, memory, d_h, (d_c,))
    assert nothing == ()
    for place, got in enumerate((*d_slots, d_before, *d_memory)):
        for unit in range(H):
            moved = []
            for eps in (1e-6, -1e-6):
                other = [p.copy() for p in parts]
                other[place][unit] += eps
                moved.append(value(*other))
            assert got[unit] == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-7, abs=1e-9), (place, unit)


def test_h_reaches_the_next_step_through_the_slots_only(rng):
    slots, h, memory = random_step(rng)
    one = lstm.step(WEIGHTS, slots, h, memory)
    other = lstm.step(WEIGHTS, slots, h + 1, memory)
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_array_equal(one[2][0], other[2][0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saturated_gates(dtype):
    full = np.full(H, 1e30, dtype)
    c = np.linspace(-2, 2, H).astype(dtype)
    gates, h, (after,) = lstm.step(WEIGHTS, (full, full, full, full), np.zeros(H, dtype), (c,))
    np.testing.assert_array_equal(after, c + 1)
    np.testing.assert_allclose(h, np.tanh(c + 1), rtol=1e-6)
    d_slots, _, (d_c,) = lstm.step_backward(WEIGHTS, gates, h, (c,), np.ones(H, dtype), (np.ones(H, dtype),))
    for slope in d_slots:
        np.testing.assert_array_equal(slope, 0)
    assert np.isfinite(d_c).all()
    closed = tuple(-full for _ in range(4))
    gates, h, (after,) = lstm.step(WEIGHTS, closed, np.zeros(H, dtype), (c,))
    np.testing.assert_allclose([*h, *after], 0, atol=1e-37)


def test_nan_passes(rng):
    slots, h, memory = random_step(rng)
    for slot in range(4):
        spoilt = [s.copy() for s in slots]
        spoilt[slot][2] = np.nan
        _, after, _ = lstm.step(WEIGHTS, tuple(spoilt), h, memory)
        assert np.flatnonzero(np.isnan(after)).tolist() == [2]


def test_an_unknown_weights_type_has_no_step():
    class Unknown:
        pass

    with pytest.raises(KeyError, match="Unknown"):
        contract.step(Unknown(), (), None, ())
