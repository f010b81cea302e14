"""The set of ids that were already scored, at eight bytes each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class SeenIds:
    """A growing set of 64-bit keys: a small Python set in front of sorted arrays that double in size.

    Parameters
    ----------
    recent_size
        How many of the newest keys the front holds before they are merged into an array.
    """

    def __init__(self, recent_size: int = 1 << 16) -> None:
        self._recent: set[int] = set()
        self._recent_size = recent_size
        self._levels: list[NDArray[np.int64]] = []  # every array at least twice as long as the next

    def __len__(self) -> int:
        return len(self._recent) + sum(map(len, self._levels))

    def add(self, keys: Sequence[int]) -> int:
        """Add the keys of ids and return the position of the first that was there before, or -1."""
        known = self._known(np.array(keys, np.int64))
        for position, value in enumerate(keys):
            if known[position] or value in self._recent:
                return position
            self._recent.add(value)
        if len(self._recent) >= self._recent_size:
            self._merge()
        return -1

    def _known(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        known = np.zeros(len(keys), bool)
        for level in self._levels:
            place = np.minimum(np.searchsorted(level, keys), len(level) - 1)
            known |= level[place] == keys
        return known

    def _merge(self) -> None:
        level = np.fromiter(self._recent, np.int64, len(self._recent))
        self._recent.clear()
        while self._levels and len(self._levels[-1]) < 2 * len(level):
            level = np.concatenate([self._levels.pop(), level])
        level.sort()
        self._levels.append(level)
