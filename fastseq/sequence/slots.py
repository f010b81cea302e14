"""From rows of x and h to slots, and from slots to gates and states: what a step consists of."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastseq.cells.contract import (
    activate,
    complete,
    memory_pattern,
    shape_of,
    slot_pattern,
    stage,
    step,
    vector_pattern,
)
from fastseq.jit import piece
from fastseq.simd.gemm import multiply, multiply_row
from fastseq.simd.lanes import load, load_group, store, store_group


class Kept(NamedTuple):
    """Where a step's residuals go: the buffer, and in it the first row's gates, h and memories before, operand, scales.

    ``wanted`` says whether there are any; ``stride`` is the distance from one memory to the next.
    """

    wanted: Any
    buffer: Any
    gates: Any
    h: Any
    memories: Any
    stride: Any
    operand: Any
    scales: Any


@stage(lambda spec: spec.early)
def activate_slots(weights, layout, acc, at, count):
    """Make the gates that slots alone decide in their places, of ``count`` rows and blocks behind one another."""
    for _ in range(count):
        slots = load_group(acc, at, layout.lanes, slot_pattern(weights))
        store_group(acc, at, layout.lanes, activate(weights, slots))
        at += layout.width


@piece
def finish(weights, layout, w0, acc, at, activated, z, h_at, to, memory, memory_at, memory_stride, kept, row, block):
    """Make gates and the new state of one row and block from its slots in ``acc``; keep what backward needs.

    The block's panel is at ``w0``; a cell with vectors has them there, behind the biases. ``activated`` says whether
    `activate_slots` has been there.
    """
    slots = load_group(acc, at, layout.lanes, slot_pattern(weights))
    h_before, before = load(z, h_at), load_group(memory, memory_at, memory_stride, memory_pattern(weights))
    vectors = load_group(weights.panels, w0 + layout.width, layout.lanes, vector_pattern(weights))
    if activated:
        gates, h, after = complete(weights, slots, h_before, before, vectors)
    else:
        gates, h, after = step(weights, slots, h_before, before, vectors)
    if kept.wanted:
        e = block * layout.lanes
        store_group(kept.buffer, kept.gates + row * layout.gates_row + block * layout.head, layout.lanes, gates)
        store(kept.buffer, kept.h + row * layout.outputs_row + e, h_before)
        store_group(kept.buffer, kept.memories + row * layout.units_row + e, kept.stride, before)
    store_group(memory, memory_at, memory_stride, after)
    store(z, to, h)


@piece
def fill_slots(weights, layout, w0, wide, z, x_at, rows, acc, acc0, acc_row):
    """Make the slots of some rows and of the panel at ``w0``, of ``wide`` blocks: the biases, then x, then h."""
    panels, lanes, shape = weights.panels, layout.lanes, shape_of(weights)
    width, begin = wide * layout.width, w0 + wide * layout.head
    if shape.input_slots == shape.slots and shape.state_slots == shape.slots:
        depth = layout.inputs + layout.outputs
        multiply(
            z, x_at, layout.z_row, 1, panels, begin, width, depth, panels, w0, 0,
            acc, acc0, acc_row, rows, wide * layout.slots, lanes,
        )  # fmt: skip
        return
    for slot in range(shape.slots):
        if slot < shape.input_first or slot >= shape.input_first + shape.input_slots:
            bias = load(panels, w0 + slot * lanes)
            for r in range(rows):
                store(acc, acc0 + r * acc_row + slot * lanes, bias)
    first, vectors = shape.input_first * lanes, wide * shape.input_slots
    multiply(
        z, x_at, layout.z_row, 1, panels, begin, vectors * lanes, layout.inputs, panels, w0 + first, 0,
        acc, acc0 + first, acc_row, rows, vectors, lanes,
    )  # fmt: skip
    if shape.state_slots > 0:
        at = begin + layout.inputs * vectors * lanes
        first, vectors = shape.state_first * lanes, wide * shape.state_slots
        multiply(
            z, x_at + layout.inputs, layout.z_row, 1, panels, at, vectors * lanes, layout.outputs,
            acc, acc0 + first, acc_row, acc, acc0 + first, acc_row, rows, vectors, lanes,
        )  # fmt: skip


@piece
def fill_row(weights, layout, w0, z, x_at, acc, acc0):
    """Make the slots of one row and of two full panels that follow one another at ``w0``."""
    panels, lanes, shape = weights.panels, layout.lanes, shape_of(weights)
    panel, width = shape.group * layout.panels_block, shape.group * layout.width
    begin = w0 + shape.group * layout.head
    if shape.input_slots == shape.slots and shape.state_slots == shape.slots:
        depth = layout.inputs + layout.outputs
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
            z, x_at + layout.inputs, 1, panels, at, panel, vectors * lanes, layout.outputs, acc, acc0 + first, width,
            acc, acc0 + first, width, vectors, lanes,
        )  # fmt: skip
