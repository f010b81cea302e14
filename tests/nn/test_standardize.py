"""Standardize and Rescale: values, fitting with lengths, gradients, errors."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq import nn
from fastseq.autograd.tensor import Tensor


def test_values_and_the_way_back(rng):
    x = rng.normal(5, [1, 10, 0.1], (4, 6, 3)).astype(np.float32)
    forth, back = nn.Standardize.fit(x), nn.Rescale.fit(x)
    z = forth(x)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.numpy().reshape(-1, 3).mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(z.numpy().reshape(-1, 3).std(0), 1, atol=1e-4)
    np.testing.assert_allclose(back(z).numpy(), x, rtol=1e-5)
    assert np.array_equal(forth(x[:, 2]).numpy(), z.numpy()[:, 2])  # step by step the same bits
    assert list(forth.state_dict()) == ["mean", "std"] and not list(forth.parameters())


def test_fitting_reads_valid_steps_only(rng):
    x = rng.standard_normal((3, 5, 2))
    lengths = np.array([5, 0, 2])
    rows = [row[:n] for row, n in zip(x, lengths, strict=True)]
    x[1, 0:] = np.nan
    x[2, 2:] = np.inf
    a, b = nn.Standardize.fit(x, lengths, dtype=np.float64), nn.Standardize.fit(rows, dtype=np.float64)
    assert a.mean.tolist() == b.mean.tolist() and a.std.tolist() == b.std.tolist()
    np.testing.assert_allclose(a.mean.numpy(), np.concatenate(rows).mean(0))


def test_a_constant_feature_is_only_shifted():
    layer = nn.Standardize.fit(np.full((10, 2), 0.1), dtype=np.float64)
    assert layer.std.tolist() == [1, 1]


def test_one_number_for_all_features(rng):
    layer = nn.Standardize(2.0, 4.0)
    x = rng.standard_normal((2, 3, 5)).astype(np.float32)
    np.testing.assert_allclose(layer(x).numpy(), (x - 2) / 4, rtol=1e-6)


def test_gradients_pass(rng):
    x = Tensor(rng.standard_normal((2, 3)), requires_grad=True)
    nn.Rescale([3.0, 4.0, 5.0], [0.0, 1.0, 2.0], dtype=np.float64)(
        nn.Standardize([0.0] * 3, [2.0] * 3, dtype=np.float64)(x)
    ).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.tile([1.5, 2, 2.5], (2, 1)))


def test_integers_and_doubles_come_out_in_the_layers_dtype():
    layer = nn.Standardize([0.0], [1.0])
    assert layer(np.arange(3).reshape(3, 1)).dtype == np.float32
    assert layer(np.zeros((3, 1))).dtype == np.float32
    assert layer.double()(np.zeros((3, 1))).dtype == np.float64


def test_config_builds_a_layer_of_the_same_size():
    layer = nn.Standardize([1.0, 2.0], [3.0, 4.0])
    assert layer.config() == {"features": 2}
    twin = nn.Standardize.from_config(layer.config())
    twin.load_state_dict(layer.state_dict())
    assert twin.mean.tolist() == [1, 2] and repr(twin) == "Standardize(features=2)"
    with pytest.raises(ValueError, match="config: expected features"):
        nn.Rescale.from_config({"size": 2})


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="std: expected numbers > 0"):
        nn.Standardize([0.0], [0.0])
    with pytest.raises(ValueError, match=r"std: expected shape \(2,\), like mean"):
        nn.Standardize([0.0, 1.0], [1.0])
    with pytest.raises(ValueError, match="mean: expected finite numbers"):
        nn.Standardize([np.nan], [1.0])
    with pytest.raises(TypeError, match="scale: expected numbers"):
        nn.Rescale("1", 0.0)
    with pytest.raises(ValueError, match=r"mean: expected shape \(F,\)"):
        nn.Standardize(np.zeros((2, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"x: expected shape \(\.\.\., 2\), got shape \(3, 1\)"):
        nn.Standardize([0.0, 1.0], [1.0, 1.0])(np.zeros((3, 1)))
    with pytest.raises(TypeError, match="x: expected a Tensor or an ndarray"):
        nn.Standardize(0.0, 1.0)([1.0])
    for given in (np.ones(2, complex), np.array(["1"]), np.zeros(2, "M8[s]"), np.array([1.0], object)):
        with pytest.raises(TypeError, match="x: expected real numbers"):
            nn.Standardize(0.0, 1.0)(given)
    with pytest.raises(ValueError, match="x: expected finite numbers, got nan at valid step 1, feature 0"):
        nn.Standardize.fit(np.array([[1.0], [np.nan]]))
    with pytest.raises(ValueError, match="x: expected at least one valid step"):
        nn.Standardize.fit(np.zeros((0, 2)))
    with pytest.raises(ValueError, match="x: expected .*list of"):
        nn.Standardize.fit([np.zeros(3)])
