"""Operators of symbolic tensors."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq import layers, models


def test_arithmetic_of_symbolic_tensors(rng, tmp_path):
    a, b = layers.Input((5, 3)), layers.Input((5, 3))
    outputs = [a + 2, 2 - a, a - b, 3 * a, a / 2, 1.5 / (a * a + 1), a**2, -a, a / (b * b + np.float32(1)), 1 + a * 0.5]
    model = models.Model([a, b], outputs)
    x, y = (rng.standard_normal((4, 5, 3)).astype(np.float32) for _ in range(2))
    wanted = [x + 2, 2 - x, x - y, 3 * x, x / 2, 1.5 / (x * x + 1), x**2, -x, x / (y * y + 1), 1 + x * 0.5]
    for out, value in zip(model.predict([x, y]), wanted, strict=True):
        np.testing.assert_allclose(out, value, rtol=1e-6, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = models.load_model(tmp_path / "model.keras").predict([x, y])
    assert all(np.array_equal(one, two) for one, two in zip(again, model.predict([x, y]), strict=True))
    with pytest.raises(TypeError):
        a + "one"


def test_parts_of_symbolic_tensors(rng, tmp_path):
    steps = layers.Input((None, 3))
    hidden = layers.LSTM(4, return_sequences=True)(steps)
    last, tail, wide = hidden[:, -1], hidden[:, -2:, ::2], hidden[..., None, 1]
    assert (last.shape, tail.shape, wide.shape) == ((None, 4), (None, 2, 2), (None, None, 1))
    model = models.Model(steps, [last, tail, wide])
    x = rng.standard_normal((2, 6, 3)).astype(np.float32)
    whole = models.Model(steps, hidden).predict(x)
    for out, value in zip(model.predict(x), (whole[:, -1], whole[:, -2:, ::2], whole[..., None, 1]), strict=True):
        assert np.array_equal(out, value)
    model.save(tmp_path / "model.keras")
    assert np.array_equal(models.load_model(tmp_path / "model.keras").predict(x)[0], whole[:, -1])
    learning = models.Model(steps, layers.Dense(1)(last))
    learning.compile("sgd", "mse")
    learning.fit(x, np.ones((2, 1)), verbose=0)
    with pytest.raises(ValueError, match=r"key: expected one for the shape \(None, 4\)"):
        last[:, 4]
    with pytest.raises(TypeError, match="key: expected an integer, got 'last'"):
        hidden[:, "last"]
    with pytest.raises(TypeError, match="cannot be gone through"):
        list(hidden)


def test_a_call_adds_or_takes_an_axis_of_one(rng):
    model = models.Sequential([layers.Input((3,)), layers.Dense(2)])
    x = rng.standard_normal((4, 3)).astype(np.float32)
    assert np.array_equal(model(x[:, :, None]), model(x))
    steps = models.Sequential([layers.Input((3, 1)), layers.Dense(2)])
    assert steps(x).shape == (4, 3, 2)
