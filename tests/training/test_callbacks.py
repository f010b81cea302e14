"""Callbacks: when they act and what they leave behind."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.training import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)


def model():
    fs.manual_seed(0)
    return nn.Sequential(nn.LSTM(1, 4), nn.LastStep(), nn.Linear(4, 1))


X = np.random.default_rng(0).standard_normal((24, 5, 1))
Y = X[:, :, 0].mean(axis=1)


def fit(net, callbacks, **options):
    options = {"epochs": 6, "random_state": 0, "validation_split": 0.25, "learning_rate": 0.01} | options
    return fs.fit(net, X, Y, callbacks=callbacks, verbose=False, **options)


class Script(Callback):
    """Replaces the monitored numbers by a script; must come first."""

    def __init__(self, values, name="val_loss"):
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.values[epoch]


def test_all_hooks_are_called_in_order():
    calls = []

    class Log(Callback):
        def on_train_begin(self):
            calls.append("begin")

        def on_epoch_begin(self, epoch):
            calls.append(f"epoch {epoch}")

        def on_train_batch_end(self, batch, loss):
            calls.append(f"batch {batch}")
            assert np.isfinite(loss)

        def on_epoch_end(self, epoch, logs):
            calls.append(f"end {epoch}")
            assert {"loss", "val_loss", "lr", "seconds"} <= set(logs)

        def on_train_end(self):
            calls.append("over")

    fit(model(), Log(), epochs=2, batch_size=10)
    once = ["batch 0", "batch 1"]
    assert calls == ["begin", "epoch 0", *once, "end 0", "epoch 1", *once, "end 1", "over"]


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([5, 4, 3, 3.5, 3.6, 3.7], {"patience": 2}, 5, 2),
        ([5, 4, 3, 3.5, 3.6, 3.7], {"patience": 0}, 4, 2),
        ([5, 4.9, 4.8, 4.7, 4.6, 4.5], {"patience": 2, "min_delta": 0.5}, 3, 0),
        ([1, 2, 3, 2, 1, 0], {"patience": 2, "mode": "max"}, 5, 2),
        ([5, np.nan, 4, np.nan, np.nan, 1], {"patience": 2}, 5, 2),
        ([5, 4, 3, 2, 1, 0.5], {"patience": 1}, 6, 5),
    ],
)
def test_early_stopping_restores_the_best_weights(values, options, epochs, best):
    kept = []

    class Keep(Callback):
        def on_epoch_end(self, epoch, logs):
            kept.append(self.run.model.state_dict()["2.weight"].numpy().copy())

    net, stopping = model(), EarlyStopping(**options)
    history = fit(net, [Script(values), Keep(), stopping])
    assert len(history.epoch) == epochs and stopping.best_epoch == best
    assert np.array_equal(net[2].weight.numpy(), kept[best])
    assert bool(history.stopped) == (epochs < 6)
    net = model()
    fit(net, [Script(values), EarlyStopping(restore_best_weights=False, **options)])
    assert np.array_equal(net[2].weight.numpy(), kept[epochs - 1])


def test_accuracy_rises_by_default():
    assert EarlyStopping("val_accuracy")._improves(0.5) and EarlyStopping("val_loss")._improves(0.5)
    stopping = EarlyStopping("val_accuracy")
    stopping.best = 0.6
    assert not stopping._improves(0.5)


def test_the_best_weights_come_back_after_an_interrupt_too():
    class Stop(Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 2:
                raise KeyboardInterrupt

    net = model()
    stopping = EarlyStopping(patience=5)
    history = fit(net, [Script([1, 2, 3]), stopping, Stop()])
    assert history.interrupted
    assert np.array_equal(net[2].weight.numpy(), stopping._weights["2.weight"])


def test_the_patience_argument_is_early_stopping():
    net = model()
    history = fit(net, [Script([1, 2, 3, 4, 5, 6])], patience=2)
    assert history.epoch == [0, 1, 2] and history.stopped == "val_loss has not improved since epoch 1"


def test_a_callback_serves_several_runs():
    stopping = EarlyStopping(patience=2)
    for _ in range(2):
        assert len(fit(model(), [Script([1, 2, 3, 4, 5, 6]), stopping]).epoch) == 3


def test_model_checkpoint(tmp_path):
    net = model()
    fit(
        net,
        [Script([3, 1, 2, 0.5, 1, 1]), ModelCheckpoint(tmp_path / "m-{epoch:02d}-{val_loss:.1f}", save_best_only=True)],
    )
    assert sorted(f.name for f in tmp_path.iterdir()) == ["m-01-3.0", "m-02-1.0", "m-04-0.5"]
    assert isinstance(fs.load(tmp_path / "m-04-0.5"), nn.Sequential)
    fit(net, [ModelCheckpoint(tmp_path / "last")])
    assert np.array_equal(fs.load(tmp_path / "last")[2].weight.numpy(), net[2].weight.numpy())
    fit(net, [ModelCheckpoint(tmp_path / "weights", save_weights_only=True)])
    fs.load_state(model(), tmp_path / "weights")
    with pytest.raises(ValueError, match="path: expected placeholders among epoch, loss"):
        fit(net, [ModelCheckpoint(str(tmp_path / "{what}"))])


def test_reduce_lr_on_plateau():
    history = fit(model(), [Script([5, 5, 5, 5, 5, 5]), ReduceLROnPlateau(factor=0.5, patience=2)])
    assert history.history["lr"] == pytest.approx([0.01, 0.01, 0.01, 0.005, 0.005, 0.0025])
    history = fit(model(), [Script([5] * 6), ReduceLROnPlateau(factor=0.5, patience=1, cooldown=2)])
    assert history.history["lr"] == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025])
    history = fit(model(), [Script([5] * 6), ReduceLROnPlateau(factor=0.01, patience=1, min_lr=0.002)])
    assert history.history["lr"][-1] == 0.002


def test_learning_rate_scheduler():
    history = fit(model(), LearningRateScheduler(lambda epoch, lr: 0.1 / (epoch + 1)))
    assert history.history["lr"] == pytest.approx([0.1 / n for n in range(1, 7)])
    with pytest.raises(ValueError, match="schedule"):
        fit(model(), LearningRateScheduler(lambda epoch, lr: -1))


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    history = fit(model(), CSVLogger(path), epochs=3)
    lines = list(csv.DictReader(path.read_text().splitlines()))
    assert [int(line["epoch"]) for line in lines] == [0, 1, 2]
    assert [float(line["loss"]) for line in lines] == history.history["loss"]
    fit(model(), CSVLogger(path, append=True), epochs=2)
    assert len(list(csv.DictReader(path.read_text().splitlines()))) == 5
    fit(model(), CSVLogger(path, separator=";"), epochs=1)
    assert path.read_text().startswith("epoch;loss;val_loss;lr;seconds")


def test_terminate_on_nan():
    net = model()
    net[2].weight._data[...] = np.inf
    history = fit(net, TerminateOnNaN(), batch_size=6, clip_norm=1.0)
    assert history.stopped.startswith("the loss of batch 1 is") and len(history.epoch) == 1


def test_the_monitored_number_must_be_there():
    for callback in (EarlyStopping("val_mae"), ReduceLROnPlateau("val_mae"), ModelCheckpoint("m", "val_mae", True)):
        with pytest.raises(ValueError, match="monitor: expected one of loss, val_loss.*got val_mae"):
            fit(model(), callback)
    with pytest.raises(ValueError, match="give validation data"):
        fit(model(), EarlyStopping(), validation_split=0.0)


def test_arguments_are_checked():
    for wrong in (
        lambda: EarlyStopping(patience=-1),
        lambda: EarlyStopping(mode="up"),
        lambda: EarlyStopping(min_delta=-1),
        lambda: ReduceLROnPlateau(factor=1.0),
        lambda: ReduceLROnPlateau(min_lr=-1),
    ):
        with pytest.raises(ValueError, match="expected"):
            wrong()
    with pytest.raises(TypeError, match="schedule: expected a function"):
        LearningRateScheduler(0.1)


class Mine(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(2, 1)

    def forward(self, x, lengths=None):
        return self.fc(x[:, -1])


def test_what_cannot_be_saved_is_not_trained_first(tmp_path):
    x, y = np.ones((4, 3, 2), np.float32), np.ones((4, 1), np.float32)
    model = Mine()
    before = model.fc.weight.numpy().copy()
    for callback, error, message in (
        (ModelCheckpoint(tmp_path / "m"), TypeError, "model: expected one of fastseq's own layers, got .*Mine"),
        (ModelCheckpoint(tmp_path / "no" / "m", save_weights_only=True), FileNotFoundError, "filepath: expected an ex"),
    ):
        with pytest.raises(error, match=message):
            fs.fit(model, x, y, epochs=1, verbose=False, callbacks=[callback])
        assert np.array_equal(model.fc.weight.numpy(), before)
    fs.fit(model, x, y, epochs=1, verbose=False, callbacks=[ModelCheckpoint(tmp_path / "m", save_weights_only=True)])
    assert fs.load_state(Mine(), tmp_path / "m") == ([], [])
