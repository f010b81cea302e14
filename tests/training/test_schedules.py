"""Schedules and averages of weights in fit."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn, optim
from fastseq.optim import lr_scheduler
from fastseq.training import Callback, EarlyStopping, ModelCheckpoint, SchedulerCallback

X = np.random.default_rng(0).standard_normal((24, 5, 1))
Y = X[:, :, 0].mean(axis=1)


def model():
    fs.manual_seed(0)
    return nn.Sequential(nn.LSTM(1, 4), nn.LastStep(), nn.Linear(4, 1))


def fit(net, **options):
    options = {"epochs": 5, "random_state": 0, "validation_split": 0.25, "batch_size": 6} | options
    return fs.fit(net, X, Y, verbose=False, **options).history


class Rates(Callback):
    """Remembers the learning rate of every batch."""

    def on_train_begin(self):
        self.rates = []

    def on_train_batch_end(self, batch, loss):
        self.rates.append(self.run.lr)


def test_a_function_makes_the_schedule_of_fits_own_optimizer():
    history = fit(model(), learning_rate=0.1, scheduler=lambda o: lr_scheduler.ExponentialLR(o, 0.5))
    assert history["lr"] == pytest.approx([0.1, 0.05, 0.025, 0.0125, 0.00625])


def test_a_schedule_over_an_optimizer_of_ones_own_and_its_groups():
    net = model()
    optimizer = optim.SGD([{"params": net[0].parameters()}, {"params": net[2].parameters(), "lr": 1.0}], lr=0.1)
    schedule = lr_scheduler.LambdaLR(optimizer, [lambda e: 1 / (1 + e), lambda e: 0.5**e])
    history = fit(net, optimizer=optimizer, scheduler=schedule)
    assert history["lr"] == pytest.approx([0.1 / n for n in range(1, 6)])
    assert optimizer.param_groups[1]["lr"] == pytest.approx(0.5**5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_steps_of_the_optimizer(accumulate):
    watch = Rates()
    steps = -(-3 // accumulate)
    fit(
        model(),
        epochs=4,
        accumulate=accumulate,
        scheduler=lambda o: lr_scheduler.OneCycleLR(o, 0.1, epochs=4, steps_per_epoch=steps),
        scheduler_interval="step",
        callbacks=watch,
    )
    twin = lr_scheduler.OneCycleLR(optim.Adam(model().parameters()), 0.1, epochs=4, steps_per_epoch=steps)
    expected = []
    for _ in range(4 * steps):
        twin.step()
        expected.append(twin.get_last_lr()[0])
    assert watch.rates[:: accumulate if accumulate == 1 else 1][0] == expected[0]
    assert sorted(set(watch.rates)) == sorted(set(expected)) and watch.rates[-1] == expected[-1]


def test_plateau_looks_at_the_logs():
    class Script(Callback):
        def on_epoch_end(self, epoch, logs):
            logs["val_loss"], logs["loss"] = 1.0, 5.0 - epoch

    def make(optimizer):
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)

    history = fit(model(), learning_rate=0.1, callbacks=Script(), scheduler=make)
    assert history["lr"] == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05])
    on_loss = SchedulerCallback(make, monitor="loss")
    history = fit(model(), learning_rate=0.1, callbacks=[Script(), on_loss])
    assert history["lr"] == pytest.approx([0.1] * 5) and on_loss.scheduler.best == 1.0
    with pytest.raises(ValueError, match="monitor: expected one of loss.*give validation data, got val_loss"):
        fit(model(), scheduler=make, validation_split=0.0)
    with pytest.raises(ValueError, match="interval: expected 'epoch' for ReduceLROnPlateau"):
        fit(model(), scheduler=make, scheduler_interval="step")


def test_a_callback_serves_several_runs():
    callback = SchedulerCallback(lambda o: lr_scheduler.ExponentialLR(o, 0.5))
    for _ in range(2):
        assert fit(model(), learning_rate=0.1, callbacks=callback)["lr"][-1] == pytest.approx(0.1 / 16)


def test_schedules_are_checked():
    other = optim.Adam(model().parameters())
    for kind, message, options in (
        (TypeError, "scheduler: expected a schedule, or a function", {"scheduler": 0.5}),
        (TypeError, "scheduler: expected a function that returns a schedule", {"scheduler": lambda o: o}),
        (TypeError, "scheduler: expected a schedule, or a function", {"scheduler": lr_scheduler.StepLR}),
        (ValueError, "scheduler: expected a schedule over", {"scheduler": lr_scheduler.StepLR(other, 2)}),
        (ValueError, "scheduler_interval: expected one of 'epoch', 'step'", {"scheduler_interval": "batch"}),
    ):
        net = model()
        before = net[2].weight.numpy().copy()
        with pytest.raises(kind, match=message):
            fit(net, **options)
        assert np.array_equal(net[2].weight.numpy(), before)
    with pytest.raises(ValueError, match="scheduler: expected a run that has begun"):
        _ = SchedulerCallback(lambda o: lr_scheduler.StepLR(o, 2)).scheduler


class Weights(Callback):
    """Remembers the head's weights after every step, and what the end of an epoch sees."""

    def on_train_begin(self):
        self.steps, self.ends = [], []

    def on_optimizer_step(self):
        self.steps.append(self.run.model[2].weight.numpy().copy())

    def on_epoch_end(self, epoch, logs):
        self.ends.append(self.run.model[2].weight.numpy().copy())


