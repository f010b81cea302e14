"""The forward pass: one step of some rows, the scan of a shard over time, and the kernel that launches the shards.

Inference and training are one program: training also keeps residuals.
"""

from __future__ import annotations

from typing import Any

from fastseq.cells.contract import shape_of, stage
from fastseq.jit import Flag, Int, Integers, Launcher, ReadReals, Reals, kernel, piece, share
from fastseq.sequence.slots import Kept, activate_slots, fill_row, fill_slots, finish
from fastseq.sequence.waiting import advance_rows
from fastseq.sequence.workspace import (
    TILE_ROWS,
    forward_scratch_size,
    layout_of,
    residual_places,
    residuals_size,
)
from fastseq.simd.lanes import address
from fastseq.simd.memory import clear_padding, copy, copy_padded


@stage(lambda spec: not spec.waits)
def advance_panels(
    weights, layout, panels_at, z, current, following, rows, memory, m0, m_stride, acc, acc0, kept, downwards
):
    """Advance by one step, panel by panel: the units of a panel are finished as soon as their slots are there.

    Panels are independent of one another: callers turn the order round from step to step (``downwards``), so that a
    step begins with the weights that the one before has left in the cache. The two parts of an early cell's step run
    after one another where there are several rows, and no residuals: writing these takes longer than any chain.
    """
    lanes, shape = layout.lanes, shape_of(weights)
    x_at = current + layout.inputs_padded - layout.inputs
    h_at, to = current + layout.inputs_padded, following + layout.inputs_padded
    pairs = layout.blocks // shape.group // 2 if rows == 1 else 0
    early = shape.early == 1 and rows > 1 and not kept.wanted
    turns = layout.panels - pairs
    for i in range(turns):
        turn = turns - 1 - i if downwards else i
        if turn < pairs:
            first = 2 * turn * shape.group
            fill_row(weights, layout, panels_at + first * layout.panels_block, z, x_at, acc, acc0)
            for one in range(2 * shape.group):
                block = first + one
                e = block * lanes
                finish(
                    weights, layout, panels_at + block * layout.panels_block, acc, acc0 + one * layout.width, False,
                    z, h_at + e, to + e, memory, m0 + e, m_stride, kept, 0, block,
                )  # fmt: skip
            continue
        first_block = (turn + pairs) * shape.group
        wide = 1 if shape.group == 1 else min(shape.group, layout.blocks - first_block)
        w0 = panels_at + first_block * layout.panels_block
        for first in range(0, rows, TILE_ROWS):
            some = min(TILE_ROWS, rows - first)
            fill_slots(weights, layout, w0, wide, z, x_at + first * layout.z_row, some, acc, acc0, wide * layout.width)
            if early:
                activate_slots(weights, layout, acc, acc0, some * wide)
            for r in range(some):
                row = first + r
                for one in range(wide):
                    block = first_block + one
                    e = block * lanes
                    finish(
                        weights, layout, w0, acc, acc0 + (r * wide + one) * layout.width, early,
                        z, h_at + row * layout.z_row + e, to + row * layout.z_row + e,
                        memory, m0 + row * layout.units_row + e, m_stride, kept, row, block,
                    )  # fmt: skip


@piece
def advance(
    weights, layout, panels_at, second_at, z, current, following, rows, memory, m0, m_stride, acc, acc0, kept, downwards
):
    """Advance ``rows`` rows by one step.

    Reads ``x`` and h from the rows of z at ``current``; writes h to those at ``following`` and the memories in place.
    """
    advance_panels(
        weights, layout, panels_at, z, current, following, rows, memory, m0, m_stride, acc, acc0, kept, downwards
    )
    advance_rows(
        weights, layout, panels_at, second_at, z, current, following, rows, memory, m0, m_stride, acc, acc0, kept
    )


