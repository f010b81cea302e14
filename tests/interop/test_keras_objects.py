"""Models in memory, of ``fastseq.models`` or of Keras, become models of ``fastseq.nn``: for streams and ONNX."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import interop, layers, models, nn


def chain(layers, models):
    """Layers of either package's."""
    return models.Sequential(
        [
            layers.Input((None, 3)),
            layers.Dense(5, activation="relu"),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.LayerNormalization(),
            layers.GRU(6, return_sequences=True),
            layers.SimpleRNN(4),
            layers.Dense(2),
        ]
    )


def test_a_model_of_layers_becomes_one_of_modules(rng, tmp_path):
    model = chain(layers, models)
    model.set_weights([rng.standard_normal(w.shape).astype(np.float32) * 0.3 for w in model.get_weights()])
    found = interop.from_keras(model)
    x = rng.standard_normal((4, 7, 3)).astype(np.float32)
    assert isinstance(found, nn.Sequential) and not found.training
    np.testing.assert_allclose(fs.predict(found, x), model.predict(x), rtol=1e-5, atol=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(interop.to_keras_weights(found), model.get_weights(), strict=True))
    fs.save(found, tmp_path / "m.safetensors")


def test_convolution_pooling_and_batch_normalisation_go_along(rng, tmp_path):
    model = models.Sequential(
        [
            layers.Input((12, 3)),
            layers.Conv1D(5, 3, padding="same", activation="relu"),
            layers.BatchNormalization(momentum=0.9),
            layers.MaxPooling1D(2),
            layers.GaussianNoise(0.1),
            layers.PReLU(shared_axes=[1]),
            layers.AveragePooling1D(3, 2, "same"),
            layers.LSTM(4, return_sequences=True),
            layers.BatchNormalization(scale=False),
            layers.Flatten(),
            layers.BatchNormalization(center=False),
            layers.Dense(2),
        ]
    )
    model.compile("adam", "mse")
    x = rng.standard_normal((8, 12, 3)).astype(np.float32)
    model.fit(x, rng.standard_normal((8, 2)), epochs=3, verbose=0)
    with pytest.warns(UserWarning, match=r"'gaussian_noise.*\(GaussianNoise\) acts in training only and is left out"):
        found = interop.from_keras(model)
    np.testing.assert_allclose(fs.predict(found, x), model.predict(x), rtol=1e-5, atol=1e-6)
    weights = interop.to_keras_weights(found)
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    fs.save(found, tmp_path / "m.safetensors")
    fs.fit(found, x, rng.standard_normal((8, 2)).astype(np.float32), epochs=2, verbose=False)
    model.set_weights(interop.to_keras_weights(found))
    np.testing.assert_allclose(fs.predict(found, x), model.predict(x), rtol=1e-5, atol=1e-6)
    each = models.Sequential([layers.Input((4, 3)), layers.PReLU()])
    with pytest.raises(ValueError, match=r"expected an array of shape \(1, None\) in layer 'p_re_lu"):
        interop.from_keras(each)


def test_it_streams(rng):
    model = models.Sequential([layers.Input((5, 3)), layers.LSTM(4), layers.Dense(1)])
    stream = fs.Stream(interop.from_keras(model))
    x = rng.standard_normal((1, 5, 3)).astype(np.float32)
    assert np.array_equal([stream.step(step).copy() for step in x[0]][-1], model.predict(x)[0])


def test_what_is_not_supported_is_named():
    waiting = models.Sequential([layers.LSTM(4)])
    with pytest.raises(ValueError, match=r"model 'sequential.*lstm"):
        interop.from_keras(waiting)
    symbol = layers.Input((5, 3))
    with pytest.raises(ValueError, match="expected a Sequential model, got a Model of inputs and outputs"):
        interop.from_keras(models.Model(symbol, layers.LSTM(4)(symbol)))
    attention = models.Sequential([layers.Input((5, 3)), layers.LSTM(4, go_backwards=True)])
    with pytest.raises(ValueError, match=r"go_backwards=False in layer 'lstm.*\(LSTM\), got True"):
        interop.from_keras(attention)


@pytest.mark.slow
def test_a_model_of_keras_in_memory(rng):
    keras = pytest.importorskip("keras")
    model = chain(keras.layers, keras)
    x = rng.standard_normal((4, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(
        fs.predict(interop.from_keras(model), x), model.predict(x, verbose=0), rtol=1e-4, atol=1e-5
    )
