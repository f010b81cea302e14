"""The scan back over time: gates become slot gradients, which the recurrent matrix takes one step further back."""

from __future__ import annotations

from fastseq.cells.contract import (
    PROJECTED,
    memory_pattern,
    shape_of,
    slot_pattern,
    stage,
    step_backward,
    vector_pattern,
)
from fastseq.jit import piece
from fastseq.sequence.second import join_back, project_back
from fastseq.sequence.slot_products import multiply_pair, multiply_slots
from fastseq.sequence.standardize import back_standardized
from fastseq.sequence.workspace import backward_scratch_size, residual_places
from fastseq.simd.lanes import load, load_group, load_head, store, store_group
from fastseq.simd.memory import copy, copy_padded
from fastseq.simd.pack import PANEL_VECTORS


@stage(lambda spec: not spec.standardized)
def back_row(
    weights,
    layout,
    vectors_at,
    gates,
    gates_at,
    kept,
    h_at,
    memory_at,
    kept_stride,
    d_out,
    d_out_at,
    scratch,
    d_h,
    d_m,
    d_stride,
):
    """Replace one pair's gates by its slot gradients, for all blocks; d_h and d_memories move one step back.

    Where h is a product, d_h is the gradient of its operand, with everything in it, and h before is of no account.
    """
    lanes, projects = layout.lanes, shape_of(weights).second_slot == PROJECTED
    for block in range(layout.blocks):
        e, at = block * lanes, gates_at + block * layout.head
        opened = load_group(gates, at, lanes, slot_pattern(weights))
        total = load(scratch, d_h + e)
        h = total if projects else load(kept, h_at + e)
        memory = load_group(kept, memory_at + e, kept_stride, memory_pattern(weights))
        if not projects:
            left = layout.units - e
            total = total + (load(d_out, d_out_at + e) if left >= lanes else load_head(d_out, d_out_at + e, left))
        d_memory = load_group(scratch, d_m + e, d_stride, memory_pattern(weights))
        vectors = load_group(weights.panels, vectors_at + e * layout.vectors, lanes, vector_pattern(weights))
        d_slots, d_before, d_memory, d_vectors = step_backward(weights, opened, h, memory, total, d_memory, vectors)
        store_group(gates, at, lanes, d_slots)
        store_group(gates, at + layout.width, lanes, d_vectors)
        store(scratch, d_h + e, d_before)
        store_group(scratch, d_m + e, d_stride, d_memory)


@piece
def scan_back(
    weights, layout, columns_at, vectors_at, second_at, d_states, s0, m0, memory_stride, d_out, out_at, out_row,
    residuals, r0, scratch, q0, plan, batch, steps, pairs, low, high, reverse,
):  # fmt: skip
    """Run the rows low..high of the plan's order back over all their steps.

    ``d_states`` holds the gradients of the final states and gets those of the initial ones.
    """
    rows, lanes, units, units_row = high - low, layout.lanes, layout.units, layout.units_row
    outputs, outputs_row = layout.outputs, layout.outputs_row
    shape, vectors = shape_of(weights), layout.outputs_padded // lanes
    width = shape.slots + shape.vectors
    d_h, d_m = q0, q0 + rows * outputs_row
    d_u = d_m + layout.memories * rows * units_row
    kept_h, kept_memory, _, kept_d, kept_scales = residual_places(layout, pairs)
    d_row = q0 + backward_scratch_size(layout, rows) - layout.blocks * layout.width
    for r in range(rows):
        copy_padded(d_states, s0 + plan[low + r] * outputs, scratch, d_h + r * outputs_row, outputs, lanes)
        for j in range(layout.memories):
            source = m0 + j * memory_stride + plan[low + r] * units
            copy_padded(d_states, source, scratch, d_m + (j * rows + r) * units_row, units, lanes)
    active = 0
    t = plan[batch + low] - 1 if rows > 0 else -1
    while t >= 0:
        while active < rows and plan[batch + low + active] > t:
            active += 1
        pair = plan[2 * batch + t] + low
        d_joined = r0 + kept_d + pair * layout.joined_row
        project_back(
            weights, layout, second_at, d_out, out_at, out_row, plan, low, batch, steps, t, reverse,
            residuals, d_joined, scratch, d_h, d_u, active,
        )  # fmt: skip
        d_given, given_row = (d_u, units_row) if shape.second_slot == PROJECTED else (d_h, outputs_row)
        for r in range(active):
            time = plan[batch + low + r] - 1 - t if reverse else t
            p = pair + r
            back_row(
                weights, layout, vectors_at, residuals, r0 + p * layout.gates_row,
                residuals, r0 + kept_h + p * outputs_row, r0 + kept_memory + p * units_row, pairs * units_row,
                d_out, (plan[low + r] * steps + time) * out_row + out_at,
                scratch, d_given + r * given_row, d_m + r * units_row, rows * units_row,
            )  # fmt: skip
            back_standardized(
                weights, layout, vectors_at, residuals, r0 + p * layout.gates_row, r0 + kept_h + p * outputs_row,
                r0 + kept_memory + p * units_row, pairs * units_row, r0 + kept_scales + p * layout.standards * lanes,
                d_out, (plan[low + r] * steps + time) * out_row + out_at,
                scratch, d_h + r * outputs_row, d_m + r * units_row, rows * units_row, d_row,
            )  # fmt: skip
        join_back(
            weights, layout, second_at, residuals, r0 + pair * layout.gates_row, r0 + kept_h + pair * outputs_row,
            d_joined, scratch, d_h, d_u, active,
        )  # fmt: skip
        panels = (vectors + PANEL_VECTORS - 1) // PANEL_VECTORS if shape.state_slots > 0 else 0
        pairs_of_panels = vectors // PANEL_VECTORS // 2 if active == 1 and shape.state_slots == width else 0
        for i in range(pairs_of_panels):
            multiply_pair(
                layout, residuals, r0 + pair * layout.gates_row, weights.panels, columns_at,
                2 * (pairs_of_panels - 1 - i if t % 2 else i), scratch, d_h,
            )  # fmt: skip
        for i in range(panels - 2 * pairs_of_panels):
            # Up and down in turns: a step begins with the panel that the one before has left in the cache.
            first = (panels - 1 - i if t % 2 else 2 * pairs_of_panels + i) * PANEL_VECTORS
            some = min(PANEL_VECTORS, vectors - first)
            multiply_slots(
                layout, width, shape.state_first, shape.state_slots,
                residuals, r0 + pair * layout.gates_row, weights.panels, columns_at, first * lanes,
                scratch, d_h + first * lanes, outputs_row, active, some,
            )  # fmt: skip
        t -= 1
    for r in range(rows):
        copy(scratch, d_h + r * outputs_row, d_states, s0 + plan[low + r] * outputs, outputs, lanes)
        for j in range(layout.memories):
            to = m0 + j * memory_stride + plan[low + r] * units
            copy(scratch, d_m + (j * rows + r) * units_row, d_states, to, units, lanes)
