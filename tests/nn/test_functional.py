"""Activation functions: gradient against finite differences, value and gradient against PyTorch, edges."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.autograd import Tensor
from fastseq.nn import functional
from tests.gradcheck import gradcheck

X = np.array([[-3.0, -1.0, -0.3], [0.2, 1.5, 25.0]])

CASES = [
    ("relu", {}),
    ("sigmoid", {}),
    ("tanh", {}),
    ("gelu", {}),
    ("gelu", {"approximate": "tanh"}),
    ("elu", {}),
    ("elu", {"alpha": 0.4}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.3}),
    ("silu", {}),
    ("softplus", {}),
    ("softplus", {"beta": 2.5, "threshold": 3.0}),
    ("softmax", {"dim": 0}),
    ("softmax", {"dim": -1}),
    ("log_softmax", {"dim": 1}),
]


def name_of(case):
    """How a case is called in a test's name."""
    return case if isinstance(case, str) else "-".join(map(str, case.values()))


@pytest.mark.parametrize(("name", "options"), CASES, ids=name_of)
def test_gradient(name, options):
    function = getattr(functional, name)
    gradcheck(lambda x: function(x, **options), X)
    if "dim" not in options:
        gradcheck(lambda x: function(x, **options), np.array(0.7))
        assert function(np.zeros((2, 0)), **options).shape == (2, 0)
    assert function(X.astype(np.float32), **options).dtype == np.float32


@pytest.mark.parametrize(("name", "options"), CASES, ids=name_of)
def test_against_pytorch(name, options):
    torch = pytest.importorskip("torch")
    ours, theirs = Tensor(X.copy(), requires_grad=True), torch.tensor(X, requires_grad=True)
    found, expected = getattr(functional, name)(ours, **options), getattr(torch.nn.functional, name)(theirs, **options)
    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), rtol=1e-13)
    upstream = np.arange(6.0).reshape(2, 3)
    found.backward(upstream)
    expected.backward(torch.tensor(upstream))
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "options"), [case for case in CASES if "dim" not in case[1]], ids=name_of)
def test_far_out_there_is_neither_overflow_nor_a_hidden_nan(name, options, dtype):
    x = Tensor(np.array([-1e30, -1e4, -0.0, 0.0, 1e4, np.nan], dtype), requires_grad=True)
    with np.errstate(over="ignore", invalid="ignore"):
        out = getattr(functional, name)(x, **options)
    out.backward(np.ones(6, dtype))
    assert np.isfinite(out.numpy()[:-1]).all() or name == "gelu"
    assert np.isnan(out.numpy()[-1])
    assert np.isfinite(x.grad.numpy()[1:-1]).all()
    if name != "leaky_relu":
        assert np.abs(out.numpy()[1]) <= 1


def test_what_is_refused():
    with pytest.raises(ValueError, match="approximate: expected one of"):
        functional.gelu(X, "exact")
    for beta in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="beta: expected"):
            functional.softplus(X, beta)


def test_linear_is_the_affine_map():
    x, w, b = np.ones((2, 5, 3)), np.arange(12.0).reshape(4, 3), np.arange(4.0)
    np.testing.assert_array_equal(functional.linear(x, w, b).numpy(), x @ w.T + b)
    gradcheck(functional.linear, x, w, b)
