"""Memory for reuse: fresh pages from the system cost more than the work that is done on them.

Two kinds: *scratch*, one buffer per thread; and arrays (`aligned`, `empty`, `zeros`) whose memory is lent again when
nobody holds them any more.
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


def rounded(nbytes: int) -> int:
    """Return a number of bytes rounded up to steps of an eighth of a power of two, so that like sizes share.

    Parameters
    ----------
    nbytes
        The number.
    """
    step = 1 << max(6, nbytes.bit_length() - 4)
    return -(-nbytes // step) * step or 64


class Lender:
    """Memory of arrays: whoever lent it looks whether anybody still refers to it, and lends it again.

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

    def __init__(self, kept: int = 8, sizes: int = 64, limit: int = 1 << 30) -> None:
        self._kept, self._sizes, self._limit = kept, sizes, limit
        self._known: dict[int, deque[np.ndarray]] = {}

    def lend(self, nbytes: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return an uninitialised array of ``nbytes`` bytes, on a cache line, in a buffer that nobody uses."""
        size = rounded(nbytes)
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
    return lender.lend(size, shape, dtype)


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
    """Return an uninitialised flat array that begins on a cache line, in lent memory however small it is.

    Parameters
    ----------
    size
        Number of elements.
    dtype
        Their type.
    """
    dtype = np.dtype(dtype)
    return lender.lend(size * dtype.itemsize, (size,), dtype)


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


lender = Lender()
scratch = Scratch()
