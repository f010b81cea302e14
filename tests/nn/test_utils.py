"""Gradient clipping and parameter vectors, against PyTorch where that is installed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastseq.autograd.tensor import Tensor
from fastseq.nn import utils
from fastseq.nn.module import Parameter

SHAPES = [(3, 4), (5,), (1,)]


def with_gradients(rng, dtype=np.float32):
    parameters = [Parameter(rng.standard_normal(shape).astype(dtype)) for shape in SHAPES]
    for p in parameters:
        p._accumulate(rng.standard_normal(p.shape).astype(dtype))
    return parameters


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 100.0])
def test_clip_grad_norm_is_torchs(rng, dtype, norm_type, max_norm):
    torch = pytest.importorskip("torch")
    parameters = with_gradients(rng, dtype)
    theirs = []
    for p in parameters:
        q = torch.nn.Parameter(torch.from_numpy(p.numpy().copy()))
        q.grad = torch.from_numpy(p.grad.numpy().copy())
        theirs.append(q)
    mine = utils.clip_grad_norm_(parameters, max_norm, norm_type)
    other = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert mine == pytest.approx(float(other), rel=1e-6)
    for p, q in zip(parameters, theirs, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=2e-6, atol=0)


def test_gradients_below_the_limit_keep_their_bits(rng):
    parameters = with_gradients(rng)
    before = [p.grad.numpy().copy() for p in parameters]
    utils.clip_grad_norm_(iter(parameters), 1e6)
    assert all(np.array_equal(p.grad.numpy(), b) for p, b in zip(parameters, before, strict=True))


def test_huge_single_precision_gradients_do_not_overflow():
    p = Parameter(np.zeros(4, np.float32))
    p._accumulate(np.full(4, 3e38, np.float32))
    assert utils.clip_grad_norm_(p, 1.0) == pytest.approx(6e38)
    assert np.linalg.norm(p.grad.numpy()) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
def test_a_norm_that_is_not_finite(rng, norm_type):
    parameters = with_gradients(rng)
    parameters[0].grad._data[1, 1] = np.nan
    before = parameters[1].grad.numpy().copy()
    with pytest.raises(RuntimeError, match="gradients: expected a finite norm"):
        utils.clip_grad_norm_(parameters, 1.0, norm_type, error_if_nonfinite=True)
    assert np.array_equal(parameters[1].grad.numpy(), before)
    assert math.isnan(utils.clip_grad_norm_(parameters, 1.0, norm_type))
    assert np.isnan(parameters[1].grad.numpy()).all()


def test_nothing_to_clip():
    p = Parameter(np.zeros(4, np.float32))
    assert utils.clip_grad_norm_([p], 1.0) == 0.0
    assert utils.clip_grad_norm_([], 1.0, math.inf) == 0.0
    assert p.grad is None


def test_clip_grad_value(rng):
    parameters = with_gradients(rng)
    expected = [np.clip(p.grad.numpy(), -0.3, 0.3) for p in parameters]
    utils.clip_grad_value_(parameters, 0.3)
    for p, e in zip(parameters, expected, strict=True):
        assert p.grad.dtype == np.float32
        assert np.array_equal(p.grad.numpy(), e.astype(np.float32))


def test_vectors(rng):
    parameters = with_gradients(rng)
    vector = utils.parameters_to_vector(parameters)
    assert vector.shape == (18,) and not vector.requires_grad
    versions = [p.version for p in parameters]
    utils.vector_to_parameters(vector.numpy() * 2, parameters)
    assert all(p.version > v for p, v in zip(parameters, versions, strict=True))
    np.testing.assert_array_equal(utils.parameters_to_vector(parameters).numpy(), vector.numpy() * 2)
    utils.vector_to_parameters(vector, parameters)
    np.testing.assert_array_equal(utils.parameters_to_vector(parameters).numpy(), vector.numpy())


def test_arguments_are_checked(rng):
    parameters = with_gradients(rng)
    with pytest.raises(ValueError, match="max_norm"):
        utils.clip_grad_norm_(parameters, -1.0)
    with pytest.raises(ValueError, match="norm_type"):
        utils.clip_grad_norm_(parameters, 1.0, 0.0)
    with pytest.raises(TypeError, match="parameters: expected tensors"):
        utils.clip_grad_norm_([np.ones(3)], 1.0)
    with pytest.raises(ValueError, match="clip_value"):
        utils.clip_grad_value_(parameters, -1)
    with pytest.raises(ValueError, match=r"vec: expected shape \(18,\)"):
        utils.vector_to_parameters(Tensor(np.ones(3)), parameters)
    with pytest.raises(ValueError, match="parameters"):
        utils.parameters_to_vector([])
