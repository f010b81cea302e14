"""fit: what training is asked to do, checked and put together before it begins."""

from __future__ import annotations

import inspect
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.nn import Module, init
from fastseq.optim import (
    LBFGS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    ExponentialMovingAverage,
    Lion,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
)
from fastseq.optim.lr_scheduler import LRScheduler
from fastseq.training.callbacks import EarlyStopping
from fastseq.training.carried import check_windows
from fastseq.training.checkpoint import Checkpoint, resume
from fastseq.training.history import History
from fastseq.training.metrics import Metric, resolve
from fastseq.training.objective import Objective, check_model, gives_one_per_step, model_dtype
from fastseq.training.rows import Rows, Targets
from fastseq.training.run import Callback, Run
from fastseq.training.schedules import SchedulerCallback
from fastseq.training.trainer import Plan, Trainer, Validation

Numbers = NDArray[np.int64]

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": NAdam,
    "radam": RAdam,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "lion": Lion,
    "lbfgs": LBFGS,
}


def fit(
    model: Module,
    x: Any,
    y: Any,
    *,
    lengths: Any = None,
    loss: str | Callable[..., Tensor] = "mse",
    optimizer: str | type[Optimizer] | Optimizer = "adam",
    learning_rate: float | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    validation_split: float = 0.0,
    validation_data: tuple[Any, ...] | None = None,
    metrics: str | Metric | Iterable[str | Metric] | Mapping[str, Metric] = (),
    callbacks: Iterable[Callback] = (),
    patience: int | None = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    accumulate: int = 1,
    tbptt: int | None = None,
    scheduler: LRScheduler | Callable[[Optimizer], LRScheduler] | None = None,
    scheduler_interval: str = "epoch",
    ema: float | ExponentialMovingAverage | None = None,
    shuffle: bool = True,
    random_state: int | np.random.Generator | None = None,
    verbose: bool | int = True,
    resume_from: str | os.PathLike[str] | None = None,
) -> History:
    """Train a model.

    Parameters
    ----------
    model
        What to train; left in the mode (training or evaluation) it had. A forward with ``lengths`` gets them where
        rows are ragged.
    x
        (B, T, F), or a list (or array of objects) of sequences (T_i, F).
    y
        One target per row (B, ...); or one per step, (B, T, ...) or a list of (T_i, ...). Integer classes for
        ``"cross_entropy"``.
    lengths
        Valid steps per row of an array, integers (B,); None means all.
    loss
        ``"mse"``, ``"mae"`` (or ``"l1"``), ``"huber"``, ``"cross_entropy"``, ``"bce"`` (from logits), or a function of
        (prediction, target) that returns a scalar Tensor.
    optimizer
        ``"adam"``, ``"adamw"``, ``"nadam"``, ``"radam"``, ``"rmsprop"``, ``"adagrad"``, ``"lion"``, ``"sgd"``,
        ``"lbfgs"`` (for all rows in one batch and no dropout), a class, or an Optimizer over the model's parameters.
    learning_rate
        None for the optimiser's own.
    epochs
        Passes over the data.
    batch_size
        Rows per step.
    validation_split
        Share of the rows that is set aside at random and not trained on, in [0, 1); without ``shuffle`` the last rows.
    validation_data
        (x, y) or (x, y, lengths) to validate on instead.
    metrics
        Names (``"mae"``, ``"rmse"``, ``"r2"``, ``"accuracy"``, ``"f1_macro"``, ``"perplexity"``, ...: see
        ``fastseq.training.metrics``), or functions of (y_true, y_pred) over an epoch's rows, or over its valid steps
        where there is one target per step. On training data the predictions are those made while learning.
    callbacks
        See ``fastseq.training.callbacks``.
    patience
        Stop after so many epochs without a better ``val_loss`` and go back to the best weights; needs validation.
    clip_norm, clip_value
        Limits of the gradients' joint norm, and of each entry.
    accumulate
        Batches (or windows) per step of the optimiser: gradients are those of the mean loss over all their rows (or
        valid steps), as if they were one batch. For losses that are means; class weights are not taken into account.
    tbptt
        K, for truncated back-propagation through time with one target per step: each batch is cut in windows of K
        steps, with a step of the optimiser for each; recurrent layers go on from where the window before ended, and
        gradients end at the window's first step. For models that say the same of windows as of whole sequences.
    scheduler
        A schedule of ``optim.lr_scheduler`` over the Optimizer given, or a function of the optimiser that makes one;
        ``ReduceLROnPlateau`` looks at ``val_loss``. See ``fastseq.training.SchedulerCallback``.
    scheduler_interval
        Whether it is stepped after each ``"epoch"`` or each ``"step"`` of the optimiser.
    ema
        Decay of an exponential moving average of the weights, or the average itself; validation and callbacks at an
        epoch's end see the averages, and the model has them in the end.
    shuffle
        Whether rows come in another order each epoch; rows of like length come together.
    random_state
        Seed or Generator for split, order and dropout: the same gives the same model, bit for bit. None draws a seed
        from the package's generator (``fastseq.manual_seed``).
    verbose
        Whether to show a progress bar.
    resume_from
        A checkpoint of an interrupted run with the same arguments (see ``fastseq.training.Checkpoint``): it goes on as
        if it had never stopped. If there is no such file yet, training starts at the beginning.

    Returns
    -------
    History
        ``history.history`` maps ``loss``, ``val_loss``, metrics, ``lr`` and ``seconds`` to one number per epoch.
        Ctrl-C ends training; the history so far is returned, marked ``interrupted``.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit: named, with what was expected and got. Nothing has been trained then.
    """
    dtype = model_dtype(model)
    rows = Rows("x", x, lengths, dtype)
    check_model(model, rows)
    objective = Objective(loss)
    targets = Targets("y", y, rows, dtype, objective.keeps_integers)
    rng = _generator(random_state)
    found_metrics = resolve(metrics)
    for name, value, least in (("epochs", epochs, 0), ("batch_size", batch_size, 1)):
        checks.integer(name, value, minimum=least)
    for name, limit in (("clip_norm", clip_norm), ("clip_value", clip_value)):
        if limit is not None:
            checks.real(name, limit, 0.0, open_minimum=True)
    checks.integer("accumulate", accumulate, minimum=1)
    checks.boolean("shuffle", shuffle)
    if targets.per_step is None:
        targets.settle(gives_one_per_step(model, rows))
    state = Run(model, _optimizer(optimizer, model, learning_rate), epochs, rng)
    state.callbacks = _callbacks(callbacks, scheduler, scheduler_interval, patience, validation_split, validation_data)
    state.averages = _averages(ema, model)
    if state.optimizer.needs_closure:
        for name, given in (("clip_norm", clip_norm), ("clip_value", clip_value), ("tbptt", tbptt)):
            if given is not None:
                kind = type(state.optimizer).__name__
                raise checks.value_error(name, f"None for {kind}, which computes one loss many times", given)
    if tbptt is not None:
        checks.integer("tbptt", tbptt, minimum=1)
        if not targets.one_per_step(rows):
            raise checks.value_error("y", "one target per step, to train in windows of steps (tbptt)", "one per row")
        check_windows(model, rows, tbptt)
    held_out = Validation.given(model, validation_data, dtype, objective, targets.per_step)
    resumes = resume_from is not None and os.path.exists(resume_from)
    first = resume(state, resume_from) if resume_from is not None and resumes else 0
    numbers = np.arange(len(rows))
    if checks.real("validation_split", validation_split, 0.0, 1.0, open_maximum=True):
        if held_out is not None:
            raise ValueError("validation_split: expected 0 where validation_data are given, got both")
        numbers, set_aside = _split(numbers, validation_split, state, shuffle)
        held_out = Validation(rows, targets, set_aside)
    plan = Plan(batch_size, shuffle, clip_norm, clip_value, accumulate, tbptt)
    trainer = Trainer(state, plan, rows, targets, numbers, objective, found_metrics)
    with init.use_generator(rng):
        trainer.train(first, held_out, bool(verbose))
    return state.history


