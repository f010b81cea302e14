"""Schedules that multiply the learning rate by simple factors: steps, powers, ramps, functions of one's own."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any

from fastseq import checks
from fastseq.optim.lr_scheduler.base import LRScheduler, check_state, functions_of
from fastseq.optim.optimizer import Optimizer


class _OwnFunctions(LRScheduler):
    """A schedule of the user's functions, whose attributes (if they are objects with any) belong to the state."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int) -> None:
        self.lr_lambdas = functions_of("lr_lambda", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the state; of the functions only the attributes of objects that are called, as PyTorch does."""
        attributes = [
            None if isinstance(f, FunctionType) else dict(getattr(f, "__dict__", {})) for f in self.lr_lambdas
        ]
        return super().state_dict() | {"lr_lambdas": attributes}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` returned.

        Parameters
        ----------
        state_dict
            Numbers and lists by name.
        """
        attributes = check_state(state_dict, ("lr_lambdas", *self._state))["lr_lambdas"]
        if len(attributes) != len(self.lr_lambdas):
            raise checks.value_error("state_dict", f"{len(self.lr_lambdas)} function(s)", f"{len(attributes)}")
        super().load_state_dict(state_dict)
        for function, found in zip(self.lr_lambdas, attributes, strict=True):
            if found:
                vars(function).update(found)


class LambdaLR(_OwnFunctions):
    """The initial learning rate times a function of the epoch.

    Parameters
    ----------
    optimizer
        Whose learning rates it sets.
    lr_lambda
        Function of the epoch (from 0), or one for each parameter group.
    last_epoch
        The epoch to go on after; -1 to begin.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        super().__init__(optimizer, lr_lambda, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the groups' learning rates for ``last_epoch``."""
        return [base * f(self.last_epoch) for f, base in zip(self.lr_lambdas, self.base_lrs, strict=True)]


class MultiplicativeLR(_OwnFunctions):
    """The present learning rate times a function of the epoch, from epoch 1 on.

    Parameters
    ----------
    optimizer
        Whose learning rates it sets.
    lr_lambda
        Function of the epoch, or one for each parameter group.
    last_epoch
        The epoch to go on after; -1 to begin.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        super().__init__(optimizer, lr_lambda, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the groups' learning rates for ``last_epoch``."""
        if self._initial:
            return self._present()
        return [lr * f(self.last_epoch) for f, lr in zip(self.lr_lambdas, self._present(), strict=True)]


class StepLR(LRScheduler):
    """Times gamma every so many epochs.

    Parameters
    ----------
    optimizer
        Whose learning rates it sets.
    step_size
        After how many epochs, >= 1.
    gamma
        The factor, >= 0.
    last_epoch
        The epoch to go on after; -1 to begin.
    """

    _state = (*LRScheduler._state, "step_size", "gamma")

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = checks.integer("step_size", step_size, 1)
        self.gamma = checks.real("gamma", gamma, 0.0)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the groups' learning rates for ``last_epoch``."""
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return self._times(self.gamma) if due else self._present()

    def _from_base(self, epoch: int) -> list[float]:
        return [base * self.gamma ** (epoch // self.step_size) for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """Times gamma at given epochs.

    Parameters
    ----------
    optimizer
        Whose learning rates it sets.
    milestones
        The epochs; one that is given twice counts twice.
    gamma
        The factor, >= 0.
    last_epoch
        The epoch to go on after; -1 to begin.
    """

    _state = (*LRScheduler._state, "milestones", "gamma")

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = dict(Counter(checks.integer("milestones", m, 0) for m in milestones))
        self.gamma = checks.real("gamma", gamma, 0.0)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the groups' learning rates for ``last_epoch``."""
        times = self.milestones.get(self.last_epoch)
        return self._times(self.gamma**times) if times else self._present()

    def _from_base(self, epoch: int) -> list[float]:
        passed = bisect_right(sorted(Counter(self.milestones).elements()), epoch)
        return [base * self.gamma**passed for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    """Times gamma every epoch.

    Parameters
    ----------
    optimizer
        Whose learning rates it sets.
    gamma
        The factor, >= 0.
    last_epoch
        The epoch to go on after; -1 to begin.
    """

    _state = (*LRScheduler._state, "gamma")

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = checks.real("gamma", gamma, 0.0)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the groups' learning rates for ``last_epoch``."""
        return self._present() if self._initial else self._times(self.gamma)

    def _from_base(self, epoch: int) -> list[float]:
        return [base * self.gamma**epoch for base in self.base_lrs]


class ConstantLR(LRScheduler):
    """Times a factor for the first epochs, and back again.

    Parameters
    ----------
    optimizer
        Whose learning rates it sets.
    factor
        The factor, in 0..1.
    total_iters
        For how many epochs.
    last_epoch
        The epoch to go on after; -1 to begin.
    """

    _state = (*LRScheduler._state, "factor", "total_iters")

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self.factor = checks.real("factor", factor, 0.0, 1.0)
        self.total_iters = checks.integer("total_iters", total_iters, 0)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the groups' learning rates for ``last_epoch``."""
        if self.last_epoch == 0:
            return self._times(self.factor)
        if self.last_epoch != self.total_iters:
            return self._present()
        if self.factor == 0:  # nothing is left to multiply
            return list(self.base_lrs)
        return self._times(1.0 / self.factor)

    def _from_base(self, epoch: int) -> list[float]:
        return [base * (1.0 if epoch >= self.total_iters else self.factor) for base in self.base_lrs]


class LinearLR(LRScheduler):
    """Times a factor that goes from one number to another in a straight line: a warm-up.

    Parameters
    ----------
    optimizer
        Whose learning rates it sets.
    start_factor
        The factor at epoch 0, > 0 and <= 1.
    end_factor
        The factor at the end, in 0..1.
    total_iters
        After how many epochs the end is reached, >= 1.
    last_epoch
        The epoch to go on after; -1 to begin.
    """

    _state = (*LRScheduler._state, "start_factor", "end_factor", "total_iters")

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = checks.real("start_factor", start_factor, 0.0, 1.0, open_minimum=True)
        self.end_factor = checks.real("end_factor", end_factor, 0.0, 1.0)
        self.total_iters = checks.integer("total_iters", total_iters, 1)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the groups' learning rates for ``last_epoch``."""
        if self.last_epoch == 0:
            return self._times(self.start_factor)
        if self._initial or self.last_epoch > self.total_iters:
            return self._present()
        rise = self.end_factor - self.start_factor
        return self._times(1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise))

    def _from_base(self, epoch: int) -> list[float]:
        share = min(self.total_iters, epoch) / self.total_iters
        return [base * (self.start_factor + (self.end_factor - self.start_factor) * share) for base in self.base_lrs]


class PolynomialLR(LRScheduler):
    """Down to zero along a power of the share of epochs that are left.

    Parameters
    ----------
    optimizer
        Whose learning rates it sets.
    total_iters
        After how many epochs zero is reached, >= 1.
    power
        The power, >= 0.
    last_epoch
        The epoch to go on after; -1 to begin.
    """

    _state = (*LRScheduler._state, "total_iters", "power")

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = checks.integer("total_iters", total_iters, 1)
        self.power = checks.real("power", power, 0.0)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the groups' learning rates for ``last_epoch``."""
        if self._initial or self.last_epoch > self.total_iters:
            return self._present()
        left = 1.0 - self.last_epoch / self.total_iters
        return self._times((left / (1.0 - (self.last_epoch - 1) / self.total_iters)) ** self.power)

    def _from_base(self, epoch: int) -> list[float]:
        return [base * (1.0 - min(self.total_iters, epoch) / self.total_iters) ** self.power for base in self.base_lrs]
