"""How layers are built and called: Keras's forms of arguments, and masks of merged inputs."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from fastseq import layers, models


def x_of(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def test_build_takes_a_shape_as_in_keras(rng):
    x = x_of(rng, 2, 5, 3)
    made = (
        layers.LSTM(4), layers.Bidirectional(layers.GRU(4)), layers.Dense(4), layers.TimeDistributed(layers.Dense(2)),
        layers.LayerNormalization(), layers.Conv1D(4, 2), layers.Dropout(0.5),
    )  # fmt: skip
    for layer in made:
        layer.build((None, 5, 3))
        weights = layer.get_weights()
        assert layer.built and len(weights) == len(layer.weights)
        assert not weights or any(weight.any() for weight in weights)
        layer.build((None, 5, 3))
        layer(x)
        assert all(np.array_equal(a, b) for a, b in zip(weights, layer.get_weights(), strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(weights, copy.deepcopy(layer).get_weights(), strict=True))
    table = layers.Embedding(5, 3)
    table.build()
    attention = layers.MultiHeadAttention(2, 3)
    attention.build(query_shape=(None, 4, 6), value_shape=(None, 5, 7))
    assert table.embeddings.shape == (5, 3) and attention.weights[2].shape == (7, 2, 3)
    dense = made[2]
    dense.kernel.assign(np.ones((3, 4)))
    assert np.array_equal(dense.kernel.value, np.ones((3, 4))) and np.array_equal(dense.bias.numpy(), np.zeros(4))


def test_a_build_of_one_s_own_is_whole(rng):
    class Doubled(layers.Dense):
        def build(self, input_shape):
            super().build((*input_shape[:-1], 2 * input_shape[-1]))
            self.scale = self.add_weight((1,), initializer="ones", name="scale")

    layer = Doubled(3)
    layer.build((None, 4))
    assert layer.built and [weight.path for weight in layer.weights] == [
        f"{layer.name}/{name}" for name in ("kernel", "bias", "scale")
    ]
    assert layer.kernel.shape == (8, 3) and np.array_equal(layer.get_weights()[2], [1.0])


def test_inputs_go_by_place_or_by_name(rng):
    x, mask = x_of(rng, 2, 5, 3), np.array([[True, False, True, True, True], [True, True, False, False, False]])
    states = [x_of(rng, 2, 4), x_of(rng, 2, 4)]
    lstm, mean, attention = layers.LSTM(4), layers.GlobalAveragePooling1D(), layers.MultiHeadAttention(2, 3)
    expected = np.asarray(lstm(x, initial_state=states, mask=mask))
    assert np.array_equal(lstm(x, states, mask), expected)
    assert np.array_equal(lstm(sequences=x, initial_state=states, mask=mask), expected)
    assert np.array_equal(lstm(x, None, mask), lstm(x, mask=mask))
    assert np.array_equal(mean(x, mask), mean(x, mask=mask))
    assert np.array_equal(attention(query=x, value=x, key=x), attention(x, x, x))
    symbol = layers.Input((5, 3))
    assert attention(query=symbol, value=symbol).shape == (None, 5, 3)
    with pytest.raises(TypeError, match="expected mask once"):
        mean(x, mask, mask=mask)
    with pytest.raises(ValueError, match=r"query: expected shape \(rows, steps, features\)"):
        layers.MultiHeadAttention(2, 3)(x[None], x[None])


def test_a_weight_has_one_penalty(rng):
    layer = layers.GRU(3, kernel_regularizer="l2", recurrent_regularizer="l2", bias_regularizer="l1")
    layer(x_of(rng, 2, 5, 4))
    layer.set_weights([rng.standard_normal(w.shape) for w in layer.get_weights()])
    penalties = [float(loss) for loss in layer.losses]  # the bias is two parameters
    assert len(penalties) == 3 and penalties[2] == pytest.approx(0.01 * np.abs(layer.get_weights()[2]).sum(), rel=1e-5)


def test_merged_masks_are_keras_s():
    """A step counts where it counts in one input; numbers as keras/src/layers/merging/merging_test.py has them."""
    arrays = [np.array(x, np.float32) for x in ([[[0, 0], [0, 0], [1, 2], [3, 4]]], [[[0, 0], [5, 6], [0, 0], [3, 4]]])]
    masked = [layers.Masking()(x) for x in arrays]
    product = layers.Multiply()(masked)
    assert np.array_equal(product, [[[0, 0], [5, 6], [1, 2], [9, 16]]])
    assert np.array_equal(product.mask, [[False, True, True, True]])
    assert np.array_equal(layers.Add()(masked).mask, product.mask)
    assert layers.Add()([masked[0], arrays[1]]).mask is None
    beside, behind = layers.Concatenate()(masked), layers.Concatenate(axis=1)([masked[0], arrays[1]])
    assert np.array_equal(beside.mask, product.mask)
    assert np.array_equal(behind.mask, [[False, False, True, True] + [True] * 4])


def test_layers_are_built_for_a_number_of_features():
    for layer in (layers.Dense(2), layers.LSTM(2), layers.Conv1D(2, 2)):
        layer(layers.Input((5, 3)))
        assert layer(layers.Input((6, 3))).shape[-1] == 2
        with pytest.raises(ValueError, match=r"input shape: expected a last axis of 3, which it was built for, got"):
            layer(layers.Input((5, 4)))


def test_dropout_that_is_one_choice_for_an_axis(rng):
    x = np.ones((4, 6, 50), np.float32)
    layer = layers.Dropout(0.5, noise_shape=(None, 1, None), seed=0)
    out = np.asarray(layer(x, training=True))
    assert set(np.unique(out)) == {0.0, 2.0} and (out == out[:, :1]).all() and (out[0] != out[1]).any()
    assert np.array_equal(layer(x), x) and layer.get_config()["noise_shape"] == [None, 1, None]
    assert layers.Dropout.from_config(layer.get_config()).noise_shape == (None, 1, None)
    with pytest.raises(ValueError, match="noise_shape: expected 2 sizes, as of the input"):
        layer(x[0], training=True)
    with pytest.raises(ValueError, match="noise_shape: expected an integer >= 1, got 0"):
        layers.Dropout(0.5, noise_shape=(None, 0))


def test_layers_in_lists_are_the_layer_s_own(rng):
    """As in Keras, in the order in which they came."""

    class Stack(models.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Dense(3)
            self.blocks = []
            for _ in range(2):
                self.blocks.append(layers.Dense(3))
            self.heads = {"one": layers.Dense(1), "others": (layers.Dense(1),)}
            self.last = layers.Dense(1)

        def call(self, x):
            x = self.first(x)
            for block in self.blocks:
                x = block(x)
            return self.last(self.heads["one"](x) + self.heads["others"][0](x))

    x, y = x_of(rng, 8, 4), x_of(rng, 8, 1)
    model = Stack()
    model.compile("sgd", "mse")
    model.build((None, 4))
    assert [weight.shape for weight in model.weights[::2]] == [(4, 3), (3, 3), (3, 3), (3, 1), (3, 1), (1, 1)]
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    model.trainable = False
    assert not model.trainable_weights and len(model.layers) == 6
