"""The forward pass: one step of some rows, the scan of a shard over time, and the kernel that launches the shards.

Inference and training are one program: training also keeps residuals.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastseq.cells.contract import memory_pattern, shape_of, slot_pattern, step, vector_pattern
from fastseq.jit import Flag, Int, Integers, Launcher, ReadReals, Reals, kernel, piece, share
from fastseq.sequence.workspace import (
    TILE_ROWS,
    forward_scratch_size,
    layout_of,
    residuals_size,
)
from fastseq.simd.gemm import multiply, multiply_row
from fastseq.simd.lanes import address, load, load_group, store, store_group
from fastseq.simd.memory import copy, copy_padded


class Kept(NamedTuple):
    """Where a step's residuals go: the buffer, and in it the first row's gates, h and memories before the step.

    ``wanted`` says whether there are any; ``stride`` is the distance from one memory to the next.
    """

    wanted: Any
    buffer: Any
    gates: Any
    h: Any
    memories: Any
    stride: Any


@piece
def finish(weights, layout, w0, acc, at, z, h_at, to, memory, memory_at, memory_stride, kept, row, block):
    """Make gates and the new state of one row and block from its slots in ``acc``; keep what backward needs.

    The block's panel is at ``w0``; a cell with vectors has them there, behind the biases.
    """
    slots = load_group(acc, at, layout.lanes, slot_pattern(weights))
    h_before, before = load(z, h_at), load_group(memory, memory_at, memory_stride, memory_pattern(weights))
    vectors = load_group(weights.panels, w0 + layout.width, layout.lanes, vector_pattern(weights))
    gates, h, after = step(weights, slots, h_before, before, vectors)
    if kept.wanted:
        e = row * layout.units_row + block * layout.lanes
        store_group(kept.buffer, kept.gates + row * layout.gates_row + block * layout.head, layout.lanes, gates)
        store(kept.buffer, kept.h + e, h_before)
        store_group(kept.buffer, kept.memories + e, kept.stride, before)
    store_group(memory, memory_at, memory_stride, after)
    store(z, to, h)


@piece
def fill_slots(weights, layout, w0, wide, z, x_at, rows, acc, acc0):
    """Make the slots of some rows and of the panel at ``w0``, of ``wide`` blocks: the biases, then x, then h."""
    panels, lanes, shape = weights.panels, layout.lanes, shape_of(weights)
    width, begin = wide * layout.width, w0 + wide * layout.head
    if shape.input_slots == shape.slots and shape.state_slots == shape.slots:
        depth = layout.inputs + layout.units
        multiply(
            z, x_at, layout.z_row, 1, panels, begin, width, depth, panels, w0, 0,
            acc, acc0, width, rows, wide * layout.slots, lanes,
        )  # fmt: skip
        return
    for slot in range(shape.slots):
        if slot < shape.input_first or slot >= shape.input_first + shape.input_slots:
            bias = load(panels, w0 + slot * lanes)
            for r in range(rows):
                store(acc, acc0 + r * width + slot * lanes, bias)
    first, vectors = shape.input_first * lanes, wide * shape.input_slots
    multiply(
        z, x_at, layout.z_row, 1, panels, begin, vectors * lanes, layout.inputs, panels, w0 + first, 0,
        acc, acc0 + first, width, rows, vectors, lanes,
    )  # fmt: skip
    if shape.state_slots > 0:
        at = begin + layout.inputs * vectors * lanes
        first, vectors = shape.state_first * lanes, wide * shape.state_slots
        multiply(
            z, x_at + layout.inputs, layout.z_row, 1, panels, at, vectors * lanes, layout.units,
            acc, acc0 + first, width, acc, acc0 + first, width, rows, vectors, lanes,
        )  # fmt: skip


@piece
def fill_row(weights, layout, w0, z, x_at, acc, acc0):
    """Make the slots of one row and of two full panels that follow one another at ``w0``."""
    panels, lanes, shape = weights.panels, layout.lanes, shape_of(weights)
    panel, width = shape.group * layout.panels_block, shape.group * layout.width
    begin = w0 + shape.group * layout.head
    if shape.input_slots == shape.slots and shape.state_slots == shape.slots:
        depth = layout.inputs + layout.units
        multiply_row(
            z, x_at, 1, panels, begin, panel, width, depth, panels, w0, panel,
            acc, acc0, width, shape.group * layout.slots, lanes,
        )  # fmt: skip
        return
    for slot in range(shape.slots):
        if slot < shape.input_first or slot >= shape.input_first + shape.input_slots:
            store(acc, acc0 + slot * lanes, load(panels, w0 + slot * lanes))
            store(acc, acc0 + width + slot * lanes, load(panels, w0 + panel + slot * lanes))
    first, vectors = shape.input_first * lanes, shape.group * shape.input_slots
    multiply_row(
        z, x_at, 1, panels, begin, panel, vectors * lanes, layout.inputs, panels, w0 + first, panel,
        acc, acc0 + first, width, vectors, lanes,
    )  # fmt: skip
    if shape.state_slots > 0:
        at = begin + layout.inputs * vectors * lanes
        first, vectors = shape.state_first * lanes, shape.group * shape.state_slots
        multiply_row(
            z, x_at + layout.inputs, 1, panels, at, panel, vectors * lanes, layout.units, acc, acc0 + first, width,
            acc, acc0 + first, width, vectors, lanes,
        )  # fmt: skip


@piece
def advance(weights, layout, panels_at, z, current, following, rows, memory, m0, m_stride, acc, acc0, kept, downwards):
    """Advance ``rows`` rows by one step.

    Reads ``x`` and h from the rows of z at ``current``; writes h to those at ``following`` and the memories in place.
    Panels are independent of one another: callers turn the order round from step to step (``downwards``), so that a
    step begins with the weights that the one before has left in the cache.
    """
    lanes, shape = layout.lanes, shape_of(weights)
    x_at = current + layout.inputs_padded - layout.inputs
    h_at, to = current + layout.inputs_padded, following + layout.inputs_padded
    pairs = layout.blocks // shape.group // 2 if rows == 1 else 0
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
                    weights, layout, panels_at + block * layout.panels_block, acc, acc0 + one * layout.width,
                    z, h_at + e, to + e, memory, m0 + e, m_stride, kept, 0, block,
                )  # fmt: skip
            continue
        first_block = (turn + pairs) * shape.group
        wide = 1 if shape.group == 1 else min(shape.group, layout.blocks - first_block)
        w0 = panels_at + first_block * layout.panels_block
        for first in range(0, rows, TILE_ROWS):
            some = min(TILE_ROWS, rows - first)
            fill_slots(weights, layout, w0, wide, z, x_at + first * layout.z_row, some, acc, acc0)
            for r in range(some):
                row = first + r
                for one in range(wide):
                    block = first_block + one
                    e = block * lanes
                    finish(
                        weights, layout, w0, acc, acc0 + (r * wide + one) * layout.width,
                        z, h_at + row * layout.z_row + e, to + row * layout.z_row + e,
                        memory, m0 + row * layout.units_row + e, m_stride, kept, row, block,
                    )  # fmt: skip


@piece
def scan(
    weights, layout, panels_at, x, states, s0, state_stride, out, out_at, out_row, residuals, r0, scratch, q0,
    plan, batch, steps, pairs, low, high, reverse, keep,
):  # fmt: skip
    """Run the rows low..high of the plan's order over all their steps.

    ``states`` (row-major (B, H) at s0 for h, further states ``state_stride`` apart) holds the initial states and gets
    the final ones. ``residuals`` at r0: gates, h before and memories before of all pairs; see `workspace`.
    """
    rows, lanes, units, units_row = high - low, layout.lanes, layout.units, layout.units_row
    z0, z1 = q0, q0 + rows * layout.z_row
    memory = z1 + rows * layout.z_row
    acc = memory + layout.memories * rows * units_row
    kept_h = r0 + pairs * layout.gates_row
    kept_memory = kept_h + pairs * units_row
    for r in range(rows):
        source = s0 + plan[low + r] * units
        copy_padded(states, source, scratch, z0 + r * layout.z_row + layout.inputs_padded, units, lanes)
        for j in range(layout.memories):
            to = memory + (j * rows + r) * units_row
            copy_padded(states, source + (j + 1) * state_stride, scratch, to, units, lanes)
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
            keep, residuals, r0 + pair * layout.gates_row, kept_h + pair * units_row, kept_memory + pair * units_row,
            pairs * units_row,
        )  # fmt: skip
        advance(
            weights, layout, panels_at, scratch, current, following, active, scratch, memory, rows * units_row,
            scratch, acc, kept, t % 2 == 1,
        )  # fmt: skip
        for r in range(active):
            row = plan[low + r]
            time = plan[batch + low + r] - 1 - t if reverse else t
            z = following + r * layout.z_row + layout.inputs_padded
            copy(scratch, z, out, (row * steps + time) * out_row + out_at, units, lanes)
        current, following = following, current
        t += 1
    for r in range(rows):
        to = s0 + plan[low + r] * units
        z = (z1 if plan[batch + low + r] % 2 else z0) + r * layout.z_row + layout.inputs_padded
        copy(scratch, z, states, to, units, lanes)
        for j in range(layout.memories):
            copy(scratch, memory + (j * rows + r) * units_row, states, to + (j + 1) * state_stride, units, lanes)


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
    units = layout.units
    d, shard = task // shards, task % shards
    bounds = 2 * batch + (plan[batch] if batch > 0 else 0) + 1 + shard
    scan(
        weights, layout, d * layout.blocks * layout.panels_block, x,
        states, d * batch * units, directions * batch * units, out, d * units, directions * units,
        residuals, d * residuals_size(layout, pairs), scratch, task * forward_scratch_size(layout, largest),
        plan, batch, steps, pairs, plan[bounds], plan[bounds + 1], d == 1, keep,
    )  # fmt: skip


def make_forward(cell: Any) -> Any:
    """Return the forward kernel of a cell, given its weights type.

    Its arguments: gate panels of all directions; x (B, T, F); states (1 + M, D, B, H), initial in and final out;
    out (B, T, D * H), written at valid steps only; residuals (may be empty unless ``keep``); scratch; the plan's
    numbers; B, T, F, H, L, D; number of pairs, shards, rows of the largest shard; keep.
    """

    @kernel(label=cell.__name__)
    def forward(
        panels: ReadReals, x: ReadReals, states: Reals, out: Reals, residuals: Reals, scratch: Reals, plan: Integers,
        batch: Int, steps: Int, inputs: Int, units: Int, lanes: Int, directions: Int,
        pairs: Int, shards: Int, largest: Int, keep: Flag, launcher: Launcher,
    ):  # fmt: skip
        weights = cell(address(panels))
        layout = layout_of(inputs, units, shape_of(weights), lanes)
        arguments = (
            weights, layout, address(x), address(states), address(out), address(residuals), address(scratch),
            address(plan), batch, steps, directions, pairs, shards, largest, keep,
        )  # fmt: skip
        share(launcher, shards * directions, forward_task, arguments)

    return forward
