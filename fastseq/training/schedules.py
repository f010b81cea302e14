"""A callback that steps a learning rate schedule of ``optim.lr_scheduler``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastseq import checks
from fastseq.optim import Optimizer
from fastseq.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from fastseq.training.run import Callback, Logs


class SchedulerCallback(Callback):
    """Step a schedule after each epoch, or after each step of the optimiser.

    Parameters
    ----------
    scheduler
        A schedule over the optimiser that ``fit`` was given; or a function that makes one of the optimiser, such as
        ``lambda optimizer: CosineAnnealingLR(optimizer, T_max=50)``.
    interval
        ``"epoch"`` or ``"step"`` (of the optimiser: a batch, or as many as gradients are accumulated over).
    monitor
        The number of the logs that ``ReduceLROnPlateau`` looks at.
    """

    def __init__(
        self,
        scheduler: LRScheduler | Callable[[Optimizer], LRScheduler],
        interval: str = "epoch",
        monitor: str = "val_loss",
    ) -> None:
        if not isinstance(scheduler, LRScheduler) and (isinstance(scheduler, type) or not callable(scheduler)):
            raise checks.kind_error("scheduler", "a schedule, or a function of the optimizer that makes one", scheduler)
        self._given = scheduler
        self._scheduler: LRScheduler | None = None
        self._kept: Mapping[str, Any] | None = None
        self._running = False
        self.interval = checks.choice("interval", interval, ("epoch", "step"))
        self.monitor = monitor

    @property
    def scheduler(self) -> LRScheduler:
        """The schedule of the run that is going on, or was the last."""
        if self._scheduler is None:
            raise checks.value_error("scheduler", "a run that has begun, to make one for", "none")
        return self._scheduler

    def on_train_begin(self) -> None:
        """Make the schedule, unless it was given; it belongs to the run's optimiser."""
        optimizer = self.run.optimizer
        if isinstance(self._given, LRScheduler):
            scheduler = self._given
        else:
            before = [dict(group) for group in optimizer.param_groups]
            scheduler = self._given(optimizer)
            if not isinstance(scheduler, LRScheduler):
                raise checks.kind_error("scheduler", "a function that returns a schedule", scheduler)
            if self._kept is not None:  # the checkpoint has brought the learning rates back, which a start changes
                for group, options in zip(optimizer.param_groups, before, strict=True):
                    group.update(options)
        if scheduler.optimizer is not optimizer:
            raise checks.value_error(
                "scheduler", "a schedule over the optimizer that fit was given", "one over another"
            )
        if self.interval == "step" and isinstance(scheduler, ReduceLROnPlateau):
            raise checks.value_error(
                "interval", "'epoch' for ReduceLROnPlateau, which looks at the logs", self.interval
            )
        self._scheduler, self._kept, self._running = scheduler, None, True

    def on_optimizer_step(self) -> None:
        """Step, if the interval is a step of the optimiser."""
        if self.interval == "step":
            self.scheduler.step()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Step, if the interval is an epoch.

        Parameters
        ----------
        epoch
            Its number.
        logs
            The epoch's numbers.
        """
        if self.interval != "epoch":
            return
        scheduler = self.scheduler
        if isinstance(scheduler, ReduceLROnPlateau):
            if self.monitor not in logs:
                hint = "; give validation data" if self.monitor.startswith("val_") else ""
                raise checks.value_error("monitor", f"one of {', '.join(logs)}{hint}", self.monitor)
            scheduler.step(logs[self.monitor])
        else:
            scheduler.step()

    def on_train_end(self) -> None:
        """Let go of the run: the next one makes a schedule of its own."""
        self._running = False

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's state."""
        if self._kept is not None:
            return {"scheduler": self._kept}
        return {} if self._scheduler is None else {"scheduler": self._scheduler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the schedule's state, or keep it until the schedule is made.

        Parameters
        ----------
        state
            From ``state_dict``.
        """
        if self._running:
            self.scheduler.load_state_dict(state["scheduler"])
        else:
            self._kept = state["scheduler"]
