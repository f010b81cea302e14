"""One step of some rows through a whole chain of layers, in a single call.

A *program* is an int64 array: a header (`HEAD`), then one instruction of `FIELDS` numbers per layer. It works on two
flat arrays of reals: *constants* (packed weights), which it only reads, and *vectors* (what stands between layers,
states, scratch), where each place holds a vector per row, rows ``stride`` apart. Nothing is allocated, and nothing but
the input crosses the boundary to Python: the program's own address says where everything is.
"""

from __future__ import annotations

from typing import Any

from fastseq.cells.contract import shape_of
from fastseq.jit import Int, Integers, Launcher, ReadReals, ReadRows, kernel, piece, share
from fastseq.sequence.forward import advance
from fastseq.sequence.slots import Kept
from fastseq.sequence.workspace import layout_of
from fastseq.simd.elementwise import apply
from fastseq.simd.gemm import multiply
from fastseq.simd.lanes import VECTOR_BYTES, address, integers_at, load, reals_at, store
from fastseq.simd.memory import copy

HEAD = (
    "constants", "vectors",  # addresses
    "lanes", "rows", "vectors_size",  # rows that every place has room for; elements of one set of vectors
    "inputs", "first", "first_stride", "outputs", "result", "result_stride",  # sizes and places
    "instructions", "tick",  # how many, and how often it has run
    "states", "state_size", "streams", "marks", "out", "room", "workers",  # a pool's, see `make_pool_step`
)  # fmt: skip
(
    CONSTANTS, VECTORS, LANES, ROWS, VECTORS_SIZE, INPUTS, FIRST, FIRST_STRIDE, OUTPUTS, RESULT, RESULT_STRIDE,
    INSTRUCTIONS, TICK, STATES, STATE_SIZE, STREAMS, MARKS, OUT, ROOM, WORKERS,
) = range(len(HEAD))  # fmt: skip
FIELDS = 14
RECURRENT, DENSE, STANDARDIZE, RESCALE, FUNCTION = range(5)
"""Instructions; (operation, source, its stride, target, its stride, inputs, outputs) come first in each, then:

========== ==================================================
RECURRENT  panels, z, next z, memories, acc, place in a stream's state, units; the target is h in z
DENSE      panels, start (the bias, or zeros)
STANDARDIZE, RESCALE   first vector, second vector
FUNCTION   which (see `simd.elementwise`), place of its slope
========== ==================================================
"""


@piece
def recurrent_step(weights, constants, vectors, head, at, rows, lanes):
    """Advance a recurrent layer; its h stands in z, where the next step finds it."""
    inputs = head[at + 5]
    layout = layout_of(inputs, head[at + 13], head[at + 6], shape_of(weights), lanes)
    z, following, z_row = head[at + 8], head[at + 9], layout.z_row
    h = z + layout.inputs_padded
    for r in range(rows):
        copy(vectors, head[at + 1] + r * head[at + 2], vectors, h - inputs + r * z_row, inputs, lanes)
    panels, kept = head[at + 7], Kept(False, vectors, 0, 0, 0, 0, 0, 0)
    advance(
        weights, layout, panels, panels + layout.blocks * layout.panels_block, vectors, z, following, rows,
        vectors, head[at + 10], head[ROWS] * layout.units_row, vectors, head[at + 11], kept, head[TICK] % 2 == 1,
    )  # fmt: skip
    for r in range(rows):
        for e in range(r * z_row, r * z_row + layout.outputs_padded, lanes):
            store(vectors, h + e, load(vectors, following + layout.inputs_padded + e))


@piece
def dense_step(constants, vectors, head, at, rows, lanes):
    """Multiply rows by a packed matrix; see `simd.dense.pack_right` for the layout."""
    depth, columns = head[at + 5], head[at + 6]
    for first in range(0, columns, 4 * lanes):
        count = (min(4 * lanes, columns - first) + lanes - 1) // lanes
        multiply(
            vectors, head[at + 1], head[at + 2], 1, constants, head[at + 7] + first * depth, count * lanes, depth,
            constants, head[at + 8] + first, 0, vectors, head[at + 3] + first, head[at + 4], rows, count, lanes,
        )  # fmt: skip


@piece
def row_step(operation, constants, vectors, head, at, row, lanes):
    """Apply an elementwise instruction to one row."""
    source, target = head[at + 1] + row * head[at + 2], head[at + 3] + row * head[at + 4]
    first, second = head[at + 7], head[at + 8]
    if operation == FUNCTION:
        apply(first, constants[second], vectors, source, vectors, target, head[at + 5], lanes)
        return
    for e in range(0, head[at + 6], lanes):
        value, one, two = load(vectors, source + e), load(constants, first + e), load(constants, second + e)
        if operation == STANDARDIZE:
            store(vectors, target + e, (value - one) / two)
        else:
            store(vectors, target + e, value * one + two)


