"""Learning rate schedules, and how many steps an optimiser has taken."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastseq import layers, models, optimizers

schedules = optimizers.schedules


def test_schedules_by_hand():
    assert schedules.ExponentialDecay(1.0, 4, 0.5)(2) == pytest.approx(math.sqrt(0.5))
    assert schedules.ExponentialDecay(1.0, 4, 0.5, staircase=True)(7) == 0.5
    assert schedules.InverseTimeDecay(1.0, 4, 0.5)(8) == 0.5
    assert [schedules.PiecewiseConstantDecay([2, 4], [1.0, 0.5, 0.1])(k) for k in range(6)] == [1, 1, 1, 0.5, 0.5, 0.1]
    line = schedules.PolynomialDecay(1.0, 4, 0.0)
    assert [line(k) for k in (0, 1, 4, 9)] == [1.0, 0.75, 0.0, 0.0]
    assert schedules.PolynomialDecay(1.0, 4, 0.0, cycle=True)(6) == 0.25
    cosine = schedules.CosineDecay(0.0, 10, alpha=0.1, warmup_target=1.0, warmup_steps=4)
    assert [cosine(k) for k in (0, 1, 4, 9, 14, 99)] == pytest.approx([0, 0.25, 1.0, 0.55, 0.1, 0.1])
    with pytest.raises(ValueError, match="values: expected 3 values, got 2"):
        schedules.PiecewiseConstantDecay([1, 2], [1.0, 2.0])


def test_optimisers_follow_schedules(rng, tmp_path):
    x, y = rng.standard_normal((8, 3)).astype(np.float32), rng.standard_normal((8, 1))
    model = models.Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile(optimizers.SGD(schedules.ExponentialDecay(0.1, 1, 0.5)), "mse")
    assert model.optimizer.learning_rate == 0.1 and model.optimizer.iterations == 0
    model.fit(x, y, batch_size=4, verbose=0)
    assert model.optimizer.learning_rate == pytest.approx(0.05) and model.optimizer.iterations == 2
    model.train_on_batch(x, y)
    assert model.optimizer.learning_rate == pytest.approx(0.025) and model.optimizer.iterations == 3
    with pytest.raises(TypeError, match="learning_rate: expected no value beside the optimiser's schedule"):
        model.optimizer.learning_rate = 0.1
    model.save(tmp_path / "model.keras")
    assert models.load_model(tmp_path / "model.keras").optimizer.schedule(2) == pytest.approx(0.025)
    model.compile(optimizers.Adam(lambda step: 0.01 / (step + 1)), "mse")  # a function of one's own
    model.fit(x, y, batch_size=4, verbose=0)
    assert model.optimizer.learning_rate == pytest.approx(0.005)
    model.save(tmp_path / "own.keras")
    assert models.load_model(tmp_path / "own.keras").optimizer is None


def test_models_are_cloned(rng):
    model = models.Sequential([layers.Input((5, 3)), layers.GRU(4), layers.Dense(1)])
    model.compile("adam", "mse")
    clone = models.clone_model(model)
    shapes = [[weight.shape for weight in one.get_weights()] for one in (model, clone)]
    assert shapes[0] == shapes[1] and clone.optimizer is None
    assert (model.input_shape, model.output_shape) == ((None, 5, 3), (None, 1))
    assert not np.array_equal(model.get_weights()[0], clone.get_weights()[0])
    with pytest.raises(TypeError, match="model: expected a model"):
        models.clone_model(layers.Dense(2))


def test_lambda_and_functions_of_layers(rng):
    x = rng.standard_normal((4, 6, 3)).astype(np.float32)
    steps = layers.Input((6, 3))
    hidden = layers.Lambda(lambda t, factor: t[:, -1] * factor, arguments={"factor": 2.0})(steps)
    both = layers.concatenate([hidden, layers.Identity()(hidden)])
    model = models.Model(steps, [hidden, both, layers.add([hidden, hidden]), layers.multiply([hidden, hidden]),
                                 layers.average([hidden, hidden])])  # fmt: skip
    last = x[:, -1] * 2
    wanted = [last, np.concatenate([last, last], 1), 2 * last, last * last, last]
    for out, value in zip(model.predict(x), wanted, strict=True):
        np.testing.assert_allclose(out, value, rtol=1e-6)
    noisy = layers.Lambda(lambda t, mask, training: t * (2.0 if training else 1.0), mask=lambda inputs, mask: mask)
    mask = np.ones((4, 6), bool)
    assert np.array_equal(noisy(x, training=True), 2 * x) and np.array_equal(noisy(x, mask=mask).mask, mask)
    with pytest.raises(TypeError, match="expected function by name"):
        model.save("never.keras")
