"""Residuals and scratch: what is allocated, its layout, who writes it.

B rows, T steps, F inputs, H units, S slots, M memories, L lanes. H' is H and F' is F rounded up to whole vectors. G
blocks of units share a panel: one, or as many as make its rows as wide as a tile. Gates lie [block][S + V][L]: behind
a block's there is room for the gradients of its V vectors, the weights which each unit has for itself.
A *pair* is a valid (step, row); pairs are numbered p with steps ascending and rows longest first: p = start[t] + row.

======================  =================  ===========================================================================
array                   per pair or row    written by
======================  =================  ===========================================================================
gates (residual)        (S + V) H'         forward; backward replaces them by the gradients of the slots
h before (residual)     H'                 forward
memories before         M H'               forward
z (scratch, twice)      F' + H'            forward: the operand of a step, ``x`` right before h; two, taken in turns
memories (scratch)      M H'               forward, in place
acc (scratch)           G S L              forward: the slots of `TILE_ROWS` rows and one panel
d_h (scratch)           H'                 backward
d_memories (scratch)    M H'               backward
======================  =================  ===========================================================================

Row strides that are multiples of 1 KiB would map all rows to the same few cache sets, so they get one more line.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fastseq.jit import shared
from fastseq.simd.lanes import VECTOR_BYTES

TILE_ROWS = 24
"""Rows whose slots are computed before their gates are: a multiple of the tiles' rows, small enough for L1."""
PAIRS = 128
"""Pairs that the product for the weight gradients takes at a time."""
CHUNK = 96
"""Pairs of one task of the product for the input gradient; a multiple of the tiles' rows."""
SPREAD_LINES = 16
"""Row strides that are multiples of so many cache lines are lengthened."""


class Layout(NamedTuple):
    """Sizes and strides in elements, from the sizes of a layer."""

    inputs: int
    units: int
    slots: int
    memories: int
    lanes: int
    blocks: int
    group: int
    panels: int
    width: int
    head: int
    vectors: int
    input_first: int
    input_slots: int
    state_first: int
    state_slots: int
    panels_block: int
    inputs_padded: int
    units_padded: int
    gates_row: int
    units_row: int
    z_row: int


@shared
def spread_rows(elements, lanes):
    """Return a row stride of at least ``elements`` (whole vectors) that does not collide in the cache."""
    if elements % (SPREAD_LINES * lanes) == 0:
        return elements + lanes
    return elements


@shared
def layout_of(inputs, units, shape, lanes):
    """Return the `Layout` of a layer; ``shape`` is its cell's (see `cells.contract`)."""
    units_padded = (units + lanes - 1) // lanes * lanes
    inputs_padded = (inputs + lanes - 1) // lanes * lanes
    return Layout(
        inputs,
        units,
        shape.slots,
        shape.memories,
        lanes,
        units_padded // lanes,
        shape.group,
        (units_padded // lanes + shape.group - 1) // shape.group,
        shape.slots * lanes,
        (shape.slots + shape.vectors) * lanes,
        shape.vectors,
        shape.input_first,
        shape.input_slots,
        shape.state_first,
        shape.state_slots,
        (shape.slots + shape.vectors + inputs * shape.input_slots + units * shape.state_slots) * lanes,
        inputs_padded,
        units_padded,
        spread_rows((shape.slots + shape.vectors) * units_padded, lanes),
        spread_rows(units_padded, lanes),
        spread_rows(inputs_padded + units_padded, lanes),
    )


@shared
def residuals_size(layout, pairs):
    """Return the number of elements that forward keeps for backward, for one direction."""
    return pairs * (layout.gates_row + (1 + layout.memories) * layout.units_row)


@shared
def forward_scratch_size(layout, rows):
    """Return the number of elements of scratch that forward needs for a shard of ``rows`` rows."""
    acc = max(TILE_ROWS, 2) * layout.group * layout.width
    return rows * (2 * layout.z_row + layout.memories * layout.units_row) + acc


@shared
def backward_scratch_size(layout, rows):
    """Return the number of elements of scratch that the backward scan needs for a shard of ``rows`` rows."""
    return rows * (1 + layout.memories) * layout.units_row


@shared
def merged_scratch_size(layout):
    """Return the number of elements of scratch that a task of the merged products needs."""
    inputs = PAIRS * spread_rows(layout.inputs_padded, layout.lanes) + layout.lanes
    return max(inputs, CHUNK * 4 * layout.lanes)


def lanes_per_vector(dtype: np.dtype) -> int:
    """Return L for an element type."""
    return VECTOR_BYTES // dtype.itemsize


class Plan(NamedTuple):
    """The order of work on a batch, as one int64 array for the kernels, and its size in pairs.

    The array holds: order (B), the rows longest first; lengths (B) in that order; start (T' + 1), the number of the
    first pair of every step up to the longest length T'; bounds (shards + 1), the shards' rows in that order.
    """

    numbers: np.ndarray
    rows: int
    steps: int
    pairs: int
    shards: int
    largest: int


def plan_batch(lengths: np.ndarray | None, rows: int, steps: int, threads: int) -> Plan:
    """Plan the work on a batch.

    Parameters
    ----------
    lengths
        Integers in 0..steps (rows,), or None for full rows.
    rows
        B.
    steps
        T.
    threads
        Number of shards wanted; each gets about the same number of pairs.

    Returns
    -------
    Plan
        The plan; ``steps`` in it is the longest length.
    """
    if lengths is None or (lengths == steps).all():
        return _dense_plan(rows, steps, threads)
    return _ragged_plan(np.asarray(lengths, np.int64).tobytes(), threads)


@lru_cache(maxsize=64)
def _ragged_plan(content: bytes, threads: int) -> Plan:
    """Plan for lengths given as bytes: every layer of a stack, and every epoch over the same batches, asks again."""
    lengths = np.frombuffer(content, np.int64)
    order = np.argsort(-lengths, kind="stable")
    return _plan(order, lengths[order], threads)


@lru_cache(maxsize=64)
def _dense_plan(rows: int, steps: int, threads: int) -> Plan:
    return _plan(np.arange(rows), np.full(rows, steps), threads)


def _plan(order: np.ndarray, lengths: np.ndarray, threads: int) -> Plan:
    rows = len(order)
    steps = int(lengths[0]) if rows else 0
    active = rows - np.searchsorted(lengths[::-1], np.arange(1, steps + 1), side="left")
    start = np.concatenate([[0], np.cumsum(active)])
    shards = max(1, min(threads, rows))
    done = np.cumsum(lengths)
    total = int(done[-1]) if rows else 0
    inner = np.searchsorted(done, total * np.arange(1, shards) / shards, side="left") + 1
    bounds = np.concatenate([[0], np.minimum(inner, rows), [rows]])
    numbers = np.concatenate([order, lengths, start, bounds]).astype(np.int64)
    return Plan(numbers, rows, steps, int(start[-1]), shards, int(np.diff(bounds).max()))
