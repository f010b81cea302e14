"""MLP: its layers one by one, gradients, lengths."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.autograd import Tensor
from fastseq.nn import functional
from fastseq.nn.mlp import ACTIVATIONS
from tests.gradcheck import gradcheck

LENGTHS = np.array([3, 0, 2])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_is_its_layers(activation, rng):
    mlp, x = nn.MLP(3, [5, 4], 2, activation), rng.standard_normal((2, 4, 3)).astype(np.float32)
    one, two, three = mlp.layers
    function = getattr(functional, activation)
    np.testing.assert_array_equal(mlp(x).numpy(), three(function(two(function(one(x))))).numpy())


def test_sizes():
    assert [tuple(layer.weight.shape) for layer in nn.MLP(3, 7, 2).layers] == [(7, 3), (2, 7)]
    assert [tuple(layer.weight.shape) for layer in nn.MLP(3, [], 2).layers] == [(2, 3)]
    assert nn.MLP(3, [4], 2, bias=False).layers[0].bias is None
    assert nn.MLP(3, [4], 2)(np.ones(3)).shape == (2,)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gradients(lengths, rng):
    gradcheck(nn.MLP(4, [5], 3, "tanh", dtype=np.float64), rng.standard_normal((3, 3, 4)), lengths)


def test_padding_is_not_read(rng):
    mlp, x = nn.MLP(4, [5], 3), rng.standard_normal((3, 3, 4)).astype(np.float32)
    past = np.arange(3) >= LENGTHS[:, None]
    want = mlp(x).numpy()
    x[past] = np.nan
    leaf = Tensor(x, requires_grad=True)
    out = mlp(leaf, lengths=LENGTHS)
    (out * out).sum().backward()
    assert not out.numpy()[past].any() and not leaf.grad.numpy()[past].any()
    assert out.numpy()[~past].tobytes() == want[~past].tobytes()
    assert all(np.isfinite(p.grad.numpy()).all() for p in mlp.parameters())


def test_dropout_is_of_hidden_units(rng):
    mlp, x = nn.MLP(3, 50, 2, dropout=0.5), rng.standard_normal((2, 3)).astype(np.float32)
    fs.manual_seed(0)
    one = mlp(x).numpy()
    assert one.tobytes() != mlp(x).numpy().tobytes()
    fs.manual_seed(0)
    assert one.tobytes() == mlp(x).numpy().tobytes()
    assert mlp.eval()(x).numpy().tobytes() == mlp(x).numpy().tobytes()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="activation: expected one of"):
        nn.MLP(3, 4, 2, "swoosh")
    with pytest.raises(ValueError, match="hidden_features: expected an integer >= 1"):
        nn.MLP(3, [4, 0], 2)
    with pytest.raises(ValueError, match=r"input: expected shape \(..., 3\)"):
        nn.MLP(3, 4, 2)(np.ones((2, 4)))
