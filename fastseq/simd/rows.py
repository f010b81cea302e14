"""Adding rows into a table at given places: the gradient of looking rows up."""

from __future__ import annotations

from fastseq.jit import Int, Integers, ReadReals, Reals, kernel
from fastseq.simd.lanes import address, load, load_head, store, store_head


@kernel
def add_rows(rows: ReadReals, places: Integers, table: Reals, width: Int, lanes: Int):
    """Add row i of ``rows`` to row places[i] of ``table``, i ascending; a negative place is left out."""
    source, target = address(rows), address(table)
    whole = width - width % lanes
    for i in range(places.size):
        if places[i] < 0:
            continue
        at, to = i * width, places[i] * width
        for e in range(0, whole, lanes):
            store(target, to + e, load(target, to + e) + load(source, at + e))
        if whole < width:
            some = width - whole
            total = load_head(target, to + whole, some) + load_head(source, at + whole, some)
            store_head(target, to + whole, total, some)
