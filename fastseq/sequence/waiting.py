"""A step of cells that wait: a row's units are finished together, when the slots of all of them are there.

What they wait for may be slots that are standardised over the row (see `standardize`), or a second product. Its operand
`u` has one number per unit, made of the slots; the result joins a slot, before the units are finished, or it is h, and
then u is what the cell returned for h.
"""

from __future__ import annotations

from fastseq.cells.contract import (
    PROJECTED,
    memory_pattern,
    operand,
    shape_of,
    slot_pattern,
    stage,
    step,
    vector_pattern,
)
from fastseq.jit import piece
from fastseq.sequence.slots import fill_row, fill_slots
from fastseq.sequence.standardize import standardize_rows
from fastseq.sequence.workspace import TILE_ROWS
from fastseq.simd.dense import GROUP
from fastseq.simd.gemm import multiply
from fastseq.simd.lanes import load, load_group, store, store_group, zero_like
from fastseq.simd.memory import clear, copy


@piece
def multiply_packed(a, a0, a_row, panels, at, depth, c, c0, c_row, rows, columns, lanes):
    """Add to c the product of rows of a and a matrix (depth, columns) that `simd.dense.pack_right` wrote.

    ``columns`` are whole vectors.
    """
    for first in range(0, columns, GROUP * lanes):
        width = min(GROUP * lanes, columns - first)
        multiply(
            a, a0, a_row, 1, panels, at + first * depth, width, depth, c, c0 + first, c_row, c, c0 + first, c_row,
            rows, width // lanes, lanes,
        )  # fmt: skip


@stage(lambda spec: spec.second in spec.slots)
def join_slot(weights, layout, second_at, z, h_at, rows, acc, acc0, acc_row, u, joined, kept, row):
    """Make the operand of ``rows`` rows, the first of which is number ``row``, and add its product to the slot."""
    lanes, slot = layout.lanes, shape_of(weights).second_slot
    for r in range(rows):
        for block in range(layout.blocks):
            e, at = block * lanes, acc0 + r * acc_row + block * layout.width
            slots = load_group(acc, at, lanes, slot_pattern(weights))
            own = operand(weights, slots, load(z, h_at + r * layout.z_row + e))
            store(acc, u + r * layout.units_row + e, own)
            store(acc, joined + r * layout.joined_row + e, load(acc, at + slot * lanes))
            if kept.wanted:
                store(kept.buffer, kept.operand + (row + r) * layout.units_row + e, own)
    multiply_packed(
        acc, u, layout.units_row, weights.panels, second_at, layout.units, acc, joined, layout.joined_row, rows,
        layout.joined_padded, lanes,
    )  # fmt: skip
    for r in range(rows):
        for block in range(layout.blocks):
            to = acc0 + r * acc_row + block * layout.width + slot * lanes
            store(acc, to, load(acc, joined + r * layout.joined_row + block * lanes))


@stage(lambda spec: spec.projects)
def project(weights, layout, second_at, z, h_at, to, rows, acc, u, kept, row):
    """Make h of what the cell returned for it, of ``rows`` rows, the first of which is number ``row``."""
    lanes = layout.lanes
    for r in range(rows):
        clear(z, to + r * layout.z_row, layout.outputs_padded, lanes)
        if kept.wanted:
            h = kept.h + (row + r) * layout.outputs_row
            copy(z, h_at + r * layout.z_row, kept.buffer, h, layout.outputs_padded, lanes)
            operands = kept.operand + (row + r) * layout.units_row
            copy(acc, u + r * layout.units_row, kept.buffer, operands, layout.units_padded, lanes)
    multiply_packed(
        acc, u, layout.units_row, weights.panels, second_at, layout.units, z, to, layout.z_row, rows,
        layout.outputs_padded, lanes,
    )  # fmt: skip


@piece
def finish_row(weights, layout, panels_at, z, h_at, to, memory, m0, m_stride, acc, at, u, kept, row):
    """Make gates and the new state of one row from its slots at ``at``; keep what backward needs."""
    lanes, projects = layout.lanes, shape_of(weights).second_slot == PROJECTED
    for block in range(layout.blocks):
        e = block * lanes
        slots = load_group(acc, at + block * layout.width, lanes, slot_pattern(weights))
        before = load_group(memory, m0 + e, m_stride, memory_pattern(weights))
        vectors_at = panels_at + block * layout.panels_block + layout.width
        vectors = load_group(weights.panels, vectors_at, lanes, vector_pattern(weights))
        h_before = zero_like(slots[0]) if projects else load(z, h_at + e)
        gates, h, after = step(weights, slots, h_before, before, vectors)
        if kept.wanted:
            store_group(kept.buffer, kept.gates + row * layout.gates_row + block * layout.head, lanes, gates)
            store_group(kept.buffer, kept.memories + row * layout.units_row + e, kept.stride, before)
            if not projects:
                store(kept.buffer, kept.h + row * layout.outputs_row + e, h_before)
        store_group(memory, m0 + e, m_stride, after)
        if projects:
            store(acc, u + e, h)
        else:
            store(z, to + e, h)


@stage(lambda spec: spec.waits)
def advance_rows(
    weights, layout, panels_at, second_at, z, current, following, rows, memory, m0, m_stride, acc, acc0, kept
):
    """Advance by one step, some rows after the others, with their slots in ``acc`` as [row][block][S][L]."""
    tile, acc_row = min(TILE_ROWS, rows), layout.blocks * layout.width
    u = acc0 + tile * acc_row
    joined = u + tile * layout.units_row
    for first in range(0, rows, tile):
        some = min(tile, rows - first)
        x_at = current + layout.inputs_padded - layout.inputs + first * layout.z_row
        h_at = current + layout.inputs_padded + first * layout.z_row
        to = following + layout.inputs_padded + first * layout.z_row
        block = 0
        while some == 1 and block + 2 <= layout.blocks:
            w0, at = panels_at + block * layout.panels_block, acc0 + block * layout.width
            fill_row(weights, layout, w0, z, x_at, acc, at)
            block += 2
        while block < layout.blocks:
            w0, at = panels_at + block * layout.panels_block, acc0 + block * layout.width
            fill_slots(weights, layout, w0, 1, z, x_at, some, acc, at, acc_row)
            block += 1
        standardize_rows(weights, layout, panels_at, memory, m0, m_stride, some, acc, acc0, acc_row, kept, first)
        join_slot(weights, layout, second_at, z, h_at, some, acc, acc0, acc_row, u, joined, kept, first)
        for r in range(some):
            row = first + r
            finish_row(
                weights, layout, panels_at, z, h_at + r * layout.z_row, to + r * layout.z_row,
                memory, m0 + row * layout.units_row, m_stride, acc, acc0 + r * acc_row, u + r * layout.units_row,
                kept, row,
            )  # fmt: skip
        project(weights, layout, second_at, z, h_at, to, some, acc, u, kept, first)
