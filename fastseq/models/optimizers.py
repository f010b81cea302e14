"""Keras's optimisers: names, arguments and defaults; ``fastseq.optim`` takes the steps.

They are made without parameters and get them when a model trains. Where Keras adds ``epsilon`` at another place than
PyTorch does, the step does so, too::

    Adam     lr * sqrt(1 - b2**t) / (1 - b1**t) * m / (sqrt(v) + epsilon)
    RMSprop  lr * g / sqrt(v + epsilon)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from fastseq import checks, optim
from fastseq.models import schedules
from fastseq.optim.flat import FlatBuffer, Stretch


class _LateEpsilon:
    """Keras's Adam: ``eps`` is added before the second moment's correction."""

    def _update(self, group: Mapping[str, Any], buffer: FlatBuffer, stretch: Stretch) -> None:
        unroot = math.sqrt(1.0 - group["betas"][1] ** stretch.step)
        super()._update({**group, "eps": group["eps"] / unroot}, buffer, stretch)  # type: ignore[misc]


class _KerasAdam(_LateEpsilon, optim.Adam):
    """Adam with Keras's epsilon."""


class _KerasAdamW(_LateEpsilon, optim.AdamW):
    """AdamW with Keras's epsilon."""


class _RatedVelocity:
    """Keras's momentum: what moves on is multiplied by the learning rate of its own step, not of the present one."""

    _rate_before: float | None = None

    def _update(self, group: Mapping[str, Any], buffer: FlatBuffer, stretch: Stretch) -> None:
        before, now = self._rate_before, group["lr"]
        if group["momentum"] and before is not None and before != now and now:
            buffer.state("momentum_buffer")[stretch.part] *= buffer.dtype.type(before / now)
        super()._update(group, buffer, stretch)  # type: ignore[misc]

    def step(self, *arguments: Any) -> Any:
        found = super().step(*arguments)  # type: ignore[misc]
        self._rate_before = self.param_groups[0]["lr"]  # type: ignore[attr-defined]
        return found


class _KerasSGD(_RatedVelocity, optim.SGD):
    """SGD with Keras's momentum."""


class _KerasRMSprop(_RatedVelocity, optim.RMSprop):
    """RMSprop with Keras's epsilon and momentum."""

    _inside_root = True


class Optimizer:
    """An optimiser to be: its arguments, and, once a model trains with it, what steps.

    Parameters
    ----------
    learning_rate
        The learning rate; or a schedule, a function of the number of steps taken.
    weight_decay
        Share of the weights taken off per unit of learning rate; None for none.
    clipnorm
        Limit of the norm of each weight's gradient, or None.
    clipvalue
        Limit of each entry of the gradients, or None.
    global_clipnorm
        Limit of the gradients' joint norm, or None.
    name
        Its name.
    **own
        The algorithm's own arguments.
    """

    #: The algorithm's own arguments with their defaults.
    defaults: dict[str, Any] = {}
    rate = 0.001

    def __init__(
        self,
        learning_rate: Any = None,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **own: Any,
    ) -> None:
        for key in own:
            if key not in self.defaults:
                known = ", ".join(
                    (*self.defaults, "learning_rate", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm")
                )
                raise TypeError(f"{type(self).__name__}: expected arguments among {known}, got {key!r}")
        self.name = name or type(self).__name__.lower()
        self.schedule = schedules.get(learning_rate)
        #: How many steps have been taken.
        self.iterations = 0
        given = self.schedule(0) if self.schedule is not None else learning_rate
        self._rate = self.rate if given is None else checks.real("learning_rate", given, 0.0)
        self.weight_decay = None if weight_decay is None else checks.real("weight_decay", weight_decay, 0.0)
        limits = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        self.limits = {
            key: checks.real(key, value, 0.0, open_minimum=True) for key, value in limits.items() if value is not None
        }
        self.own = {**self.defaults, **own}
        self.inner: optim.Optimizer | None = None

    @property
    def learning_rate(self) -> float:
        """The learning rate, now."""
        return self._rate if self.inner is None else float(self.inner.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        if self.schedule is not None:
            raise checks.kind_error("learning_rate", "no value beside the optimiser's schedule", value)
        self._set(value)

    def _set(self, value: float) -> None:
        self._rate = checks.real("learning_rate", value, 0.0)
        if self.inner is not None:
            for group in self.inner.param_groups:
                group["lr"] = self._rate

    def keep_rate(self) -> None:
        """Remember the learning rate as it is now, for parameters to come."""
        self._rate = self.learning_rate

    def begin_step(self) -> None:
        """Set the learning rate of the step to come, and count it."""
        if self.schedule is not None:
            self._set(float(self.schedule(self.iterations)))
        self.iterations += 1

    def make(self, parameters: Iterable[Any]) -> optim.Optimizer:
        """Return what steps, over a model's parameters.

        Parameters
        ----------
        parameters
            Those that learn.
        """
        self.inner = self._make(list(parameters))
        return self.inner

    def _make(self, parameters: list[Any]) -> optim.Optimizer:
        raise TypeError(f"{type(self).__name__}: expected SGD, Adam, or another one of Keras's names")

    def _no_decay(self) -> None:
        if self.weight_decay:
            raise checks.value_error("weight_decay", f"None for {type(self).__name__} (use AdamW)", self.weight_decay)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as JSON values."""
        rate = self.learning_rate if self.schedule is None else schedules.describe(self.schedule)
        return {"learning_rate": rate, "weight_decay": self.weight_decay, **self.limits, **self.own}


class SGD(Optimizer):
    """Gradient descent: ``SGD(learning_rate=0.01, momentum=0.0, nesterov=False)``."""

    defaults = {"momentum": 0.0, "nesterov": False}
    rate = 0.01

    def _make(self, parameters: list[Any]) -> optim.Optimizer:
        self._no_decay()
        momentum = self.own["momentum"]
        return _KerasSGD(parameters, self._rate, momentum, nesterov=bool(self.own["nesterov"] and momentum))


class Adam(Optimizer):
    """``Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False)``."""

    defaults = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False}

    def _make(self, parameters: list[Any]) -> optim.Optimizer:
        own = self.own
        betas = (own["beta_1"], own["beta_2"])
        if self.weight_decay:
            return _KerasAdamW(parameters, self._rate, betas, own["epsilon"], self.weight_decay, own["amsgrad"])
        return _KerasAdam(parameters, self._rate, betas, own["epsilon"], 0.0, own["amsgrad"])


class AdamW(Adam):
    """Adam with decoupled weight decay: ``AdamW(learning_rate=0.001, weight_decay=0.004, ...)``.

    Parameters
    ----------
    learning_rate, weight_decay
        As in `Optimizer`.
    **options
        As in `Adam`.
    """

    def __init__(self, learning_rate: Any = None, *, weight_decay: float | None = 0.004, **options: Any) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, **options)


class Nadam(Optimizer):
    """Adam with Nesterov's momentum: ``Nadam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7)``."""

    defaults = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}

    def _make(self, parameters: list[Any]) -> optim.Optimizer:
        own = self.own
        return optim.NAdam(
            parameters, self._rate, (own["beta_1"], own["beta_2"]), own["epsilon"], self.weight_decay or 0.0,
            momentum_decay=1.0, decoupled_weight_decay=bool(self.weight_decay),
        )  # fmt: skip


