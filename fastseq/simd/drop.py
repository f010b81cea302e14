"""Dropout of whole arrays, on all threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastseq import buffers
from fastseq.jit import Int, Integers, Launcher, ReadReals, Real, Reals, kernel, piece, share
from fastseq.simd.lanes import VECTOR_BYTES, address, zero_like
from fastseq.simd.noise import thinned
from fastseq.simd.norm import put, take

PART = 16_384
"""Elements that a thread takes at a time: a multiple of the lanes."""
WORK = 20.0
"""What one element costs, in floating-point operations, when it is decided whether to share the work."""


@piece
def drop_task(part, x, y, count, noise, factor, lanes):
    """Write a part: what is dropped is multiplied by zero, so that NaN stays."""
    keys, threshold = (noise[0], noise[1]), noise[2]
    for e in range(part * PART, min(count, (part + 1) * PART), lanes):
        value = take(x, e, count - e, lanes)
        put(y, e, value * thinned(zero_like(value) + 1.0, e, keys, threshold, factor), count - e, lanes)


@kernel
def drop_all(x: ReadReals, y: Reals, noise: Integers, factor: Real, lanes: Int, launcher: Launcher):
    """Write all elements; ``noise`` holds two keys and the threshold (see `simd.noise`)."""
    arguments = (address(x), address(y), x.size, address(noise), factor, lanes)
    share(launcher, (x.size + PART - 1) // PART, drop_task, arguments)


def drop(x: np.ndarray, noise: np.ndarray, factor: float) -> np.ndarray:
    """Return an array with some elements times zero and the others times ``factor``.

    Parameters
    ----------
    x
        float32 or float64, any shape.
    noise
        Two keys and the threshold of their hash, int64.
    factor
        For what is kept.

    Returns
    -------
    ndarray
        Of x's shape, freshly allocated, C-contiguous.
    """
    source: Any = np.ascontiguousarray(x)
    result = buffers.empty(source.shape, source.dtype)
    lanes = VECTOR_BYTES // source.itemsize
    drop_all.launch(WORK * source.size, source.reshape(-1), result.reshape(-1), noise, factor, lanes)
    return result.reshape(x.shape)
