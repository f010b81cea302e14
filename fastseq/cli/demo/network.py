"""The demo's model and how it learns."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import fastseq as fs
from fastseq import nn
from fastseq.autograd import Tensor
from fastseq.cli.demo.meter import FEATURES, HORIZON, Meter
from fastseq.training import EarlyStopping, LearningRateScheduler

# Chosen by back-tests on eight weeks that begin 60, 34 and 16 weeks before the end; the hold-out played no part.
HIDDEN = 64
PEAK_RATE = 8e-3
BATCH_SIZE = 32
RUN_IN = 24  # hours at the start of a history whose forecasts do not count: too little was seen by then


@dataclass(frozen=True)
class Learned:
    """A trained model and how it got there.

    Attributes
    ----------
    model
        Gives at every hour the mean power of each of the next 24 hours in kW.
    training_mae
        Mean absolute error of each epoch while learning, in kW (E,).
    validation_mae
        The same on the validation weeks (E,).
    yesterday_mae
        That of forecasting the validation weeks, likewise, by the same hour of the day before.
    best_epoch
        The epoch whose weights were kept, from 1.
    windows
        How many windows there were to learn from.
    seconds
        Wall time of training.
    """

    model: nn.Module
    training_mae: NDArray[np.float64]
    validation_mae: NDArray[np.float64]
    yesterday_mae: float
    best_epoch: int
    windows: int
    seconds: float


def build(meter: Meter) -> nn.Sequential:
    """Return the untrained model: one LSTM with a forecast per step, scaling inside.

    Parameters
    ----------
    meter
        The series; scaling is that of the hours to learn from.
    """
    power = meter.power[meter.known]
    return nn.Sequential(
        nn.Standardize.fit(meter.features[meter.known]),
        nn.LSTM(len(FEATURES), HIDDEN),
        nn.Linear(HIDDEN, HORIZON),
        nn.Rescale(power.std(), power.mean()),
    )


def rehearse(meter: Meter) -> float:
    """Train a model that is thrown away on one batch, so that every kernel is compiled or loaded; return the seconds.

    Parameters
    ----------
    meter
        The series.
    """
    begin = time.perf_counter()
    model, batch = build(meter), meter.validation_windows()
    batch_x, batch_y = batch.inputs[:BATCH_SIZE], batch.targets[:BATCH_SIZE]
    fs.fit(
        model,
        batch_x,
        batch_y,
        loss=loss_after_run_in,
        epochs=1,
        batch_size=BATCH_SIZE,
        validation_data=(batch.inputs, batch.targets),
        clip_norm=1.0,
        verbose=False,
    )
    fs.Stream(model).step(meter.features[0])
    return time.perf_counter() - begin


def learn(meter: Meter, *, epochs: int, seed: int) -> Learned:
    """Train the model and keep the weights of the epoch that is best on the validation weeks.

    Parameters
    ----------
    meter
        The series.
    epochs
        Passes over the training windows. The learning rate falls along half a cosine.
    seed
        Seed of weights and of the order of batches.
    """
    training, validation = meter.training_windows(), meter.validation_windows()
    begin = time.perf_counter()
    fs.manual_seed(seed)
    model = build(meter)
    stopping = EarlyStopping(patience=epochs)
    history = fs.fit(
        model,
        training.inputs,
        training.targets,
        loss=loss_after_run_in,
        learning_rate=PEAK_RATE,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        validation_data=(validation.inputs, validation.targets),
        callbacks=[LearningRateScheduler(lambda epoch, _: falling(epoch, epochs)), stopping],
        clip_norm=1.0,
        random_state=seed,
    )
    return Learned(
        model,
        np.array(history.history["loss"]),
        np.array(history.history["val_loss"]),
        float(np.abs(validation.targets - meter.validation_yesterdays())[:, RUN_IN:].mean()),
        stopping.best_epoch + 1,
        len(training.inputs),
        time.perf_counter() - begin,
    )


def loss_after_run_in(prediction: Tensor, target: NDArray[np.float32]) -> Tensor:
    """Return the mean absolute error in kW of all forecasts but those of the first day.

    Parameters
    ----------
    prediction
        (B, T, 24).
    target
        (B, T, 24).
    """
    return nn.functional.l1_loss(prediction[:, RUN_IN:], target[:, RUN_IN:])


def falling(epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch: half a cosine from the peak towards zero.

    Parameters
    ----------
    epoch
        Its number, from 0.
    epochs
        How many there are.
    """
    return PEAK_RATE * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
