"""Pooling over time: values row by row, gradients, and padding that may hold anything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastseq.autograd import Tensor
from fastseq.nn.pooling import AttentionPool, LastStep, MaxPool, MeanPool
from tests.gradcheck import gradcheck

LAYERS = [LastStep(), LastStep(bidirectional=True), MeanPool(), MaxPool()]
LENGTHS = np.array([3, 5, 0, 1])
each_layer = pytest.mark.parametrize("layer", LAYERS, ids=repr)


def by_hand(layer, row):
    """What the layer does to one row (T, C) without padding."""
    if len(row) == 0:
        return np.zeros(row.shape[1], row.dtype)
    if isinstance(layer, MeanPool):
        return row.mean(axis=0)
    if isinstance(layer, MaxPool):
        return row.max(axis=0)
    half = row.shape[1] // 2
    return np.concatenate([row[-1, :half], row[0, half:]]) if layer.bidirectional else row[-1]


def batch(*shape: int) -> np.ndarray:
    """Distinct numbers."""
    return np.random.default_rng(3).permutation(int(np.prod(shape))).reshape(shape) / 7.0 - 2


@each_layer
def test_values_and_gradients_row_by_row(layer):
    x = batch(4, 5, 6)
    gradcheck(layer, x, LENGTHS)
    gradcheck(layer, x)
    expected = [by_hand(layer, row[:n]) for row, n in zip(x, LENGTHS, strict=True)]
    np.testing.assert_allclose(layer(x, LENGTHS).numpy(), expected, rtol=1e-14)
    np.testing.assert_array_equal(layer(x, lengths=Tensor(LENGTHS)).numpy(), layer(x, LENGTHS).numpy())
    np.testing.assert_array_equal(layer(x).numpy(), layer(x, [5, 5, 5, 5]).numpy())
    assert layer.uses_lengths


@each_layer
@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf, 1e30])
def test_padding_has_no_influence_and_gets_no_gradient(layer, junk):
    clean = batch(4, 5, 6).astype(np.float32)
    valid = np.arange(5) < LENGTHS[:, None]
    dirty = np.where(valid[..., None], clean, np.float32(junk))
    outputs, gradients = [], []
    for x in (clean, dirty):
        leaf = Tensor(x.copy(), requires_grad=True)
        out = layer(leaf, LENGTHS)
        out.backward(np.arange(24.0).reshape(4, 6))
        outputs.append(out.numpy())
        gradients.append(leaf.grad.numpy())
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(gradients[0], gradients[1])
    assert (gradients[0][~valid] == 0).all()


@each_layer
@given(data=st.data())
def test_rows_do_not_depend_on_one_another_nor_on_the_padding(layer, data):
    length = data.draw(st.integers(0, 40))
    steps = length + data.draw(st.integers(0, 30))
    width = (
        data.draw(st.sampled_from([2, 6])) if getattr(layer, "bidirectional", False) else data.draw(st.integers(1, 3))
    )
    row = np.random.default_rng(length).standard_normal((1, length, width)).astype(np.float32)
    wide = np.full((3, steps, width), 7, np.float32)
    wide[1, :length] = row
    alone = layer(row).numpy()[0]
    assert layer(wide, [steps, length, 0]).numpy()[1].tobytes() == alone.tobytes()


@each_layer
def test_nan_stays_in_its_row(layer):
    x = batch(3, 4, 2)
    x[1] = np.nan
    out = layer(x, [4, 4, 2]).numpy()
    assert np.isnan(out[1]).all()
    assert np.isfinite(out[[0, 2]]).all()


@each_layer
@pytest.mark.parametrize("shape", [(0, 4, 2), (3, 0, 2), (3, 4, 0), (0, 0, 0)])
def test_empty_input(layer, shape):
    x = Tensor(np.ones(shape), requires_grad=True)
    out = layer(x, np.zeros(shape[0], int))
    assert out.shape == (shape[0], shape[2])
    assert (out.numpy() == 0).all()
    out.sum().backward()
    assert x.grad.shape == shape


@each_layer
def test_bad_input_is_named(layer):
    with pytest.raises(ValueError, match=r"x: expected shape \(B, T, C\)"):
        layer(np.ones((3, 4)))
    with pytest.raises(TypeError, match="x: expected float32 or float64"):
        layer(np.ones((3, 4, 2), int))
    for lengths, error in [
        ([5, 1, 1], ValueError),
        ([-1, 1, 1], ValueError),
        ([1, 1], ValueError),
        ([1.0] * 3, TypeError),
    ]:
        with pytest.raises(error, match="length"):
            layer(np.ones((3, 4, 2)), lengths)


def test_the_earliest_of_equal_values_gets_the_gradient():
    x = Tensor(np.array([[[1.0], [3.0], [3.0]]]), requires_grad=True)
    MaxPool()(x).backward(np.ones((1, 1)))
    assert x.grad.tolist() == [[[0.0], [1.0], [0.0]]]


def test_two_directions_need_an_even_width():
    with pytest.raises(ValueError, match="x: expected an even number of features"):
        LastStep(bidirectional=True)(np.ones((2, 3, 5)))
    with pytest.raises(TypeError, match="bidirectional: expected True or False"):
        LastStep(bidirectional=2)
    assert repr(LastStep.from_config(LastStep(True).config())) == "LastStep(bidirectional=True)"
    assert repr(MeanPool.from_config({})) == "MeanPool()"


@pytest.mark.parametrize("hidden", [None, 5])
def test_attention_pools_under_softmax_weights(hidden, rng):
    pool, x = AttentionPool(3, hidden, dtype=np.float64), rng.standard_normal((4, 5, 3))
    out = pool(x, lengths=LENGTHS).numpy()
    for row, n in enumerate(LENGTHS):
        inner = x[row, :n] if hidden is None else np.tanh(pool.hidden(x[row, :n]).numpy())
        scores = np.exp(inner @ pool.score.weight.numpy()[0])
        want = (scores / scores.sum()) @ x[row, :n] if n else np.zeros(3)
        np.testing.assert_allclose(out[row], want, rtol=1e-12)
        assert pool(x[row : row + 1, :n]).numpy()[0].tobytes() == out[row].tobytes()
    gradcheck(pool, x, LENGTHS)
    gradcheck(pool, x)
    padded = np.where(np.arange(5)[:, None] < LENGTHS[:, None, None], x, np.nan)
    leaf = Tensor(padded, requires_grad=True)
    pool.zero_grad()
    found = pool(leaf, lengths=LENGTHS)
    found.sum().backward()
    assert found.numpy().tobytes() == out.tobytes()
    assert all(np.isfinite(t.grad.numpy()).all() for t in (leaf, *pool.parameters()))
    assert pool(np.zeros((0, 5, 3))).shape == (0, 3) and not pool(np.zeros((2, 0, 3))).numpy().any()
