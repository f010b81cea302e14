"""Whether other programs hold the cores that a launch on several threads would wait for.

A launch ends with its last thread. Where more threads want to run than there are cores, the system may let that one
wait for its turn, milliseconds at a time, and all the others with it, in every launch anew; one thread by itself only
shares its core. A launch that takes far longer than its kernel's work has taken before counts as a *stall*. After two
of them in a short time kernels keep to one thread for a while; a stall soon after that while doubles the next one.
No bit of a result depends on it.
"""

from __future__ import annotations

import math

STALL = 0.0015
"""Seconds beyond three times what its work can take that make a launch a stall; a turn of another program is longer."""
SOON = 0.25
"""Seconds within which a second stall is taken for more than chance."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds on one thread: the first time, and at most."""


class Crowding:
    """What launches have taken, and until when kernels keep to one thread."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as when the number of threads changes."""
        self._best: dict[int, float] = {}  # seconds per unit of work, by kernel
        self._alone_until = self._last_stall = -math.inf
        self._pause = FIRST_PAUSE

    def alone(self, now: float) -> bool:
        """Say whether kernels keep to one thread at this time."""
        return now < self._alone_until

    def note(self, kernel: int, work: float, begin: float, end: float) -> None:
        """Learn from a launch on several threads.

        Parameters
        ----------
        kernel
            A number that stands for the kernel.
        work
            What it had to do, in the kernel's own unit.
        begin
            When it began, in seconds.
        end
            When it ended.
        """
        took = end - begin
        best = self._best.get(kernel)
        if best is None or took < best * work:
            self._best[kernel] = took / work
        elif took > STALL + 3.0 * best * work:
            if end - max(self._last_stall, self._alone_until) < SOON:
                self._alone_until = end + self._pause
                self._pause = min(2.0 * self._pause, LONGEST_PAUSE)
            else:
                self._pause = FIRST_PAUSE
            self._last_stall = end
