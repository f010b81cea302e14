"""One step of one row through a whole chain of layers, in a single call.

A *program* is an int64 array: a header, then one instruction of `FIELDS` numbers per layer. Everything it works on
lies in one flat buffer of reals: packed weights, states, and the vectors between layers. An instruction reads the
vector at ``source`` and writes the one at ``target``. Nothing is allocated.
"""

from __future__ import annotations

from typing import Any

from fastseq.cells.contract import memory_pattern, slot_pattern
from fastseq.jit import Int, Integers, ReadReals, Reals, kernel, piece
from fastseq.sequence.forward import Kept, advance
from fastseq.sequence.workspace import layout_of
from fastseq.simd.elementwise import apply
from fastseq.simd.gemm import multiply
from fastseq.simd.lanes import address, load, store
from fastseq.simd.memory import copy

HEADER = 3  # number of inputs, place of the input vector, number of instructions
FIELDS = 11
RECURRENT, DENSE, STANDARDIZE, RESCALE, FUNCTION = range(5)
"""Instructions and what follows (operation, source, target, inputs, outputs) in each:

========== ==================================================
RECURRENT  panels, z, next h, memories, acc, whether blocks go downwards (turned round by every step)
DENSE      panels, start (the bias, or zeros)
STANDARDIZE, RESCALE   first vector, second vector
FUNCTION   which (see `simd.elementwise`), place of its slope
========== ==================================================
"""


@piece
def recurrent_step(weights, buffer, program, at, lanes):
    """Advance a recurrent layer; its h stands in z, where the next step finds it."""
    inputs, units = program[at + 3], program[at + 4]
    layout = layout_of(inputs, units, len(slot_pattern(weights)), len(memory_pattern(weights)), lanes)
    z, following = program[at + 6], program[at + 7]
    h = z + layout.inputs_padded
    copy(buffer, program[at + 1], buffer, h - inputs, inputs, lanes)
    advance(
        weights, layout, program[at + 5], buffer, z, following, 1, buffer, program[at + 8], layout.units_row,
        buffer, program[at + 9], Kept(False, buffer, 0, 0, 0, 0), program[at + 10] == 1,
    )  # fmt: skip
    program[at + 10] = 1 - program[at + 10]
    for e in range(0, layout.units_padded, lanes):
        store(buffer, h + e, load(buffer, following + layout.inputs_padded + e))


@piece
def dense_step(buffer, program, at, lanes):
    """Multiply a vector by a packed matrix; see `simd.dense.pack_right` for the layout."""
    depth, columns = program[at + 3], program[at + 4]
    for first in range(0, columns, 4 * lanes):
        vectors = (min(4 * lanes, columns - first) + lanes - 1) // lanes
        width = vectors * lanes
        multiply(
            buffer, program[at + 1], 0, 1, buffer, program[at + 5] + first * depth, width, depth,
            buffer, program[at + 6] + first, 0, buffer, program[at + 2] + first, 0, 1, vectors, lanes,
        )  # fmt: skip


def make_step(cell: Any) -> Any:
    """Return the kernel that runs a program whose recurrent layers have this cell, given its weights type.

    Its arguments: the input vector, the buffer, the program, L. It returns whether the input had the right size; if
    not, nothing has happened. The result is where the last instruction's target is.
    """

    @kernel(label=cell.__name__)
    def run(x: ReadReals, reals: Reals, numbers: Integers, lanes: Int):
        buffer, program = address(reals), address(numbers)
        if x.size != program[0]:
            return False
        weights = cell(buffer)
        for i in range(x.size):
            buffer[program[1] + i] = x[i]
        at = HEADER
        for _ in range(program[2]):
            operation, source, target, inputs = program[at], program[at + 1], program[at + 2], program[at + 3]
            if operation == RECURRENT:
                recurrent_step(weights, buffer, program, at, lanes)
            elif operation == DENSE:
                dense_step(buffer, program, at, lanes)
            elif operation == FUNCTION:
                apply(program[at + 5], buffer[program[at + 6]], buffer, source, buffer, target, inputs, lanes)
            else:
                first, second = program[at + 5], program[at + 6]
                for e in range(0, program[at + 4], lanes):
                    value, one, two = load(buffer, source + e), load(buffer, first + e), load(buffer, second + e)
                    if operation == STANDARDIZE:
                        store(buffer, target + e, (value - one) / two)
                    else:
                        store(buffer, target + e, value * one + two)
            at += FIELDS
        return True

    return run
