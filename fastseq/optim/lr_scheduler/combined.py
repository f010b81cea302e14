"""Schedules of schedules: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from fastseq import checks
from fastseq.optim.lr_scheduler.base import LRScheduler, check_optimizer, check_state
from fastseq.optim.lr_scheduler.plateau import ReduceLROnPlateau
from fastseq.optim.optimizer import Optimizer


class _Combined(LRScheduler):
    """What schedules of schedules share: their members' states go with theirs."""

    _schedulers: list[LRScheduler]

    def state_dict(self) -> dict[str, Any]:
        """Return the state, with those of the members."""
        return super().state_dict() | {"_schedulers": [one.state_dict() for one in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` returned.

        Parameters
        ----------
        state_dict
            Numbers and lists by name.
        """
        states = check_state(state_dict, ("_schedulers", *self._state))["_schedulers"]
        if len(states) != len(self._schedulers):
            raise checks.value_error("state_dict", f"{len(self._schedulers)} schedulers", f"{len(states)}")
        for one, state in zip(self._schedulers, states, strict=True):
            one.load_state_dict(state)
        super().load_state_dict(state_dict)

    def _undo(self) -> None:
        """Take back the step that the members took when they were made."""
        for one in self._schedulers:
            if isinstance(one, _Combined):
                one._undo()
            else:
                one.last_epoch -= 1

    def _back_to_base(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]

    def _initial_step(self) -> None:
        self._rewind()

    def _restart(self) -> None:
        self._back_to_base()
        self._rewind()


class SequentialLR(_Combined):
    """One schedule after the other.

    Parameters
    ----------
    optimizer
        Whose learning rates it sets.
    schedulers
        Schedules over this optimiser, in their order.
    milestones
        The epochs at which the second, third, ... begins, ascending.
    last_epoch
        The epoch to go on after; -1 to begin.
    """

    _state = ("_milestones", "last_epoch", "_last_lr")

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self.optimizer = check_optimizer(optimizer)
        self._schedulers = _members(schedulers, optimizer)
        self._milestones = [checks.integer("milestones", m, 0) for m in milestones]
        if len(self._milestones) != len(self._schedulers) - 1:
            raise checks.value_error(
                "milestones", f"{len(self._schedulers) - 1}, one fewer than schedulers", f"{len(self._milestones)}"
            )
        if sorted(self._milestones) != self._milestones:
            raise checks.value_error("milestones", "ascending epochs", str(self._milestones))
        self.last_epoch = checks.integer("last_epoch", last_epoch, -1) + 1
        self._back_to_base()
        self._undo()
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def _rewind(self) -> None:
        self.last_epoch = 0
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._rewind()
        self._last_lr = first.get_last_lr()

    def step(self) -> None:
        """Go to the next epoch of the schedule whose turn it is."""
        self.last_epoch += 1
        number = bisect_right(self._milestones, self.last_epoch)
        if number > 0 and self._milestones[number - 1] == self.last_epoch:
            self._schedulers[number]._restart()
        else:
            self._schedulers[number].step()
        self._last_lr = self._schedulers[number].get_last_lr()


class ChainedScheduler(_Combined):
    """Several schedules at once, whose factors multiply.

    Parameters
    ----------
    schedulers
        Schedules over one optimiser; all are stepped together.
    optimizer
        That optimiser; None for the first schedule's.
    """

    _state = ("_last_lr",)

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self._schedulers = _members(schedulers, optimizer)
        self.optimizer = self._schedulers[0].optimizer
        self._last_lr = self._present()

    def step(self) -> None:
        """Step all schedules."""
        for one in self._schedulers:
            one.step()
        self._last_lr = self._present()

    def _rewind(self) -> None:
        for one in self._schedulers:
            one._rewind()
        self._last_lr = self._present()


def _members(schedulers: Any, optimizer: Optimizer | None) -> list[LRScheduler]:
    found = list(schedulers)
    if not found:
        raise checks.value_error("schedulers", "at least one", "none")
    for one in found:
        if not isinstance(one, LRScheduler):
            raise checks.kind_error("schedulers", "LRSchedulers", one)
        if isinstance(one, ReduceLROnPlateau):
            raise checks.value_error("schedulers", "schedules that need no number to step", type(one).__name__)
        if one.optimizer is not (found[0].optimizer if optimizer is None else optimizer):
            raise checks.value_error(
                "schedulers", "schedules over this optimizer", f"a {type(one).__name__} over another"
            )
    return found
