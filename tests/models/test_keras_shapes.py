"""What Keras takes after a model has been built: other numbers of steps and rows; models as JSON; data made ready."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from fastseq import layers, models
from fastseq.models.preprocessing import pad_sequences, to_categorical


def x_of(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def recurrent(**options):
    return models.Sequential([*options.pop("first", []), layers.LSTM(4, **options), layers.Dense(2)])


# ---- steps


@pytest.mark.parametrize("first", [[], [layers.Input((10, 3))], [layers.Input((None, 3))]], ids=str)
def test_a_sequential_takes_any_number_of_steps(first):
    model = recurrent(first=first)
    model(x_of(4, 10, 3))
    same = models.Sequential([layers.Input((7, 3)), layers.LSTM(4), layers.Dense(2)])
    same.set_weights(model.get_weights())
    x = x_of(5, 7, 3)
    assert np.array_equal(model(x), same(x)) and np.array_equal(model.predict(x), same.predict(x))
    model.compile("adam", "mse")
    model.fit(x_of(4, 10, 3), x_of(4, 2), verbose=0)
    model.fit(x, x_of(5, 2), validation_data=(x_of(3, 2, 3), x_of(3, 2)), verbose=0)
    model.train_on_batch(x_of(2, 1, 3), x_of(2, 2))
    assert np.isfinite(model.evaluate(x_of(2, 12, 3), x_of(2, 2)))
    with pytest.raises(ValueError, match=r"expected shape \(rows, any, 3\), got an array of shape \(4, 7, 5\)"):
        model(x_of(4, 7, 5))
    with pytest.raises(ValueError, match=r"x: expected shape \(rows, any, 3\), got an array of shape \(4, 3\)"):
        model.predict(x_of(4, 3))


def test_layers_that_need_their_number_of_steps_say_so():
    model = models.Sequential([layers.Flatten(), layers.Dense(4)])
    model(x_of(2, 3, 4))
    with pytest.raises(ValueError, match=r"expected shape \(..., 12\)"):
        model(x_of(2, 5, 4))
    model = models.Sequential([layers.Dense(4), layers.PReLU()])
    model(x_of(2, 3, 4))
    with pytest.raises(ValueError, match=r"p_re_lu.*: input: expected shape"):
        model(x_of(2, 5, 4))


def test_the_number_of_rows_matters_to_stateful_layers_only():
    model = recurrent(first=[layers.Input(batch_shape=(5, 10, 3))])
    assert model(x_of(3, 10, 3)).shape == (3, 2)
    assert model.predict(x_of(7, 10, 3), batch_size=4).shape == (7, 2)
    stateful = recurrent(first=[layers.Input(batch_shape=(5, 10, 3))], stateful=True)
    assert stateful(x_of(5, 7, 3)).shape == (5, 2)
    with pytest.raises(ValueError, match="batch size 5"):
        stateful(x_of(3, 10, 3))
    inputs = layers.Input(batch_shape=(5, 10, 3))
    functional = models.Model(inputs, layers.LSTM(4)(inputs))
    assert functional.predict(x_of(3, 10, 3)).shape == (3, 4)
    with pytest.raises(ValueError, match=r"expected shape \(rows, 10, 3\)"):
        functional(x_of(5, 7, 3))


def test_models_among_layers_know_the_shapes_that_they_are_called_for():
    inner = models.Sequential([layers.Input((10, 3)), layers.Conv1D(4, 3), layers.MaxPooling1D(2)])
    wide = layers.Input((None, 3))
    assert models.Model(wide, inner(wide)).output_shape == (None, None, 4)
    with pytest.raises(ValueError, match=r"expected shape \(None, 10, 3\), got \(None, 7, 3\)"):
        inner(layers.Input((7, 3)))
    any_steps = models.Sequential([layers.Input((None, 3)), layers.Conv1D(4, 3), layers.MaxPooling1D(2)])
    whole = layers.Input((7, 3))
    model = models.Model(whole, layers.Dense(2)(layers.Flatten()(any_steps(whole))))
    assert model.predict(x_of(2, 7, 3)).shape == (2, 2)
    pair = [layers.Input((4, 3)), layers.Input((4, 3))]
    two = models.Model(pair, [layers.Add()(pair), layers.Subtract()(pair)])
    again = [layers.Input((4, 3)), layers.Input((4, 3))]
    assert models.Model(again, two(again)).output_shape == [(None, 4, 3), (None, 4, 3)]


# ---- JSON


def branched():
    inputs = layers.Input((6, 3), name="series")
    hidden = layers.BatchNormalization()(layers.Bidirectional(layers.LSTM(3, return_sequences=True))(inputs))
    found = layers.Attention(use_scale=True)([hidden, hidden])
    return models.Model(inputs, {"a": layers.Dense(1, "tanh")(hidden[:, -1]), "b": layers.Softmax(axis=1)(found)})


@pytest.mark.parametrize("build", [branched, lambda: recurrent(first=[layers.Input((6, 3))])])
def test_models_as_json(build):
    model = build()
    for twin in (models.model_from_json(model.to_json(indent=2)), type(model).from_config(model.get_config())):
        assert type(twin) is type(model) and twin.name == model.name
        assert [layer.name for layer in twin.layers] == [layer.name for layer in model.layers]
        twin.set_weights(model.get_weights())
        one, other = model.predict(x_of(4, 6, 3)), twin.predict(x_of(4, 6, 3))
        for a, b in zip(*(one.values(), other.values()) if isinstance(one, dict) else ([one], [other]), strict=True):
            assert np.array_equal(a, b)


def test_json_keeps_what_the_model_was_compiled_with(tmp_path):
    model = recurrent(first=[layers.Input((6, 3))])
    model.compile("adam", "mse", metrics=["mae"])
    twin = models.model_from_json(model.to_json())
    twin.fit(x_of(4, 6, 3), x_of(4, 2), verbose=0)
    assert twin.metrics_names == [] or "mae" in twin.history.history
    models.save_model(model, tmp_path / "m.keras")
    assert np.array_equal(models.load_model(tmp_path / "m.keras")(x_of(2, 6, 3)), model(x_of(2, 6, 3)))


@pytest.mark.parametrize(
    "text", ["", "[1]", "null", "{}", '{"class_name": "LSTM", "config": {"units": 3}}', "[" * 100000]
)
def test_other_json_is_refused(text):
    with pytest.raises(ValueError, match="json_string: expected"):
        models.model_from_json(text)


def test_json_names_layers_of_ours_only():
    described = json.loads(recurrent(first=[layers.Input((6, 3))]).to_json())
    described["config"]["layers"][0]["class_name"] = "os.system"
    with pytest.raises(ValueError, match="class_name: expected one of"):
        models.model_from_json(json.dumps(described))
    with pytest.raises(TypeError, match="json_string: expected what model.to_json returned"):
        models.model_from_json({"class_name": "models.Sequential"})
    with pytest.raises(TypeError, match="a file cannot hold a class of yours"):
        models.Sequential([type("Own", (layers.Layer,), {"call": lambda self, x: x})()]).to_json()


# ---- noise, frozen layers


def test_noise_is_for_training_and_repeats_with_its_seed():
    x = x_of(50, 20, 8)
    for layer in (layers.GaussianNoise(0.5, seed=3), layers.GaussianDropout(0.2, seed=3)):
        assert np.array_equal(layer(x), x)
        noisy = np.asarray(layer(x, training=True))
        noise = noisy - x if isinstance(layer, layers.GaussianNoise) else noisy / x - 1
        assert abs(noise.mean()) < 0.02 and abs(noise.std() - 0.5) < 0.02
        twin = type(layer).from_config(layer.get_config())
        assert np.array_equal(twin(x, training=True), noisy)
        assert not np.array_equal(layer(x, training=True), noisy)
    for kind, wrong in ((layers.GaussianNoise, 1.5), (layers.GaussianDropout, 1.0)):
        with pytest.raises(ValueError, match="expected"):
            kind(wrong)


def test_a_frozen_batch_normalisation_rests():
    model = models.Sequential([layers.Input((5, 3)), layers.BatchNormalization(), layers.LSTM(2), layers.Dense(1)])
    model.layers[0].trainable = False
    assert [len(model.trainable_weights), len(model.non_trainable_weights)] == [5, 4]
    model.compile("adam", "mse")
    before = model.layers[0].get_weights()
    model.fit(x_of(8, 5, 3) + 3, x_of(8, 1), epochs=2, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.layers[0].get_weights(), strict=True))
    model.layers[0].trainable = True
    model.compile("adam", "mse")
    model.fit(x_of(8, 5, 3) + 3, x_of(8, 1), epochs=2, verbose=0)
    assert not np.array_equal(model.layers[0].moving_mean, before[2])


# ---- data


def test_classes_become_vectors():
    found = to_categorical([[1, 0], [2, 2]])
    assert found.dtype == np.float32
    assert found.tolist() == [[[0, 1, 0], [1, 0, 0]], [[0, 0, 1], [0, 0, 1]]]
    assert to_categorical(np.array([[1], [0]]), 4).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]
    with pytest.raises(ValueError, match="x: expected classes 0 to 1, got 0 to 2"):
        to_categorical([0, 2], 2)


def test_sequences_become_one_array():
    rows = [[1], [2, 3], [4, 5, 6]]
    assert pad_sequences(rows).tolist() == [[0, 0, 1], [0, 2, 3], [4, 5, 6]]
    assert pad_sequences(rows, 2, padding="post").tolist() == [[1, 0], [2, 3], [5, 6]]
    assert pad_sequences(rows, 2, truncating="post", value=9).tolist() == [[9, 1], [2, 3], [4, 5]]
    wide = pad_sequences([np.ones((2, 3)), np.zeros((0, 3)), []], dtype="float32", value=-1.0)
    assert wide.shape == (3, 2, 3) and wide.dtype == np.float32 and (wide[1:] == -1).all()
    with pytest.raises(ValueError, match=r"sequences\[1\]: expected a sequence like the others"):
        pad_sequences([np.ones((2, 3)), np.ones((2, 4))])
    with pytest.raises(ValueError, match="padding"):
        pad_sequences(rows, padding="before")


# ---- places


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("callbacks", "EarlyStopping"), ("optimizers", "Adam"), ("losses", "MeanSquaredError"), ("metrics", "AUC"),
        ("regularizers", "l2"), ("initializers", "GlorotUniform"), ("constraints", "MaxNorm"),
    ],
)  # fmt: skip
def test_modules_are_where_keras_has_them(place, name):
    """In a process that has not seen them, and in one that has."""
    lines = f"from fastseq.{place} import {name}; import fastseq; assert fastseq.{place}.{name} is {name}; "
    lines += f"import fastseq.{place} as again; assert again is fastseq.{place}"
    exec(lines, {})
    assert sys.modules[f"fastseq.{place}"].__name__ != f"fastseq.{place}"  # one module, not two of a kind
