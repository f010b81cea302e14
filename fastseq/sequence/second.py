"""The way back through a second product in a step (see `waiting`), and the gradient of its matrix."""

from __future__ import annotations

from fastseq.cells.contract import operand_backward, shape_of, slot_pattern, stage
from fastseq.jit import piece
from fastseq.sequence.waiting import multiply_packed
from fastseq.sequence.workspace import PAIRS
from fastseq.simd.gemm import multiply
from fastseq.simd.lanes import load, load_group, load_head, store, store_group
from fastseq.simd.memory import clear, copy


@piece
def operand_gradient(weights, layout, second_at, residuals, d_joined, scratch, d_u, rows):
    """Make the gradients of some rows' operands from those of the products."""
    lanes = layout.lanes
    for r in range(rows):
        clear(scratch, d_u + r * layout.units_row, layout.units_padded, lanes)
    multiply_packed(
        residuals, d_joined, layout.joined_row, weights.panels, second_at, layout.joined, scratch, d_u,
        layout.units_row, rows, layout.units_padded, lanes,
    )  # fmt: skip


@stage(lambda spec: spec.projects)
def project_back(
    weights, layout, second_at, d_out, out_at, out_row, plan, low, batch, steps, t, reverse, residuals, d_joined,
    scratch, d_h, d_u, rows,
):  # fmt: skip
    """Turn the gradients of h after the step into those of what the cell returned for it; d_h becomes zeros."""
    lanes = layout.lanes
    for r in range(rows):
        time = plan[batch + low + r] - 1 - t if reverse else t
        given = (plan[low + r] * steps + time) * out_row + out_at
        for e in range(0, layout.outputs_padded, lanes):
            left, at = layout.outputs - e, d_h + r * layout.outputs_row + e
            more = load(d_out, given + e) if left >= lanes else load_head(d_out, given + e, left)
            store(residuals, d_joined + r * layout.joined_row + e, load(scratch, at) + more)
        clear(scratch, d_h + r * layout.outputs_row, layout.outputs_padded, lanes)
    operand_gradient(weights, layout, second_at, residuals, d_joined, scratch, d_u, rows)


@stage(lambda spec: spec.second in spec.slots)
def join_back(weights, layout, second_at, residuals, gates, kept_h, d_joined, scratch, d_h, d_u, rows):
    """Take the gradients of some rows' slots through the operand to other slots and to h."""
    lanes, slot = layout.lanes, shape_of(weights).second_slot
    for r in range(rows):
        for block in range(layout.blocks):
            at = gates + r * layout.gates_row + block * layout.head + slot * lanes
            store(residuals, d_joined + r * layout.joined_row + block * lanes, load(residuals, at))
    operand_gradient(weights, layout, second_at, residuals, d_joined, scratch, d_u, rows)
    for r in range(rows):
        for block in range(layout.blocks):
            e, at = block * lanes, gates + r * layout.gates_row + block * layout.head
            slots = load_group(residuals, at, lanes, slot_pattern(weights))
            h = load(residuals, kept_h + r * layout.outputs_row + e)
            d_slots, more = operand_backward(weights, slots, h, load(scratch, d_u + r * layout.units_row + e))
            store_group(residuals, at, lanes, d_slots)
            to = d_h + r * layout.outputs_row + e
            store(scratch, to, load(scratch, to) + more)


@stage(lambda spec: bool(spec.second))
def second_gradient(weights, layout, d_panels, at, q_from, q_to, residuals, operand, d_joined, pairs):
    """Compute the rows q_from..q_to of the gradient of the matrix, whole vectors of units in each."""
    lanes, row = layout.lanes, layout.units_padded
    clear(d_panels, at + q_from * row, (q_to - q_from) * row, lanes)
    for first in range(0, pairs, PAIRS):
        count = min(PAIRS, pairs - first)
        multiply(
            residuals, d_joined + first * layout.joined_row + q_from, 1, layout.joined_row,
            residuals, operand + first * layout.units_row, layout.units_row, count,
            d_panels, at + q_from * row, row, d_panels, at + q_from * row, row, q_to - q_from, layout.blocks, lanes,
        )  # fmt: skip


@stage(lambda spec: bool(spec.second))
def unpack_second(weights, layout, d_panels, at, q_from, q_to, d_parameters, to):
    """Copy the rows q_from..q_to of the gradient to where they are wanted."""
    for q in range(q_from, q_to):
        copy(d_panels, at + q * layout.units_padded, d_parameters, to + q * layout.units, layout.units, layout.lanes)
