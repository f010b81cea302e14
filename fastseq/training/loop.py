"""fit: shuffled, bucketed mini-batches, epoch after epoch, with validation, callbacks and a history."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.batch import bucket
from fastseq.nn import Module, init
from fastseq.nn.utils import clip_grad_norm_, clip_grad_value_
from fastseq.optim import SGD, Adam, AdamW, Optimizer
from fastseq.training.callbacks import Callback, EarlyStopping, Run
from fastseq.training.checkpoint import Checkpoint, resume
from fastseq.training.history import History
from fastseq.training.metrics import Metric, resolve
from fastseq.training.objective import (
    Objective,
    check_model,
    evaluating,
    gives_one_per_step,
    lengths_for_loss,
    model_dtype,
    modes,
    restore_modes,
    run,
)
from fastseq.training.rows import Rows, Targets

Array = NDArray[Any]
Numbers = NDArray[np.int64]

OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


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
        (B, T, F), or a list of sequences (T_i, F).
    y
        One target per row (B, ...); or one per step, (B, T, ...) or a list of (T_i, ...). Integer classes for
        ``"cross_entropy"``.
    lengths
        Valid steps per row of an array, integers (B,); None means all.
    loss
        ``"mse"``, ``"mae"`` (or ``"l1"``), ``"huber"``, ``"cross_entropy"``, ``"bce"`` (from logits), or a function of
        (prediction, target) that returns a scalar Tensor.
    optimizer
        ``"adam"``, ``"adamw"``, ``"sgd"``, a class, or an Optimizer over the model's parameters.
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
    checks.boolean("shuffle", shuffle)
    if targets.per_step is None:
        targets.settle(gives_one_per_step(model, rows))
    state = Run(model, _optimizer(optimizer, model, learning_rate), epochs, rng)
    state.callbacks = _callbacks(callbacks, patience, validation_split, validation_data)
    held_out = _Validation.given(model, validation_data, dtype, objective, targets.per_step)
    resumes = resume_from is not None and os.path.exists(resume_from)
    first = resume(state, resume_from) if resume_from is not None and resumes else 0
    numbers = np.arange(len(rows))
    if checks.real("validation_split", validation_split, 0.0, 1.0, open_maximum=True):
        if held_out is not None:
            raise ValueError("validation_split: expected 0 where validation_data are given, got both")
        numbers, set_aside = _split(numbers, validation_split, state, shuffle)
        held_out = _Validation(rows, targets, set_aside)
    trainer = _Trainer(state, rows, targets, numbers, objective, found_metrics)
    trainer.batch_size, trainer.shuffle = batch_size, shuffle
    trainer.clip_norm, trainer.clip_value = clip_norm, clip_value
    with init.use_generator(rng):
        trainer.train(first, held_out, bool(verbose))
    return state.history


class _Validation:
    """Rows that are scored and not trained on."""

    def __init__(self, rows: Rows, targets: Targets, numbers: Numbers) -> None:
        self.rows = rows
        self.targets = targets
        self.numbers = numbers

    @classmethod
    def given(
        cls, model: Module, data: Any, dtype: np.dtype, objective: Objective, per_step: bool | None
    ) -> _Validation | None:
        if data is None:
            return None
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise checks.kind_error("validation_data", "(x, y) or (x, y, lengths)", data)
        rows = Rows("validation_data[0]", data[0], data[2] if len(data) == 3 else None, dtype)
        check_model(model, rows)
        targets = Targets("validation_data[1]", data[1], rows, dtype, objective.keeps_integers)
        if targets.per_step is None:
            targets.settle(gives_one_per_step(model, rows))
        return cls(rows, targets, np.arange(len(rows)))


class _Tally:
    """Losses and, where measures are wanted, predictions of one pass."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = metrics
        self.total = 0.0
        self.weight = 0
        self.pairs: list[tuple[Array, Array]] = []

    def add(self, loss: float, prediction: Array, target: Array, lengths: Numbers | None) -> None:
        weight = len(target) if lengths is None else int(lengths.sum())
        if weight:
            self.total += loss * weight
            self.weight += weight
        if self.metrics:
            if lengths is not None:
                valid = np.arange(target.shape[1]) < lengths[:, None]
                prediction, target = prediction[valid], target[valid]
            self.pairs.append((target.copy(), prediction.copy()))

    def logs(self, prefix: str) -> dict[str, float]:
        found = {f"{prefix}loss": self.total / self.weight if self.weight else float("nan")}
        if self.metrics:
            true = np.concatenate([pair[0] for pair in self.pairs])
            predicted = np.concatenate([pair[1] for pair in self.pairs])
            for name, metric in self.metrics.items():
                found[f"{prefix}{name}"] = float(metric(true, predicted))
        return found


