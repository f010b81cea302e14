"""LayerNorm: by hand, finite differences, bits, padding, and torch."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.autograd import Tensor
from fastseq.autograd.noise import noise_of
from fastseq.autograd.ops_norm import layer_norm, sum_and_norm
from tests.gradcheck import gradcheck

WIDTHS = [1, 3, 8, 16, 19, 40]
LENGTHS = np.array([3, 5, 0, 1])


def by_hand(x, weight, bias, eps):
    """The equation, one row at a time."""
    out = np.empty_like(x)
    for place in np.ndindex(x.shape[:-1]):
        row = [float(v) for v in x[place]]
        mean = sum(row) / len(row)
        var = sum((v - mean) ** 2 for v in row) / len(row)
        out[place] = [(v - mean) / np.sqrt(var + eps) * w + b for v, w, b in zip(row, weight, bias, strict=True)]
    return out


def layer(width, dtype=np.float64, **options) -> nn.LayerNorm:
    """A layer with weights that are not ones."""
    made = nn.LayerNorm(width, **options, dtype=dtype)
    for number, parameter in enumerate(made.parameters()):
        parameter.data = np.random.default_rng(number).standard_normal(parameter.shape)
    return made


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-12)])
def test_the_equation(width, dtype, tolerance, rng):
    norm, x = layer(width, dtype, eps=1e-3), rng.standard_normal((4, 5, width)).astype(dtype)
    want = by_hand(x.astype(np.float64), norm.weight.tolist(), norm.bias.tolist(), 1e-3)
    out = norm(x)
    assert out.dtype == dtype
    np.testing.assert_allclose(out.numpy(), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"elementwise_affine": False}])
def test_gradients(width, options, rng):
    gradcheck(layer(width, **options), rng.standard_normal((3, 5, width)))


def test_gradients_with_lengths_and_several_axes(rng):
    gradcheck(layer((3, 2)), rng.standard_normal((4, 5, 3, 2)), LENGTHS)
    gradcheck(layer((2, 3, 2)), rng.standard_normal((2, 3, 2)))


@pytest.mark.parametrize("width", [3, 17])
@pytest.mark.parametrize("norm", [True, False])
def test_gradients_of_the_sum_with_a_branch(width, norm, rng):
    x, branch = rng.standard_normal((2, 70, width))
    noise = noise_of(0.3, rng)
    for given in (noise, None):
        gradcheck(lambda x, b, w, c, given=given: sum_and_norm(x, b, w, c, noise=given, norm=norm), x[:5], branch[:5],
                  *(rng.standard_normal((2, width)) if norm else (None, None)))  # fmt: skip


def test_padding_is_not_read_and_gets_no_gradient(rng):
    norm, x = layer(6), rng.standard_normal((4, 5, 6))
    found = []
    for fill in (np.nan, 7.0):
        x[np.arange(5) >= LENGTHS[:, None]] = fill
        leaf = Tensor(x, requires_grad=True)
        norm.zero_grad()
        out = norm(leaf, lengths=LENGTHS)
        (out * out).sum().backward()
        found.append([out.numpy(), leaf.grad.numpy(), *(p.grad.numpy().copy() for p in norm.parameters())])
    for one, other in zip(*found, strict=True):
        assert np.isfinite(one).all() and one.tobytes() == other.tobytes()
    assert not found[0][0][LENGTHS == 0].any()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_depend_on_the_row_alone(dtype, rng):
    norm, x = layer(300, dtype), rng.standard_normal((40, 60, 300)).astype(dtype)
    most = fs.get_num_threads()
    results = []
    for count in (1, most):
        fs.set_num_threads(count)
        norm.zero_grad()
        leaf = Tensor(x, requires_grad=True)
        out = norm(leaf)
        (out * out).sum().backward()
        results.append([out.numpy(), leaf.grad.numpy(), *(p.grad.numpy().copy() for p in norm.parameters())])
    for one, other in zip(*results, strict=True):
        assert one.tobytes() == other.tobytes()
    assert norm(x[7, 3:4]).numpy().tobytes() == results[0][0][7, 3].tobytes()


def test_nan_stays_in_its_row(rng):
    x = rng.standard_normal((4, 3, 6))
    x[1, 1, 2] = np.nan
    bad = np.isnan(layer(6)(x).numpy()).any(axis=-1)
    assert bad.tolist() == [[False] * 3, [False, True, False], [False] * 3, [False] * 3]
    assert np.isnan(layer(6)(np.full((1, 6), np.inf)).numpy()).all()


def test_constant_rows_give_the_bias():
    norm = layer(5)
    np.testing.assert_array_equal(norm(np.full((2, 5), 3.0)).numpy(), [norm.bias.numpy()] * 2)
    assert not nn.LayerNorm(4, elementwise_affine=False)(np.full((2, 4), 1e30, np.float32)).numpy().any()


@pytest.mark.parametrize("shape", [(0, 4), (0, 3, 4), (3, 0, 4)])
def test_empty_input(shape):
    norm, x = nn.LayerNorm(4), Tensor(np.ones(shape, np.float32), requires_grad=True)
    out = norm(x, lengths=np.zeros(shape[0], int))
    out.sum().backward()
    assert out.shape == x.grad.shape == shape and not norm.weight.grad.numpy().any()


def test_options_and_bad_input():
    assert [n for n, _ in nn.LayerNorm(3, bias=False).named_parameters()] == ["weight"]
    assert not list(nn.LayerNorm(3, elementwise_affine=False).parameters())
    norm = nn.LayerNorm(3, 1e-3)
    assert repr(norm).startswith("LayerNorm(normalized_shape=[3], eps=0.001")
    norm.weight.data = np.zeros(3, np.float32)
    norm.reset_parameters()
    assert norm.weight.tolist() == [1, 1, 1]
    assert norm(np.ones((2, 3), int)).dtype == np.float32
    with pytest.raises(ValueError, match=r"input: expected shape \(..., 3\)"):
        norm(np.ones((2, 4)))
    with pytest.raises(ValueError, match="normalized_shape: expected at least one size"):
        nn.LayerNorm(())
    with pytest.raises(ValueError, match="normalized_shape: expected an integer >= 1"):
        nn.LayerNorm((3, 0))
    with pytest.raises(TypeError, match="input: expected float32 or float64"):
        layer_norm(np.ones((2, 3), int), 3)
    with pytest.raises(ValueError, match=r"weight: expected shape \(3,\)"):
        layer_norm(np.ones((2, 3)), 3, np.ones(4))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_against_torch(dtype, tolerance, rng):
    torch = pytest.importorskip("torch")
    for _ in range(100):
        shape = tuple(rng.integers(1, 12, rng.integers(1, 3)).tolist())
        if len(shape) == 1:
            shape = (int(rng.integers(1, 80)),)
        x = (3 * rng.standard_normal((*rng.integers(1, 6, 2), *shape)) + rng.standard_normal()).astype(dtype)
        options = {"eps": float(rng.choice([1e-5, 1e-2])), "elementwise_affine": bool(rng.integers(4))}
        options["bias"] = bool(rng.integers(4))
        theirs = torch.nn.LayerNorm(shape, **options, dtype=getattr(torch, dtype))
        for parameter in theirs.parameters():
            torch.nn.init.normal_(parameter)
        ours = nn.LayerNorm(shape, **options, dtype=dtype)
        ours.load_state_dict(theirs.state_dict())
        a, b = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        upstream = rng.standard_normal(x.shape).astype(dtype)
        out, want = ours(a), theirs(b)
        out.backward(upstream)
        want.backward(torch.from_numpy(upstream))
        pairs = [(out.numpy(), want.detach().numpy()), (a.grad.numpy(), b.grad.numpy())]
        pairs += [(p.grad.numpy(), dict(theirs.named_parameters())[n].grad.numpy()) for n, p in ours.named_parameters()]
        for got, expected in pairs:
            scale = max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)
