"""Kernels: functions called from Python, compiled at their first call for the element types that are used.

A kernel's parameters are annotated with the words of `PARAMETERS`, so that one element type gives exactly one
signature. One whose last parameter is a ``Launcher`` shares its work among threads, see `fastseq.jit.threads`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numba import types

from fastseq import checks
from fastseq.jit.cache import compiled, present
from fastseq.jit.commons import link_commons
from fastseq.jit.pieces import named
from fastseq.jit.threads import SHARED_WORK, threads

PARAMETERS: dict[str, Callable[[Any], Any]] = {
    "Reals": lambda real: types.Array(real, 1, "C"),
    "ReadReals": lambda real: types.Array(real, 1, "C", readonly=True),
    "Doubles": lambda real: types.Array(types.float64, 1, "C"),
    "ReadRows": lambda real: types.Array(real, 2, "C", readonly=True),
    "Integers": lambda real: types.Array(types.int64, 1, "C"),
    "Bytes": lambda real: types.Array(types.uint8, 1, "C"),
    "Int": lambda real: types.int64,
    "Real": lambda real: real,
    "Double": lambda real: types.float64,
    "Flag": lambda real: types.boolean,
    "Launcher": lambda real: types.int64,
}
"""What a kernel's parameter annotations mean, for the element type ``real``."""

REALS = {np.dtype(np.float32): types.float32, np.dtype(np.float64): types.float64}

# Names for annotations, so that type checkers know them; Numba itself reads nothing from annotations.
Reals: TypeAlias = np.ndarray
ReadReals: TypeAlias = np.ndarray
ReadRows: TypeAlias = np.ndarray
Doubles: TypeAlias = np.ndarray
Integers: TypeAlias = np.ndarray
Bytes: TypeAlias = np.ndarray
Int: TypeAlias = int
Real: TypeAlias = float
Double: TypeAlias = float
Flag: TypeAlias = bool
Launcher: TypeAlias = int

_lock = threading.RLock()
if hasattr(os, "register_at_fork"):  # a child has no thread that would finish a compilation and let the lock go
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_kernels: list[Kernel] = []


class Kernel:
    """A function called from Python, compiled lazily: one specialisation per element type.

    Parameters
    ----------
    function
        Plain function in Numba's subset, annotated with the words of `PARAMETERS`.
    label
        Distinguishes kernels that were made by one factory; part of the cache's path.
    releases_gil
        Whether other Python threads run meanwhile. Not to let them saves 50 ns, worth it for what takes as little.
    """

    def __init__(self, function: Callable[..., Any], label: str, releases_gil: bool = True) -> None:
        named(function, label)
        self._releases_gil = releases_gil
        self.function = function
        self.name = f"{function.__module__}.{function.__name__}"
        self._words = [str(word) for name, word in function.__annotations__.items() if name != "return"]
        unknown = [word for word in self._words if word not in PARAMETERS]
        if unknown or len(self._words) != function.__code__.co_argcount:
            raise checks.kind_error(self.name, f"annotations from {', '.join(PARAMETERS)}", ", ".join(self._words))
        self.shares = self._words[-1:] == ["Launcher"]
        self._typed = next((i for i, word in enumerate(self._words) if word in ("Reals", "ReadReals", "ReadRows")), 0)
        self._ready = _Ready(self)
        _kernels.append(self)

    def __call__(self, *arguments: Any) -> Any:
        """Run it; the element type is that of the first array of reals."""
        return self._ready[arguments[self._typed].dtype](*arguments)

    def launch(self, work: float, *arguments: Any) -> Any:
        """Run it, on several threads if ``work`` (floating-point operations) is worth it and it is safe.

        The launcher is added to the arguments.
        """
        return launch(self._ready[arguments[self._typed].dtype], work, *arguments)

    def compiled(self, dtype: np.dtype) -> Any:
        """Return the compiled function for an element type."""
        return self._ready[dtype]

    def missing(self, dtype: np.dtype) -> bool:
        """Say whether it has to be compiled for an element type: neither used yet nor in the cache."""
        return dtype not in self._ready and not present(self._entry(dtype))

    def _entry(self, dtype: np.dtype) -> str:
        return f"{self.name}-{dtype}"

    def _compile(self, dtype: np.dtype) -> Any:
        signature = tuple(PARAMETERS[word](REALS[dtype]) for word in self._words)
        return compiled(self.function, signature, self._entry(dtype), link_commons, nogil=self._releases_gil)


def launch(function: Any, work: float, *arguments: Any) -> Any:
    """Run a compiled kernel like `Kernel.launch`, which looks it up first."""
    if work < SHARED_WORK or threads.count == 1:
        return function(*arguments, 0)
    return threads.run(function, work, arguments)


class _Ready(dict):
    """Compiled functions by element type; a missing one is made."""

    def __init__(self, owner: Kernel) -> None:
        super().__init__()
        self._owner = owner

    def __missing__(self, dtype: np.dtype) -> Any:
        with _lock:
            if dtype not in self:
                self[dtype] = self._owner._compile(dtype)
            return self[dtype]


def kernel(function: Callable[..., Any] | None = None, *, label: str = "", releases_gil: bool = True) -> Any:
    """Make a `Kernel` of a function; usable with and without options."""
    if function is None:
        return lambda later: Kernel(later, label, releases_gil)
    return Kernel(function, label, releases_gil)


def all_kernels() -> list[Kernel]:
    """Return all kernels that have been defined so far."""
    return list(_kernels)
