"""Schedules along a cosine: one slope, warm restarts, one cycle."""

from __future__ import annotations

import math
from typing import Any

from fastseq import checks
from fastseq.optim.lr_scheduler.base import LRScheduler, check_optimizer, per_group
from fastseq.optim.optimizer import Optimizer


class CosineAnnealingLR(LRScheduler):
    """Down half a cosine's period, and up again if it goes on (Loshchilov and Hutter, 2017, without restarts).

    Parameters
    ----------
    optimizer
        Whose learning rates it sets.
    T_max
        After how many epochs the least learning rate is reached, >= 1.
    eta_min
        The least learning rate.
    last_epoch
        The epoch to go on after; -1 to begin.
    """

    _state = (*LRScheduler._state, "T_max", "eta_min")

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = checks.integer("T_max", T_max, 1)
        self.eta_min = checks.real("eta_min", eta_min, 0.0)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the groups' learning rates for ``last_epoch``."""
        if self._initial:
            return self._present()
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # off the bottom, where the ratio is 0 / 0
            up = (1 - math.cos(math.pi / self.T_max)) / 2
            return [lr + (base - self.eta_min) * up for base, lr in zip(self.base_lrs, self._present(), strict=True)]
        ratio = self._height(self.last_epoch) / self._height(self.last_epoch - 1)
        return [ratio * (lr - self.eta_min) + self.eta_min for lr in self._present()]

    def _height(self, epoch: int) -> float:
        return 1 + math.cos(math.pi * epoch / self.T_max)

    def _from_base(self, epoch: int) -> list[float]:
        return [self.eta_min + (base - self.eta_min) * self._height(epoch) / 2 for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Down half a cosine's period, then from the top again (Loshchilov and Hutter, "SGDR", 2017).

    Parameters
    ----------
    optimizer
        Whose learning rates it sets.
    T_0
        After how many epochs the first restart comes, >= 1.
    T_mult
        By how much each period is longer than the last, an integer >= 1.
    eta_min
        The least learning rate.
    last_epoch
        The epoch to go on after; -1 to begin.
    """

    _state = (*LRScheduler._state, "T_0", "T_i", "T_mult", "eta_min", "T_cur")

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_0 = self.T_i = checks.integer("T_0", T_0, 1)
        self.T_mult = checks.integer("T_mult", T_mult, 1)
        self.eta_min = checks.real("eta_min", eta_min, 0.0)
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the groups' learning rates for ``T_cur`` epochs after the last restart."""
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go to the next epoch, or to a given one.

        Parameters
        ----------
        epoch
            Where to go, >= 0; a fraction for a batch within an epoch. None for one further.
        """
        if epoch is None and self.last_epoch >= 0:
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
            self.last_epoch += 1
        else:
            self._go_to(0.0 if epoch is None else checks.real("epoch", epoch, 0.0))
        self._step_count += 1
        self._set(self.get_lr())

    def _go_to(self, epoch: float) -> None:
        periods, start = 0, 0
        self.T_i = self.T_0
        if self.T_mult == 1:
            start = int(epoch // self.T_0) * self.T_0
        else:
            while epoch >= start + self.T_i:
                start += self.T_i
                periods += 1
                self.T_i = self.T_0 * self.T_mult**periods
        self.T_cur = epoch - start
        self.last_epoch = math.floor(epoch)

    def _restart(self) -> None:
        self._go_to(0.0)
        self._set(self.get_lr())


class OneCycleLR(LRScheduler):
    """Up to a large learning rate and down to a tiny one, momentum the other way (Smith and Topin, 2018).

    To be stepped after each batch. It cannot be combined with other schedules.

    Parameters
    ----------
    optimizer
        Whose learning rates (and momenta) it sets.
    max_lr
        The largest learning rate, or one for each parameter group.
    total_steps
        How many steps there are to be; or None, and ``epochs`` and ``steps_per_epoch``.
    epochs, steps_per_epoch
        Whose product is ``total_steps``.
    pct_start
        The share of the steps that go up, in 0..1.
    anneal_strategy
        ``"cos"`` or ``"linear"``.
    cycle_momentum
        Whether the momentum (of SGD and RMSprop) or ``betas[0]`` (of the others) falls while the learning rate rises.
    base_momentum, max_momentum
        The least and the largest momentum, or one for each group.
    div_factor
        ``max_lr`` over the learning rate at the start.
    final_div_factor
        The learning rate at the start over that at the end.
    three_phase
        Whether it comes down to where it started as slowly as it rose, and then to the end.
    last_epoch
        The step to go on after; -1 to begin.
    """

    _state = (*LRScheduler._state, "total_steps", "_schedule_phases", "_anneal_func_type", "cycle_momentum")

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise checks.value_error("total_steps", "a number, or epochs and steps_per_epoch", "None")
        if total_steps is None:
            total_steps = checks.integer("epochs", epochs, 1) * checks.integer("steps_per_epoch", steps_per_epoch, 1)
        self.total_steps = checks.integer("total_steps", total_steps, 1)
        rise = checks.real("pct_start", pct_start, 0.0, 1.0) * self.total_steps
        self._anneal_func_type = checks.choice("anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.cycle_momentum = checks.boolean("cycle_momentum", cycle_momentum)
        up = _phase(rise - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
        if checks.boolean("three_phase", three_phase):
            down = _phase(2 * rise - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum")
            end = _phase(self.total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum")
            self._schedule_phases = [up, down, end]
        else:
            end = _phase(self.total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")
            self._schedule_phases = [up, end]
        largest = per_group("max_lr", max_lr, optimizer)
        first = checks.real("div_factor", div_factor, 0.0, open_minimum=True)
        last = checks.real("final_div_factor", final_div_factor, 0.0, open_minimum=True)
        least_momenta = per_group("base_momentum", base_momentum, optimizer)
        largest_momenta = per_group("max_momentum", max_momentum, optimizer)
        if self.cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise checks.value_error(
                "cycle_momentum", f"False for {type(optimizer).__name__}, which has no momentum", self.cycle_momentum
            )
        if last_epoch == -1:
            for i, group in enumerate(optimizer.param_groups):
                group["initial_lr"] = largest[i] / first
                group["max_lr"] = largest[i]
                group["min_lr"] = group["initial_lr"] / last
                if self.cycle_momentum:
                    group["max_momentum"], group["base_momentum"] = largest_momenta[i], least_momenta[i]
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the groups' learning rates for ``last_epoch``, and set their momenta.

        Raises
        ------
        ValueError
            After more than ``total_steps`` steps.
        """
        step = self.last_epoch
        if step > self.total_steps:
            raise checks.value_error("step", f"at most {self.total_steps} steps (total_steps)", step)
        start = 0.0
        for phase in self._schedule_phases[:-1]:
            if step <= phase["end_step"]:
                break
            start = phase["end_step"]
        else:
            phase = self._schedule_phases[-1]
        length = phase["end_step"] - start
        share = (step - start) / length if length else 1.0
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[phase["start_lr"]], group[phase["end_lr"]], share))
            if self.cycle_momentum:
                momentum = self._between(group[phase["start_momentum"]], group[phase["end_momentum"]], share)
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return rates

    def _between(self, start: float, end: float, share: float) -> float:
        if self._anneal_func_type == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


def _phase(end: float, start_lr: str, end_lr: str, start_momentum: str, end_momentum: str) -> dict[str, Any]:
    return {
        "end_step": float(end),
        "start_lr": start_lr,
        "end_lr": end_lr,
        "start_momentum": start_momentum,
        "end_momentum": end_momentum,
    }