class RMSprop(Optimizer):
    """``RMSprop(learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False)``."""

    defaults = {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False}

    def _make(self, parameters: list[Any]) -> optim.Optimizer:
        self._no_decay()
        own = self.own
        return _KerasRMSprop(
            parameters, self._rate, own["rho"], own["epsilon"], momentum=own["momentum"], centered=own["centered"]
        )


class Adagrad(Optimizer):
    """``Adagrad(learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-7)``."""

    defaults = {"initial_accumulator_value": 0.1, "epsilon": 1e-7}

    def _make(self, parameters: list[Any]) -> optim.Optimizer:
        self._no_decay()
        start = checks.real("initial_accumulator_value", self.own["initial_accumulator_value"], 0.0)
        # Keras adds epsilon under the root, of numbers that are never less than ``start``: the same within rounding.
        return optim.Adagrad(parameters, self._rate, 0.0, 0.0, start, self.own["epsilon"])


class Lion(Optimizer):
    """``Lion(learning_rate=0.001, beta_1=0.9, beta_2=0.99)``."""

    defaults = {"beta_1": 0.9, "beta_2": 0.99}

    def _make(self, parameters: list[Any]) -> optim.Optimizer:
        betas = (self.own["beta_1"], self.own["beta_2"])
        return optim.Lion(parameters, self._rate, betas, self.weight_decay or 0.0)


_NAMES: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind for kind in (SGD, Adam, AdamW, Nadam, RMSprop, Adagrad, Lion)
}


def get(optimizer: Any) -> Optimizer | optim.Optimizer:
    """Return an optimiser by name, from its configuration, or as it is.

    Parameters
    ----------
    optimizer
        A name (``"adam"``), an `Optimizer`, or one of ``fastseq.optim`` over the model's parameters.
    """
    if isinstance(optimizer, (Optimizer, optim.Optimizer)):
        return optimizer
    if isinstance(optimizer, dict):
        kind = _NAMES[checks.choice("optimizer", optimizer.get("class_name"), _NAMES)]
        if not isinstance(optimizer.get("config"), dict):
            raise checks.kind_error("optimizer", "a class_name and a config", optimizer)
        return kind(**optimizer["config"])
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer()
    if not isinstance(optimizer, str):
        raise checks.kind_error("optimizer", f"one of {', '.join(_NAMES)}, or an optimiser", optimizer)
    return _NAMES[checks.choice("optimizer", optimizer.lower(), _NAMES)]()