def test_averages_follow_every_step_and_are_what_the_model_has_in_the_end():
    net, plain, watch, other = model(), model(), Weights(), Weights()
    start = net[2].weight.numpy().copy()
    history = fit(net, ema=0.9, callbacks=watch)
    fit(plain, callbacks=other)
    assert all(np.array_equal(a, b) for a, b in zip(watch.steps, other.steps, strict=True))  # learning is the same
    average = start.astype(np.float64)
    per_epoch = len(watch.steps) // 5
    for number, values in enumerate(watch.steps, 1):
        average += 0.1 * (values - average)
        if number % per_epoch == 0:
            np.testing.assert_allclose(watch.ends[number // per_epoch - 1], average, rtol=1e-5)
    np.testing.assert_allclose(net[2].weight.numpy(), average, rtol=1e-5)
    assert not np.allclose(net[2].weight.numpy(), plain[2].weight.numpy())
    chosen = np.random.default_rng(0).permutation(24)[:6]
    predicted = fs.predict(net, X)[:, 0]
    errors = (predicted - Y) ** 2
    assert history["val_loss"][-1] == pytest.approx(errors[np.sort(chosen)].mean(), rel=1e-4)


def test_the_best_averages_are_restored_and_saved(tmp_path):
    class Script(Callback):
        def on_epoch_end(self, epoch, logs):
            logs["val_loss"] = [5, 1, 2, 3, 4][epoch]

    net, watch = model(), Weights()
    callbacks = [Script(), watch, EarlyStopping(patience=2), ModelCheckpoint(tmp_path / "{epoch}")]
    fit(net, ema=0.5, callbacks=callbacks)
    assert len(watch.ends) == 4 and np.array_equal(net[2].weight.numpy(), watch.ends[1])
    assert np.array_equal(fs.load(tmp_path / "3")[2].weight.numpy(), watch.ends[2])


def test_averages_of_ones_own_and_after_an_interrupt():
    class Stop(Callback):
        def on_train_batch_end(self, batch, loss):
            if len(self.run.history.epoch) == 1:
                raise KeyboardInterrupt

    net = model()
    ema = optim.ExponentialMovingAverage(net.parameters(), 0.9, use_num_updates=True)
    fit(net, ema=ema, callbacks=Stop())
    assert ema.num_updates == 4
    assert all(np.array_equal(p.numpy(), a) for p, a in zip(net.parameters(), ema.averages, strict=True))
    with pytest.raises(ValueError, match="ema: expected a finite number >= 0 and <= 1"):
        fit(net, ema=1.5)
    with pytest.raises(TypeError, match="ema: expected a number"):
        fit(net, ema="yes")
