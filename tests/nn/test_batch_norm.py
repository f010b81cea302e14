"""BatchNorm1d: by hand, finite differences, lengths, padding, averages, and torch."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.autograd import Tensor
from tests.gradcheck import gradcheck

LENGTHS = np.array([3, 5, 0, 1])


def layer(size=3, dtype=np.float64, **options) -> nn.BatchNorm1d:
    """A layer with weights and averages that are not those of the beginning."""
    made = nn.BatchNorm1d(size, dtype=dtype, **options)
    rng = np.random.default_rng(0)
    for parameter in made.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    if made.track_running_stats:
        made.running_mean, made.running_var = rng.standard_normal(size).astype(dtype), rng.random(size).astype(dtype)
    return made


def by_hand(values: list[float], eps: float, weight: float, bias: float) -> tuple[list[float], float, float]:
    """One feature's steps, normalised, with their mean and mean square."""
    mean = sum(values) / len(values)
    var = sum((v - mean) ** 2 for v in values) / len(values)
    return [(v - mean) / (var + eps) ** 0.5 * weight + bias for v in values], mean, var


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_the_equation_and_the_averages(unbiased, momentum, rng):
    norm, x = layer(momentum=momentum, unbiased=unbiased), rng.standard_normal((4, 5, 3))
    means, squares = norm.running_mean.numpy().copy(), norm.running_var.numpy().copy()
    out = norm(x, lengths=LENGTHS).numpy()
    valid = np.arange(5) < LENGTHS[:, None]
    share = 1.0 if momentum is None else momentum
    for f in range(3):
        wanted, mean, var = by_hand(list(x[valid][:, f]), 1e-5, norm.weight.tolist()[f], norm.bias.tolist()[f])
        np.testing.assert_allclose(out[valid][:, f], wanted, rtol=1e-12, atol=1e-12)
        var = var * 9 / 8 if unbiased else var
        assert norm.running_mean.tolist()[f] == pytest.approx((1 - share) * means[f] + share * mean)
        assert norm.running_var.tolist()[f] == pytest.approx((1 - share) * squares[f] + share * var)
    assert (out[~valid] == 0).all() and norm.num_batches_tracked.item() == 1
    before = norm.running_mean.numpy().copy()
    kept = norm.eval()(x, lengths=LENGTHS).numpy()
    wanted = (x - before) / np.sqrt(norm.running_var.numpy() + 1e-5) * norm.weight.numpy() + norm.bias.numpy()
    np.testing.assert_allclose(kept, np.where(valid[..., None], wanted, 0), rtol=1e-12, atol=1e-12)
    assert np.array_equal(norm.running_mean, before)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"affine": False}, {"track_running_stats": False}])
@pytest.mark.parametrize("training", [True, False])
def test_gradients(options, training, rng):
    norm = layer(**options).train(training)
    gradcheck(norm, rng.standard_normal((4, 5, 3)), LENGTHS)
    gradcheck(norm, rng.standard_normal((4, 3)))


def test_gradients_where_some_steps_do_not_count(rng):
    counted = rng.random((4, 5)) < 0.5
    gradcheck(lambda x, w, b: _with(layer(), w, b)(x, counted=counted), rng.standard_normal((4, 5, 3)), *_pair(rng))
    norm, x = layer(), rng.standard_normal((4, 5, 3))
    out = norm(x, counted=counted).numpy()
    unit = (x - x[counted].mean(axis=0)) / np.sqrt(x[counted].var(axis=0) + 1e-5)
    np.testing.assert_allclose(out, unit * norm.weight.numpy() + norm.bias.numpy(), rtol=1e-10)


def _pair(rng):
    return rng.standard_normal(3), rng.standard_normal(3)


def _with(norm, weight, bias):
    norm._parameters["weight"], norm._parameters["bias"] = weight, bias
    return norm


def test_padding_changes_no_bit(rng):
    clean = rng.standard_normal((4, 5, 3)).astype(np.float32)
    valid = np.arange(5) < LENGTHS[:, None]
    for junk, more in ((np.nan, 0), (np.inf, 3)):
        dirty = np.where(valid[..., None], clean, np.float32(junk))
        dirty = np.pad(dirty, ((0, 0), (0, more), (0, 0)), constant_values=np.nan)
        found = []
        for x in (clean, dirty):
            norm, leaf = layer(dtype=np.float32), Tensor(x.copy(), requires_grad=True)
            out = norm(leaf, lengths=LENGTHS)
            (out * out).sum().backward()
            found.append([out.numpy()[:, :5], leaf.grad.numpy()[:, :5], norm.weight.grad, norm.running_var])
        for one, other in zip(*found, strict=True):
            assert np.array_equal(one, other)
        assert (found[1][1][~valid] == 0).all()


