"""Copying and filling runs of elements with whole vectors."""

from __future__ import annotations

from fastseq.jit import piece
from fastseq.simd.lanes import load, load_head, splat, store, store_head


@piece
def copy(source, at, target, to, count, lanes):
    """Copy ``count`` elements; nothing beyond them is read or written."""
    i = 0
    while i + lanes <= count:
        store(target, to + i, load(source, at + i))
        i += lanes
    if i < count:
        store_head(target, to + i, load_head(source, at + i, count - i), count - i)


@piece
def copy_padded(source, at, target, to, count, lanes):
    """Copy ``count`` elements and write zeros from there to the end of the last vector of the target."""
    i = 0
    while i + lanes <= count:
        store(target, to + i, load(source, at + i))
        i += lanes
    if i < count:
        store(target, to + i, load_head(source, at + i, count - i))


@piece
def clear(target, to, count, lanes):
    """Write ``count`` zeros; a multiple of the lanes."""
    zero = splat(target, 0.0)
    for i in range(0, count, lanes):
        store(target, to + i, zero)


@piece
def clear_padding(target, at, row_size, size, length, steps, lanes):
    """Write zeros to the first ``size`` elements of the rows from ``length`` to ``steps``; nothing else is written."""
    zero = splat(target, 0.0)
    for time in range(length, steps):
        to, left = at + time * row_size, size
        while left >= lanes:
            store(target, to, zero)
            to += lanes
            left -= lanes
        if left > 0:
            store_head(target, to, zero, left)
