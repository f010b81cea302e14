"""Residual, Bidirectional, WeightDrop: against what they stand for, with lengths and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.autograd import Tensor
from tests.gradcheck import gradcheck

F64 = np.float64
LENGTHS = np.array([3, 0, 5, 1])
PAST = np.arange(5) >= LENGTHS[:, None]


def batch(rng, features: int = 4, dtype=F64) -> np.ndarray:
    return rng.standard_normal((4, 5, features)).astype(dtype)


def bits_under_nan(layer, x):
    """Output and gradient with NaN in the padding, which must not matter."""
    found = []
    for fill in (np.nan, 2.0):
        x = x.copy()
        x[PAST] = fill
        leaf = Tensor(x, requires_grad=True)
        layer.zero_grad()
        out = layer(leaf, lengths=LENGTHS)
        out = out[0] if isinstance(out, tuple) else out
        (out * out).sum().backward()
        found.append([out.numpy(), leaf.grad.numpy(), *(p.grad.numpy().copy() for p in layer.parameters())])
    for one, other in zip(*found, strict=True):
        assert np.isfinite(one).all() and one.tobytes() == other.tobytes()
    return found[0][0]


def test_a_residual_is_a_sum(rng):
    x = batch(rng)
    dense = nn.Linear(4, 4, dtype=F64)
    np.testing.assert_array_equal(nn.Residual(dense)(x).numpy(), x + dense(x).numpy())
    lstm = nn.LSTM(4, 4, dtype=F64)
    out, (h, c) = nn.Residual(lstm)(x, lengths=LENGTHS)
    inner, (h_n, c_n) = lstm(x, lengths=LENGTHS)
    np.testing.assert_array_equal(out.numpy(), np.where(PAST[:, :, None], 0, x) + inner.numpy())
    assert h.numpy().tobytes() == h_n.numpy().tobytes() and c.shape == c_n.shape
    gradcheck(nn.Residual(nn.Sequential(nn.LayerNorm(4, dtype=F64), nn.Linear(4, 4, dtype=F64))), x)
    gradcheck(nn.Residual(lstm), x, LENGTHS)
    bits_under_nan(nn.Residual(lstm), x)
    with pytest.raises(ValueError, match="layer: expected one whose output has the input's shape"):
        nn.Residual(nn.Linear(4, 3, dtype=F64))(x)
    with pytest.raises(TypeError, match="layer: expected a Module"):
        nn.Residual(3)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_both_directions_are_those_of_a_bidirectional_lstm(lengths, rng):
    lstm = nn.LSTM(4, 3, bidirectional=True, dtype=F64)
    state = lstm.state_dict()
    ahead, back = nn.LSTM(4, 3, dtype=F64), nn.LSTM(4, 3, dtype=F64)
    ahead.load_state_dict({n: state[n] for n in ahead.state_dict()})
    back.load_state_dict({n: state[f"{n}_reverse"] for n in back.state_dict()})
    x = batch(rng)
    want, (h_n, _) = lstm(x, lengths=lengths)
    out, (one, other) = nn.Bidirectional(ahead, back)(x, lengths=lengths)
    assert out.numpy().tobytes() == want.numpy().tobytes()
    assert one[0].numpy()[0].tobytes() == h_n.numpy()[0].tobytes()
    assert other[0].numpy()[0].tobytes() == h_n.numpy()[1].tobytes()


@pytest.mark.parametrize(("merge", "put"), [
    ("concat", lambda a, b: np.concatenate([a, b], 2)), ("sum", lambda a, b: a + b), ("mul", lambda a, b: a * b),
    ("ave", lambda a, b: (a + b) / 2),
])  # fmt: skip
def test_how_directions_are_put_together(merge, put, rng):
    conv, other = (nn.Conv1d(4, 3, 2, causal=True, dtype=F64) for _ in range(2))
    layer, x = nn.Bidirectional(conv, other, merge), batch(rng)
    want = put(conv(x).numpy(), other(x[:, ::-1]).numpy()[:, ::-1])
    np.testing.assert_allclose(layer(x).numpy(), want, rtol=1e-14)
    gradcheck(layer, x, LENGTHS)
    bits_under_nan(layer, x)


def test_the_other_direction_has_weights_of_its_own(rng):
    layer = nn.Bidirectional(nn.Sequential(nn.LSTM(4, 3), nn.Linear(3, 2)))
    assert (layer.layer[0].weight_ih_l0.numpy() != layer.reverse[0].weight_ih_l0.numpy()).all()
    assert layer(batch(rng, dtype=np.float32), lengths=LENGTHS).shape == (4, 5, 4)
    with pytest.raises(ValueError, match="merge: expected one of"):
        nn.Bidirectional(nn.LSTM(2, 2), merge="max")
    with pytest.raises(ValueError, match=r"x: expected shape \(B, T, F\)"):
        layer(np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match="layer: expected outputs for 5 steps"):
        nn.Bidirectional(nn.Conv1d(4, 3, 2))(batch(rng, dtype=np.float32))


def test_dropped_weights(rng):
    lstm, x = nn.LSTM(4, 30, num_layers=2), batch(rng, dtype=np.float32)
    layer = nn.WeightDrop(lstm, 0.4)
    assert layer.weights == ["weight_hh_l0", "weight_hh_l1"]
    before = {n: p.numpy().copy() for n, p in lstm.named_parameters()}
    fs.manual_seed(3)
    out, _ = layer(x, lengths=LENGTHS)
    out.sum().backward()
    gradient = lstm.weight_hh_l0.grad.numpy()
    gone = gradient == 0
    assert 0.3 < gone.mean() < 0.5  # a dropped entry gets no gradient
    assert all(lstm._parameters[n] is p for n, p in lstm.named_parameters())
    for name, parameter in lstm.named_parameters():
        np.testing.assert_array_equal(parameter.numpy(), before[name])
    fs.manual_seed(3)
    masks = [nn.functional.dropout(np.ones((120, 30), np.float32), 0.4).numpy() for _ in range(2)]
    np.testing.assert_array_equal(gone, masks[0] == 0)
    twin = nn.LSTM(4, 30, num_layers=2)
    twin.load_state_dict({n: v * masks[int(n[-1])] if "hh_l" in n and n[0] == "w" else v for n, v in before.items()})
    np.testing.assert_allclose(out.numpy(), twin(x, lengths=LENGTHS)[0].numpy(), rtol=1e-6, atol=1e-7)


def test_weights_are_whole_in_evaluation_and_names_stay(rng):
    lstm, x = nn.LSTM(4, 3), batch(rng, dtype=np.float32)
    layer = nn.WeightDrop(lstm, 0.5)
    want = lstm(x)[0].numpy()
    assert layer.eval()(x)[0].numpy().tobytes() == want.tobytes()
    assert set(layer.state_dict()) == {f"layer.{n}" for n in lstm.state_dict()}
    layer.train()
    with pytest.raises(ValueError, match="hx"):
        layer(x, (np.zeros(3, np.float32),))
    assert lstm._parameters["weight_hh_l0"] is dict(lstm.named_parameters())["weight_hh_l0"]


def test_gradients_of_dropped_weights(rng):
    layer = nn.WeightDrop(nn.LSTM(4, 5, dtype=F64), 0.4)

    def run(x):
        fs.manual_seed(7)
        return layer(x, lengths=LENGTHS)

    gradcheck(run, batch(rng), parameters=layer.parameters())
    dense = nn.WeightDrop(nn.Linear(4, 4, dtype=F64), 0.5, ["weight"])
    fs.manual_seed(1)
    dense(batch(rng)).sum().backward()
    assert (dense.layer.weight.grad.numpy() == 0).any()


def test_which_weights_is_checked():
    with pytest.raises(ValueError, match="weights: expected names among weight, bias"):
        nn.WeightDrop(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="weights: expected one of"):
        nn.WeightDrop(nn.LSTM(2, 2), 0.5, ["weight"])
    with pytest.raises(TypeError, match="weights: expected a list of names"):
        nn.WeightDrop(nn.LSTM(2, 2), 0.5, "weight_hh_l0")
