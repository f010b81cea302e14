"""Panel layout of weight matrices, packing and unpacking.

Matrices come as PyTorch keeps them: one row per slot and unit, (S*H, F) and (S*H, P), slots outermost; P numbers in h,
H unless it is projected. L is the number of lanes; H is padded with zeros to blocks of L units, so that no kernel has a
tail. Of the S slots, X take a product with the input and R one with h: all of them, or runs of neighbouring ones.
``order`` holds for each slot the place of its rows in the input's matrix (-1: none), then for each slot the same for
h's.

*Gate panels*, for the product of the forward pass and for the weight gradients: one panel per block of L hidden
units, with everything that these units need::

    panel of a block:   bias     [S][L]      the two biases, added
                        vectors  [V][L]      weights that each unit has for itself
                        input    [F][X][L]   k = 0 .. F-1
                        state    [P][R][L]   k = F .. F+P-1

A row of a panel is thus S vectors, one per slot, all of the same L units: what a tile needs to finish these units.
Where S is small and V is 0, ``group`` blocks share a panel, whose rows then are [blocks of the group][S][L]; the
last panel may have fewer.

*Column panels*, for products with slot gradients, whose k runs over (block, slot, lane) as the gate panels order
them: the matrix's columns in groups of up to `PANEL_VECTORS` vectors::

    panel of a group:   [blocks][X or R][L]  rows of  [vectors of the group][L]  columns
"""

from __future__ import annotations

from fastseq.jit import Int, Integers, Launcher, ReadReals, Reals, kernel, piece, share, shared
from fastseq.simd.lanes import address, turn
from fastseq.simd.memory import clear, copy, copy_padded

PANEL_VECTORS = 4


@shared
def gate_panels_size(inputs, units, outputs, slots, vectors, input_slots, state_slots, lanes):
    """Return the number of elements of the gate panels."""
    return (units + lanes - 1) // lanes * (slots + vectors + inputs * input_slots + outputs * state_slots) * lanes


@shared
def column_panels_size(columns, units, slots, lanes):
    """Return the number of elements of the column panels of a (slots * units, columns) matrix."""
    return (units + lanes - 1) // lanes * slots * lanes * ((columns + lanes - 1) // lanes * lanes)


@piece
def turn_matrix(matrix, row0, columns, panels, to, width, some, lanes):
    """Write ``some`` rows of a (rows, columns) matrix, from ``row0`` on, as lanes of ``columns`` rows of a panel."""
    for k in range(0, columns, lanes):
        turn(matrix, row0 * columns + k, columns, some, min(lanes, columns - k), panels, to + k * width, width, True)


@piece
def turn_back(panels, at, width, some, matrix, to, row0, columns, lanes):
    """Write lanes of ``columns`` rows of a panel as ``some`` rows of a (rows, columns) matrix, from ``row0`` on."""
    for k in range(0, columns, lanes):
        place = to + row0 * columns + k
        turn(panels, at + k * width, width, min(lanes, columns - k), some, matrix, place, columns, False)


@piece
def place_of_block(block, blocks, group, size):
    """Return where a block's panel begins, of panels with ``size`` elements a block, its number in it, and its width.

    The width is the number of blocks that share the panel.
    """
    first = block // group * group
    return first * size, block - first, min(group, blocks - first)


@piece
def pack_gates(
    w_ih, w_hh, b_ih, b_hh, has_ih, has_hh, order, panels, at, block, inputs, units, outputs, slots, vectors,
    input_slots, state_slots, group, lanes,
):  # fmt: skip
    """Write one block's part of its gate panel, of panels that begin at ``at``; a bias that is not there is zeros.

    The vectors are left to the caller.
    """
    some, blocks = min(lanes, units - block * lanes), (units + lanes - 1) // lanes
    size = (slots + vectors + inputs * input_slots + outputs * state_slots) * lanes
    place, one, wide = place_of_block(block, blocks, group, size)
    bias = at + place
    width, state_width = wide * input_slots * lanes, wide * state_slots * lanes
    to = bias + wide * (slots + vectors) * lanes
    state = to + inputs * width + one * state_slots * lanes
    to += one * input_slots * lanes
    bias += one * slots * lanes
    for slot in range(slots):
        own, own_state = order[slot], order[slots + slot]
        row, row_state = own * units + block * lanes, own_state * units + block * lanes
        for lane in range(lanes):
            panels[bias + lane] = 0.0
            if lane < some and has_ih and own >= 0:
                panels[bias + lane] += b_ih[row + lane]
            if lane < some and has_hh and own_state >= 0:
                panels[bias + lane] += b_hh[row_state + lane]
        bias += lanes
        if own >= 0:
            turn_matrix(w_ih, row, inputs, panels, to, width, some, lanes)
            to += lanes
        if own_state >= 0:
            turn_matrix(w_hh, row_state, outputs, panels, state, state_width, some, lanes)
            state += lanes