def _generator(random_state: Any) -> np.random.Generator:
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None:
        return np.random.default_rng(init.generator().integers(2**63))
    if isinstance(random_state, (bool, np.bool_)) or not isinstance(random_state, numbers.Integral):
        raise checks.kind_error("random_state", "an integer, a numpy.random.Generator or None", random_state)
    return np.random.default_rng(checks.integer("random_state", random_state, minimum=0))


def _optimizer(optimizer: Any, model: Module, learning_rate: float | None) -> Optimizer:
    if isinstance(optimizer, Optimizer):
        if learning_rate is not None:
            _check_rated(type(optimizer).__name__, "lr" in optimizer.defaults, learning_rate)
            for group in optimizer.param_groups:
                group["lr"] = checks.real("learning_rate", learning_rate, 0.0)
        return optimizer
    if isinstance(optimizer, str):
        optimizer = OPTIMIZERS[checks.choice("optimizer", optimizer, OPTIMIZERS)]
    if not (isinstance(optimizer, type) and issubclass(optimizer, Optimizer)):
        raise checks.kind_error("optimizer", f"one of {', '.join(OPTIMIZERS)}, a class or an Optimizer", optimizer)
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise checks.value_error("model", "at least one parameter to learn", "none")
    build: Any = optimizer
    if learning_rate is None:
        return build(parameters)
    rated = "lr" in inspect.signature(build).parameters and not issubclass(optimizer, LBFGS)
    _check_rated(optimizer.__name__, rated, learning_rate)
    return build(parameters, lr=checks.real("learning_rate", learning_rate, 0.0))


