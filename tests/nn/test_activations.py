"""Activation layers call their functions, show their options and rebuild from their config."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.nn import activations, functional
from tests.gradcheck import gradcheck

X = np.linspace(-2, 2, 12).reshape(3, 4)

LAYERS = [
    (activations.ReLU(), "ReLU()", functional.relu),
    (activations.Sigmoid(), "Sigmoid()", functional.sigmoid),
    (activations.Tanh(), "Tanh()", functional.tanh),
    (activations.SiLU(), "SiLU()", functional.silu),
    (activations.Softmax(), "Softmax(dim=-1)", lambda x: functional.softmax(x, -1)),
    (activations.Softmax(dim=0), "Softmax(dim=0)", lambda x: functional.softmax(x, 0)),
    (activations.LogSoftmax(dim=0), "LogSoftmax(dim=0)", lambda x: functional.log_softmax(x, 0)),
    (activations.GELU(), "GELU(approximate='none')", functional.gelu),
    (activations.GELU("tanh"), "GELU(approximate='tanh')", lambda x: functional.gelu(x, "tanh")),
    (activations.ELU(0.5), "ELU(alpha=0.5)", lambda x: functional.elu(x, 0.5)),
    (activations.LeakyReLU(0.2), "LeakyReLU(negative_slope=0.2)", lambda x: functional.leaky_relu(x, 0.2)),
    (activations.Softplus(2.0), "Softplus(beta=2.0, threshold=20.0)", lambda x: functional.softplus(x, 2.0)),
]


@pytest.mark.parametrize(
    ("layer", "text", "function"), LAYERS, ids=lambda value: getattr(value, "__class__", "").__name__
)
def test_layer(layer, text, function):
    np.testing.assert_array_equal(layer(X).numpy(), function(X).numpy())
    assert repr(layer) == text
    twin = type(layer).from_config(layer.config())
    assert repr(twin) == text
    assert not list(layer.parameters())


def test_identity_gives_back_what_it_got():
    assert activations.Identity()(X) is X
    assert activations.Identity.from_config({})(X) is X


def test_options_are_checked():
    with pytest.raises(TypeError, match="dim: expected an integer"):
        activations.Softmax(0.5)
    with pytest.raises(ValueError, match="approximate"):
        activations.GELU("fast")
    with pytest.raises(ValueError, match="beta"):
        activations.Softplus(0.0)
    with pytest.raises(TypeError, match="negative_slope"):
        activations.LeakyReLU("steep")
    with pytest.raises(TypeError, match="alpha"):
        activations.ELU(None)
    with pytest.raises(ValueError, match="axis"):
        activations.Softmax(2)(X)


def test_prelu(rng):
    one, each = activations.PReLU(dtype=np.float64), activations.PReLU(4, 0.5, dtype=np.float64)
    np.testing.assert_array_equal(one(X).numpy(), np.where(X > 0, X, 0.25 * X))
    each.weight.data = np.array([0.0, -1.0, 2.0, np.pi])
    np.testing.assert_array_equal(each(X).numpy(), np.where(X > 0, X, each.weight.numpy() * X))
    assert one(X.astype(np.float32)).dtype == np.float64
    gradcheck(one, rng.standard_normal((2, 3, 4)))
    gradcheck(each, rng.standard_normal((2, 3, 4)))
    assert each.num_parameters() == 4 and one.num_parameters() == 1
    with pytest.raises(ValueError, match=r"input: expected shape \(..., 4\), got"):
        each(np.zeros((2, 3)))


def test_prelu_agrees_with_torch(rng):
    torch = pytest.importorskip("torch")
    mine, theirs = activations.PReLU(4, dtype=np.float64), torch.nn.PReLU(4).double()
    mine.weight.data = rng.standard_normal(4)
    theirs.load_state_dict({"weight": torch.tensor(mine.weight.numpy())})
    x = rng.standard_normal((2, 3, 4))
    out, wanted = mine(x), theirs(torch.tensor(x).transpose(1, 2)).transpose(1, 2)
    np.testing.assert_array_equal(out.numpy(), wanted.detach())
    (out * out).sum().backward()
    (wanted * wanted).sum().backward()
    np.testing.assert_allclose(mine.weight.grad, theirs.weight.grad, rtol=1e-12)
