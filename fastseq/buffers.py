"""Memory for reuse: fresh pages from the system cost more than the work that is done on them.

Three kinds: buffers that are taken from the *pool* and given back by hand; *scratch*, one buffer per thread; and arrays
for users (`empty`, `zeros`), whose memory is lent again when nobody holds them any more.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from sys import getrefcount
from typing import Any

import numpy as np

LARGE = 1 << 17
"""Bytes from which C libraries ask the system for memory, and return it to it, each time."""


def _fresh(nbytes: int) -> np.ndarray:
    """Return that many bytes, which begin on a cache line."""
    raw = np.empty(nbytes + 64, np.uint8)
    skip = -raw.ctypes.data % 64
    return raw[skip : skip + nbytes]


class Pool:
    """Buffers by size. Lists are popped and appended to, which threads may do at once.

    Parameters
    ----------
    kept
        How many buffers of a size are kept.
    sizes
        Of how many sizes.
    limit
        How many bytes in all.
    """

    def __init__(self, kept: int = 4, sizes: int = 32, limit: int = 1 << 30) -> None:
        self._kept, self._sizes, self._limit = kept, sizes, limit
        self._free: dict[int, list[np.ndarray]] = {}

    @staticmethod
    def rounded(size: int) -> int:
        """Return a number of bytes rounded up to steps of an eighth of a power of two, so that like sizes share."""
        step = 1 << max(6, size.bit_length() - 4)
        return -(-size // step) * step or 64

    def take(self, size: int, dtype: Any) -> np.ndarray:
        """Return an uninitialised flat array of ``size`` bytes, which must be `rounded`; it begins on a cache line."""
        try:
            return self._free[size].pop().view(dtype)
        except (KeyError, IndexError):
            return _fresh(size).view(dtype)

    def give(self, buffer: np.ndarray) -> None:
        """Hand a buffer back; nobody may use it afterwards."""
        size = buffer.nbytes
        if len(self._free) > self._sizes or (size > LARGE and self.size() + size > self._limit):
            self._free.clear()
        same = self._free.setdefault(size, [])
        if len(same) < self._kept and size <= self._limit:
            same.append(buffer.view(np.uint8))

    def size(self) -> int:
        """Return how many bytes wait here."""
        return sum([size * len(same) for size, same in list(self._free.items())])


class Lender:
    """Memory of users' arrays: whoever lent it looks whether anybody still refers to it, and lends it again.

    Views of views refer to the array at the bottom, which owns the memory; so that one's references count all users.
    Buffers wait in queues by size: the one that was lent longest ago is looked at first.

    Parameters
    ----------
    kept
        How many buffers of a size are known; one that is in use is forgotten when there are more, and returns to the
        system after its end.
    sizes
        Of how many sizes.
    limit
        How many bytes are known in all.
    """

    def __init__(self, kept: int = 8, sizes: int = 32, limit: int = 1 << 29) -> None:
        self._kept, self._sizes, self._limit = kept, sizes, limit
        self._known: dict[int, deque[np.ndarray]] = {}

    def lend(self, size: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return an uninitialised array over a buffer of ``size`` bytes that nobody uses."""
        same = self._known.get(size)
        if same is None:
            same = self._known[size] = deque()
        for _ in range(len(same)):
            try:
                buffer = same.pop()  # no other thread sees it until it is back
            except IndexError:
                break
            if _references(buffer) == _UNUSED:
                array = np.ndarray(shape, dtype, buffer)
                same.appendleft(buffer)
                return array
            same.appendleft(buffer)
        if len(self._known) > self._sizes or self.size() + size > self._limit:
            self._known.clear()
        buffer = _fresh(size)
        array = np.ndarray(shape, dtype, buffer)
        if size <= self._limit:
            same.appendleft(buffer)
            self._known[size] = same
            if len(same) > self._kept:
                same.pop()
        return array

    def size(self) -> int:
        """Return how many bytes are known, in use or not."""
        return sum([size * len(same) for size, same in list(self._known.items())])


def _references(buffer: np.ndarray) -> int:
    return getrefcount(buffer.base)


_UNUSED = _references(_fresh(1))


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an uninitialised array; the memory of a large one is used again after its end.

    Parameters
    ----------
    shape
        Its sizes.
    dtype
        Its elements' type.
    """
    size = math.prod(shape) * dtype.itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    return lender.lend(Pool.rounded(size), shape, dtype)


def zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array of zeros; see `empty`.

    Parameters
    ----------
    shape
        Its sizes.
    dtype
        Its elements' type.
    """
    if math.prod(shape) * dtype.itemsize < LARGE:
        return np.zeros(shape, dtype)
    found = empty(shape, dtype)
    found.fill(0)
    return found


def aligned(size: int, dtype: Any) -> np.ndarray:
    """Return an uninitialised flat array that begins on a cache line, however small; see `empty`.

    Parameters
    ----------
    size
        Number of elements.
    dtype
        Their type.
    """
    dtype = np.dtype(dtype)
    nbytes = size * dtype.itemsize
    if nbytes < LARGE:
        return _fresh(nbytes).view(dtype)
    return lender.lend(Pool.rounded(nbytes), (size,), dtype)


class Scratch(threading.local):
    """One buffer per thread and element type, for kernels to write to while they run."""

    def __init__(self) -> None:
        self.buffers: dict[np.dtype, np.ndarray] = {}

    def __call__(self, size: int, dtype: np.dtype) -> np.ndarray:
        """Return the thread's buffer, of ``size`` elements or more; its contents hold until the next call."""
        found = self.buffers.get(dtype)
        if found is None or found.size < size:
            found = self.buffers[dtype] = _fresh((size + size // 4) * dtype.itemsize).view(dtype)
        return found


pool = Pool()
lender = Lender()
scratch = Scratch()
