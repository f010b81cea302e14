"""Slots that are standardised over a row before the cell sees them, and the way back.

    y = (x - mean) / sqrt(var + eps)         mean, var over all units of the row and all slots of a run

(Ba et al., Layer Normalization, arXiv 1607.06450, equation 4; gains and biases are the cell's.) A row's sums are made
as `simd.fold` says, blocks and slots ascending: they depend on the row alone.
"""

from __future__ import annotations

from fastseq.cells.contract import (
    made,
    made_backward,
    memory_pattern,
    runs_of,
    shape_of,
    slot_pattern,
    stage,
    step_backward,
    vector_pattern,
)
from fastseq.jit import piece
from fastseq.simd.fold import total
from fastseq.simd.lanes import fma, load, load_group, load_head, splat, square_root, store, store_group
from fastseq.simd.memory import copy
from fastseq.simd.norm import cut

EPSILON = 1e-5
"""Added to the variance."""


@piece
def standardize(layout, acc, at, first, count):
    """Standardise ``count`` slots of a row from ``first`` on, in place, with zeros past the last unit.

    Return 1 / deviation, in all lanes.
    """
    lanes = layout.lanes
    zero, size = splat(acc, 0.0), splat(acc, count * layout.units)
    sums, squares = zero, zero
    for block in range(layout.blocks):
        left = layout.units - block * lanes
        for slot in range(first, first + count):
            sums = sums + cut(load(acc, at + block * layout.width + slot * lanes), left, 0.0, lanes)
    mean = splat(acc, total(sums)) / size
    for block in range(layout.blocks):
        left = layout.units - block * lanes
        for slot in range(first, first + count):
            away = cut(load(acc, at + block * layout.width + slot * lanes) - mean, left, 0.0, lanes)
            squares = fma(away, away, squares)
    scale = 1.0 / square_root(splat(acc, total(squares)) / size + splat(acc, EPSILON))
    for block in range(layout.blocks):
        left = layout.units - block * lanes
        for slot in range(first, first + count):
            place = at + block * layout.width + slot * lanes
            store(acc, place, cut((load(acc, place) - mean) * scale, left, 0.0, lanes))
    return scale


@piece
def standardize_back(layout, d, at, gates, gates_at, first, count, scale):
    """Turn the gradients of standardised slots into those of the slots, in place: a row's, as [block][S][L]."""
    lanes = layout.lanes
    zero, size = splat(d, 0.0), splat(d, count * layout.units)
    direct, along = zero, zero
    for block in range(layout.blocks):
        left = layout.units - block * lanes
        for slot in range(first, first + count):
            g = cut(load(d, at + block * layout.width + slot * lanes), left, 0.0, lanes)
            direct, along = direct + g, fma(g, load(gates, gates_at + block * layout.head + slot * lanes), along)
    direct, along = splat(d, total(direct)) / size, splat(d, total(along)) / size
    for block in range(layout.blocks):
        left = layout.units - block * lanes
        for slot in range(first, first + count):
            place = at + block * layout.width + slot * lanes
            y = load(gates, gates_at + block * layout.head + slot * lanes)
            store(d, place, cut((load(d, place) - direct - y * along) * scale, left, 0.0, lanes))


@stage(lambda spec: bool(spec.standardized))
def standardize_rows(weights, layout, panels_at, memory, m0, m_stride, rows, acc, acc0, acc_row, kept, row):
    """Standardise the slots of some rows, the first of which is number ``row``; the last run is made of the others."""
    lanes, shape, runs = layout.lanes, shape_of(weights), runs_of(weights)
    for r in range(rows):
        at = acc0 + r * acc_row
        scales = kept.scales + (row + r) * shape.standards * lanes
        for number in range(shape.standards):
            if number == shape.standards - 1:
                for block in range(layout.blocks):
                    e, place = block * lanes, at + block * layout.width
                    slots = load_group(acc, place, lanes, slot_pattern(weights))
                    before = load_group(
                        memory, m0 + (row + r) * layout.units_row + e, m_stride, memory_pattern(weights)
                    )
                    vectors_at = panels_at + block * layout.panels_block + layout.width
                    vectors = load_group(weights.panels, vectors_at, lanes, vector_pattern(weights))
                    store(acc, place + runs[number][0] * lanes, made(weights, slots, before, vectors))
            scale = standardize(layout, acc, at, runs[number][0], runs[number][1])
            if kept.wanted:
                store(kept.buffer, scales + number * lanes, scale)


@stage(lambda spec: bool(spec.standardized))
def back_standardized(
    weights, layout, vectors_at, kept, gates_at, h_at, memory_at, kept_stride, scales, d_out, d_out_at, scratch, d_h,
    d_m, d_stride, d_row,
):  # fmt: skip
    """Replace one pair's gates by its slot gradients; d_h and d_memories move one step back: `scan_back.back_row`."""
    lanes, shape, runs = layout.lanes, shape_of(weights), runs_of(weights)
    last = shape.standards - 1
    for block in range(layout.blocks):
        e, at = block * lanes, gates_at + block * layout.head
        opened = load_group(kept, at, lanes, slot_pattern(weights))
        memory = load_group(kept, memory_at + e, kept_stride, memory_pattern(weights))
        left = layout.units - e
        given = load(d_out, d_out_at + e) if left >= lanes else load_head(d_out, d_out_at + e, left)
        d_memory = load_group(scratch, d_m + e, d_stride, memory_pattern(weights))
        vectors = load_group(weights.panels, vectors_at + e * layout.vectors, lanes, vector_pattern(weights))
        d_slots, d_before, d_memory, d_vectors = step_backward(
            weights, opened, load(kept, h_at + e), memory, load(scratch, d_h + e) + given, d_memory, vectors
        )
        store_group(scratch, d_row + block * layout.width, lanes, d_slots)
        store_group(kept, at + layout.width, lanes, d_vectors)
        store(scratch, d_h + e, d_before)
        store_group(scratch, d_m + e, d_stride, d_memory)
    scale = load(kept, scales + last * lanes)
    standardize_back(layout, scratch, d_row, kept, gates_at, runs[last][0], runs[last][1], scale)
    for block in range(layout.blocks):
        e, at, place = block * lanes, gates_at + block * layout.head, d_row + block * layout.width
        opened = load_group(kept, at, lanes, slot_pattern(weights))
        d_slots = load_group(scratch, place, lanes, slot_pattern(weights))
        memory = load_group(kept, memory_at + e, kept_stride, memory_pattern(weights))
        d_memory = load_group(scratch, d_m + e, d_stride, memory_pattern(weights))
        vectors = load_group(weights.panels, vectors_at + e * layout.vectors, lanes, vector_pattern(weights))
        d_vectors = load_group(kept, at + layout.width, lanes, vector_pattern(weights))
        d_slots, d_memory, d_vectors = made_backward(weights, opened, d_slots, memory, d_memory, vectors, d_vectors)
        store_group(scratch, place, lanes, d_slots)
        store_group(kept, at + layout.width, lanes, d_vectors)
        store_group(scratch, d_m + e, d_stride, d_memory)
    for number in range(last):
        scale = load(kept, scales + number * lanes)
        standardize_back(layout, scratch, d_row, kept, gates_at, runs[number][0], runs[number][1], scale)
    for block in range(layout.blocks):
        copy(scratch, d_row + block * layout.width, kept, gates_at + block * layout.head, layout.width, lanes)
