"""A training run as callbacks see it, and what a callback is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.nn import Module
from fastseq.optim import ExponentialMovingAverage, Optimizer
from fastseq.training.history import History

Logs = Mapping[str, float]


class Run:
    """A training run as callbacks see it.

    Parameters
    ----------
    model
        What learns.
    optimizer
        What teaches it.
    epochs
        How many epochs there are to be.
    rng
        What draws the order of the data and the model's random numbers.
    """

    def __init__(self, model: Module, optimizer: Optimizer, epochs: int, rng: np.random.Generator) -> None:
        self.model = model
        self.optimizer = optimizer
        self.epochs = epochs
        self.rng = rng
        self.history = History()
        self.callbacks: list[Callback] = []
        #: The weights' moving average, where ``fit`` keeps one.
        self.averages: ExponentialMovingAverage | None = None
        self.start_state: Any = rng.bit_generator.state
        self.stopping = False

    def stop(self, reason: str) -> None:
        """End the run after this batch or epoch.

        Parameters
        ----------
        reason
            Why, for the history.
        """
        self.stopping = True
        self.history.stopped = reason

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of all parameter groups.

        Parameters
        ----------
        lr
            The learning rate.
        """
        for group in self.rated_groups:
            group["lr"] = lr

    @property
    def lr(self) -> float:
        """The first group's learning rate; NaN where the optimiser has none."""
        return float(self.optimizer.param_groups[0].get("lr", math.nan))

    @property
    def rated_groups(self) -> list[dict[str, Any]]:
        """The optimiser's parameter groups, if they have learning rates."""
        if "lr" not in self.optimizer.defaults:
            raise checks.value_error("optimizer", "one with a learning rate", type(self.optimizer).__name__)
        return self.optimizer.param_groups


class Callback:
    """Base class: override what is needed. ``self.run`` is the training run, set before ``on_train_begin``."""

    run: Run

    def on_train_begin(self) -> None:
        """Is called once, before the first epoch."""

    def on_train_end(self) -> None:
        """Is called once, after the last epoch, also after an interrupt."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Is called before each epoch.

        Parameters
        ----------
        epoch
            Its number, from 0.
        """

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Is called after each epoch; where ``fit`` averages weights, the model holds the averages then.

        Parameters
        ----------
        epoch
            Its number, from 0.
        logs
            The epoch's numbers by name.
        """

    def on_train_batch_end(self, batch: int, loss: float) -> None:
        """Is called after each batch.

        Parameters
        ----------
        batch
            Its number in the epoch, from 0.
        loss
            Its loss.
        """

    def on_optimizer_step(self) -> None:
        """Is called after each step of the optimiser, before ``on_train_batch_end`` of its batches."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold for this callback to go on exactly: numbers and arrays by name."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` returned.

        Parameters
        ----------
        state
            Numbers and arrays by name.
        """
