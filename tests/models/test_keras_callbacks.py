"""Callbacks as they are written for Keras."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq import callbacks, layers, models


@pytest.fixture
def data(rng):
    return rng.standard_normal((10, 3)).astype(np.float32), rng.standard_normal((10, 1)).astype(np.float32)


def small():
    model = models.Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


class Telling(callbacks.Callback):
    """Every method of Keras's that fit calls."""

    def __init__(self):
        self.told = []

    def on_train_begin(self, logs=None):
        self.told.append(("train begin", self.params["epochs"], self.params["steps"]))

    def on_train_end(self, logs=None):
        self.told.append(("train end", sorted(logs)))

    def on_epoch_begin(self, epoch, logs=None):
        self.told.append(("epoch begin", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.told.append(("epoch end", epoch, logs["loss"]))

    def on_train_batch_begin(self, batch, logs=None):
        self.told.append(("batch begin", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.told.append(("batch end", batch, sorted(logs)))

    def on_test_begin(self, logs=None):
        self.told.append(("test begin",))

    def on_test_end(self, logs=None):
        self.told.append(("test end", sorted(logs)))


def test_methods_are_called_with_keras_s_arguments(data):
    model, telling = small(), Telling()
    history = model.fit(*data, batch_size=5, epochs=2, validation_data=data, callbacks=telling, verbose=0)
    assert telling.model is model and history.model is model
    one = [("batch begin", 0), ("batch end", 0, ["loss", "mae"]), ("batch begin", 1), ("batch end", 1, ["loss", "mae"]),
           ("test begin",), ("test end", ["loss", "mae"])]  # fmt: skip
    losses = history.history["loss"]
    last = ("train end", ["loss", "lr", "mae", "seconds", "val_loss", "val_mae"])
    assert telling.told == [
        ("train begin", 2, 2), ("epoch begin", 0), *one, ("epoch end", 0, losses[0]), ("epoch begin", 1), *one,
        ("epoch end", 1, losses[1]), last,
    ]  # fmt: skip


def test_short_methods_and_setters(data):
    class Short(callbacks.Callback):
        def set_model(self, model):
            self.mine = model

        def on_epoch_end(self, epoch, logs):
            self.mine.stop_training = epoch == 1

        def on_train_batch_end(self, batch, loss):
            self.last = loss

        def on_batch_end(self, batch, logs):
            self.mean = logs["loss"]

    model, short = small(), Short()
    assert len(model.fit(*data, batch_size=10, epochs=5, callbacks=[short], verbose=0).epoch) == 2
    assert short.mean == pytest.approx(short.last) and isinstance(short.last, float)


def test_lambda_callbacks(data):
    told = []
    made = callbacks.LambdaCallback(
        on_train_begin=lambda logs: told.append("begin"), on_train_end=lambda logs: told.append("end"),
        on_epoch_begin=lambda epoch, logs: told.append(epoch),
        on_epoch_end=lambda epoch, logs: told.append(round(logs["loss"], 6)),
        on_train_batch_end=lambda batch, logs: told.append((batch, round(logs["loss"], 6))),
    )  # fmt: skip
    history = small().fit(*data, batch_size=10, epochs=2, callbacks=[made, callbacks.LambdaCallback()], verbose=0)
    first, second = (round(loss, 6) for loss in history.history["loss"])
    assert told == ["begin", 0, (0, first), first, 1, (0, second), second, "end"]
    batches = []
    more = callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: batches.append(batch), on_test_begin=None)
    small().fit(*data, batch_size=5, callbacks=more, verbose=0)
    assert batches == [0, 1]
    with pytest.raises(TypeError, match="on_epoch_end: expected a function or None, got 3"):
        callbacks.LambdaCallback(on_epoch_end=3)


def test_early_stopping_with_a_baseline_and_a_late_start(data):
    model = small()
    model.optimizer.learning_rate = 0.0
    for options, expected in (({}, 4), ({"start_from_epoch": 2}, 6), ({"baseline": 1e-9}, 3), ({"baseline": 1e9}, 4)):
        stop = callbacks.EarlyStopping(monitor="loss", patience=3, **options)
        assert len(model.fit(*data, epochs=12, shuffle=False, callbacks=[stop], verbose=0).epoch) == expected


def test_names_that_rise(data):
    for name, rises in (("val_accuracy", True), ("val_AUC", True), ("precision_1", True), ("binary_accuracy", True),
                        ("loss", False), ("mae", False), ("val_binary_crossentropy", False)):  # fmt: skip
        assert (callbacks.EarlyStopping(monitor=name)._sign < 0) == rises


def test_keras_s_names_of_files(data, tmp_path, capsys):
    model = small()
    saving = callbacks.ModelCheckpoint(filepath=tmp_path / "m-{epoch}.keras", monitor="loss", save_best_only=True)
    lines = callbacks.CSVLogger(filename=tmp_path / "log.csv")
    rate = callbacks.LearningRateScheduler(lambda epoch: 0.01, verbose=1)
    model.fit(*data, epochs=2, callbacks=[saving, lines, rate], verbose=0)
    assert np.array_equal(models.load_model(tmp_path / "m-2.keras").predict(data[0]), model.predict(data[0]))
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    assert capsys.readouterr().out == "epoch 1: learning rate 0.01\nepoch 2: learning rate 0.01\n"
