"""Steps, epochs, evaluation and prediction of a compiled model, on the loop of ``fastseq.training``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import checks, optim
from fastseq.layers.flow import flat
from fastseq.models.adapting import Adapted
from fastseq.models.arrays import Arrays, Batch
from fastseq.models.compilation import Compiled, Totals
from fastseq.models.feeds import Feed
from fastseq.models.optimizers import Optimizer
from fastseq.nn import init
from fastseq.nn.utils import clip_grad_norm_, clip_grad_value_
from fastseq.training import Callback, History, Run
from fastseq.training.objective import evaluating
from fastseq.training.trainer import Plan as LoopPlan
from fastseq.training.trainer import Trainer

if TYPE_CHECKING:
    from fastseq.models.trained import Trained

Array = NDArray[Any]


class Plan(NamedTuple):
    """The arguments of ``fit`` of these names."""

    epochs: int
    initial_epoch: int
    shuffle: bool
    verbose: int
    validation_freq: int


class Stepper:
    """Trains and evaluates one model as it was compiled.

    Parameters
    ----------
    model
        The model.
    compiled
        Its optimiser, losses and metrics.
    """

    def __init__(self, model: Trained, compiled: Compiled) -> None:
        self.model = model
        self.compiled = compiled
        self.names: list[str] = []
        self._optimizer: optim.Optimizer | None = None
        self._limited: list[Any] = []

    def optimizer(self) -> optim.Optimizer:
        """Return what steps; made anew where other parameters learn than did before."""
        given = self.compiled.optimizer
        if not isinstance(given, Optimizer):
            return given
        wanted = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        if not wanted:
            raise checks.value_error("model", "at least one weight to learn", "none")
        present = self._optimizer
        known = [] if present is None else [p for group in present.param_groups for p in group["params"]]
        if [id(p) for p in known] != [id(p) for p in wanted] or present is None:
            given.keep_rate()
            present = self._optimizer = given.make(wanted)
        return present

    def outputs(self, x: Sequence[Array]) -> list[Any]:
        """Return the model's outputs for a batch.

        Parameters
        ----------
        x
            One array per input.
        """
        return flat(self.model(x[0] if len(x) == 1 else list(x)))

    def step(self, batch: Batch, totals: Totals) -> float:
        """Take one step of the optimiser, and return the loss as it was before.

        Parameters
        ----------
        batch
            The data.
        totals
            What counts losses and metrics.
        """
        optimizer = self.optimizer()
        optimizer.zero_grad()
        outputs = self.outputs(batch.x)
        loss, parts = self.compiled.loss_of(self.model, outputs, batch)
        value = float(loss._data.item())
        totals.add(value, parts, outputs, batch)
        loss.backward()
        self._clip(optimizer)
        if isinstance(self.compiled.optimizer, Optimizer):
            self.compiled.optimizer.begin_step()
        optimizer.step()
        for weight in self._limited:
            weight.constrain()
        return value

    def _clip(self, optimizer: optim.Optimizer) -> None:
        given = self.compiled.optimizer
        limits = given.limits if isinstance(given, Optimizer) else {}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if "clipnorm" in limits:
            for group in self._as_weights(parameters):
                if any(parameter.grad is not None for parameter in group):
                    clip_grad_norm_(group, limits["clipnorm"])
        elif "global_clipnorm" in limits:
            clip_grad_norm_(parameters, limits["global_clipnorm"])
        elif "clipvalue" in limits:
            clip_grad_value_(parameters, limits["clipvalue"])

    def _as_weights(self, parameters: Sequence[Any]) -> list[list[Any]]:
        """Return parameters by the weights of Keras's that they make up: a GRU's two biases are one there."""
        owner = {id(part): number for number, weight in enumerate(self.model.weights) for part in weight.parameters}
        groups: dict[int, list[Any]] = {}
        for parameter in parameters:
            groups.setdefault(owner.get(id(parameter), -id(parameter)), []).append(parameter)
        return list(groups.values())

    def limit(self) -> None:
        """Find the weights that have limits."""
        self._limited = [weight for weight in self.model.weights if weight.constraint is not None]

    def train_on(self, data: Arrays) -> dict[str, float]:
        """Take one step with all rows; return loss and metrics.

        Parameters
        ----------
        data
            The data.
        """
        self.compiled.require_loss()
        totals = Totals(self.compiled)
        before = self.model.training
        self.limit()
        self.model.train()
        try:
            self.step(data.take(slice(None)), totals)
        finally:
            self.model.train(before)
        return totals.logs()

    def evaluate(self, feed: Feed, prefix: str = "") -> dict[str, float]:
        """Return loss and metrics.

        Parameters
        ----------
        feed
            Where the batches come from.
        prefix
            Put before every name.
        """
        self.compiled.require_loss()
        totals = Totals(self.compiled)
        with evaluating(self.model):
            for batch in feed.batches():
                outputs = self.outputs(batch.x)
                loss, parts = self.compiled.loss_of(self.model, outputs, batch)
                totals.add(float(loss._data.item()), parts, outputs, batch)
        return totals.logs(prefix)

    def told(self, logs: dict[str, float], as_dict: bool) -> Any:
        """Return numbers the way Keras does: one alone, or a list, or a dict.

        Parameters
        ----------
        logs
            The numbers.
        as_dict
            Whether a dict is wanted.
        """
        self.names = list(logs)
        values = list(logs.values())
        return logs if as_dict else values if len(values) > 1 else values[0]

    def fit(self, plan: Plan, data: Feed, held_out: Feed | None, callbacks: Any) -> History:
        """Go through the epochs.

        Parameters
        ----------
        plan
            How.
        data
            What is trained on.
        held_out
            What is validated on, or None.
        callbacks
            Callbacks, one or several, or None.
        """
        self.compiled.require_loss()
        found = [] if callbacks is None else [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
        for callback in found:
            if not isinstance(callback, Callback):
                raise checks.kind_error("callbacks", "callbacks of fastseq.callbacks", callback)
        rng = np.random.default_rng(init.generator().integers(2**63))
        state = Run(self.model, self.optimizer(), plan.epochs, rng)
        params = {"epochs": plan.epochs, "steps": data.count, "verbose": plan.verbose}
        state.callbacks = [Adapted.to(callback, self.model, params) for callback in found]
        state.callbacks += [_Lines(plan.epochs)] if plan.verbose == 2 else []
        self.limit()
        state.history.__dict__.update(model=self.model, params=params)
        loop = _Loop(self, state, plan, data)
        self.model.stop_training = False
        with init.use_generator(rng):
            loop.train(plan.initial_epoch, held_out, plan.verbose == 1)  # type: ignore[arg-type]
        for name in ("lr", "seconds"):
            state.history.history.pop(name, None)
        return state.history


class _Loop(Trainer):
    """The loop over epochs of ``fastseq.training``, with Keras's batches, losses and metrics."""

    def __init__(self, stepper: Stepper, state: Run, plan: Plan, data: Feed) -> None:
        loop_plan = LoopPlan(1, plan.shuffle, None, None, 1, None)
        nothing: Any = None
        super().__init__(state, loop_plan, nothing, nothing, np.arange(data.count or 0), nothing, {})
        self.stepper, self.data, self.face_plan = stepper, data, plan
        self.epoch = plan.initial_epoch
        self.present: Iterator[Batch] = iter(())

    def _tally(self) -> Any:
        return Totals(self.stepper.compiled)

    def _learn(self, tally: Any, bar: Any) -> None:
        state = self.state
        self.epoch += 1
        own = [callback for callback in state.callbacks if isinstance(callback, Adapted)]
        for number, batch in enumerate(self.present):
            for adapted in own:
                adapted.batch_begin(number)
            loss = self.stepper.step(batch, tally)
            bar.update(1)
            for callback in state.callbacks:
                callback.on_optimizer_step()
                if isinstance(callback, Adapted):
                    callback.batch_end(number, loss, tally.logs)
                else:
                    callback.on_train_batch_end(number, loss)
            if state.stopping or self.stepper.model.stop_training:
                state.stopping = True
                break

    def _epoch(self, epoch: int, held_out: Any, bar: Any) -> None:
        batches = self.data.batches()
        first = next(batches, None)
        if first is None:  # a generator has come to its end
            self.state.stopping = True
            return
        self.present = itertools.chain([first], batches)
        super()._epoch(epoch, held_out, bar)
        self.state.stopping = self.state.stopping or self.stepper.model.stop_training

    def _score(self, held_out: Any) -> dict[str, float]:
        if self.epoch % self.face_plan.validation_freq:
            return {}
        own = [callback for callback in self.state.callbacks if isinstance(callback, Adapted)]
        for callback in own:
            callback.call("on_test_begin")
        found = self.stepper.evaluate(held_out, "val_")
        for callback in own:
            callback.call("on_test_end", logs=lambda: {name.removeprefix("val_"): n for name, n in found.items()})
        return found


class _Lines(Callback):
    """Prints a line per epoch."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        """Print the epoch's numbers."""
        numbers = [f"{name}: {value:.4f}" for name, value in logs.items() if name not in ("lr", "seconds")]
        print(f"Epoch {epoch + 1}/{self.epochs} - {logs['seconds']:.0f}s - " + " - ".join(numbers))


def predict(model: Trained, feed: Feed) -> list[Array]:
    """Return a model's outputs for all rows, one array per output.

    Parameters
    ----------
    model
        The model.
    feed
        Where the batches come from.
    """
    parts: list[list[Array]] = []
    with evaluating(model):
        for batch in feed.batches():
            found = flat(model(batch.x[0] if len(batch.x) == 1 else batch.x))
            parts.append([np.array(out._data) for out in found])
    if not parts:
        raise checks.value_error("x", "at least one batch", "none")
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
