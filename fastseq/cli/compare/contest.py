"""All kinds of models on one task: the same data, about as many weights, a learning rate each, several seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

import fastseq as fs
from fastseq import nn
from fastseq.cli.compare.kinds import Kind
from fastseq.cli.compare.tasks import Rows, Task
from fastseq.training import LearningRateScheduler

_ANSWERS = 200  # timed answers, of which the median counts
_BATCH = 256


@dataclass(frozen=True)
class Result:
    """How a kind of model did.

    Attributes
    ----------
    name
        The kind's.
    parameters
        Weights.
    rate
        The learning rate that was best on the validation rows.
    errors
        One per seed, on the test rows.
    training_seconds
        Median over the seeds.
    row_microseconds
        One row at a time: from a whole row to its answer.
    batch_microseconds
        The same per row in batches.
    step_microseconds
        One step of a stream to the next answer; None where a model cannot.
    """

    name: str
    parameters: int
    rate: float
    errors: NDArray[np.float64]
    training_seconds: float
    row_microseconds: float
    batch_microseconds: float
    step_microseconds: float | None


def compare(task: Task, kinds: Sequence[Kind], *, budget: int, seeds: int, epochs: int) -> list[Result]:
    """Train and time all kinds.

    Parameters
    ----------
    task
        What they learn.
    kinds
        The kinds.
    budget
        Weights per model.
    seeds
        Models of each kind.
    epochs
        Passes over the data.
    """
    results = []
    sizes = [kind.size(task, budget) for kind in kinds]
    with tqdm(total=len(kinds) * (len(task.rates) + seeds), unit="model", desc="comparing") as bar:
        for kind, size in zip(kinds, sizes, strict=True):
            bar.set_postfix_str(kind.name)

            def build(seed: int, kind: Kind = kind, size: int = size) -> nn.Module:
                fs.manual_seed(seed)
                return kind.build(task, size, budget)

            learn(task, build(0), task.validation, task.rates[0], epochs=1, seed=0)  # compiles what is not compiled yet
            trials = []
            for rate in task.rates:
                model = build(0)
                learn(task, model, task.rehearsal, rate, epochs=epochs, seed=0)
                trials.append(error(task, model, task.validation))
                bar.update()
            rate = task.rates[int(np.argmin(trials))]
            errors, seconds = [], []
            for seed in range(seeds):
                model = build(seed)
                seconds.append(learn(task, model, task.training, rate, epochs=epochs, seed=seed))
                errors.append(error(task, model, task.test))
                bar.update()
            results.append(
                Result(
                    kind.name, model.num_parameters(), rate, np.array(errors), float(np.median(seconds)),
                    *answer_times(task, model, streams=kind.causal and task.streams),
                )
            )  # fmt: skip
    return results


def learn(task: Task, model: nn.Module, rows: Rows, rate: float, *, epochs: int, seed: int) -> float:
    """Train a model and return the seconds it took; the learning rate falls along half a cosine.

    Parameters
    ----------
    task
        What it learns.
    model
        The model.
    rows
        What it learns from.
    rate
        Learning rate at the start.
    epochs
        Passes over the rows.
    seed
        Seed of the order of batches.
    """
    falling = LearningRateScheduler(lambda epoch, _: rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs)))
    begin = time.perf_counter()
    fs.fit(
        model,
        rows.inputs,
        rows.targets,
        loss=task.loss,
        epochs=epochs,
        batch_size=task.batch_size,
        clip_norm=1.0,
        callbacks=[falling],
        verbose=False,
        random_state=seed,
    )
    return time.perf_counter() - begin


def error(task: Task, model: nn.Module, rows: Rows) -> float:
    """Return a model's error on some rows.

    Parameters
    ----------
    task
        Says what an error is.
    model
        The model.
    rows
        Inputs and targets.
    """
    prediction: Any = fs.predict(model, rows.inputs)
    return float(task.error(prediction, rows.targets))


def answer_times(task: Task, model: nn.Module, *, streams: bool) -> tuple[float, float, float | None]:
    """Return microseconds per row alone, per row in batches, and per step of a stream.

    Parameters
    ----------
    task
        Whose test rows are used.
    model
        The model; it is left in evaluation mode.
    streams
        Whether it can answer after every step.
    """
    rows = [np.ascontiguousarray(row) for row in task.test.inputs]
    model.eval()
    with fs.no_grad():
        alone = _microseconds([lambda row=row: model(row[None]) for row in rows])  # type: ignore[misc]
    batch: Any = (rows * math.ceil(_BATCH / len(rows)))[:_BATCH]
    together = _microseconds([lambda: fs.predict(model, batch, batch_size=_BATCH)], answers=9) / _BATCH
    if not streams:
        return alone, together, None
    stream = fs.Stream(model)
    steps = [lambda step=step: stream.step(step) for step in np.concatenate(rows[:2])]  # type: ignore[misc]
    return alone, together, _microseconds(steps, before=stream.reset)


def _microseconds(
    calls: Sequence[Callable[[], Any]], *, answers: int = _ANSWERS, before: Callable[[], Any] = lambda: None
) -> float:
    """Return the median time of calls in turn; ``before`` is called, untimed, whenever they begin anew."""
    seconds = []
    for number in range(-2, answers):  # the first two are not counted
        if (number + 2) % len(calls) == 0:
            before()
        begin = time.perf_counter()
        calls[number % len(calls)]()
        if number >= 0:
            seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds) * 1e6)
