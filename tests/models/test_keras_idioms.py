"""What people write around Keras's models: files of weights, stateful batches, callbacks, objects, parts of models."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import callbacks, layers, metrics, models


@pytest.fixture
def data(rng):
    return rng.standard_normal((20, 6, 3)).astype(np.float32), rng.standard_normal((20, 1)).astype(np.float32)


def small(**options):
    model = models.Sequential([layers.Input((6, 3)), layers.LSTM(4), layers.Dense(1)])
    model.compile(**{"optimizer": "adam", "loss": "mse", **options})
    return model


class Own(models.Model):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = layers.LSTM(4), layers.Dense(1)

    def call(self, x, training=False):
        return self.head(self.lstm(x))


@pytest.mark.parametrize("name", ["model.weights.h5", "model.safetensors"])
def test_weights_fit_every_model_of_the_same_layers(name, data, tmp_path):
    one, other = small(), small()  # their layers have other names
    one.save_weights(tmp_path / name)
    other.load_weights(tmp_path / name)
    assert np.array_equal(one.predict(data[0]), other.predict(data[0]))


def test_stateful_layers_train_in_batches_of_their_size(data):
    x, y = data
    model = models.Sequential([layers.Input(batch_shape=(5, 6, 3)), layers.LSTM(4, stateful=True), layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, y, batch_size=5, epochs=2, shuffle=False, verbose=0)
    model.layers[0].reset_states()
    first, second = model.predict(x[:5], batch_size=5), model.predict(x[:5], batch_size=5)
    assert not np.array_equal(first, second)
    model.layers[0].reset_states()
    assert np.array_equal(model.predict(x[:5], batch_size=5), first)
    with pytest.raises(ValueError, match=r"expected shape \(batch size 5, any, 3\), got an array of shape \(4, 6, 3\)"):
        model.predict(x, batch_size=4)


def test_callbacks_in_keras_s_form(data, capsys):
    x, y = data

    class Counting(callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_train_begin(self, logs=None):
            self.seen.append(self.model)

        def on_epoch_begin(self, epoch, logs=None):
            self.seen.append(epoch)

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append(logs["loss"])
            self.model.stop_training = epoch == 1

    counting, model = Counting(), small()
    history = model.fit(x, y, epochs=9, verbose=0, callbacks=[counting]).history
    assert len(history["loss"]) == 2  # and not a batch more
    assert counting.seen == [model, 0, history["loss"][0], 1, history["loss"][1]]
    halving = callbacks.LearningRateScheduler(
        lambda epoch: 0.5 ** (epoch + 1),
    )
    model.fit(x, y, epochs=2, verbose=0, callbacks=[halving])
    assert model.optimizer.learning_rate == 0.25
    stopping = callbacks.EarlyStopping(monitor="loss", min_delta=100.0, patience=1, verbose=1, mode="min")
    model.fit(x, y, epochs=5, verbose=0, callbacks=[stopping])
    assert capsys.readouterr().out == "stopped after epoch 2: loss has not improved since epoch 1\n"


def test_metrics_are_objects_too(data):
    x, y = data
    model = small(
        metrics=[metrics.MeanAbsoluteError(), metrics.RootMeanSquaredError(name="root"), "mse", metrics.R2Score]
    )
    found = model.evaluate(x, y, return_dict=True)
    assert list(found) == ["loss", "mean_absolute_error", "root", "mse", "r2_score"]
    errors = model.predict(x) - y
    assert found["mean_absolute_error"] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    assert found["root"] == pytest.approx(np.sqrt(found["mse"]), rel=1e-5)
    yes = metrics.BinaryAccuracy(threshold=0.3)
    assert yes(np.array([[1.0], [1.0], [0.0]]), np.array([[0.4], [0.2], [0.1]])) == pytest.approx(2 / 3)


def test_a_part_of_a_model_is_a_model(data):
    model = small()
    assert model.input.shape == (None, 6, 3) and model.output is model.layers[-1].output
    encoder = models.Model(model.input, model.layers[0].output)
    assert np.array_equal(encoder.predict(data[0]), np.asarray(model.layers[0](data[0])))
    assert [v.shape for v in model.trainable_variables] == [w.shape for w in model.get_weights()]
    assert model.variables == model.weights and not model.non_trainable_variables
    with pytest.raises(ValueError, match="expected one place in a model, got 0"):
        _ = layers.LSTM(3).output


def test_a_class_of_one_s_own_can_be_built_for_a_shape(data, tmp_path):
    one, other = Own(), Own()
    for model in (one, other):
        model.build((None, 6, 3))
    assert [w.shape for w in one.get_weights()] == [(3, 16), (4, 16), (16,), (4, 1), (1,)]
    other.set_weights(one.get_weights())
    assert np.array_equal(one.predict(data[0]), other.predict(data[0]))
    one.save_weights(tmp_path / "own.weights.h5")
    third = Own()
    third(data[0])
    third.load_weights(tmp_path / "own.weights.h5")
    assert np.array_equal(third.predict(data[0]), one.predict(data[0]))


def test_what_keras_has_and_fastseq_has_not_is_said(data):
    with pytest.raises(AttributeError, match="no attribute 'ConvLSTM1D'; it has Activation, Add"):
        _ = layers.ConvLSTM1D
    with pytest.raises(TypeError, match="unexpected keyword argument 'workers'"):
        small().fit(*data, workers=3)
    assert fs.metrics is models.metrics


def test_the_names_that_import_keras_brings(data):
    import fastseq as keras

    inputs = keras.Input(shape=(6, 3))
    x = keras.layers.Bidirectional(keras.layers.LSTM(4))(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.MeanSquaredError())
    model.fit(*data, verbose=0)
    chain = keras.Sequential([keras.Input((6, 3)), keras.layers.GRU(4, kernel_constraint=keras.constraints.MaxNorm(1))])
    assert chain.output_shape == (None, 4) and model.output_shape == (None, 1)
