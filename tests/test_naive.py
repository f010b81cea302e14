"""The oracle against hand-made numbers: were it wrong, every test that leans on it would be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests import naive


def test_sigmoid_has_no_overflow_and_is_symmetric():
    assert naive.sigmoid(0.0) == 0.5
    assert naive.sigmoid(1e4) == 1.0
    assert naive.sigmoid(-1e4) == 0.0
    assert naive.sigmoid(2.0) + naive.sigmoid(-2.0) == pytest.approx(1.0, abs=1e-15)


def test_one_unit_by_hand():
    # one feature, one unit, gates i f g o; every number below is worked out from the equations alone
    w_ih, w_hh = [[0.5], [-1.0], [2.0], [0.25]], [[0.1], [0.2], [0.3], [0.4]]
    b_ih, b_hh = [0.1, 0.2, 0.3, 0.4], [0.0, 1.0, 0.0, 0.0]
    h, c = naive.lstm_step([2.0], [0.5], [-1.0], w_ih, w_hh, b_ih, b_hh)
    i = 1 / (1 + math.exp(-(1.0 + 0.05 + 0.1)))
    f = 1 / (1 + math.exp(-(-2.0 + 0.1 + 1.2)))
    g = math.tanh(4.0 + 0.15 + 0.3)
    o = 1 / (1 + math.exp(-(0.5 + 0.2 + 0.4)))
    assert c[0] == pytest.approx(-f + i * g, abs=1e-15)
    assert h[0] == pytest.approx(o * math.tanh(-f + i * g), abs=1e-15)


def test_one_unit_of_a_gru_by_hand():
    w_ih, w_hh = [[0.5], [-1.0], [2.0]], [[0.1], [0.2], [0.3]]
    (h,) = naive.gru_step([2.0], [0.5], w_ih, w_hh, [0.1, 0.2, 0.3], [0.0, 1.0, 0.7])
    r = 1 / (1 + math.exp(-(1.0 + 0.05 + 0.1)))
    z = 1 / (1 + math.exp(-(-2.0 + 0.1 + 1.2)))
    n = math.tanh(4.0 + 0.3 + r * (0.15 + 0.7))
    assert h[0] == pytest.approx((1 - z) * n + z * 0.5, abs=1e-15)


def test_one_unit_of_an_rnn_by_hand():
    for bias, relu in ((0.1, 0.4), (-0.5, 0.0)):
        arguments = [1.0], [2.0], [[0.1]], [[0.05]], [bias], [0.1]
        assert naive.rnn_step(*arguments)[0][0] == pytest.approx(math.tanh(0.3 + bias), abs=1e-15)
        assert naive.rnn_relu_step(*arguments)[0][0] == pytest.approx(relu, abs=1e-15)


def weights_of(rng, features, hidden, layers, directions):
    """Random weights under PyTorch's names."""
    weights = {}
    for layer in range(layers):
        width = features if layer == 0 else hidden * directions
        for suffix in [f"l{layer}", f"l{layer}_reverse"][:directions]:
            weights[f"weight_ih_{suffix}"] = rng.standard_normal((4 * hidden, width))
            weights[f"weight_hh_{suffix}"] = rng.standard_normal((4 * hidden, hidden))
            weights[f"bias_ih_{suffix}"] = rng.standard_normal(4 * hidden)
            weights[f"bias_hh_{suffix}"] = rng.standard_normal(4 * hidden)
    return weights


def test_open_gates_sum_the_inputs(rng):
    # input and output gate held open, forget gate at 1, candidate small: c_t is the running sum of tanh(x)
    weights = {
        "weight_ih_l0": np.array([[0.0], [0.0], [1.0], [0.0]]),
        "weight_hh_l0": np.zeros((4, 1)),
        "bias_ih_l0": np.array([50.0, 50.0, 0.0, 50.0]),
        "bias_hh_l0": np.zeros(4),
    }
    x = rng.standard_normal((3, 6, 1)) * 0.1
    out, h_n, c_n = naive.lstm(x, weights, hidden_size=1)
    total = np.cumsum(np.tanh(x), axis=1)
    np.testing.assert_allclose(out, np.tanh(total), atol=1e-14)
    np.testing.assert_allclose(c_n[0], total[:, -1], atol=1e-14)
    np.testing.assert_array_equal(h_n[0], out[:, -1])


