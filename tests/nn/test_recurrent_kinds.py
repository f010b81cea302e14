"""All recurrent layers but LSTM, which has files of its own: finite differences, the oracle, conventions, cells."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastseq as fs
from fastseq import buffers, nn
from tests import naive
from tests.gradcheck import gradcheck

F32, F64 = np.float32, np.float64

# How to make a layer; the oracle's step; gates
KINDS = {
    "GRU": (nn.GRU, {}, naive.gru_step, 3),
    "GRU before": (nn.GRU, {"reset_after": False}, naive.gru_reset_before_step, 3),
    "RNN": (nn.RNN, {}, naive.rnn_step, 1),
    "RNN relu": (nn.RNN, {"nonlinearity": "relu"}, naive.rnn_relu_step, 1),
    "LSTM relu": (nn.LSTM, {"activation": "relu"}, naive.lstm_relu_step, 4),
    "PeepholeLSTM": (nn.PeepholeLSTM, {}, naive.peephole_step, 4),
    "MinGRU": (nn.MinGRU, {}, naive.min_gru_step, 2),
    "MinLSTM": (nn.MinLSTM, {}, naive.min_lstm_step, 3),
}
# Kernels of rare kinds take long to compile.
RARE = {"LSTM relu", "RNN relu", "MinLSTM"}
each_kind = pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.slow] * (k in RARE)) for k in KINDS])


def layer(kind: str, *sizes: int, seed: int = 0, dtype=F64, **options) -> nn.Module:
    """A layer with larger weights than it starts with, so that nothing is nearly linear."""
    make, own, *_ = KINDS[kind]
    found = make(*sizes, dtype=dtype, **own, **options)
    rng = np.random.default_rng(seed)
    found.load_state_dict({n: (0.6 * rng.standard_normal(p.shape)).astype(dtype) for n, p in found.named_parameters()})
    return found


def state(module: nn.Module, batch: int, rng) -> list[np.ndarray]:
    """Initial states, as many as the layer has."""
    shape = (module.num_layers * module.num_directions, batch, module.hidden_size)
    return [rng.standard_normal(shape).astype(module.dtype) for _ in range(1 + len(module.cell.spec.memories))]


class Called(nn.Module):
    """A layer as a function of x and its states that returns all outputs, for the gradient check."""

    def __init__(self, module: nn.Module, lengths=None) -> None:
        super().__init__()
        self.module, self.lengths = module, lengths

    def forward(self, x, *states):
        hx = None if not states else states if len(states) > 1 else states[0]
        out, last = self.module(x, hx, lengths=self.lengths)
        return [out, *(last if isinstance(last, tuple) else [last])]


GRADIENTS = {
    # sizes (F, H), options, (B, T), lengths
    "one": ((1, 1), {}, (1, 1), None),
    "ragged": ((3, 9), {}, (5, 4), [4, 1, 0, 3, 1]),
    "both directions": ((2, 3), {"bidirectional": True}, (4, 4), [2, 4, 0, 1]),
    "stacked both": ((2, 3), {"num_layers": 2, "bidirectional": True}, (3, 3), [1, 3, 2]),
    "no bias": ((3, 4), {"bias": False, "bidirectional": True}, (3, 3), [2, 3, 1]),
    "time first": ((3, 4), {"batch_first": False, "num_layers": 2}, (3, 4), [4, 2, 0]),
    "all empty": ((2, 3), {}, (2, 3), [0, 0]),
}


@each_kind
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_everything(name, kind, rng):
    sizes, options, (batch, steps), lengths = GRADIENTS[name]
    module = layer(kind, *sizes, **options)
    shape = (batch, steps, sizes[0]) if module.batch_first else (steps, batch, sizes[0])
    called = Called(module, None if lengths is None else np.array(lengths))
    gradcheck(called, rng.standard_normal(shape), *state(module, batch, rng))
    if lengths is None:
        gradcheck(called, rng.standard_normal(shape))


@each_kind
def test_gradients_over_several_tiles_and_blocks(kind, rng):
    # several panels of units, the last not full, more than 24 rows: along random directions
    module = layer(kind, 11, 75, bidirectional=True)
    x, h = rng.standard_normal((29, 4, 11)), state(module, 29, rng)
    for parameter in module.parameters():
        parameter._data *= 0.3
    lengths = rng.integers(0, 5, 29)
    inputs = [fs.Tensor(v, requires_grad=True) for v in (x, *h)]
    leaves = {f"input {k}": v for k, v in enumerate(inputs)} | dict(module.named_parameters())
    upstream = [rng.standard_normal(s) for s in ((29, 4, 150), *(v.shape for v in h))]
    called = Called(module, lengths)

    def value():
        outputs = called(*inputs)
        return sum((o * g).sum() for o, g in zip(outputs, upstream, strict=True))

    value().backward()
    for name, leaf in leaves.items():
        before, direction, moved = leaf._data.copy(), rng.standard_normal(leaf.shape), []
        with fs.no_grad():
            for eps in (1e-6, -1e-6):
                leaf.copy_(before + eps * direction)
                moved.append(value().item())
            leaf.copy_(before)
        slope = (moved[0] - moved[1]) / 2e-6
        assert float((leaf.grad.numpy() * direction).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-5), name


@each_kind
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
@pytest.mark.parametrize(("dtype", "atol"), [(F32, 4e-6), (F64, 1e-13)])
def test_the_oracle_agrees(options, dtype, atol, kind, rng):
    module = layer(kind, 5, 17, dtype=dtype, **options)
    for parameter in module.parameters():
        parameter._data *= dtype(0.4)
    lengths = np.array([4, 0, 2, 6, 1])
    x, h = rng.standard_normal((5, 6, 5)).astype(dtype), state(module, 5, rng)
    got = Called(module, lengths)(x, *h)
    shape = {k: v for k, v in options.items() if k != "bias"} | {"more": module.cell.spec.vectors}
    weights = {n: p.numpy() for n, p in module.named_parameters()}
    want = naive.layers(KINDS[kind][2], x, weights, hidden_size=17, states=h, lengths=lengths, **shape)
    for one, right in zip(got, want, strict=True):
        np.testing.assert_allclose(one.numpy(), right, rtol=0, atol=atol)


@each_kind
def test_weights_start_as_in_pytorch(kind):
    make, own, _, gates = KINDS[kind]
    fs.manual_seed(0)
    module = make(300, 100, num_layers=2, bidirectional=True, **own)
    names = [f"{what}_l{k}{end}" for k in range(2) for end in ("", "_reverse") for what in
             ("weight_ih", "weight_hh", "bias_ih", "bias_hh", *module.cell.spec.vectors)]  # fmt: skip
    names = [name for name in names if module.cell.spec.state_rows or "_hh" not in name]
    assert [name for name, _ in module.named_parameters()] == names
    for name, p in module.named_parameters():
        width = (300 if "l0" in name else 200) if "weight_ih" in name else 100
        vector = name.split("_l")[0] in module.cell.spec.vectors
        assert p.shape == ((100,) if vector else (100 * gates, width) if "weight" in name else (100 * gates,))
        values = p.numpy()
        assert p.dtype == F32 and 0.09 < np.abs(values).max() <= 0.1


@each_kind
def test_config_and_pickle_make_the_same_layer(kind, rng):
    module = layer(kind, 3, 4, num_layers=2, bidirectional=True, dtype=F32)
    x = rng.standard_normal((2, 5, 3)).astype(F32)
    want = module(x)[0].numpy()
    again = type(module)(**module.config())
    again.load_state_dict(module.state_dict())
    np.testing.assert_array_equal(again(x)[0].numpy(), want)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(module))(x)[0].numpy(), want)


@each_kind
@pytest.mark.parametrize(("batch", "steps"), [(0, 3), (3, 0), (0, 0)])
def test_empty_batches(batch, steps, kind, rng):
    module = layer(kind, 2, 3, num_layers=2, bidirectional=True)
    x, h = fs.Tensor(np.zeros((batch, steps, 2)), requires_grad=True), state(module, batch, rng)
    out, *last = Called(module)(x, *h)
    assert out.shape == (batch, steps, 6)
    for final, first in zip(last, h, strict=True):
        np.testing.assert_array_equal(final.numpy(), first)
    sum((final.sum() for final in last), out.sum()).backward()
    assert x.grad.shape == x.shape and not any(p.grad.numpy().any() for p in module.parameters())


def test_a_single_state_is_no_tuple():
    with pytest.raises(TypeError, match="hx: expected a NumPy array or a Tensor, got tuple"):
        nn.GRU(2, 3)(np.zeros((1, 2, 2), F32), (np.zeros((1, 1, 3), F32),))
    with pytest.raises(ValueError, match=r"hx: expected shape \(1, 4, 3\), got shape \(1, 1, 3\)"):
        nn.RNN(2, 3)(np.zeros((4, 2, 2), F32), np.zeros((1, 1, 3), F32))
    with pytest.raises(TypeError, match="hx: expected dtype float32 like the weights, got float64"):
        nn.GRU(2, 3)(np.zeros((1, 2, 2), F32), np.zeros((1, 1, 3)))


@pytest.mark.parametrize("nonlinearity", ["sigmoid", None])
def test_other_nonlinearities_are_refused(nonlinearity):
    for make in (nn.RNN, nn.RNNCell):
        with pytest.raises(ValueError, match="nonlinearity: expected one of 'tanh', 'relu'"):
            make(2, 3, nonlinearity=nonlinearity)


def test_the_rectifier_is_exact_for_whole_numbers(rng):
    # every number is whole and small: no order of sums could change it
    module = nn.RNN(3, 70, nonlinearity="relu", dtype=F64)
    module.load_state_dict({n: rng.integers(-1, 2, p.shape).astype(F64) for n, p in module.named_parameters()})
    weights = [p.numpy() for p in module.parameters()]
    x, h = rng.integers(-2, 3, (30, 4, 3)).astype(F64), rng.integers(-2, 3, (1, 30, 70)).astype(F64)
    out, _ = module(x, h)
    now = h[0]
    for t in range(4):
        slots = np.einsum("bf,hf->bh", x[:, t], weights[0]) + np.einsum("bk,hk->bh", now, weights[1])
        now = np.maximum(slots + weights[2] + weights[3], 0)
        np.testing.assert_array_equal(out.numpy()[:, t], now)


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[pytest.mark.slow] * (k not in {"GRU", "RNN", "PeepholeLSTM"})) for k in KINDS]
)
def test_a_nan_stays_in_its_row_and_is_seen_in_gradients(kind, rng):
    module = layer(kind, 2, 19, dtype=F32)
    x = rng.standard_normal((5, 6, 2)).astype(F32)
    clean = module(x)[0].numpy()
    x[2, 3, 1] = np.nan
    leaf = fs.Tensor(x, requires_grad=True)
    out, h_n, *_ = Called(module)(leaf)
    others = [0, 1, 3, 4]
    assert out.numpy()[others].tobytes() == clean[others].tobytes()
    assert np.isnan(out.numpy()[2, 3:]).all() and np.isnan(h_n.numpy()[0, 2]).all()
    out.sum().backward()
    assert np.isnan(leaf.grad.numpy()[2]).any() and np.isfinite(leaf.grad.numpy()[others]).all()
    assert all(np.isnan(p.grad.numpy()).any() for p in module.parameters())


CELLS = {
    "LSTMCell": (lambda: nn.LSTMCell(3, 5, dtype=F64), lambda: nn.LSTM(3, 5, dtype=F64), 2),
    "GRUCell": (lambda: nn.GRUCell(3, 5, dtype=F64), lambda: nn.GRU(3, 5, dtype=F64), 1),
    "GRUCell before": (
        lambda: nn.GRUCell(3, 5, reset_after=False, dtype=F64),
        lambda: nn.GRU(3, 5, reset_after=False, dtype=F64),
        1,
    ),
    "RNNCell": (lambda: nn.RNNCell(3, 5, dtype=F64), lambda: nn.RNN(3, 5, dtype=F64), 1),
    "RNNCell relu": (
        lambda: nn.RNNCell(3, 5, nonlinearity="relu", dtype=F64),
        lambda: nn.RNN(3, 5, nonlinearity="relu", dtype=F64),
        1,
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_loop_of_cells_gives_the_bits_of_the_layer(name, rng):
    make, make_layer, states = CELLS[name]
    cell, whole = make(), make_layer()
    whole.load_state_dict({f"{n}_l0": p.numpy() for n, p in cell.named_parameters()})
    x, first = rng.standard_normal((4, 6, 3)), [rng.standard_normal((4, 5)) for _ in range(states)]
    one = [fs.Tensor(s, requires_grad=True) for s in first]
    own = [fs.Tensor(s[None], requires_grad=True) for s in first]
    out, _ = whole(x, tuple(own) if states > 1 else own[0])
    now, found = tuple(one) if states > 1 else one[0], []
    for t in range(6):
        now = cell(x[:, t], now)
        found.append(now[0] if states > 1 else now)
    for t, h in enumerate(found):
        assert h.numpy().tobytes() == np.ascontiguousarray(out.numpy()[:, t]).tobytes()
    (out * out).sum().backward()
    sum((h * h).sum() for h in found).backward()
    for ours, theirs in zip([*one, *cell.parameters()], [*own, *whole.parameters()], strict=True):
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy().reshape(ours.shape), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_takes_a_single_row_and_no_state(name, rng):
    make, _, states = CELLS[name]
    cell, x = make(), rng.standard_normal((2, 3))
    together = cell(x)
    alone = cell(x[1])
    for whole, one in zip(*((together, alone) if states > 1 else ((together,), (alone,))), strict=True):
        assert one.shape == (5,) and one.numpy().tobytes() == whole.numpy()[1].tobytes()
    again = cell(x[1], alone)
    assert (again[0] if states > 1 else again).shape == (5,)
    gradcheck(lambda v: cell(v), x, parameters=cell.parameters())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((np.zeros((2, 4), F32),), ValueError, r"input: expected shape \(B, 3\), got shape \(2, 4\)"),
        ((np.zeros((2, 3, 1), F32),), ValueError, r"input: expected shape \(B, 3\)"),
        ((np.zeros(4, F32),), ValueError, r"input: expected shape \(3,\), got shape \(4,\)"),
        ((np.zeros((2, 3)),), TypeError, "input: expected dtype float32 like the weights, got float64"),
        (([1.0, 2.0, 3.0],), TypeError, "input: expected a NumPy array or a Tensor, got list"),
        (
            (np.zeros((2, 3), F32), np.zeros((1, 5), F32)),
            ValueError,
            r"hx: expected shape \(2, 5\), got shape \(1, 5\)",
        ),
        ((np.zeros(3, F32), np.zeros((1, 5), F32)), ValueError, r"hx: expected shape \(5,\), got shape \(1, 5\)"),
    ],
)
def test_cells_say_what_is_wrong(arguments, error, words):
    with pytest.raises(error, match=words):
        nn.GRUCell(3, 5)(*arguments)
    if len(arguments) == 2:
        with pytest.raises(TypeError, match=r"hx: expected a pair \(h_0, c_0\)"):
            nn.LSTMCell(3, 5)(*arguments)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU, nn.RNN])
def test_what_lies_past_a_length_becomes_zero_whatever_the_memory_held(make, directions, rng, monkeypatch):
    monkeypatch.setattr(buffers, "empty", lambda shape, dtype: np.full(shape, np.nan, dtype))
    module = make(5, 21, bidirectional=directions == 2)
    x = fs.Tensor(rng.standard_normal((9, 7, 5)).astype(F32), requires_grad=True)
    lengths = np.array([3, 0, 7, 1, 6, 0, 2, 7, 5])
    out = module(x, lengths=lengths)[0]
    out.backward(np.ones(out.shape, F32))
    valid = np.arange(7) < lengths[:, None]
    for found in (out.numpy(), x.grad.numpy()):
        assert (found[~valid] == 0).all() and np.isfinite(found).all() and found[valid].any()