@piece
def unpack_gates(
    panels,
    at,
    block,
    matrices,
    to,
    order,
    biases,
    inputs,
    units,
    outputs,
    slots,
    vectors,
    input_slots,
    state_slots,
    group,
    lanes,
):
    """Read one block's part of its gate panel (of gradients, say) into matrices that lie behind one another.

    (X*H, F), (R*H, P), the gradient of the bias, (X*H) and (R*H), if there are ``biases``, and the vectors (V, H).
    """
    some, blocks = min(lanes, units - block * lanes), (units + lanes - 1) // lanes
    size = (slots + vectors + inputs * input_slots + outputs * state_slots) * lanes
    place, one, wide = place_of_block(block, blocks, group, size)
    bias = at + place
    width, state_width = wide * input_slots * lanes, wide * state_slots * lanes
    source = bias + wide * (slots + vectors) * lanes
    state = source + inputs * width + one * state_slots * lanes
    source += one * input_slots * lanes
    bias += one * slots * lanes
    to_state = to + input_slots * units * inputs
    to_bias = to_state + state_slots * units * outputs
    for slot in range(slots):
        own, own_state = order[slot], order[slots + slot]
        row, row_state = own * units + block * lanes, own_state * units + block * lanes
        if own >= 0:
            turn_back(panels, source, width, some, matrices, to, row, inputs, lanes)
            source += lanes
            if biases:
                copy(panels, bias, matrices, to_bias + row, some, lanes)
        if own_state >= 0:
            turn_back(panels, state, state_width, some, matrices, to_state, row_state, outputs, lanes)
            state += lanes
            if biases:
                copy(panels, bias, matrices, to_bias + input_slots * units + row_state, some, lanes)
        bias += lanes
    to_vector = to_bias + block * lanes
    if biases:
        to_vector += (input_slots + state_slots) * units
    for _ in range(vectors):
        copy(panels, bias, matrices, to_vector, some, lanes)
        to_vector += units
        bias += lanes


@piece
def pack_columns(matrix, order, first_slot, panels, at, group, columns, units, slots, count, lanes):
    """Write one group's column panel of a (count * units, columns) matrix, of panels that begin at ``at``.

    ``order`` says from ``first_slot`` on where each slot's rows are.
    """
    blocks, first = (units + lanes - 1) // lanes, group * PANEL_VECTORS * lanes
    width = min(PANEL_VECTORS * lanes, (columns - first + lanes - 1) // lanes * lanes)
    some, to = min(width, columns - first), at + first * blocks * count * lanes
    for block in range(blocks):
        for slot in range(slots):
            own = order[first_slot + slot]
            if own >= 0:
                for unit in range(block * lanes, (block + 1) * lanes):
                    if unit < units:
                        copy_padded(matrix, (own * units + unit) * columns + first, panels, to, some, lanes)
                    else:
                        clear(panels, to, width, lanes)
                    to += width


@piece
def pack_task(
    task, w_ih, w_hh, b_ih, b_hh, has_ih, has_hh, order, gates, gates_at, columns, state_at, input_at,
    inputs, units, outputs, slots, vectors, input_slots, state_slots, group, lanes,
):  # fmt: skip
    """Write one panel: first come those of gates, then those of the recurrent matrix' columns, then the inputs'."""
    blocks = (units + lanes - 1) // lanes
    groups = (outputs + PANEL_VECTORS * lanes - 1) // (PANEL_VECTORS * lanes)
    if task < blocks:
        pack_gates(
            w_ih, w_hh, b_ih, b_hh, has_ih, has_hh, order, gates, gates_at, task,
            inputs, units, outputs, slots, vectors, input_slots, state_slots, group, lanes,
        )  # fmt: skip
    elif task < blocks + groups:
        pack_columns(w_hh, order, slots, columns, state_at, task - blocks, outputs, units, slots, state_slots, lanes)
    else:
        pack_columns(
            w_ih, order, 0, columns, input_at, task - blocks - groups, inputs, units, slots, input_slots, lanes
        )


@kernel
def pack_layer(
    w_ih: ReadReals, w_hh: ReadReals, b_ih: ReadReals, b_hh: ReadReals, order: Integers, gates: Reals, gates_at: Int,
    columns: Reals, state_at: Int, input_at: Int, inputs: Int, units: Int, outputs: Int, slots: Int, vectors: Int,
    input_slots: Int, state_slots: Int, group: Int, lanes: Int, launcher: Launcher,
):  # fmt: skip
    """Write gate panels, all but their vectors, to gates[gates_at:].

    Column panels go to columns[state_at:] and columns[input_at:].
    A bias of size 0 counts as zeros; columns of size 0 are not wanted.
    """
    blocks = (units + lanes - 1) // lanes
    wide = PANEL_VECTORS * lanes
    groups = (outputs + wide - 1) // wide + (inputs + wide - 1) // wide if columns.size else 0
    arguments = (
        address(w_ih), address(w_hh), address(b_ih), address(b_hh), b_ih.size > 0, b_hh.size > 0, address(order),
        address(gates), gates_at, address(columns), state_at, input_at,
        inputs, units, outputs, slots, vectors, input_slots, state_slots, group, lanes,
    )  # fmt: skip
    share(launcher, blocks + groups, pack_task, arguments)