def test_lengths_states_and_directions(rng):
    batch, steps, features, hidden = 3, 5, 2, 3
    weights = weights_of(rng, features, hidden, layers=2, directions=2)
    x = rng.standard_normal((batch, steps, features))
    lengths = np.array([5, 0, 2])
    h0, c0 = rng.standard_normal((4, batch, hidden)), rng.standard_normal((4, batch, hidden))
    options = {"hidden_size": hidden, "num_layers": 2, "bidirectional": True}
    out, h_n, c_n = naive.lstm(x, weights, lengths=lengths, h0=h0, c0=c0, **options)
    np.testing.assert_array_equal(h_n[:, 1], h0[:, 1])
    np.testing.assert_array_equal(c_n[:, 1], c0[:, 1])
    assert not out[1].any() and not out[2, 2:].any()
    np.testing.assert_array_equal(out[2, 1, :hidden], h_n[2, 2])
    np.testing.assert_array_equal(out[2, 0, hidden:], h_n[3, 2])
    alone = naive.lstm(x[2:, :2], weights, h0=h0[:, 2:], c0=c0[:, 2:], **options)
    np.testing.assert_array_equal(alone[0][0], out[2, :2])
    np.testing.assert_array_equal(alone[1][:, 0], h_n[:, 2])
    np.testing.assert_array_equal(alone[2][:, 0], c_n[:, 2])


def test_reverse_is_forward_on_the_reversed_input(rng):
    weights = weights_of(rng, 2, 3, layers=1, directions=2)
    x = rng.standard_normal((1, 4, 2))
    both, _, _ = naive.lstm(x, weights, hidden_size=3, bidirectional=True)
    turned = {name.removesuffix("_reverse"): value for name, value in weights.items() if name.endswith("_reverse")}
    back, _, _ = naive.lstm(x[:, ::-1], turned, hidden_size=3)
    np.testing.assert_array_equal(both[:, :, 3:], back[:, ::-1])


def test_sgd_by_hand():
    p, b = naive.sgd_step([1.0], [0.5], None, lr=0.1, momentum=0.9, weight_decay=0.2)
    assert (p, b) == ([pytest.approx(1.0 - 0.1 * 0.7)], [pytest.approx(0.7)])
    p, b = naive.sgd_step(p, [0.5], b, lr=0.1, momentum=0.9, weight_decay=0.2, nesterov=True)
    g = 0.5 + 0.2 * 0.93
    assert b == [pytest.approx(0.9 * 0.7 + g)]
    assert p == [pytest.approx(0.93 - 0.1 * (g + 0.9 * (0.63 + g)))]


def test_first_adam_step_moves_by_lr_in_the_sign_of_the_gradient():
    p, m, v = naive.adam_step([1.0, -2.0], [0.3, -40.0], [0.0, 0.0], [0.0, 0.0], 1, lr=0.01)
    assert p == [pytest.approx(0.99, abs=1e-8), pytest.approx(-1.99, abs=1e-8)]
    assert m == [pytest.approx(0.03), pytest.approx(-4.0)]
    assert v == [pytest.approx(9e-5), pytest.approx(1.6)]


def test_decoupled_decay_does_not_enter_the_moments():
    kwargs = {"lr": 0.1, "weight_decay": 0.5}
    coupled = naive.adam_step([1.0], [0.0], [0.0], [0.0], 1, **kwargs)
    decoupled = naive.adam_step([1.0], [0.0], [0.0], [0.0], 1, decoupled=True, **kwargs)
    assert coupled[1] == [pytest.approx(0.05)]
    assert decoupled == ([pytest.approx(0.95)], [0.0], [0.0])
