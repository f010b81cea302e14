"""Residuals and scratch: what is allocated, its layout, who writes it.

B rows, T steps, F inputs, H units, P numbers in h (H, unless the cell projects), S slots, M memories, L lanes. H' is H
rounded up to whole vectors, and so on. A second product's operand has H numbers, its result Q: H, or P if it is h. G
blocks of units share a panel: one, or as many as make its rows as wide as a tile. Gates lie [block][S + V][L]: behind
a block's there is room for the gradients of its V vectors, the weights which each unit has for itself.
A *pair* is a valid (step, row); pairs are numbered p with steps ascending and rows longest first: p = start[t] + row.

======================  =================  ===========================================================================
array                   per pair or row    written by
======================  =================  ===========================================================================
gates (residual)        (S + V) H'         forward; backward replaces them by the gradients of the slots
h before (residual)     P'                 forward
memories before         M H'               forward
operand (residual)      H'                 forward, if there is a second product
d_joined (residual)     Q'                 backward, if there is a second product: the gradient of its result
scales (residual)       L per run          forward, if slots are standardised: 1 / deviation, in all lanes
z (scratch, twice)      F' + P'            forward: the operand of a step, ``x`` right before h; two, taken in turns
memories (scratch)      M H'               forward, in place
acc (scratch)           G S L              forward: the slots of `TILE_ROWS` rows and one panel
                        S H' + H' + Q'     or of all panels if the cell waits for them; then operand and result
d_h (scratch)           P'                 backward
d_memories (scratch)    M H'               backward
d_operand (scratch)     H'                 backward, if there is a second product
d_slots (scratch)       S H', once         backward, if slots are standardised
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
    outputs: int
    outputs_padded: int
    outputs_row: int
    waits: int
    joined: int
    joined_padded: int
    joined_row: int
    standards: int


@shared
def spread_rows(elements, lanes):
    """Return a row stride of at least ``elements`` (whole vectors) that does not collide in the cache."""
    if elements % (SPREAD_LINES * lanes) == 0:
        return elements + lanes
    return elements


@shared
def layout_of(inputs, units, outputs, shape, lanes):
    """Return the `Layout` of a layer; ``shape`` is its cell's (see `cells.contract`)."""
    outputs_padded = (outputs + lanes - 1) // lanes * lanes
    joined = 0 if shape.second_slot < 0 else outputs
    joined_padded = 0 if shape.second_slot < 0 else outputs_padded
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
        (shape.slots + shape.vectors + inputs * shape.input_slots + outputs * shape.state_slots) * lanes,
        inputs_padded,
        units_padded,
        spread_rows((shape.slots + shape.vectors) * units_padded, lanes),
        spread_rows(units_padded, lanes),
        spread_rows(inputs_padded + outputs_padded, lanes),
        outputs,
        outputs_padded,
        spread_rows(outputs_padded, lanes),
        1 if shape.second_slot >= 0 or shape.standards > 0 else 0,
        joined,
        joined_padded,
        0 if shape.second_slot < 0 else spread_rows(outputs_padded, lanes),
        shape.standards,
    )


@shared
def residuals_size(layout, pairs):
    """Return the number of elements that forward keeps for backward, for one direction."""
    second = layout.units_row + layout.joined_row if layout.joined > 0 else 0
    return pairs * (
        layout.gates_row
        + layout.outputs_row
        + layout.memories * layout.units_row
        + second
        + layout.standards * layout.lanes
    )


@shared
def residual_places(layout, pairs):
    """Return where h before, memories before, the operand, d_joined and the scales begin in one direction."""
    h = pairs * layout.gates_row
    memories = h + pairs * layout.outputs_row
    operand = memories + pairs * layout.memories * layout.units_row
    if layout.joined == 0:
        return h, memories, operand, operand, operand
    joined = operand + pairs * layout.units_row
    return h, memories, operand, joined, joined + pairs * layout.joined_row


@shared
def acc_size(layout, rows):
    """Return the number of elements for the slots of a step of ``rows`` rows."""
    if layout.waits > 0:
        second = layout.units_row + layout.joined_row if layout.joined > 0 else 0
        return min(TILE_ROWS, rows) * (layout.blocks * layout.width + second)
    return (2 if rows == 1 else TILE_ROWS) * layout.group * layout.width


@shared
def forward_scratch_size(layout, rows):
    """Return the number of elements of scratch that forward needs for a shard of ``rows`` rows."""
    return rows * (2 * layout.z_row + layout.memories * layout.units_row) + acc_size(layout, rows)


@shared
def backward_scratch_size(layout, rows):
    """Return the number of elements of scratch that the backward scan needs for a shard of ``rows`` rows."""
    operand = layout.units_row if layout.joined > 0 else 0
    one_row = layout.blocks * layout.width if layout.standards > 0 else 0
    return rows * (layout.outputs_row + layout.memories * layout.units_row + operand) + one_row


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
    if lengths is None:
        return _dense_plan(rows, steps, threads)
    return _ragged_plan(np.asarray(lengths, np.int64).tobytes(), steps, threads)


@lru_cache(maxsize=64)
def _ragged_plan(content: bytes, steps: int, threads: int) -> Plan:
    """Plan for lengths given as bytes: every layer of a stack, and every epoch over the same batches, asks again."""
    lengths = np.frombuffer(content, np.int64)
    if (lengths == steps).all():
        return _dense_plan(len(lengths), steps, threads)
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
    done = np.concatenate([[0], np.cumsum(lengths)])
    wanted = done[-1] * np.arange(1, shards) / shards
    after = np.clip(np.searchsorted(done, wanted), 1, rows)  # the cuts are where least is missing or too much
    inner = np.where(done[after] - wanted > wanted - done[after - 1], after - 1, after)
    bounds = np.concatenate([[0], inner, [rows]])
    numbers = np.concatenate([order, lengths, start, bounds]).astype(np.int64)
    return Plan(numbers, rows, steps, int(start[-1]), shards, int(np.diff(bounds).max()))
