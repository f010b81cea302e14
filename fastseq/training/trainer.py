"""The training loop: shuffled, bucketed mini-batches, epoch after epoch, with validation and callbacks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.batch import bucket
from fastseq.nn import Module
from fastseq.nn.utils import clip_grad_norm_, clip_grad_value_
from fastseq.training.carried import CarriedState
from fastseq.training.checkpoint import Checkpoint
from fastseq.training.metrics import Metric
from fastseq.training.objective import (
    Objective,
    check_model,
    evaluating,
    gives_one_per_step,
    modes,
    restore_modes,
    run,
)
from fastseq.training.pieces import Piece, groups, pieces, shares
from fastseq.training.rows import Rows, Targets
from fastseq.training.run import Run

Array = NDArray[Any]
Numbers = NDArray[np.int64]


class Plan(NamedTuple):
    """How rows become steps of the optimiser: the arguments of ``fit`` of these names."""

    batch_size: int
    shuffle: bool
    clip_norm: float | None
    clip_value: float | None
    accumulate: int
    window: int | None  #: ``tbptt``


class Validation:
    """Rows that are scored and not trained on.

    Parameters
    ----------
    rows
        All rows.
    targets
        All targets.
    numbers
        Which of them are scored.
    """

    def __init__(self, rows: Rows, targets: Targets, numbers: Numbers) -> None:
        self.rows = rows
        self.targets = targets
        self.numbers = numbers

    @classmethod
    def given(
        cls, model: Module, data: Any, dtype: np.dtype, objective: Objective, per_step: bool | None
    ) -> Validation | None:
        """Return the validation data that ``fit`` was given, checked; None if it was given none.

        Parameters
        ----------
        model
            The model.
        data
            (x, y) or (x, y, lengths), or None.
        dtype
            What the model computes in.
        objective
            The loss.
        per_step
            Whether there is one target per step, if the training data told.
        """
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


class Tally:
    """Losses and, where measures are wanted, predictions of one pass.

    Parameters
    ----------
    metrics
        The measures by name.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = metrics
        self.total = 0.0
        self.weight = 0
        self.pairs: list[tuple[Array, Array]] = []

    def add(self, loss: float, prediction: Array, piece: Piece, target: Array) -> None:
        """Count one piece.

        Parameters
        ----------
        loss
            Its mean loss.
        prediction
            What the model said.
        piece
            The piece.
        target
            Its target, in the prediction's shape.
        """
        weight = piece.weight
        if weight:
            self.total += loss * weight
            self.weight += weight
        if self.metrics:
            if piece.counted is not None:
                valid = np.arange(target.shape[1]) < piece.counted[:, None]
                prediction, target = prediction[valid], target[valid]
            self.pairs.append((target.copy(), prediction.copy()))

    def logs(self, prefix: str) -> dict[str, float]:
        """Return loss and measures of the pass.

        Parameters
        ----------
        prefix
            Put before every name.
        """
        found = {f"{prefix}loss": self.total / self.weight if self.weight else float("nan")}
        if self.metrics:
            true = np.concatenate([pair[0] for pair in self.pairs])
            predicted = np.concatenate([pair[1] for pair in self.pairs])
            for name, metric in self.metrics.items():
                found[f"{prefix}{name}"] = float(metric(true, predicted))
        return found


