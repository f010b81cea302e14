"""Keras's learning rate schedules: functions of the number of steps taken."""

from __future__ import annotations

import math
from typing import Any

from fastseq import checks


class LearningRateSchedule:
    """A function of the number of steps taken; one of your own writes ``__call__(step)``."""

    #: Names of the constructor's arguments.
    arguments: tuple[str, ...] = ()

    def __call__(self, step: Any) -> float:
        """Return the learning rate."""
        raise TypeError(f"{type(self).__name__}: expected a class with a __call__ method, got one without")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {name: getattr(self, name) for name in self.arguments}

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """Build a schedule from what ``get_config`` returned.

        Parameters
        ----------
        config
            The constructor's arguments.
        """
        return cls(**config)


class ExponentialDecay(LearningRateSchedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate
        The first learning rate.
    decay_steps
        How many steps one decay takes.
    decay_rate
        The factor of one decay.
    staircase
        Whether it falls at once after every ``decay_steps``.
    name
        Its name.
    """

    arguments = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False,
        name: str | None = None,
    ) -> None:  # fmt: skip
        self.initial_learning_rate = checks.real("initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = checks.real("decay_steps", decay_steps, 0.0, open_minimum=True)
        self.decay_rate = checks.real("decay_rate", decay_rate, 0.0)
        self.staircase = checks.boolean("staircase", staircase)
        self.name = name

    def _decays(self, step: Any) -> float:
        share = float(step) / self.decay_steps
        return math.floor(share) if self.staircase else share

    def __call__(self, step: Any) -> float:
        """Return the learning rate."""
        return float(self.initial_learning_rate * self.decay_rate ** self._decays(step))


class InverseTimeDecay(ExponentialDecay):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``; arguments as of `ExponentialDecay`."""

    def __call__(self, step: Any) -> float:
        """Return the learning rate."""
        return float(self.initial_learning_rate / (1.0 + self.decay_rate * self._decays(step)))


class PiecewiseConstantDecay(LearningRateSchedule):
    """One learning rate up to each boundary.

    Parameters
    ----------
    boundaries
        The last step of each learning rate but the last one.
    values
        The learning rates.
    name
        Its name.
    """

    arguments = ("boundaries", "values", "name")

    def __init__(self, boundaries: Any, values: Any, name: str | None = None) -> None:
        self.boundaries = [checks.real("boundaries", one) for one in boundaries]
        self.values = [checks.real("values", one, 0.0) for one in values]
        if len(self.values) != len(self.boundaries) + 1:
            raise checks.value_error("values", f"{len(self.boundaries) + 1} values", f"{len(self.values)}")
        self.name = name

    def __call__(self, step: Any) -> float:
        """Return the learning rate."""
        return self.values[sum(float(step) > one for one in self.boundaries)]


class PolynomialDecay(LearningRateSchedule):
    """From ``initial_learning_rate`` to ``end_learning_rate`` along ``(1 - step / decay_steps) ** power``.

    Parameters
    ----------
    initial_learning_rate
        The first learning rate.
    decay_steps
        How many steps it takes.
    end_learning_rate
        The last learning rate.
    power
        1 for a straight line.
    cycle
        Whether it begins anew, over more steps, when they are over.
    name
        Its name.
    """

    arguments = ("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle", "name")

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, end_learning_rate: float = 0.0001, power: float = 1.0,
        cycle: bool = False, name: str | None = None,
    ) -> None:  # fmt: skip
        self.initial_learning_rate = checks.real("initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = checks.real("decay_steps", decay_steps, 0.0, open_minimum=True)
        self.end_learning_rate = checks.real("end_learning_rate", end_learning_rate, 0.0)
        self.power = checks.real("power", power)
        self.cycle = checks.boolean("cycle", cycle)
        self.name = name

    def __call__(self, step: Any) -> float:
        """Return the learning rate."""
        steps = self.decay_steps * (max(1, math.ceil(float(step) / self.decay_steps)) if self.cycle else 1)
        left = 1.0 - min(float(step), steps) / steps
        return float((self.initial_learning_rate - self.end_learning_rate) * left**self.power + self.end_learning_rate)


class CosineDecay(LearningRateSchedule):
    """Half a cosine from the first learning rate to ``alpha`` times it, after a straight line up where one is wanted.

    Parameters
    ----------
    initial_learning_rate
        The first learning rate.
    decay_steps
        How many steps the cosine takes.
    alpha
        Which share of the learning rate is left.
    name
        Its name.
    warmup_target
        The learning rate to which a straight line leads before; None for no line.
    warmup_steps
        How many steps the line takes.
    """

    arguments = ("initial_learning_rate", "decay_steps", "alpha", "name", "warmup_target", "warmup_steps")

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, alpha: float = 0.0, name: str | None = None,
        warmup_target: float | None = None, warmup_steps: int = 0,
    ) -> None:  # fmt: skip
        self.initial_learning_rate = checks.real("initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = checks.real("decay_steps", decay_steps, 0.0, open_minimum=True)
        self.alpha = checks.real("alpha", alpha, 0.0)
        self.name = name
        self.warmup_target = None if warmup_target is None else checks.real("warmup_target", warmup_target, 0.0)
        self.warmup_steps = checks.integer("warmup_steps", warmup_steps, 0)

    def __call__(self, step: Any) -> float:
        """Return the learning rate."""
        top, taken = self.initial_learning_rate, float(step)
        if self.warmup_target is not None:
            if taken < self.warmup_steps:
                return float((self.warmup_target - top) * taken / self.warmup_steps + top)
            top, taken = self.warmup_target, taken - self.warmup_steps
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(taken, self.decay_steps) / self.decay_steps))
        return float(top * ((1.0 - self.alpha) * cosine + self.alpha))


_KINDS = {
    kind.__name__: kind
    for kind in (ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay, CosineDecay)
}


def get(given: Any) -> Any:
    """Return a schedule from its configuration, or as it is; None for a plain learning rate.

    Parameters
    ----------
    given
        What an optimiser was given as ``learning_rate``.
    """
    if isinstance(given, dict):
        if not isinstance(given.get("config"), dict):
            raise checks.kind_error("learning_rate", "a schedule's class_name and config", given)
        return _KINDS[checks.choice("learning_rate", given.get("class_name"), _KINDS)].from_config(given["config"])
    return given if isinstance(given, LearningRateSchedule) or callable(given) else None


def describe(schedule: Any) -> dict[str, Any]:
    """Return a schedule as JSON values.

    Parameters
    ----------
    schedule
        From ``get``.
    """
    if type(schedule) not in _KINDS.values():
        raise checks.kind_error("learning_rate", "a schedule of fastseq's, to be written down", schedule)
    return {"class_name": type(schedule).__name__, "config": schedule.get_config()}
