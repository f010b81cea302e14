"""nn.LayerNormLSTM: finite differences, the scalar loop, what normalisation means, bits, files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.cells.lstm_layer_norm import LayerNormWeights
from tests import naive
from tests.gradcheck import gradcheck

F32, F64 = np.float32, np.float64


def layer(*sizes: int, scale: float = 0.6, dtype=F64, **options) -> nn.LayerNormLSTM:
    """A layer (F, H) with gains and biases that are neither one nor zero."""
    found = nn.LayerNormLSTM(*sizes, dtype=dtype, **options)
    rng = np.random.default_rng(0)
    found.load_state_dict(
        {n: (scale * rng.standard_normal(p.shape)).astype(dtype) for n, p in found.named_parameters()}
    )
    return found


def states(module: nn.LayerNormLSTM, batch: int, rng) -> tuple[np.ndarray, ...]:
    """h_0 and c_0."""
    shape = (module.num_layers * module.num_directions, batch, module.hidden_size)
    return tuple(rng.standard_normal(shape).astype(module.dtype) for _ in range(2))


class Called(nn.Module):
    """A layer as a function of x, h_0 and c_0 that returns all outputs."""

    def __init__(self, module: nn.LayerNormLSTM, lengths=None) -> None:
        super().__init__()
        self.module, self.lengths = module, lengths

    def forward(self, x, h=None, c=None):
        out, (h_n, c_n) = self.module(x, None if h is None else (h, c), lengths=self.lengths)
        return [out, h_n, c_n]


GRADIENTS = {
    # sizes (F, H), options, (B, T), lengths
    "two units": ((1, 2), {}, (1, 1), None),
    "ragged": ((3, 9), {}, (5, 4), [4, 1, 0, 3, 1]),
    "stacked both": ((2, 3), {"num_layers": 2, "bidirectional": True}, (3, 3), [1, 3, 0]),
    "no bias": ((3, 4), {"bias": False, "bidirectional": True}, (3, 3), [2, 3, 1]),
    "time first": ((3, 4), {"batch_first": False, "num_layers": 2}, (3, 4), [4, 2, 0]),
    "all empty": ((2, 3), {}, (2, 3), [0, 0]),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_everything(name, rng):
    sizes, options, (batch, steps), lengths = GRADIENTS[name]
    module = layer(*sizes, **options)
    shape = (batch, steps, sizes[0]) if module.batch_first else (steps, batch, sizes[0])
    called = Called(module, None if lengths is None else np.array(lengths))
    gradcheck(called, rng.standard_normal(shape), *states(module, batch, rng))


def test_gradients_over_several_tiles_and_blocks(rng):
    # several panels of units, the last not full, more than 24 rows: along random directions
    module = layer(11, 43, bidirectional=True)
    inputs = [rng.standard_normal((29, 4, 11)), *states(module, 29, rng)]
    leaves = [*(fs.Tensor(v, requires_grad=True) for v in inputs), *module.parameters()]
    upstream = [rng.standard_normal(s) for s in ((29, 4, 86), (2, 29, 43), (2, 29, 43))]
    called = Called(module, rng.integers(0, 5, 29))

    def value():
        return sum((o * g).sum() for o, g in zip(called(*leaves[:3]), upstream, strict=True))

    value().backward()
    for leaf in leaves:
        before, direction, moved = leaf._data.copy(), rng.standard_normal(leaf.shape), []
        with fs.no_grad():
            for eps in (1e-6, -1e-6):
                leaf.copy_(before + eps * direction)
                moved.append(value().item())
            leaf.copy_(before)
        assert float((leaf.grad.numpy() * direction).sum()) == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
@pytest.mark.parametrize(("dtype", "atol"), [(F32, 1e-5), (F64, 1e-12)])
def test_the_oracle_agrees(options, dtype, atol, rng):
    module = layer(5, 17, dtype=dtype, **options)
    lengths = np.array([4, 0, 2, 6, 1])
    x, given = rng.standard_normal((5, 6, 5)).astype(dtype), states(module, 5, rng)
    shape = {k: v for k, v in options.items() if k != "bias"} | {"more": ["gain_ih", "gain_hh", "gain_c", "bias_c"]}
    weights = {n: p.numpy() for n, p in module.named_parameters()}
    want = naive.layers(naive.lstm_layer_norm_step, x, weights, hidden_size=17, states=given, lengths=lengths, **shape)
    for one, right in zip(Called(module, lengths)(x, *given), want, strict=True):
        np.testing.assert_allclose(one.numpy(), right, rtol=0, atol=atol)


def test_parameters_and_how_they_start():
    fs.manual_seed(0)
    module = nn.LayerNormLSTM(300, 100, num_layers=2, bidirectional=True)
    kinds = ("weight_ih", "weight_hh", "gain_ih", "gain_hh", "gain_c", "bias_ih", "bias_hh", "bias_c")
    names = [f"{kind}_l{k}{end}" for k in range(2) for end in ("", "_reverse") for kind in kinds]
    assert [name for name, _ in module.named_parameters()] == names
    for name, p in module.named_parameters():
        values, kind = p.numpy(), name.partition("_l")[0]
        if kind.startswith("weight"):
            width = (300 if "l0" in name else 200) if kind == "weight_ih" else 100
            assert p.shape == (400, width) and 0.09 < np.abs(values).max() <= 0.1
        else:
            assert p.shape == ((100,) if kind.endswith("c") else (400,))
            assert (values == (1 if kind.startswith("gain") else 0)).all()
    assert not [name for name, _ in nn.LayerNormLSTM(3, 4, bias=False).named_parameters() if "bias" in name]


def test_the_size_of_the_input_does_not_matter(rng):
    # what normalisation is for; up to the 1e-5 that is added to the variance
    module = layer(6, 20)
    x = rng.standard_normal((3, 5, 6))
    want = module(x)[0].numpy()
    np.testing.assert_allclose(module(1000 * x)[0].numpy(), want, atol=1e-4)


@pytest.mark.usefixtures("threads")
def test_bits_do_not_depend_on_neighbours_padding_threads_or_streams(rng):
    module = layer(9, 70, dtype=F32, num_layers=2)
    x, lengths = rng.standard_normal((61, 9, 9)).astype(F32), rng.integers(0, 10, 61)
    x[np.arange(9) >= lengths[:, None]] = np.nan
    given, found = states(module, 61, rng), []
    for count in (1, fs.get_num_threads()):
        fs.set_num_threads(count)
        leaves = [fs.Tensor(v, requires_grad=True) for v in (x, *given)]
        module.zero_grad()
        outputs = Called(module, lengths)(*leaves)
        sum((o * o).sum() for o in outputs).backward()
        arrays = [t.numpy() for t in (*outputs, *(v.grad for v in (*leaves, *module.parameters())))]
        assert all(np.isfinite(a).all() for a in arrays)
        found.append([a.tobytes() for a in arrays])
    assert found[0] == found[1]
    order = rng.permutation(61)
    with fs.no_grad():
        moved = Called(module, lengths[order])(x[order], *(s[:, order] for s in given))
    assert moved[0].numpy().tobytes() == np.ascontiguousarray(outputs[0].numpy()[order]).tobytes()
    stream, row = fs.Stream(module), int(lengths.argmax())
    stream.state = [[s[k, row] for s in given] for k in range(2)]
    with fs.no_grad():
        alone, _ = module(x[row : row + 1, : lengths[row]], tuple(s[:, row : row + 1] for s in given))
    for t in range(lengths[row]):
        want = outputs[0].numpy()[row, t].tobytes()
        assert stream.step(x[row, t]).tobytes() == want == alone.numpy()[0, t].tobytes()


def test_a_nan_stays_in_its_row(rng):
    module = layer(2, 19, dtype=F32)
    x = rng.standard_normal((5, 6, 2)).astype(F32)
    clean = module(x)[0].numpy()
    x[2, 3, 1] = np.nan
    leaf = fs.Tensor(x, requires_grad=True)
    out, h_n, _ = Called(module)(leaf)
    others = [0, 1, 3, 4]
    assert out.numpy()[others].tobytes() == clean[others].tobytes()
    assert np.isnan(out.numpy()[2, 3:]).all() and np.isnan(h_n.numpy()[0, 2]).all()
    out.sum().backward()
    assert np.isnan(leaf.grad.numpy()[2]).any() and np.isfinite(leaf.grad.numpy()[others]).all()
    assert all(np.isnan(p.grad.numpy()).any() for p in module.parameters())


def test_copies(rng):
    module, x = layer(3, 8, num_layers=2, bias=False, dtype=F32), rng.standard_normal((2, 4, 3)).astype(F32)
    want = module(x)[0].numpy()
    again = nn.LayerNormLSTM(**module.config())
    again.load_state_dict(module.state_dict())
    for other in (again, pickle.loads(pickle.dumps(module))):
        np.testing.assert_array_equal(other(x)[0].numpy(), want)
    wide = module.double()
    np.testing.assert_allclose(wide(x.astype(F64))[0].numpy(), want, atol=1e-5)


@pytest.mark.parametrize(("batch", "steps"), [(0, 3), (3, 0)])
def test_empty_batches(batch, steps, rng):
    module = layer(2, 5, num_layers=2, bidirectional=True)
    given = states(module, batch, rng)
    out, *last = Called(module)(fs.Tensor(np.zeros((batch, steps, 2)), requires_grad=True), *given)
    assert out.shape == (batch, steps, 10)
    for final, first in zip(last, given, strict=True):
        np.testing.assert_array_equal(final.numpy(), first)
    sum((final.sum() for final in last), out.sum()).backward()
    assert not any(p.grad.numpy().any() for p in module.parameters())


def test_what_its_specification_says():
    spec = LayerNormWeights.spec
    assert spec.runs == ((0, 4), (4, 4), (8, 1)) and spec.waits and not spec.projects
    assert spec.shape == (9, 1, 0, 4, 4, 4, 1, 18, -1, 3, 0)