@piece
def scan(
    weights, layout, panels_at, second_at, x, states, s0, m0, memory_stride, out, out_at, out_row, residuals, r0,
    scratch, q0, plan, batch, steps, pairs, low, high, reverse, keep,
):  # fmt: skip
    """Run the rows low..high of the plan's order over all their steps.

    ``states`` (row-major (B, P) at s0 for h, (B, H) at m0 and then ``memory_stride`` apart for the memories) holds the
    initial states and gets the final ones. ``out`` gets zeros past a row's length. ``residuals`` at r0: see
    `workspace`.
    """
    rows, lanes, units, units_row = high - low, layout.lanes, layout.units, layout.units_row
    z0, z1 = q0, q0 + rows * layout.z_row
    memory = z1 + rows * layout.z_row
    acc = memory + layout.memories * rows * units_row
    outputs, outputs_row = layout.outputs, layout.outputs_row
    kept_h, kept_memory, kept_operand, _, kept_scales = residual_places(layout, pairs)
    for r in range(rows):
        z = z0 + r * layout.z_row + layout.inputs_padded
        copy_padded(states, s0 + plan[low + r] * outputs, scratch, z, outputs, lanes)
        for j in range(layout.memories):
            source = m0 + j * memory_stride + plan[low + r] * units
            copy_padded(states, source, scratch, memory + (j * rows + r) * units_row, units, lanes)
    current, following = z0, z1
    active, t = rows, 0
    while rows > 0 and t < plan[batch + low]:
        while plan[batch + low + active - 1] <= t:
            active -= 1
        pair = plan[2 * batch + t] + low
        for r in range(active):
            row = plan[low + r]
            time = plan[batch + low + r] - 1 - t if reverse else t
            z = current + r * layout.z_row + layout.inputs_padded
            copy(x, (row * steps + time) * layout.inputs, scratch, z - layout.inputs, layout.inputs, lanes)
        kept = Kept(
            keep, residuals, r0 + pair * layout.gates_row, r0 + kept_h + pair * outputs_row,
            r0 + kept_memory + pair * units_row, pairs * units_row, r0 + kept_operand + pair * units_row,
            r0 + kept_scales + pair * layout.standards * lanes,
        )  # fmt: skip
        advance(
            weights, layout, panels_at, second_at, scratch, current, following, active, scratch, memory,
            rows * units_row, scratch, acc, kept, t % 2 == 1,
        )  # fmt: skip
        for r in range(active):
            row = plan[low + r]
            time = plan[batch + low + r] - 1 - t if reverse else t
            z = following + r * layout.z_row + layout.inputs_padded
            copy(scratch, z, out, (row * steps + time) * out_row + out_at, outputs, lanes)
        current, following = following, current
        t += 1
    for r in range(rows):
        at = plan[low + r] * steps * out_row + out_at
        clear_padding(out, at, out_row, outputs, plan[batch + low + r], steps, lanes)
        z = (z1 if plan[batch + low + r] % 2 else z0) + r * layout.z_row + layout.inputs_padded
        copy(scratch, z, states, s0 + plan[low + r] * outputs, outputs, lanes)
        for j in range(layout.memories):
            to = m0 + j * memory_stride + plan[low + r] * units
            copy(scratch, memory + (j * rows + r) * units_row, states, to, units, lanes)


@piece
def forward_task(
    task,
    weights,
    layout,
    x,
    states,
    out,
    residuals,
    scratch,
    plan,
    batch,
    steps,
    directions,
    pairs,
    shards,
    largest,
    keep,
):
    """Run one shard in one direction."""
    units, outputs = layout.units, layout.outputs
    d, shard = task // shards, task % shards
    bounds = 2 * batch + (plan[batch] if batch > 0 else 0) + 1 + shard
    size = layout.blocks * layout.panels_block
    scan(
        weights, layout, d * size, directions * size + d * units * layout.joined_padded, x,
        states, d * batch * outputs, (directions * outputs + d * units) * batch, directions * batch * units,
        out, d * outputs, directions * outputs,
        residuals, d * residuals_size(layout, pairs), scratch, task * forward_scratch_size(layout, largest),
        plan, batch, steps, pairs, plan[bounds], plan[bounds + 1], d == 1, keep,
    )  # fmt: skip


def make_forward(cell: Any) -> Any:
    """Return the forward kernel of a cell, given its weights type.

    Its arguments: gate panels of all directions, then the right operands of their second products; x (B, T, F);
    states, h (D, B, P) and then memories (M, D, B, H), initial in and final out; out (B, T, D * P), written; residuals
    (may be empty unless ``keep``); scratch; the plan's numbers; B, T, F, H, P, L, D; number of pairs, shards, rows of
    the largest shard; keep.
    """

    @kernel(label=cell.__name__)
    def forward(
        panels: ReadReals, x: ReadReals, states: Reals, out: Reals, residuals: Reals, scratch: Reals, plan: Integers,
        batch: Int, steps: Int, inputs: Int, units: Int, outputs: Int, lanes: Int, directions: Int,
        pairs: Int, shards: Int, largest: Int, keep: Flag, launcher: Launcher,
    ):  # fmt: skip
        weights = cell(address(panels))
        layout = layout_of(inputs, units, outputs, shape_of(weights), lanes)
        arguments = (
            weights, layout, address(x), address(states), address(out), address(residuals), address(scratch),
            address(plan), batch, steps, directions, pairs, shards, largest, keep,
        )  # fmt: skip
        share(launcher, shards * directions, forward_task, arguments)

    return forward
