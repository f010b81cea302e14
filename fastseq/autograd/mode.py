"""Whether operations are recorded: one switch per thread."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class GradMode(threading.local):
    """The switch; every thread starts with recording on."""

    enabled = True


mode = GradMode()


class _Switch:
    """Set the mode on entry and put the former one back on exit; nests, and wraps functions."""

    _value: bool

    def __init__(self) -> None:
        self._former: list[bool] = []

    def _another(self) -> _Switch:
        return type(self)()

    def __enter__(self) -> None:
        self._former.append(mode.enabled)
        mode.enabled = self._value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        mode.enabled = self._former.pop()

    def __call__(self, function: Function) -> Function:
        """Return ``function`` wrapped so that each call runs under this mode."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            # A new switch per call: the calls may run in several threads at once.
            with self._another():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]


class no_grad(_Switch):
    """Record nothing inside: ``with no_grad():`` or ``@no_grad()``; holds for the calling thread only."""

    _value = False


class enable_grad(_Switch):
    """Record again inside a ``no_grad`` block: ``with enable_grad():`` or ``@enable_grad()``."""

    _value = True


def _set(value: bool) -> bool:
    before, mode.enabled = mode.enabled, value
    return before


class set_grad_enabled(_Switch):
    """Record or not, from here on, or inside a ``with`` block: ``with set_grad_enabled(training):``.

    Parameters
    ----------
    mode
        Whether to record.
    """

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self._value = bool(mode)
        self._before = _set(self._value)

    def __call__(self, function: Function) -> Function:
        """Return ``function`` wrapped so that each call runs under this mode."""
        _set(self._before)
        return super().__call__(function)

    def _another(self) -> _Switch:
        return set_grad_enabled(self._value)

    def __enter__(self) -> None:
        self._former.append(self._before)
        _set(self._value)


def is_grad_enabled() -> bool:
    """Return whether operations of the calling thread are recorded.

    Returns
    -------
    bool
        True unless inside ``no_grad``.
    """
    return mode.enabled
