"""nn.LSTM: finite differences through the real drivers, its conventions, empty batches."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from tests import naive
from tests.gradcheck import gradcheck

F32, F64 = np.float32, np.float64


def layer(*sizes: int, seed: int = 0, dtype=F64, **options) -> nn.LSTM:
    """A layer with larger weights than it starts with, so that nothing is nearly linear."""
    lstm = nn.LSTM(*sizes, dtype=dtype, **options)
    rng = np.random.default_rng(seed)
    lstm.load_state_dict({n: 0.6 * rng.standard_normal(p.shape) for n, p in lstm.named_parameters()})
    return lstm


def states(lstm: nn.LSTM, batch: int, rng) -> tuple[np.ndarray, np.ndarray]:
    shape = (lstm.num_layers * lstm.num_directions, batch, lstm.hidden_size)
    return rng.standard_normal(shape).astype(lstm.dtype), rng.standard_normal(shape).astype(lstm.dtype)


class Called(nn.Module):
    """An LSTM as a function of x, h_0 and c_0, for the gradient check."""

    def __init__(self, lstm: nn.LSTM, lengths=None, outputs=(0, 1, 2)) -> None:
        super().__init__()
        self.lstm, self.lengths, self.outputs = lstm, lengths, outputs

    def forward(self, x, h=None, c=None):
        out, (h_n, c_n) = self.lstm(x, None if h is None else (h, c), lengths=self.lengths)
        return [(out, h_n, c_n)[k] for k in self.outputs]


GRADIENTS = {
    # sizes (F, H), options, (B, T), lengths
    "one": ((1, 1), {}, (1, 1), None),
    "full rows": ((3, 5), {}, (4, 3), None),
    "ragged": ((3, 9), {}, (5, 4), [4, 1, 0, 3, 1]),
    "both directions": ((2, 3), {"bidirectional": True}, (4, 4), [2, 4, 0, 1]),
    "stacked": ((2, 3), {"num_layers": 2}, (3, 3), [3, 1, 2]),
    "stacked both": ((2, 3), {"num_layers": 2, "bidirectional": True}, (3, 3), [1, 3, 2]),
    "no bias": ((3, 4), {"bias": False, "bidirectional": True}, (3, 3), [2, 3, 1]),
    "time first": ((3, 4), {"batch_first": False, "num_layers": 2}, (3, 4), [4, 2, 0]),
    "no row has all": ((2, 2), {"bidirectional": True}, (3, 6), [2, 0, 3]),
    "all empty": ((2, 3), {}, (2, 3), [0, 0]),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_everything(name, rng):
    sizes, options, (batch, steps), lengths = GRADIENTS[name]
    lstm = layer(*sizes, **options)
    shape = (batch, steps, sizes[0]) if lstm.batch_first else (steps, batch, sizes[0])
    gradcheck(
        Called(lstm, None if lengths is None else np.array(lengths)),
        rng.standard_normal(shape),
        *states(lstm, batch, rng),
    )


@pytest.mark.parametrize("outputs", [(0,), (1,), (2,), (1, 2)])
def test_gradients_of_some_outputs(outputs, rng):
    lstm = layer(2, 3, bidirectional=True)
    gradcheck(
        Called(lstm, np.array([3, 1, 2]), outputs), rng.standard_normal((3, 3, 2)), *states(lstm, 3, rng), atol=1e-8
    )


def test_gradients_without_initial_states(rng):
    gradcheck(Called(layer(2, 3, num_layers=2)), rng.standard_normal((3, 3, 2)))


def test_gradients_over_several_tiles_and_blocks(rng):
    # 3 blocks of 8 units, more than 24 rows: too many numbers to move one by one, so along random directions
    lstm = layer(11, 19, bidirectional=True)
    x, (h, c) = rng.standard_normal((29, 4, 11)), states(lstm, 29, rng)
    lengths = rng.integers(0, 5, 29)
    leaves = {"x": fs.Tensor(x, requires_grad=True), "h": fs.Tensor(h, requires_grad=True)}
    leaves |= {"c": fs.Tensor(c, requires_grad=True), **dict(lstm.named_parameters())}
    upstream = [rng.standard_normal(s) for s in ((29, 4, 38), h.shape, c.shape)]

    def value():
        out, (h_n, c_n) = lstm(leaves["x"], (leaves["h"], leaves["c"]), lengths=lengths)
        return sum((o * g).sum() for o, g in zip((out, h_n, c_n), upstream, strict=True))

    value().backward()
    for name, leaf in leaves.items():
        before = leaf._data.copy()
        for _ in range(3):
            direction = rng.standard_normal(leaf.shape)
            moved = []
            for eps in (1e-6, -1e-6):
                with fs.no_grad():
                    leaf.copy_(before + eps * direction)
                    moved.append(value().item())
            with fs.no_grad():
                leaf.copy_(before)
            slope = (moved[0] - moved[1]) / 2e-6
            assert float((leaf.grad.numpy() * direction).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-6), name


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
@pytest.mark.parametrize(("dtype", "atol"), [(F32, 2e-6), (F64, 1e-13)])
def test_the_oracle_agrees(options, dtype, atol, rng):
    lstm = layer(5, 17, dtype=dtype, **options)
    lengths = np.array([4, 0, 2, 6, 1])
    x, (h, c) = rng.standard_normal((5, 6, 5)).astype(dtype), states(lstm, 5, rng)
    got = lstm(x, (h, c), lengths=lengths)
    shape = {k: v for k, v in options.items() if k != "bias"}
    weights = {n: p.numpy() for n, p in lstm.named_parameters()}
    want = naive.lstm(x, weights, hidden_size=17, lengths=lengths, h0=h, c0=c, **shape)
    for one, right in zip((got[0], *got[1]), want, strict=True):
        np.testing.assert_allclose(one.numpy(), right, rtol=0, atol=atol)


def test_weights_start_as_in_pytorch():
    fs.manual_seed(0)
    lstm = nn.LSTM(300, 100, num_layers=2, bidirectional=True)
    names = [f"{kind}_l{k}{end}" for k in range(2) for end in ("", "_reverse") for kind in
             ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]  # fmt: skip
    assert [name for name, _ in lstm.named_parameters()] == names
    for name, p in lstm.named_parameters():
        width = (300 if "l0" in name else 200) if "weight_ih" in name else 100
        assert p.shape == ((400, width) if "weight" in name else (400,))
        values = p.numpy()
        assert p.dtype == F32
        assert 0.095 < np.abs(values).max() <= 0.1
        assert abs(values.mean()) < 0.01


def test_weights_are_listed_and_drawn_anew():
    for layer in (
        nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2),
        nn.LayerNormLSTM(3, 4),
        nn.MinGRU(3, 4, bias=False),
    ):
        listed = layer.all_weights
        assert len(listed) == layer.num_layers * layer.num_directions
        assert [id(p) for own in listed for p in own] == [id(p) for p in layer.parameters()]
        fs.manual_seed(3)
        layer.reset_parameters()
        fs.manual_seed(3)
        twin = type(layer).from_config(layer.config())
        for one, other in zip(layer.parameters(), twin.parameters(), strict=True):
            np.testing.assert_array_equal(one, other)
        layer.flatten_parameters()
    for cell in (nn.LSTMCell(3, 4), nn.GRUCell(3, 4, bias=False)):
        fs.manual_seed(3)
        cell.reset_parameters()
        fs.manual_seed(3)
        np.testing.assert_array_equal(cell.weight_hh, type(cell).from_config(cell.config()).weight_hh)


@pytest.mark.parametrize("batch_first", [True, False])
def test_batch_first_is_honoured_and_true_by_default(batch_first, rng):
    assert nn.LSTM(1, 1).batch_first
    one, other = layer(2, 3, dtype=F32), layer(2, 3, dtype=F32, batch_first=batch_first)
    x = rng.standard_normal((4, 5, 2)).astype(F32)
    want, (h, c) = one(x, lengths=[5, 3, 0, 1])
    got, (h2, c2) = other(x if batch_first else x.swapaxes(0, 1), lengths=[5, 3, 0, 1])
    np.testing.assert_array_equal(got.numpy() if batch_first else got.numpy().swapaxes(0, 1), want.numpy())
    np.testing.assert_array_equal(h2.numpy(), h.numpy())
    np.testing.assert_array_equal(c2.numpy(), c.numpy())


def test_dropout_works_between_layers_and_only_while_training(rng):
    x = rng.standard_normal((4, 5, 2)).astype(F32)
    plain, dropping = layer(2, 30, num_layers=2, dtype=F32), layer(2, 30, num_layers=2, dropout=0.5, dtype=F32)
    want = plain(x)[0].numpy()
    np.testing.assert_array_equal(dropping.eval()(x)[0].numpy(), want)
    fs.manual_seed(1)
    first = dropping.train()(x)[0].numpy()
    assert (first != want).any() and (dropping(x)[0].numpy() != first).any()
    fs.manual_seed(1)
    np.testing.assert_array_equal(dropping(x)[0].numpy(), first)
    one = layer(2, 30, dropout=0.5, dtype=F32)
    np.testing.assert_array_equal(one.train()(x)[0].numpy(), one.eval()(x)[0].numpy())


def test_dropout_zero_is_no_dropout(rng):
    gradcheck(Called(layer(2, 3, num_layers=2, dropout=0.0).train()), rng.standard_normal((2, 3, 2)))


def test_everything_dropped_leaves_the_biases(rng):
    lstm = layer(2, 3, num_layers=2, dropout=1.0)
    one, other = (lstm(rng.standard_normal((2, 4, 2)))[0].numpy() for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_changed_weights_are_seen_at_once(dtype, rng):
    lstm = layer(3, 5, dtype=dtype, seed=1)
    x = rng.standard_normal((2, 4, 3)).astype(dtype)
    first = lstm(x)[0].numpy()
    other = layer(3, 5, dtype=dtype, seed=2)
    want = other(x)[0].numpy()
    lstm.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(lstm(x)[0].numpy(), want)
    with fs.no_grad():
        lstm.bias_hh_l0[:] = 0.5
    assert (lstm(x)[0].numpy() != want).any()
    lstm.weight_ih_l0.data = np.zeros(lstm.weight_ih_l0.shape, dtype)
    silent = lstm(x)[0].numpy()
    assert (silent != first).any() and (silent[0] == silent[1]).all()
    lstm.weight_hh_l0 = nn.Parameter(np.zeros((20, 5), dtype))
    assert (lstm(x)[0].numpy() != silent).any()


def test_weights_changed_between_forward_and_backward_are_noticed(rng):
    lstm = layer(2, 3)
    out = lstm(fs.Tensor(rng.standard_normal((2, 4, 2)), requires_grad=True))[0].sum()
    with fs.no_grad():
        lstm.weight_hh_l0.mul_(2.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()


def test_weights_of_another_layer_may_change_between(rng):
    # the packed weights are this layer's own, the buffers are not: another layer's pass between must not disturb
    lstm, other = layer(2, 3), layer(2, 3, seed=5)
    x = fs.Tensor(rng.standard_normal((2, 4, 2)), requires_grad=True)
    lstm(x)[0].sum().backward()
    want = x.grad.numpy().copy()
    x.grad = None
    out = lstm(x)[0].sum()
    other(rng.standard_normal((2, 4, 2)))[0].sum().backward()
    lstm(rng.standard_normal((2, 4, 2)))
    out.backward()
    np.testing.assert_array_equal(x.grad.numpy(), want)


def test_a_forward_pass_without_a_backward_pass_is_no_leak_and_no_fault(rng):
    lstm, x = layer(2, 3), rng.standard_normal((2, 4, 2))
    first, _ = lstm(x)
    for _ in range(20):
        lstm(x)
    np.testing.assert_array_equal(lstm(x)[0].numpy(), first.numpy())


def test_double_makes_the_same_layer(rng):
    lstm = layer(3, 4, dtype=F32, num_layers=2)
    x = rng.standard_normal((2, 5, 3)).astype(F32)
    want = lstm(x)[0].numpy()
    wide = lstm.double()
    assert wide.dtype == F64
    np.testing.assert_allclose(wide(x.astype(F64))[0].numpy(), want, atol=1e-6)


def test_config_and_pickle_make_the_same_layer(rng):
    lstm = layer(3, 4, num_layers=2, bidirectional=True, dtype=F32)
    x = rng.standard_normal((2, 5, 3)).astype(F32)
    want = lstm(x)[0].numpy()
    again = nn.LSTM(**lstm.config())
    again.load_state_dict(lstm.state_dict())
    np.testing.assert_array_equal(again(x)[0].numpy(), want)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lstm))(x)[0].numpy(), want)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize(("batch", "steps"), [(0, 3), (3, 0), (0, 0)])
def test_empty_batches(batch, steps, options, rng):
    lstm = layer(2, 3, **options)
    x = fs.Tensor(np.zeros((batch, steps, 2)), requires_grad=True)
    hx = states(lstm, batch, rng)
    for lengths in (None, np.zeros(batch, np.int64), []) if batch == 0 else (None, np.zeros(batch, np.int64)):
        out, (h_n, c_n) = lstm(x, hx, lengths=lengths)
        assert out.shape == (batch, steps, 3 * lstm.num_directions)
        np.testing.assert_array_equal(h_n.numpy(), hx[0])
        np.testing.assert_array_equal(c_n.numpy(), hx[1])
        lstm.zero_grad()
        (out.sum() + h_n.sum()).backward()
        assert x.grad.shape == x.shape
        for p in lstm.parameters():
            assert not p.grad.numpy().any()


def test_rows_of_no_length(rng):
    lstm = layer(2, 3, bidirectional=True)
    hx = tuple(fs.Tensor(s, requires_grad=True) for s in states(lstm, 4, rng))
    x = fs.Tensor(np.full((4, 5, 2), np.nan), requires_grad=True)
    out, (h_n, c_n) = lstm(x, hx, lengths=np.zeros(4, np.int64))
    assert not out.numpy().any()
    np.testing.assert_array_equal(h_n.numpy(), hx[0].numpy())
    np.testing.assert_array_equal(c_n.numpy(), hx[1].numpy())
    (out.sum() + 2.0 * h_n.sum() + 3.0 * c_n.sum()).backward()
    np.testing.assert_array_equal(hx[0].grad.numpy(), 2.0)
    np.testing.assert_array_equal(hx[1].grad.numpy(), 3.0)
    assert not x.grad.numpy().any()
    assert not any(p.grad.numpy().any() for p in lstm.parameters())


@pytest.mark.parametrize("shape", [(2**31, 2**20, 1), (2**20, 2**31, 1), (2**40, 2**20, 1)])
def test_a_size_beyond_memory_is_an_error_before_allocation(shape):
    lstm = nn.LSTM(1, 64)
    x = np.broadcast_to(np.zeros((1, 1, 1), F32), shape)
    with pytest.raises(ValueError, match=r"x: expected at most 2\*\*47 bytes"):
        lstm(x)


def test_a_layer_beyond_memory_is_an_error_before_allocation():
    with pytest.raises(ValueError, match="hidden_size: expected at most"):
        nn.LSTM(1, 2**40)
    with pytest.raises(ValueError, match="input_size: expected at most"):
        nn.LSTM(2**60, 4)