class _Trainer:
    """The loop itself."""

    batch_size: int
    shuffle: bool
    clip_norm: float | None
    clip_value: float | None

    def __init__(
        self,
        state: Run,
        rows: Rows,
        targets: Targets,
        numbers: Numbers,
        objective: Objective,
        metrics: Mapping[str, Metric],
    ) -> None:
        self.state = state
        self.rows = rows
        self.targets = targets
        self.numbers = numbers
        self.objective = objective
        self.metrics = metrics
        self.parameters = [p for group in state.optimizer.param_groups for p in group["params"]]

    def train(self, first: int, held_out: _Validation | None, verbose: bool) -> None:
        state = self.state
        before = modes(state.model)
        per_epoch = -(-len(self.numbers) // self.batch_size)
        try:
            with _bar(verbose, per_epoch * state.epochs, per_epoch * first) as bar:
                self._start(resumed=first > 0)
                try:
                    for epoch in range(first, state.epochs):
                        if state.stopping:
                            break
                        self._epoch(epoch, held_out, bar)
                except KeyboardInterrupt:
                    state.history.interrupted = True
                finally:
                    for callback in state.callbacks:
                        callback.on_train_end()
        finally:
            restore_modes(before)

    def _start(self, resumed: bool) -> None:
        for callback in self.state.callbacks:
            kept = callback.state_dict() if resumed else {}
            callback.run = self.state
            callback.on_train_begin()
            if kept:
                callback.load_state_dict(kept)

    def _epoch(self, epoch: int, held_out: _Validation | None, bar: Any) -> None:
        state, start = self.state, time.perf_counter()
        for callback in state.callbacks:
            callback.on_epoch_begin(epoch)
        tally = _Tally(self.metrics)
        state.model.train()
        bar.set_description(f"epoch {epoch + 1}/{state.epochs}", refresh=False)
        for number, batch in enumerate(self._batches()):
            loss = self._step(batch, tally)
            bar.update(1)
            for callback in state.callbacks:
                callback.on_train_batch_end(number, loss)
            if state.stopping:
                break
        logs = tally.logs("")
        if held_out is not None:
            logs |= self._score(held_out)
        bar.set_postfix({name: f"{logs[name]:.4g}" for name in ("loss", "val_loss") if name in logs})
        logs |= {"lr": state.lr, "seconds": time.perf_counter() - start}
        state.history.append(epoch, logs)
        for callback in state.callbacks:
            callback.on_epoch_end(epoch, logs)

    def _batches(self) -> Iterator[Numbers]:
        if not self.shuffle:
            for start in range(0, len(self.numbers), self.batch_size):
                yield self.numbers[start : start + self.batch_size]
            return
        for chosen in bucket(self.rows.lengths[self.numbers], self.batch_size, self.state.rng):
            yield self.numbers[chosen]

    def _step(self, batch: Numbers, tally: _Tally) -> float:
        optimizer = self.state.optimizer
        optimizer.zero_grad()
        loss, value = self._loss(self.rows, self.targets, batch, tally)
        loss.backward()
        if self.clip_value is not None:
            clip_grad_value_(self.parameters, self.clip_value)
        if self.clip_norm is not None:
            clip_grad_norm_(self.parameters, self.clip_norm)
        optimizer.step()
        return value

    def _loss(self, rows: Rows, targets: Targets, batch: Numbers, tally: _Tally) -> tuple[Tensor, float]:
        data, lengths = rows.take(batch)
        prediction = run(self.state.model, data, lengths if rows.ragged else None)
        target = self.objective.aligned(targets.argument, prediction, targets.take(batch, data.shape[1]))
        masked = lengths_for_loss(targets, rows, lengths)
        loss = self.objective(prediction, target, masked)
        value = loss.item()
        tally.add(value, prediction._data, target, masked)
        return loss, value

    def _score(self, held_out: _Validation) -> dict[str, float]:
        tally = _Tally(self.metrics)
        with evaluating(self.state.model):
            for chosen in bucket(held_out.rows.lengths[held_out.numbers], max(self.batch_size, 256)):
                self._loss(held_out.rows, held_out.targets, held_out.numbers[chosen], tally)
        return tally.logs("val_")


def _generator(random_state: Any) -> np.random.Generator:
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None:
        return np.random.default_rng(init.generator().integers(2**63))
    return np.random.default_rng(checks.integer("random_state", random_state, minimum=0))


def _optimizer(optimizer: Any, model: Module, learning_rate: float | None) -> Optimizer:
    if isinstance(optimizer, Optimizer):
        if learning_rate is not None:
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
    options = {} if learning_rate is None else {"lr": checks.real("learning_rate", learning_rate, 0.0)}
    return build(parameters, **options)


def _callbacks(callbacks: Any, patience: int | None, split: Any, data: Any) -> list[Callback]:
    found = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
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


@contextmanager
def _bar(verbose: bool, total: int, initial: int) -> Iterator[Any]:
    from tqdm.auto import tqdm

    with tqdm(total=total, initial=initial, unit="batch", disable=not verbose, leave=True) as bar:
        yield bar
