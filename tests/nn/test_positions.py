"""Positions: the table by hand, gradients, lengths."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.autograd import Tensor
from tests.gradcheck import gradcheck

LENGTHS = np.array([3, 0, 2])


@pytest.mark.parametrize("features", [1, 4, 7])
def test_the_table(features):
    out = nn.SinusoidalPositions(features, dtype=np.float64)(np.zeros((1, 5, features))).numpy()[0]
    for t in range(5):
        for i in range(features):
            angle = t / 10_000 ** (2 * (i // 2) / features)
            assert out[t, i] == pytest.approx(math.cos(angle) if i % 2 else math.sin(angle), abs=1e-14)


LAYERS = [nn.SinusoidalPositions(4, dtype=np.float64), nn.LearnedPositions(6, 4, dtype=np.float64)]
each_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)


@each_layer
def test_gradients_and_padding(layer, rng):
    gradcheck(layer, rng.standard_normal((3, 3, 4)))
    gradcheck(layer, rng.standard_normal((3, 3, 4)), LENGTHS)
    x = rng.standard_normal((3, 3, 4))
    past = np.arange(3) >= LENGTHS[:, None]
    want = layer(x).numpy()
    x[past] = np.nan
    leaf = Tensor(x, requires_grad=True)
    layer.zero_grad()
    out = layer(leaf, lengths=LENGTHS)
    (out * out).sum().backward()
    assert not out.numpy()[past].any() and not leaf.grad.numpy()[past].any()
    assert out.numpy()[~past].tobytes() == want[~past].tobytes()
    assert all(np.isfinite(p.grad.numpy()).all() for p in layer.parameters())


@each_layer
def test_dropout_and_dtype(layer):
    noisy = type(layer).from_config({**layer.config(), "dropout": 0.5, "dtype": "float32"})
    fs.manual_seed(0)
    x = np.ones((2, 3, 4))
    out = noisy(x)
    assert out.dtype == np.float32 and 0 < (out.numpy() == 0).sum() < 24
    np.testing.assert_allclose(noisy.eval()(x).numpy()[0, 0], noisy(x).numpy()[1, 0])


def test_learned_vectors_are_added_by_step(rng):
    layer = nn.LearnedPositions(6, 4)
    np.testing.assert_array_equal(layer(np.zeros((2, 5, 4))).numpy()[1], layer.weight.numpy()[:5])
    with pytest.raises(ValueError, match="x: expected at most max_steps = 6 steps, got 7"):
        layer(np.zeros((1, 7, 4)))
    for bad in (np.zeros((1, 5, 3)), np.zeros((5, 4))):
        for one in LAYERS:
            with pytest.raises(ValueError, match=r"x: expected shape \(B, T, 4\)"):
                one(bad)
    assert layer(np.zeros((0, 5, 4))).shape == (0, 5, 4)
