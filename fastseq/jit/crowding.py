"""Whether other programs hold the cores that a launch on several threads would wait for.

A launch ends with its last thread. Where more threads want to run than there are cores, the system may let that one
wait for its turn, milliseconds at a time, and all the others with it, in every launch anew; one thread by itself only
shares its core. A launch that takes far longer than its kernel's work has taken before counts as a *stall*. When stalls
have taken up most of some time, kernels keep to one thread for a while, and for twice as long if it goes on after that.
What is short, such as the threads of another library that spin before they fall asleep, is waited for.
No bit of a result depends on it.
"""

from __future__ import annotations

import math

STALL = 0.0015
"""Seconds beyond three times what its work can take that make a launch a stall; a turn of another program is longer."""
PATIENCE = 0.03
"""Seconds of stalls after which kernels keep to one thread."""
FADING = 0.1
"""Seconds in which stalls are forgotten (to 1 / e)."""
SOON = 0.25
"""Seconds after a pause within which the next one is longer."""
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
        self._stalled, self._pause = 0.0, FIRST_PAUSE

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
            lost = took - best * work
            self._stalled = self._stalled * math.exp((self._last_stall - end) / FADING) + lost
            self._last_stall = end
            if self._stalled > PATIENCE:
                again = end - lost - self._alone_until < SOON + PATIENCE
                self._pause = min(2.0 * self._pause, LONGEST_PAUSE) if again else FIRST_PAUSE
                self._alone_until = end + self._pause
                self._stalled = 0.0