def test_a_step_alone_has_the_bits_of_a_batch_in_evaluation(rng):
    norm, x = layer(19, np.float32).eval(), rng.standard_normal((4, 5, 19)).astype(np.float32)
    out = norm(x).numpy()
    assert np.array_equal(norm(x[2:3, :2]).numpy(), out[2:3, :2])
    assert np.array_equal(norm(x[1]).numpy(), out[1])
    x[0, 0, 0] = np.nan
    hit = norm(x).numpy()
    assert np.isnan(hit[0, 0, 0]) and np.array_equal(hit[1:], out[1:])


def test_numbers_far_from_zero_keep_their_variance():
    x = np.random.default_rng(0).standard_normal((50, 40, 2)) + [1000.0, -1e4]
    out = nn.BatchNorm1d(2)(x.astype(np.float32)).numpy()
    np.testing.assert_allclose(out.mean(axis=(0, 1)), 0, atol=2e-3)
    np.testing.assert_allclose(out.std(axis=(0, 1)), 1, rtol=1e-3)


def test_batches_without_steps_and_with_one():
    norm = nn.BatchNorm1d(2)
    assert norm(np.zeros((0, 4, 2), np.float32)).shape == (0, 4, 2)
    assert not norm(np.ones((2, 4, 2), np.float32), lengths=[0, 0]).numpy().any()
    assert norm.num_batches_tracked.item() == 0
    with pytest.raises(ValueError, match="input: expected more than one valid step in training, got one"):
        norm(np.zeros((2, 4, 2), np.float32), lengths=[0, 1])
    one = nn.BatchNorm1d(2, unbiased=False)
    assert not one(np.ones((1, 2), np.float32)).numpy().any()
    assert norm.eval()(np.zeros((2, 4, 2), np.float32), lengths=[0, 1]).shape == (2, 4, 2)


def test_wrong_arguments():
    norm = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match=r"input: expected shape \(B, T, 3\) or \(B, 3\), got"):
        norm(np.zeros((2, 4), np.float32))
    with pytest.raises(TypeError, match="input: expected numbers"):
        norm(np.zeros((2, 3), bool))
    with pytest.raises(ValueError, match="lengths: expected None for an input without steps"):
        norm(np.zeros((2, 3), np.float32), lengths=[1, 1])
    with pytest.raises(ValueError, match=r"counted: expected bools of shape \(2, 4\)"):
        norm(np.zeros((2, 4, 3), np.float32), counted=np.ones((2, 3), bool))
    with pytest.raises(ValueError, match="counted: expected None beside lengths"):
        norm(np.zeros((2, 4, 3), np.float32), lengths=[1, 1], counted=np.ones((2, 4), bool))
    with pytest.raises(ValueError, match="momentum"):
        nn.BatchNorm1d(3, momentum=2.0)


def test_a_model_learns_with_it_and_goes_on_from_its_averages(rng, tmp_path):
    x = rng.standard_normal((40, 6, 2)).astype(np.float32) * 50 + 300
    y = x[:, -1:, 0] / 50 - 6
    model = nn.Sequential(nn.BatchNorm1d(2, momentum=0.3), nn.LSTM(2, 8), nn.LastStep(), nn.Linear(8, 1))
    history = fs.fit(model, x, y[:, 0], epochs=8, learning_rate=0.02, verbose=False, random_state=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    fs.save(model, tmp_path / "m.safetensors")
    assert np.array_equal(fs.predict(fs.load(tmp_path / "m.safetensors"), x), fs.predict(model, x))
    stream = fs.Stream(model)
    for step in x[0]:
        answer = stream.step(step).copy()
    assert np.array_equal(answer, fs.predict(model, x[:1])[0])


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}])
def test_torch_agrees(options, rng):
    torch = pytest.importorskip("torch")
    mine, theirs = layer(**options), torch.nn.BatchNorm1d(3, **options).double()
    theirs.load_state_dict({name: torch.tensor(value.numpy()) for name, value in mine.state_dict().items()})
    for shape in ((4, 5, 3), (6, 3), (7, 2, 3)):
        x = rng.standard_normal(shape)
        one, other = Tensor(x.copy(), requires_grad=True), torch.tensor(x.copy(), requires_grad=True)
        out = mine(one)
        turned = theirs(other.transpose(1, -1)).transpose(1, -1)
        np.testing.assert_allclose(out.numpy(), turned.detach(), rtol=1e-10, atol=1e-12)
        (out**3).sum().backward()
        (turned**3).sum().backward()
        np.testing.assert_allclose(one.grad, other.grad, rtol=1e-8, atol=1e-9)
    state = theirs.state_dict()
    assert list(mine.state_dict()) == list(state)
    for name, value in mine.state_dict().items():
        np.testing.assert_allclose(value.numpy(), state[name], rtol=1e-12)
    x = rng.standard_normal((4, 5, 3))
    wanted = theirs.eval()(torch.tensor(x).transpose(1, 2)).transpose(1, 2).detach()
    np.testing.assert_allclose(mine.eval()(x).numpy(), wanted, rtol=1e-10, atol=1e-12)