@piece
def run_program(weights, constants, vectors, head, rows, lanes):
    """Run all instructions on the input that stands at the first place; the result is where the header says."""
    at = len(HEAD)
    for _ in range(head[INSTRUCTIONS]):
        operation = head[at]
        if operation == RECURRENT:
            recurrent_step(weights, constants, vectors, head, at, rows, lanes)
        elif operation == DENSE:
            dense_step(constants, vectors, head, at, rows, lanes)
        else:
            for row in range(rows):
                row_step(operation, constants, vectors, head, at, row, lanes)
        at += FIELDS


def make_step(cell: Any) -> Any:
    """Return the kernel that runs a program on one row, given the weights type of its recurrent layers.

    Its arguments: the input vector and the program's address. It returns whether the input had the right size; if not,
    nothing has happened. The states stay where they are: in the vectors.
    """

    @kernel(label=cell.__name__, releases_gil=False)
    def step(x: ReadReals, program: Int):
        head = integers_at(program)
        if x.size != head[INPUTS]:
            return False
        constants, vectors, lanes = reals_at(head[CONSTANTS], x), reals_at(head[VECTORS], x), head[LANES]
        copy(address(x), 0, vectors, head[FIRST], x.size, lanes)
        run_program(cell(constants), constants, vectors, head, 1, lanes)
        head[TICK] += 1
        return True

    return step


@piece
def move_states(weights, vectors, states, head, ids, low, rows, inwards, lanes):
    """Copy the states of all layers from the records of streams to rows of the vectors (``inwards``), or back."""
    at = len(HEAD)
    for _ in range(head[INSTRUCTIONS]):
        if head[at] == RECURRENT:
            layout = layout_of(head[at + 5], head[at + 13], head[at + 6], shape_of(weights), lanes)
            for j in range(1 + layout.memories):
                stride = layout.units_row if j else layout.z_row
                memory = head[at + 10] + (j - 1) * head[ROWS] * layout.units_row
                first = memory if j else head[at + 8] + layout.inputs_padded
                size = layout.units_padded if j else layout.outputs_padded
                place = head[at + 12] + (layout.outputs_padded + (j - 1) * size if j else 0)
                for r in range(rows):
                    kept, here = ids[low + r] * head[STATE_SIZE] + place, first + r * stride
                    for e in range(0, size, lanes):
                        if inwards:
                            store(vectors, here + e, load(states, kept + e))
                        else:
                            store(states, kept + e, load(vectors, here + e))
        at += FIELDS


@piece
def pool_task(task, weights, constants, head, x, ids, tasks, count, lanes):
    """Step some of the rows: their states come from the streams' records, and go back there."""
    vectors = reals_at(head[VECTORS] + task * head[VECTORS_SIZE] * (VECTOR_BYTES // lanes), constants)
    states, out = reals_at(head[STATES], constants), reals_at(head[OUT], constants)
    inputs, outputs = head[INPUTS], head[OUTPUTS]
    low, high = count * task // tasks, count * (task + 1) // tasks
    while low < high:
        chunks = (high - low + head[ROWS] - 1) // head[ROWS]
        rows = (high - low + chunks - 1) // chunks
        for r in range(rows):
            copy(x, (low + r) * inputs, vectors, head[FIRST] + r * head[FIRST_STRIDE], inputs, lanes)
        move_states(weights, vectors, states, head, ids, low, rows, True, lanes)
        run_program(weights, constants, vectors, head, rows, lanes)
        move_states(weights, vectors, states, head, ids, low, rows, False, lanes)
        for r in range(rows):
            copy(vectors, head[RESULT] + r * head[RESULT_STRIDE], out, (low + r) * outputs, outputs, lanes)
        low += rows


FINE, ILL_SHAPED, NO_ROOM = -1, -2, -3


def make_pool_step(cell: Any) -> Any:
    """Return the kernel that steps any of a pool's streams at once, given the weights type of its recurrent layers.

    Its arguments: x (n, F), the streams' numbers (n,), the program's address. The header says where these are: the
    records of all streams' states; marks (streams,), by which a stream that comes twice is noticed; the outputs (room,
    C); and for how many workers there are vectors.

    It returns `FINE`; or, and then nothing has happened: `ILL_SHAPED` if x does not fit, `NO_ROOM` if n is more than
    the room, or twice the index of the first wrong number, plus one if that number came before.
    """

    @kernel(label=cell.__name__)
    def pool_step(x: ReadRows, ids: Integers, program: Int, launcher: Launcher):
        head = integers_at(program)
        count = ids.size
        if x.shape[0] != count or x.shape[1] != head[INPUTS]:
            return ILL_SHAPED
        if count > head[ROOM]:
            return NO_ROOM
        head[TICK] += 1
        marks, tick = integers_at(head[MARKS]), head[TICK]
        for i in range(count):
            if ids[i] < 0 or ids[i] >= head[STREAMS]:
                return 2 * i
            if marks[ids[i]] == tick:
                return 2 * i + 1
            marks[ids[i]] = tick
        constants = reals_at(head[CONSTANTS], x)
        tasks = min(head[WORKERS], count) if launcher else 1
        arguments = (cell(constants), constants, head, address(x), address(ids), tasks, count, head[LANES])
        share(launcher, tasks, pool_task, arguments)
        return FINE

    return pool_step
