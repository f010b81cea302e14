"""Panel layout of weight matrices, packing and unpacking.

Matrices come as PyTorch keeps them: one row per slot and unit, (S*H, F) and (S*H, H), slots outermost. L is the
number of lanes; H is padded with zeros to blocks of L units, so that no kernel has a tail.

*Gate panels*, for the product of the forward pass and for the weight gradients: one panel per block of L hidden
units, with everything that these units need::

    panel of a block:   bias     [S][L]      the two biases, added
                        input    [F][S][L]   k = 0 .. F-1
                        state    [H][S][L]   k = F .. F+H-1

A row of a panel is thus S vectors, one per slot, all of the same L units: what a tile needs to finish these units.

*Column panels*, for products with slot gradients, whose k runs over (block, slot, lane) as the gate panels order
them: the matrix's columns in groups of up to `PANEL_VECTORS` vectors::

    panel of a group:   [blocks][S][L]  rows of  [vectors of the group][L]  columns
"""

from __future__ import annotations

from fastseq.jit import Int, Launcher, ReadReals, Reals, kernel, piece, share, shared
from fastseq.simd.lanes import address, turn
from fastseq.simd.memory import clear, copy, copy_padded

PANEL_VECTORS = 4


@shared
def gate_panels_size(inputs, units, slots, lanes):
    """Return the number of elements of the gate panels."""
    return (units + lanes - 1) // lanes * (1 + inputs + units) * slots * lanes


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
def pack_gates(w_ih, w_hh, b_ih, b_hh, has_ih, has_hh, panels, at, block, inputs, units, slots, lanes):
    """Write one block's gate panel, of panels that begin at ``at``; a bias that is not there counts as zeros."""
    width = slots * lanes
    some, to = min(lanes, units - block * lanes), at + block * (1 + inputs + units) * width
    for slot in range(slots):
        row = slot * units + block * lanes
        for lane in range(lanes):
            panels[to + lane] = 0.0
            if lane < some and has_ih:
                panels[to + lane] += b_ih[row + lane]
            if lane < some and has_hh:
                panels[to + lane] += b_hh[row + lane]
        turn_matrix(w_ih, row, inputs, panels, to + width, width, some, lanes)
        turn_matrix(w_hh, row, units, panels, to + (1 + inputs) * width, width, some, lanes)
        to += lanes


@piece
def unpack_gates(panels, at, block, matrices, to, biases, inputs, units, slots, lanes):
    """Read one block's gate panel (of gradients, say) into matrices that lie behind one another: (S*H, F), (S*H, H).

    ``biases`` copies of the bias (S*H) follow them.
    """
    width, rows = slots * lanes, slots * units
    some, source = min(lanes, units - block * lanes), at + block * (1 + inputs + units) * width
    state, bias = to + rows * inputs, to + rows * (inputs + units)
    for slot in range(slots):
        row = slot * units + block * lanes
        for j in range(biases):
            copy(panels, source, matrices, bias + j * rows + row, some, lanes)
        turn_back(panels, source + width, width, some, matrices, to, row, inputs, lanes)
        turn_back(panels, source + (1 + inputs) * width, width, some, matrices, state, row, units, lanes)
        source += lanes


@piece
def pack_columns(matrix, panels, at, group, columns, units, slots, lanes):
    """Write one group's column panel of a (slots * units, columns) matrix, of panels that begin at ``at``."""
    blocks, first = (units + lanes - 1) // lanes, group * PANEL_VECTORS * lanes
    width = min(PANEL_VECTORS * lanes, (columns - first + lanes - 1) // lanes * lanes)
    some, to = min(width, columns - first), at + first * blocks * slots * lanes
    for block in range(blocks):
        for slot in range(slots):
            for unit in range(block * lanes, (block + 1) * lanes):
                if unit < units:
                    copy_padded(matrix, (slot * units + unit) * columns + first, panels, to, some, lanes)
                else:
                    clear(panels, to, width, lanes)
                to += width


@piece
def pack_task(
    task, w_ih, w_hh, b_ih, b_hh, has_ih, has_hh, gates, gates_at, columns, state_at, input_at,
    inputs, units, slots, lanes,
):  # fmt: skip
    """Write one panel: first come those of gates, then those of the recurrent matrix' columns, then the inputs'."""
    blocks = (units + lanes - 1) // lanes
    groups = (blocks + PANEL_VECTORS - 1) // PANEL_VECTORS
    if task < blocks:
        pack_gates(w_ih, w_hh, b_ih, b_hh, has_ih, has_hh, gates, gates_at, task, inputs, units, slots, lanes)
    elif task < blocks + groups:
        pack_columns(w_hh, columns, state_at, task - blocks, units, units, slots, lanes)
    else:
        pack_columns(w_ih, columns, input_at, task - blocks - groups, inputs, units, slots, lanes)


@kernel
def pack_layer(
    w_ih: ReadReals, w_hh: ReadReals, b_ih: ReadReals, b_hh: ReadReals, gates: Reals, gates_at: Int,
    columns: Reals, state_at: Int, input_at: Int, inputs: Int, units: Int, slots: Int, lanes: Int, launcher: Launcher,
):  # fmt: skip
    """Write gate panels to gates[gates_at:] and column panels to columns[state_at:] and columns[input_at:].

    A bias of size 0 counts as zeros; columns of size 0 are not wanted.
    """
    blocks = (units + lanes - 1) // lanes
    group = PANEL_VECTORS * lanes
    groups = (units + group - 1) // group + (inputs + group - 1) // group if columns.size else 0
    arguments = (
        address(w_ih), address(w_hh), address(b_ih), address(b_hh), b_ih.size > 0, b_hh.size > 0,
        address(gates), gates_at, address(columns), state_at, input_at, inputs, units, slots, lanes,
    )  # fmt: skip
    share(launcher, blocks + groups, pack_task, arguments)
