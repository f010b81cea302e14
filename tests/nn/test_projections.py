"""nn.LSTM with proj_size: finite differences, the scalar loop, PyTorch, streams, threads, files, bad input."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.cells import contract
from fastseq.cells.lstm_projected import ProjectedWeights
from tests import naive
from tests.gradcheck import gradcheck

F32, F64 = np.float32, np.float64


def layer(*sizes: int, scale: float = 0.6, dtype=F64, **options) -> nn.LSTM:
    """A layer (F, H, P) with larger weights than it starts with."""
    features, hidden, size = sizes
    found = nn.LSTM(features, hidden, proj_size=size, dtype=dtype, **options)
    rng = np.random.default_rng(0)
    found.load_state_dict(
        {n: (scale * rng.standard_normal(p.shape)).astype(dtype) for n, p in found.named_parameters()}
    )
    return found


def states(lstm: nn.LSTM, batch: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """h_0 and c_0."""
    places = lstm.num_layers * lstm.num_directions
    return tuple(
        rng.standard_normal((places, batch, size)).astype(lstm.dtype) for size in (lstm.proj_size, lstm.hidden_size)
    )


class Called(nn.Module):
    """A layer as a function of x, h_0 and c_0 that returns all outputs."""

    def __init__(self, module: nn.LSTM, lengths=None) -> None:
        super().__init__()
        self.module, self.lengths = module, lengths

    def forward(self, x, h=None, c=None):
        out, (h_n, c_n) = self.module(x, None if h is None else (h, c), lengths=self.lengths)
        return [out, h_n, c_n]


GRADIENTS = {
    # sizes (F, H, P), options, (B, T), lengths
    "one": ((1, 2, 1), {}, (1, 1), None),
    "ragged": ((3, 11, 9), {}, (5, 4), [4, 1, 0, 3, 1]),
    "stacked both": ((2, 4, 3), {"num_layers": 2, "bidirectional": True}, (3, 3), [1, 3, 0]),
    "no bias": ((3, 4, 2), {"bias": False, "bidirectional": True}, (3, 3), [2, 3, 1]),
    "time first": ((3, 5, 1), {"batch_first": False, "num_layers": 2}, (3, 4), [4, 2, 0]),
    "all empty": ((2, 3, 2), {}, (2, 3), [0, 0]),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_everything(name, rng):
    sizes, options, (batch, steps), lengths = GRADIENTS[name]
    lstm = layer(*sizes, **options)
    shape = (batch, steps, sizes[0]) if lstm.batch_first else (steps, batch, sizes[0])
    called = Called(lstm, None if lengths is None else np.array(lengths))
    gradcheck(called, rng.standard_normal(shape), *states(lstm, batch, rng))
    if lengths is None:
        gradcheck(called, rng.standard_normal(shape))


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
@pytest.mark.parametrize(("dtype", "atol"), [(F32, 4e-6), (F64, 1e-13)])
def test_the_oracle_agrees(options, dtype, atol, rng):
    lstm = layer(5, 17, 6, scale=0.25, dtype=dtype, **options)
    lengths = np.array([4, 0, 2, 6, 1])
    x, given = rng.standard_normal((5, 6, 5)).astype(dtype), states(lstm, 5, rng)
    shape = {k: v for k, v in options.items() if k != "bias"} | {"more": ["weight_hr"], "outputs": 6}
    weights = {n: p.numpy() for n, p in lstm.named_parameters()}
    want = naive.layers(naive.lstm_projected_step, x, weights, hidden_size=17, states=given, lengths=lengths, **shape)
    for one, right in zip(Called(lstm, lengths)(x, *given), want, strict=True):
        np.testing.assert_allclose(one.numpy(), right, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("sizes", "options", "shape"),
    [
        ((7, 33, 17), {"bias": False}, (29, 5)),
        ((3, 70, 1), {"bidirectional": True}, (50, 3)),
        ((2, 20, 9), {"bidirectional": True, "num_layers": 3}, (7, 4)),
        ((20, 96, 64), {}, (1, 6)),
    ],
)
@pytest.mark.parametrize("dtype", [F32, F64])
def test_pytorch_agrees(dtype, sizes, options, shape, rng):
    torch = pytest.importorskip("torch")
    ours = layer(*sizes, scale=0.2, dtype=dtype, **options)
    theirs = torch.nn.LSTM(
        sizes[0], sizes[1], proj_size=sizes[2], batch_first=True, dtype=getattr(torch, np.dtype(dtype).name), **options
    )
    named = [(name, tuple(p.shape)) for name, p in theirs.named_parameters()]
    assert named == [(name, p.shape) for name, p in ours.named_parameters()]
    theirs.load_state_dict({n: torch.from_numpy(p.numpy().copy()) for n, p in ours.named_parameters()})
    arrays = [rng.standard_normal((*shape, sizes[0])).astype(dtype), *states(ours, shape[0], rng)]
    leaves = [fs.Tensor(a, requires_grad=True) for a in arrays]
    twins = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    lengths = rng.integers(1, shape[1] + 1, shape[0])
    found = Called(ours, lengths)(*leaves)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        twins[0], torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
    )
    out, last = theirs(packed, tuple(twins[1:]))
    wanted = [torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=shape[1])[0], *last]
    upstream = [rng.standard_normal(tuple(w.shape)).astype(dtype) for w in wanted]
    sum((o * g).sum() for o, g in zip(found, upstream, strict=True)).backward()
    sum((o * torch.from_numpy(g)).sum() for o, g in zip(wanted, upstream, strict=True)).backward()
    limit = 1e-5 if dtype == F32 else 1e-10
    pairs = list(zip(found, wanted, strict=True))
    pairs += [
        (a.grad, b.grad) for a, b in zip([*leaves, *ours.parameters()], [*twins, *theirs.parameters()], strict=True)
    ]
    for got, want in pairs:
        right = want.detach().numpy()
        assert np.abs(got.numpy() - right).max() <= limit * max(1e-30, np.abs(right).max())


@pytest.mark.usefixtures("threads")
def test_bits_do_not_depend_on_neighbours_padding_threads_or_streams(rng):
    lstm = layer(9, 70, 33, scale=0.2, dtype=F32, num_layers=2)
    x, lengths = rng.standard_normal((61, 9, 9)).astype(F32), rng.integers(0, 10, 61)
    x[np.arange(9) >= lengths[:, None]] = np.nan
    given, found = states(lstm, 61, rng), []
    for count in (1, fs.get_num_threads()):
        fs.set_num_threads(count)
        leaves = [fs.Tensor(v, requires_grad=True) for v in (x, *given)]
        lstm.zero_grad()
        outputs = Called(lstm, lengths)(*leaves)
        sum((o * o).sum() for o in outputs).backward()
        found.append([t.numpy().tobytes() for t in (*outputs, *(v.grad for v in (*leaves, *lstm.parameters())))])
    assert found[0] == found[1]
    stream = fs.Stream(lstm)
    row = int(lengths.argmax())
    stream.state = [[s[k, row] for s in given] for k in range(2)]
    with fs.no_grad():
        alone, _ = lstm(x[row : row + 1, : lengths[row]], tuple(s[:, row : row + 1] for s in given))
    for t in range(lengths[row]):
        want = outputs[0].numpy()[row, t].tobytes()
        assert stream.step(x[row, t]).tobytes() == want == alone.numpy()[0, t].tobytes()
    assert [len(part) for part in stream.state[0]] == [33, 70]


def test_files_and_copies(rng, tmp_path):
    lstm, x = layer(3, 8, 5, num_layers=2, dtype=F32), rng.standard_normal((2, 4, 3)).astype(F32)
    want = lstm(x)[0].numpy()
    fs.save(lstm, tmp_path / "m")
    for other in (fs.load(tmp_path / "m"), pickle.loads(pickle.dumps(lstm))):
        assert other.proj_size == 5
        np.testing.assert_array_equal(other(x)[0].numpy(), want)
    again = nn.LSTM(**lstm.config())
    again.load_state_dict(lstm.state_dict())
    np.testing.assert_array_equal(again(x)[0].numpy(), want)


def test_pytorchs_weights_come_and_go():
    torch = pytest.importorskip("torch")
    from fastseq.interop import from_torch, to_torch

    theirs = torch.nn.LSTM(3, 6, 2, bidirectional=True, proj_size=4)
    ours = from_torch(theirs.state_dict())
    assert isinstance(ours, nn.LSTM) and (ours.proj_size, ours.num_layers, ours.bidirectional) == (4, 2, True)
    theirs.load_state_dict(to_torch(ours))
    for ending in ("weight_hr_l1", "weight_hh_l0_reverse"):
        state = {name: values for name, values in theirs.state_dict().items() if name != ending}
        with pytest.raises(ValueError, match=ending):
            from_torch(state)


def test_what_cannot_be_is_refused(tmp_path):
    for size, words in ((5, "proj_size: expected less than hidden_size = 5, got 5"), (-1, "proj_size: expected")):
        with pytest.raises(ValueError, match=words):
            nn.LSTM(3, 5, proj_size=size)
    for kind in (nn.GRU, nn.RNN):
        with pytest.raises(ValueError, match="proj_size: expected 0: only LSTM has projections, got 2"):
            kind(3, 5, proj_size=2)
    x, h, c = np.zeros((2, 3, 4), F32), np.zeros((1, 2, 3), F32), np.zeros((1, 2, 6), F32)
    lstm = nn.LSTM(4, 6, proj_size=3)
    lstm(x, (h, c))
    with pytest.raises(ValueError, match=r"h_0: expected shape \(1, 2, 3\), got shape \(1, 2, 6\)"):
        lstm(x, (c, c))
    with pytest.raises(ValueError, match=r"c_0: expected shape \(1, 2, 6\), got shape \(1, 2, 3\)"):
        lstm(x, (h, h))
    from fastseq.interop import to_keras_weights

    with pytest.raises(ValueError, match="proj_size: expected 0: neither Keras nor ONNX"):
        to_keras_weights(lstm)


@pytest.mark.parametrize(("batch", "steps"), [(0, 3), (3, 0)])
def test_empty_batches(batch, steps, rng):
    lstm = layer(2, 5, 3, num_layers=2, bidirectional=True)
    given = states(lstm, batch, rng)
    out, *last = Called(lstm)(fs.Tensor(np.zeros((batch, steps, 2)), requires_grad=True), *given)
    assert out.shape == (batch, steps, 6)
    for final, first in zip(last, given, strict=True):
        np.testing.assert_array_equal(final.numpy(), first)
    sum((final.sum() for final in last), out.sum()).backward()
    assert not any(p.grad.numpy().any() for p in lstm.parameters())


def test_what_its_specification_says():
    spec = ProjectedWeights.spec
    assert spec.projects and spec.waits and spec.state_rows == spec.slots
    assert spec.shape == (4, 1, 0, 4, 0, 4, 1, 0, contract.PROJECTED, 0, 0)
