"""The tasks of the comparison: what is learnt, on what the learning rate is chosen, and what decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import nn
from fastseq.checks import require

Array = NDArray[Any]
DAY, WEEK = 24, 168
HISTORY, HORIZON = 3 * DAY, DAY
SPEAKERS = 9


class Rows(NamedTuple):
    """Rows (B, T, F), or a list of (T_i, F), and their targets."""

    inputs: Any
    targets: Array


@dataclass(frozen=True)
class Task:
    """What all models are given.

    Attributes
    ----------
    title
        What is to be done, for headings.
    source
        Whom to cite.
    training
        What is learnt.
    validation
        The part of ``training`` that a model does not see while its learning rate is chosen.
    rehearsal
        The rest of ``training``.
    test
        What decides.
    steps
        T, the longest row's.
    features
        F.
    outputs
        How many numbers a model says of a row.
    loss
        Its name in ``fit``.
    pool
        Makes the layer that turns a recurrent layer's steps into one vector; told whether there are two directions.
    scaling
        Layers before and after a model (made once, nothing in them is learnt).
    measure
        What the table calls ``error``.
    error
        Maps prediction and targets to the number that decides; lower is better.
    baselines
        Errors of simple methods by name.
    budget, epochs, batch_size, rates
        Weights per model, passes over the data, rows per step, learning rates to choose from.
    """

    title: str
    source: str
    training: Rows
    validation: Rows
    rehearsal: Rows
    test: Rows
    steps: int
    features: int
    outputs: int
    loss: str
    pool: Callable[[bool], nn.Module]
    scaling: tuple[list[nn.Module], list[nn.Module]]
    measure: str
    error: Callable[[Array, Array], float]
    baselines: dict[str, float]
    budget: int
    epochs: int
    batch_size: int
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)

    @property
    def streams(self) -> bool:
        """Whether a model says something after every step that it sees, without waiting for the row's end."""
        return isinstance(self.pool(False), nn.LastStep)


def load_household(*, quick: bool) -> Task:
    """Return the forecasting task: three days of a household's power, the mean absolute error of the next 24 hours.

    Parameters
    ----------
    quick
        Toy size: few windows.
    """
    from fastseq.datasets import load_household_power
    from fastseq.forecasting import calendar_features, mae, windows

    data = load_household_power()
    power = data["active_power_kw"]
    features = np.concatenate([np.log(power)[:, None], calendar_features(data.ds)], axis=1)
    end = len(power) - 8 * WEEK  # the last eight weeks decide
    middle = end - 52 * WEEK  # the same weeks a year before choose

    def cut(start: int, stop: int, stride: int) -> Rows:
        found = windows(features[start:stop], HISTORY, HORIZON, stride, target=power[start:stop])
        return Rows(found.inputs, found.targets)

    stride = 400 if quick else 8
    before, validation = cut(0, middle, stride), cut(middle - HISTORY, middle + 8 * WEEK, DAY)
    after = cut(middle + 8 * WEEK, end, stride)
    test = cut(end - HISTORY, len(power), DAY)
    learnt = cut(0, end, stride)
    origins = np.arange(end, len(power) - HORIZON + 1, DAY)
    ridge = require("sklearn.linear_model", "demo").Ridge(alpha=1.0)
    ridge.fit(learnt.inputs.reshape(len(learnt.inputs), -1), learnt.targets)
    return Task(
        title="the next 24 hours of a household's power from the last three days",
        source=data.source,
        training=learnt,
        validation=validation,
        rehearsal=Rows(*(np.concatenate(pair) for pair in zip(before, after, strict=True))),
        test=test,
        steps=HISTORY,
        features=features.shape[1],
        outputs=HORIZON,
        loss="mae",
        pool=lambda both: nn.LastStep(bidirectional=both),
        scaling=([nn.Standardize.fit(features[:end])], [nn.Rescale(power[:end].std(), power[:end].mean())]),
        measure="MAE (kW)",
        error=mae,
        baselines={
            "last week": mae(test.targets, power[origins[:, None] - WEEK + np.arange(HORIZON)]),
            "ridge": mae(test.targets, ridge.predict(test.inputs.reshape(len(test.inputs), -1))),
        },
        budget=1_500 if quick else 12_000,
        epochs=1 if quick else 10,
        batch_size=64,
    )


def load_vowels(*, quick: bool) -> Task:
    """Return the classification task: which of nine speakers says a vowel, 12 features, 7 to 29 steps.

    Parameters
    ----------
    quick
        Toy size: every fourth row to learn from.
    """
    load = require("sktime.datasets", "examples").load_japanese_vowels

    def rows(split: str, step: int) -> Rows:
        frame, speakers = load(split=split)
        table = frame.to_numpy()[::step]
        sequences = [np.stack([channel.to_numpy(np.float32) for channel in row], axis=1) for row in table]
        return Rows(sequences, np.asarray(speakers).astype(int)[::step] - 1)

    training, test = rows("train", 4 if quick else 1), rows("test", 1)
    held_out = np.arange(len(training.inputs)) % 5 == 4  # rows come speaker by speaker: a fifth of each

    def some(wanted: NDArray[np.bool_]) -> Rows:
        return Rows([training.inputs[i] for i in np.flatnonzero(wanted)], training.targets[wanted])

    return Task(
        title="which of nine speakers says a vowel of 7 to 29 steps",
        source="JapaneseVowels: M. Kudo, J. Toyama, M. Shimbo, Pattern Recognition Letters 20, 1999; UCI, with sktime",
        training=training,
        validation=some(held_out),
        rehearsal=some(~held_out),
        test=test,
        steps=max(map(len, [*training.inputs, *test.inputs])),
        features=training.inputs[0].shape[1],
        outputs=SPEAKERS,
        loss="cross_entropy",
        pool=lambda both: nn.MaxPool(),
        scaling=([nn.Standardize.fit(training.inputs), nn.Dropout(0.2)], []),
        measure="errors (%)",
        error=lambda scores, speakers: float(100 * np.mean(scores.argmax(axis=1) != speakers)),
        baselines={"logistic": _logistic_error(training, test)},
        budget=1_500 if quick else 12_000,
        epochs=1 if quick else 30,
        batch_size=16,
    )


def _logistic_error(training: Rows, test: Rows) -> float:
    """Return the errors in % of logistic regression on each feature's mean, spread, ends and extremes."""

    def summary(rows: Rows) -> Array:
        return np.stack([np.concatenate([x.mean(0), x.std(0), x.min(0), x.max(0), x[0], x[-1]]) for x in rows.inputs])

    pipeline = require("sklearn.pipeline", "demo").make_pipeline(
        require("sklearn.preprocessing", "demo").StandardScaler(),
        require("sklearn.linear_model", "demo").LogisticRegression(max_iter=2000),
    )
    pipeline.fit(summary(training), training.targets)
    return float(100 * np.mean(pipeline.predict(summary(test)) != test.targets))


LOADERS: dict[str, Callable[..., Task]] = {"household": load_household, "vowels": load_vowels}