def _check_rated(kind: str, rated: bool, learning_rate: float) -> None:
    if not rated:
        raise checks.value_error("learning_rate", f"None for {kind}, which finds its steps' length", learning_rate)


def _averages(ema: Any, model: Module) -> ExponentialMovingAverage | None:
    if ema is None or isinstance(ema, ExponentialMovingAverage):
        return ema
    return ExponentialMovingAverage(model.parameters(), checks.real("ema", ema, 0.0, 1.0))


def _callbacks(
    callbacks: Any, scheduler: Any, interval: str, patience: int | None, split: Any, data: Any
) -> list[Callback]:
    found = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
    if scheduler is not None:
        found.append(SchedulerCallback(scheduler, interval))
    checks.choice("scheduler_interval", interval, ("epoch", "step"))
    for callback in found:
        if not isinstance(callback, Callback):
            raise checks.kind_error("callbacks", "Callback objects", callback)
    if patience is not None:
        if data is None and not split:
            raise ValueError("patience: expected validation_data or a validation_split to watch, got neither")
        found.append(EarlyStopping(patience=checks.integer("patience", patience, minimum=1)))
    # A checkpoint is written last, so that it holds what the others have become.
    return sorted(found, key=lambda callback: isinstance(callback, Checkpoint))


def _split(numbers: Numbers, share: float, state: Run, shuffle: bool) -> tuple[Numbers, Numbers]:
    count = round(share * len(numbers))
    if not 0 < count < len(numbers):
        raise checks.value_error("validation_split", f"a share that leaves rows on both sides of {len(numbers)}", share)
    if not shuffle:
        return numbers[:-count], numbers[-count:]
    # After resuming, the split must be the one that was drawn at the very start.
    chooser = type(state.rng)(type(state.rng.bit_generator)())
    chooser.bit_generator.state = state.start_state
    order = chooser.permutation(numbers)
    return np.sort(order[count:]), np.sort(order[:count])
