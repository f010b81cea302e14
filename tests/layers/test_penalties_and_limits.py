"""What is added to the loss in calls, and limits that weights are brought back into."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from fastseq import constraints, layers, models


def x_of(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def test_constraints_by_hand():
    w = np.array([[3.0, -0.3], [-4.0, 0.4]], np.float32)
    assert np.array_equal(constraints.NonNeg()(w), np.array([[3, 0], [0, 0.4]], np.float32))
    np.testing.assert_allclose(constraints.MaxNorm(2.5)(w), [[1.5, -0.3], [-2, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(constraints.UnitNorm()(w), [[0.6, -0.6], [-0.8, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(constraints.MinMaxNorm(1.0, 2.5)(w), [[1.5, -0.6], [-2, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(constraints.MinMaxNorm(1.0, 2.5, rate=0.5)(w)[:, 0], [2.25, -3], rtol=1e-6)
    np.testing.assert_allclose(
        constraints.MaxNorm(1, axis=[0, 1])(np.full((2, 2), 2.0)), np.full((2, 2), 0.5), rtol=1e-6
    )
    with pytest.raises(ValueError, match="max_value: expected a finite number >= 1"):
        constraints.MinMaxNorm(1.0, 0.5)


def test_weights_stay_in_their_limits(rng):
    x, y = x_of(rng, 8, 5, 3), np.tile([-5.0, 5.0], (8, 1))  # wants weights of either sign
    lstm = layers.LSTM(4, kernel_constraint="max_norm", recurrent_constraint=constraints.UnitNorm(1))
    head = layers.Dense(2, kernel_constraint="non_neg", bias_constraint=lambda bias: np.clip(bias, -0.01, 0.01))
    model = models.Sequential([layers.Input((5, 3)), lstm, head])
    head.set_weights([np.abs(head.get_weights()[0]), np.zeros(2)])
    free = models.Sequential([layers.Input((5, 3)), layers.LSTM(4), layers.Dense(2)])
    free.set_weights(model.get_weights())
    for one in (model, free):
        one.compile("sgd", "mse")
        one.optimizer.learning_rate = 0.1
        one.fit(x, y, epochs=20, batch_size=4, verbose=0)
    kernel, recurrent = lstm.get_weights()[:2]
    assert (np.sqrt((kernel**2).sum(axis=0)) <= 2.0 + 1e-6).all()
    np.testing.assert_allclose((recurrent**2).sum(axis=1), np.ones(4), rtol=1e-5)
    assert free.get_weights()[3].min() < 0 <= head.kernel.numpy().min() and np.abs(
        head.bias.numpy()
    ).max() <= np.float32(0.01)
    frozen = head.get_weights()
    head.trainable = False
    model.train_on_batch(x, y)
    assert all(np.array_equal(a, b) for a, b in zip(frozen, head.get_weights(), strict=True))


def test_limits_and_penalties_travel_with_the_configuration(tmp_path):
    made = layers.GRU(3, kernel_constraint=constraints.MaxNorm(1.5, axis=0), activity_regularizer="l2")
    again = layers.GRU.from_config(made.get_config())
    assert again.get_config() == made.get_config()
    assert again.kernel_constraint.max_value == 1.5 and again.recurrent_constraint is None
    assert copy.deepcopy(made).activity_regularizer.l2 == 0.01
    model = models.Sequential([layers.Input((5, 2)), made, layers.Dense(1)])
    model.save(tmp_path / "model.keras")
    assert models.load_model(tmp_path / "model.keras").layers[0].kernel_constraint.max_value == 1.5


def test_activity_is_penalised_per_row(rng):
    x = x_of(rng, 6, 3)
    layer = layers.Dense(2, activity_regularizer="l2", kernel_regularizer="l1")
    out = np.asarray(layer(x))
    layer(x)
    activity, kernel = (float(loss) for loss in layer.losses)  # of the last call only
    assert activity == pytest.approx(0.01 * (out**2).sum() / 6, rel=1e-5)
    assert kernel == pytest.approx(0.01 * np.abs(layer.get_weights()[0]).sum(), rel=1e-5)
    model = models.Sequential([layers.Input((3,)), layer])
    model.compile("sgd", "mse")
    assert model.evaluate(x, out) == pytest.approx(activity + kernel, rel=1e-5)


def test_a_layer_of_one_s_own_adds_to_the_loss(rng):
    class Shy(layers.Layer):
        def call(self, inputs):
            self.add_loss((inputs * inputs).mean() * 0.5)
            return inputs

    shy, x = Shy(), x_of(rng, 4, 3)
    model = models.Sequential([layers.Input((3,)), layers.Dense(3, use_bias=False), shy])
    model.compile("sgd", "mse")
    out = model.predict(x)
    assert model.evaluate(x, out) == pytest.approx(0.5 * (out**2).mean(), rel=1e-5)
    losses = model.fit(x, out, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0] and len(model.losses) == 1


def test_weights_of_one_s_own_learn_under_their_names(rng):
    """A weight named like its attribute is that Parameter; a Dense's kernel is a Tensor where ``call`` uses it."""

    class Product(layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight((input_shape[-1], 2), name="kernel", constraint="non_neg")

        def call(self, inputs):
            return inputs @ self.kernel

    class Turned(layers.Dense):
        def call(self, inputs):
            return inputs @ self.kernel + self.bias

    x, y = x_of(rng, 8, 3), x_of(rng, 8, 2)
    for layer in (Product(), Turned(2)):
        assert layer(x).requires_grad
        model = models.Sequential([layers.Input((3,)), layer])
        model.compile("sgd", "mse")
        before = layer.get_weights()
        model.fit(x, y, verbose=0)
        assert all((a != b).any() for a, b in zip(before, layer.get_weights(), strict=True))
    assert (model.layers[0].kernel.shape, layers.Dense(2, use_bias=False).get_weights()) == ((3, 2), [])
    assert Product()(x).shape == (8, 2)


def test_a_wrapper_of_one_s_own(rng):
    class Twice(layers.Wrapper):
        def call(self, inputs):
            return self.layer(self.layer(inputs))

    layer, x = Twice(layers.Dense(3, activity_regularizer="l2")), x_of(rng, 4, 3)
    inner = layer.layer
    assert np.array_equal(layer(x), inner(inner(x))) and len(layer.weights) == 2
    layer(x)
    assert len(layer.losses) == 2 and layer.compute_output_shape((None, 3)) == (None, 3)
    assert isinstance(layers.TimeDistributed(layers.Dense(2)), layers.Wrapper)
    with pytest.raises(TypeError, match="layer: expected a layer of fastseq.layers"):
        layers.Wrapper(3)