class Trainer:
    """The loop itself.

    Parameters
    ----------
    state
        The run.
    plan
        How rows become steps.
    rows
        All rows.
    targets
        All targets.
    numbers
        Which of them are trained on.
    objective
        What is made small.
    metrics
        What is measured besides, by name.
    """

    def __init__(
        self,
        state: Run,
        plan: Plan,
        rows: Rows,
        targets: Targets,
        numbers: Numbers,
        objective: Objective,
        metrics: Mapping[str, Metric],
    ) -> None:
        self.state = state
        self.plan = plan
        self.rows = rows
        self.targets = targets
        self.numbers = numbers
        self.objective = objective
        self.metrics = metrics
        self.parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
        self.carried: CarriedState | None = None

    def train(self, first: int, held_out: Validation | None, verbose: bool) -> None:
        """Go through the epochs.

        Parameters
        ----------
        first
            The epoch to begin with.
        held_out
            What to validate on.
        verbose
            Whether to show a bar.
        """
        state = self.state
        before = modes(state.model)
        per_epoch = -(-len(self.numbers) // self.plan.batch_size)
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
                    if state.averages is not None:
                        state.averages.copy_to()
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

    def _epoch(self, epoch: int, held_out: Validation | None, bar: Any) -> None:
        state, start = self.state, time.perf_counter()
        for callback in state.callbacks:
            callback.on_epoch_begin(epoch)
        tally = self._tally()
        state.model.train()
        bar.set_description(f"epoch {epoch + 1}/{state.epochs}", refresh=False)
        self._learn(tally, bar)
        logs = tally.logs("")
        with nullcontext() if state.averages is None else state.averages.applied():
            if held_out is not None:
                logs |= self._score(held_out)
            bar.set_postfix({name: f"{logs[name]:.4g}" for name in ("loss", "val_loss") if name in logs})
            logs |= {"lr": state.lr, "seconds": time.perf_counter() - start}
            state.history.append(epoch, logs)
            for callback in state.callbacks:
                if not isinstance(callback, Checkpoint):
                    callback.on_epoch_end(epoch, logs)
        for callback in state.callbacks:  # a checkpoint holds the weights that learn, beside their averages
            if isinstance(callback, Checkpoint):
                callback.on_epoch_end(epoch, logs)

    def _tally(self) -> Tally:
        """Return what counts the epoch's losses; a loop with other sums overrides it."""
        return Tally(self.metrics)

    def _learn(self, tally: Tally, bar: Any) -> None:
        state, number = self.state, 0
        self.carried = None if self.plan.window is None else CarriedState(state.model)
        with self.carried or nullcontext():
            found = pieces(self.rows, self.targets, self._batches(), self.plan.window, self.objective.ignored)
            for group in groups(found, self.plan.accumulate):
                losses = self._step(group, tally)
                bar.update(sum(piece.ends for piece in group))
                for callback in state.callbacks:
                    callback.on_optimizer_step()
                for loss in losses:
                    for callback in state.callbacks:
                        callback.on_train_batch_end(number, loss)
                    number += 1
                if state.stopping:
                    break

    def _batches(self) -> Iterator[Numbers]:
        if not self.plan.shuffle:
            for start in range(0, len(self.numbers), self.plan.batch_size):
                yield self.numbers[start : start + self.plan.batch_size]
            return
        for chosen in bucket(self.rows.lengths[self.numbers], self.plan.batch_size, self.state.rng):
            yield self.numbers[chosen]

    def _step(self, group: list[Piece], tally: Tally) -> list[float]:
        """Take one step of the optimiser; return the pieces' losses, as they were before it."""
        optimizer = self.state.optimizer
        if sum(piece.weight for piece in group):  # a mean over nothing is NaN, and nothing is learnt from it
            group = [piece for piece in group if piece.weight]
        before: list[float] = []

        def closure() -> float:
            optimizer.zero_grad()
            values, total = [], 0.0
            for piece, share in zip(group, shares(group), strict=True):
                if piece.begins and self.carried is not None:
                    self.carried.reset()
                loss, value = self._loss(self.targets, piece, None if before else tally)
                (loss if share == 1.0 else loss * share).backward()
                values.append(value)
                total += share * value
            before[:] = before or values
            if self.plan.clip_value is not None:
                clip_grad_value_(self.parameters, self.plan.clip_value)
            if self.plan.clip_norm is not None:
                clip_grad_norm_(self.parameters, self.plan.clip_norm)
            return total

        if optimizer.needs_closure:
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        if self.state.averages is not None:
            self.state.averages.update()
        return before

    def _loss(self, targets: Targets, piece: Piece, tally: Tally | None) -> tuple[Tensor, float]:
        prediction = run(self.state.model, piece.data, piece.given)
        target = self.objective.aligned(targets.argument, prediction, piece.target)
        loss = self.objective(prediction, target, piece.masked)
        value = loss.item()
        if tally is not None:
            tally.add(value, prediction._data, piece, target)
        return loss, value

    def _score(self, held_out: Validation) -> dict[str, float]:
        tally = Tally(self.metrics)
        with evaluating(self.state.model):
            batches = bucket(held_out.rows.lengths[held_out.numbers], max(self.plan.batch_size, 256))
            chosen = (held_out.numbers[numbers] for numbers in batches)
            for piece in pieces(held_out.rows, held_out.targets, chosen, ignored=self.objective.ignored):
                self._loss(held_out.targets, piece, tally)
        return tally.logs("val_")


@contextmanager
def _bar(verbose: bool, total: int, initial: int) -> Iterator[Any]:
    from tqdm.auto import tqdm

    with tqdm(total=total, initial=initial, unit="batch", disable=not verbose, leave=True) as bar:
        yield bar
