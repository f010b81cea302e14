"""Run the tasks that a kernel shares in any order, and see whether two of them write to one place.

On a machine with few cores threads seldom meet. Here one task runs after another, and what it has written is changed
until the last one is through: a task that writes there again, even the same, or reads it, gives itself away.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

TASK = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64)
LOOP = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class TaskOrder:
    """Stands for `fastseq.jit.kernels.launch`; ``most`` is the largest number of tasks that was seen."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.most = 0
        self.met: list[str] = []
        self._bytes: list[np.ndarray] = []
        self._loop = LOOP(self._run)  # kept alive: compiled code calls it
        self._numbers = np.array(
            [ctypes.cast(self._loop, ctypes.c_void_p).value, 1]
        )  # as `fastseq.jit.threads` has them

    def __call__(self, function: Callable[..., Any], work: float, *arguments: Any) -> Any:
        arrays = {a.ctypes.data: a for a in arguments if isinstance(a, np.ndarray) and a.size and a.flags.writeable}
        self._bytes = [array.reshape(-1).view(np.uint8) for array in arrays.values()]
        result = function(*arguments, self._numbers.ctypes.data)
        assert not self.met, self.met
        return result

    def _run(self, task: int, block: int, count: int, workers: int) -> None:
        call, self.most = TASK(task), max(self.most, count)
        written = [np.zeros(one.size, bool) for one in self._bytes]
        for number in self.rng.permutation(count):
            before = [one.copy() for one in self._bytes]
            call(block, int(number))
            for one, former, taken in zip(self._bytes, before, written, strict=True):
                own = one != former
                if (own & taken).any():
                    self.met.append(f"task {number} of {count} writes to what another has written")
                taken |= own
                one[own] ^= 0x3C
        for one, taken in zip(self._bytes, written, strict=True):
            one[taken] ^= 0x3C
