"""The base of all learning rate schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar

from fastseq import checks
from fastseq.optim.optimizer import Optimizer


class LRScheduler:
    """Base class: counts calls of ``step`` and writes each group's learning rate into the optimiser.

    A subclass writes ``get_lr``. As in PyTorch most schedules are recursions, which change the learning rate that a
    group has now, so that several can act on one optimiser. Making a schedule takes the step to epoch 0, which may
    change the learning rates already.

    Parameters
    ----------
    optimizer
        Whose learning rates it sets.
    last_epoch
        The epoch to go on after; -1 to begin. Unless it is -1, the groups must have an ``"initial_lr"``.

    Attributes
    ----------
    last_epoch : int
        How often ``step`` was called.
    base_lrs : list of float
        The groups' learning rates at the beginning.
    """

    #: Attributes that make up the state, as PyTorch calls them.
    _state: ClassVar[tuple[str, ...]] = ("base_lrs", "last_epoch", "_step_count", "_last_lr")

    optimizer: Optimizer
    base_lrs: list[float]
    last_epoch: int
    _last_lr: list[float]
    _step_count: int = 0
    _initial: bool = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = check_optimizer(optimizer)
        self.last_epoch = checks.integer("last_epoch", last_epoch, minimum=-1)
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise checks.value_error(
                    f"optimizer.param_groups[{number}]", "an 'initial_lr', to go on after an epoch", "none"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._initial_step()

    def _initial_step(self) -> None:
        """Take the step to epoch 0 (or to the one after ``last_epoch``)."""
        self._step_count = 0
        self._initial = True
        try:
            self.step()
        finally:
            self._initial = False

    def get_lr(self) -> list[float]:
        """Compute the groups' learning rates for ``last_epoch``; every subclass that is stepped writes its own."""
        raise TypeError(f"{type(self).__name__}: expected a class with a get_lr method, got one without")

    def get_last_lr(self) -> list[float]:
        """Return the groups' learning rates after the last step."""
        return list(self._last_lr)

    def step(self) -> None:
        """Go to the next epoch (or batch): call it after ``optimizer.step()``."""
        self._step_count += 1
        self.last_epoch += 1
        self._set(self.get_lr())

    def _restart(self) -> None:
        """Go to epoch 0, whatever the learning rates are now."""
        self.last_epoch = 0
        self._set(self._from_base(0))

    def _rewind(self) -> None:
        """Take the step to epoch 0 again, from the learning rates there are now."""
        self.last_epoch = -1
        self._initial_step()

    def _from_base(self, epoch: int) -> list[float]:
        """Compute the learning rates of an epoch from ``base_lrs``; a schedule that is no recursion has one rule."""
        return self.get_lr()

    def _present(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def _times(self, factor: float) -> list[float]:
        return [lr * factor for lr in self._present()]

    def _set(self, rates: Sequence[float]) -> None:
        groups = self.optimizer.param_groups
        if len(rates) != len(groups):
            raise checks.value_error(
                "optimizer", f"the {len(rates)} parameter group(s) it had at first", f"{len(groups)}"
            )
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = self._present()

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes or was chosen, but the optimiser: numbers and lists by PyTorch's names."""
        return {name: copied(getattr(self, name)) for name in self._state}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` returned, PyTorch's of the same class included.

        The learning rates themselves are the optimiser's state and come back with that.

        Parameters
        ----------
        state_dict
            Numbers and lists by name.

        Raises
        ------
        ValueError
            If a name is missing.
        """
        found = check_state(state_dict, self._state)
        for name in self._state:
            if not _alike(getattr(self, name), found[name]):
                expected = f"something like {getattr(self, name)!r}"
                raise checks.value_error(f"state_dict[{name!r}]", expected, repr(found[name])[:100])
        for name in self._state:
            setattr(self, name, copied(found[name]))


def copied(value: Any) -> Any:
    """Return a value of a state dict that shares no list or dict with the original.

    Parameters
    ----------
    value
        A number, or a list or dict of such.
    """
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [copied(item) for item in value]
    return value


def _alike(own: Any, given: Any) -> bool:
    """Say whether a state's value is of the kind that the schedule has."""
    if isinstance(own, (bool, str)):
        return isinstance(given, type(own))
    if isinstance(own, (int, float)):
        return isinstance(given, Real) and not isinstance(given, bool)
    if isinstance(own, Mapping):
        return isinstance(given, Mapping) and all(key not in own or _alike(own[key], given[key]) for key in given)
    return isinstance(given, (list, tuple)) and all(_alike(own[0], item) for item in given if own)


def check_state(state_dict: Any, names: Iterable[str]) -> Mapping[str, Any]:
    """Return a schedule's state dict, or raise unless it has all names.

    Parameters
    ----------
    state_dict
        What was given.
    names
        What must be there.
    """
    if not isinstance(state_dict, Mapping):
        raise checks.kind_error("state_dict", "a mapping", state_dict)
    missing = [name for name in names if name not in state_dict]
    if missing:
        raise checks.value_error("state_dict", f"one of this kind of schedule, with {missing[0]!r}", "none such")
    return state_dict


def check_optimizer(optimizer: Any) -> Optimizer:
    """Return an optimiser, or raise unless it has learning rates.

    Parameters
    ----------
    optimizer
        What was given as one.
    """
    if not isinstance(optimizer, Optimizer):
        raise checks.kind_error("optimizer", "an Optimizer", optimizer)
    if "lr" not in optimizer.defaults:
        raise checks.value_error("optimizer", "one with a learning rate", type(optimizer).__name__)
    return optimizer


def per_group(argument: str, value: Any, optimizer: Optimizer, minimum: float = 0.0) -> list[float]:
    """Return one number for each parameter group.

    Parameters
    ----------
    argument
        The name to use in messages.
    value
        A number for all groups, or a list of one for each.
    optimizer
        Whose groups.
    minimum
        The least number allowed.
    """
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [checks.real(argument, value, minimum)] * groups
    if len(value) != groups:
        raise checks.value_error(argument, f"a number, or {groups}, one per parameter group", f"{len(value)}")
    return [checks.real(f"{argument}[{i}]", item, minimum) for i, item in enumerate(value)]


def functions_of(argument: str, value: Any, optimizer: Optimizer) -> list[Callable[[int], float]]:
    """Return one function of the epoch for each parameter group.

    Parameters
    ----------
    argument
        The name to use in messages.
    value
        A function for all groups, or a list of one for each.
    optimizer
        Whose groups.
    """
    groups = len(check_optimizer(optimizer).param_groups)
    found = list(value) if isinstance(value, (list, tuple)) else [value] * groups
    for function in found:
        if not callable(function):
            raise checks.kind_error(argument, "a function of the epoch, or a list of them", function)
    if len(found) != groups:
        raise checks.value_error(argument, f"a function, or {groups}, one per parameter group", f"{len(found)}")
    return found
