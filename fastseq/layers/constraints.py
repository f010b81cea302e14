"""Keras's constraints: limits that weights are brought back into after every step of the optimiser.

Norms are taken along ``axis`` of the weight as Keras lays it out: 0 for the weights that lead to one output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks

Array = NDArray[Any]
#: Keras adds it to what it divides by.
EPSILON = 1e-7


class Constraint:
    """Takes a weight's values in Keras's layout and returns those that are allowed."""

    #: Names of the constructor's arguments.
    arguments: tuple[str, ...] = ()

    def __call__(self, w: Array) -> Array:
        """Return the values that are allowed."""
        return w

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {name: getattr(self, name) for name in self.arguments}

    @classmethod
    def from_config(cls, config: Any) -> Constraint:
        """Build a constraint from what ``get_config`` returned.

        Parameters
        ----------
        config
            The constructor's arguments.
        """
        return cls(**config)


class NonNeg(Constraint):
    """No value below zero."""

    def __call__(self, w: Array) -> Array:
        """Return the values, zero where they are negative."""
        return np.maximum(w, w.dtype.type(0))


def _axes(axis: Any) -> Any:
    found = [checks.integer("axis", k) for k in (axis if isinstance(axis, (list, tuple)) else [axis])]
    return found if isinstance(axis, (list, tuple)) else found[0]


class _Norms(Constraint):
    """A constraint on norms along an axis."""

    axis: Any

    def wanted(self, norms: Array) -> Array:
        """Return the norms that are allowed.

        Parameters
        ----------
        norms
            The norms.
        """
        return norms

    def __call__(self, w: Array) -> Array:
        """Return the values, scaled where their norm is not allowed."""
        axis = tuple(self.axis) if isinstance(self.axis, list) else self.axis
        norms = np.sqrt(np.square(w).sum(axis=axis, keepdims=True))
        return (w * (self.wanted(norms) / (EPSILON + norms))).astype(w.dtype)


class MaxNorm(_Norms):
    """Norms of at most ``max_value``.

    Parameters
    ----------
    max_value
        The largest norm.
    axis
        Along which axis, or axes, norms are taken.
    """

    arguments = ("max_value", "axis")

    def __init__(self, max_value: float = 2, axis: Any = 0) -> None:
        self.max_value = checks.real("max_value", max_value, 0.0)
        self.axis = _axes(axis)

    def wanted(self, norms: Array) -> Array:
        """Return the norms that are allowed, see `_Norms.wanted`."""
        return np.clip(norms, 0, self.max_value)


class UnitNorm(_Norms):
    """Norms of one.

    Parameters
    ----------
    axis
        Along which axis, or axes, norms are taken.
    """

    arguments = ("axis",)

    def __init__(self, axis: Any = 0) -> None:
        self.axis = _axes(axis)

    def wanted(self, norms: Array) -> Array:
        """Return the norms that are allowed, see `_Norms.wanted`."""
        return np.ones_like(norms)


class MinMaxNorm(_Norms):
    """Norms between two values, or on the way there.

    Parameters
    ----------
    min_value, max_value
        The smallest and largest norm.
    rate
        The share of the way that is gone at each step, 1 for all.
    axis
        Along which axis, or axes, norms are taken.
    """

    arguments = ("min_value", "max_value", "rate", "axis")

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Any = 0) -> None:
        self.min_value = checks.real("min_value", min_value, 0.0)
        self.max_value = checks.real("max_value", max_value, self.min_value)
        self.rate = checks.real("rate", rate, 0.0, 1.0)
        self.axis = _axes(axis)

    def wanted(self, norms: Array) -> Array:
        """Return the norms that are allowed, see `_Norms.wanted`."""
        return self.rate * np.clip(norms, self.min_value, self.max_value) + (1 - self.rate) * norms


_NAMES: dict[str, type[Constraint]] = {
    "non_neg": NonNeg,
    "max_norm": MaxNorm,
    "unit_norm": UnitNorm,
    "min_max_norm": MinMaxNorm,
}
_CLASSES = {kind.__name__: kind for kind in _NAMES.values()}


def get(argument: str, given: Any) -> Callable[[Array], Any] | None:
    """Return a constraint by name, from its configuration, or as it is.

    Parameters
    ----------
    argument
        The name to use in messages.
    given
        None, a name, what ``describe`` returned, a `Constraint`, or a function of an array.
    """
    if given is None:
        return None
    if isinstance(given, dict):
        if not isinstance(given.get("config"), dict):
            raise checks.kind_error(argument, "a constraint's class_name and config", given)
        return _CLASSES[checks.choice(argument, given.get("class_name"), _CLASSES)].from_config(given["config"])
    if isinstance(given, str):
        return _CLASSES[given]() if given in _CLASSES else _NAMES[checks.choice(argument, given, _NAMES)]()
    if isinstance(given, type) and issubclass(given, Constraint):
        return given()
    if not callable(given):
        raise checks.kind_error(argument, f"None, one of {', '.join(_NAMES)}, or a function of an array", given)
    return given  # type: ignore[no-any-return]


def describe(constraint: Any) -> Any:
    """Return a constraint as JSON values; a function of the user's is returned as it is.

    Parameters
    ----------
    constraint
        From ``get``.
    """
    if type(constraint) not in _CLASSES.values():
        return constraint
    return {"class_name": type(constraint).__name__, "config": constraint.get_config()}
