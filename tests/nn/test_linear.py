"""Linear: values, gradients, PyTorch's start and results, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.autograd import Tensor
from fastseq.nn.init import manual_seed
from fastseq.nn.linear import Linear
from tests.gradcheck import gradcheck


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lead", [(), (2,), (2, 5), (0,), (3, 0), (2, 1, 3)])
def test_gradients_with_any_leading_axes(lead, bias, rng):
    layer = Linear(4, 3, bias, dtype=np.float64)
    x = rng.standard_normal((*lead, 4))
    gradcheck(layer, x)
    offset = layer.bias.numpy() if bias else 0
    np.testing.assert_allclose(layer(x).numpy(), x @ layer.weight.numpy().T + offset, rtol=1e-13)


def test_it_is_one_node():
    layer = Linear(4, 3)
    x = Tensor(np.ones((2, 4), np.float32), requires_grad=True)
    targets = [target for target, _, _ in layer(x)._node.edges]
    assert targets == [x, layer.weight, layer.bias] or all(
        a is b for a, b in zip(targets, [x, layer.weight, layer.bias], strict=True)
    )


def test_weights_start_as_in_pytorch():
    manual_seed(0)
    layer = Linear(400, 300)
    bound = 1 / 20
    for parameter in layer.parameters():
        values = parameter.numpy()
        assert parameter.dtype == np.float32
        assert np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)
        assert abs(values.mean()) < bound / 10
    manual_seed(0)
    assert (Linear(400, 300).weight.numpy() == layer.weight.numpy()).all()


def test_input_is_brought_to_the_layer_s_dtype():
    layer = Linear(3, 2)
    for x in (np.ones((4, 3)), np.ones((4, 3), np.int64), Tensor(np.ones((4, 3)), requires_grad=True)):
        out = layer(x)
        assert out.dtype == np.float32
        out.sum().backward()
    assert x.grad.dtype == np.float64
    assert layer.double()(np.ones((4, 3), np.float32)).dtype == np.float64


def test_config_and_state():
    layer = Linear(3, 2, bias=False)
    assert layer.config() == {"in_features": 3, "out_features": 2, "bias": False, "dtype": "float32"}
    twin = Linear.from_config(layer.config())
    twin.load_state_dict(layer.state_dict())
    assert list(twin.state_dict()) == ["weight"]
    assert (twin.weight.numpy() == layer.weight.numpy()).all()


@pytest.mark.parametrize("shape", [(), (2,), (3, 4), (2, 3, 4)])
def test_ill_shaped_input_is_named(shape):
    with pytest.raises(ValueError, match=r"input: expected shape \(..., 3\), got an array of shape"):
        Linear(3, 2)(np.ones(shape, np.float32))


def test_ill_arguments_are_named():
    for arguments, error, message in [
        ((0, 2), ValueError, "in_features: expected an integer >= 1"),
        ((2, -1), ValueError, "out_features: expected an integer >= 1"),
        ((2.0, 1), TypeError, "in_features: expected an integer"),
        ((2, 1, None), TypeError, "bias: expected True or False"),
        ((2**40, 2**40), ValueError, "in_features: expected at most"),
    ]:
        with pytest.raises(error, match=message):
            Linear(*arguments)
    with pytest.raises(TypeError, match="dtype: expected float32 or float64"):
        Linear(2, 2, dtype=np.float16)


def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    layer, theirs = Linear(5, 3), torch.nn.Linear(5, 3)
    layer.load_state_dict(theirs.state_dict())
    x = rng.standard_normal((2, 4, 5)).astype(np.float32)
    ours, other = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    layer(ours).square().sum().backward()
    theirs(other).square().sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), other.grad.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.weight.grad.numpy(), theirs.weight.grad.numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layer.bias.grad.numpy(), theirs.bias.grad.numpy(), rtol=1e-5, atol=1e-5)
