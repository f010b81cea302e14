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

from fastseq.jit import Int, ReadReals, Reals, kernel, piece, shared
from fastseq.simd.lanes import address, turn

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
def turn_back(panels, at, width, some, matrix, row0, columns, lanes):
    """Write lanes of ``columns`` rows of a panel as ``some`` rows of a (rows, columns) matrix, from ``row0`` on."""
    for k in range(0, columns, lanes):
        turn(panels, at + k * width, width, min(lanes, columns - k), some, matrix, row0 * columns + k, columns, False)


@kernel
def pack_gates(
    w_ih: ReadReals, w_hh: ReadReals, b_ih: ReadReals, b_hh: ReadReals, panels: Reals, at: Int,
    inputs: Int, units: Int, slots: Int, lanes: Int,
):  # fmt: skip
    """Write gate panels to panels[at:]; a bias of size 0 counts as zeros."""
    depth, width = 1 + inputs + units, slots * lanes
    for block in range((units + lanes - 1) // lanes):
        some = min(lanes, units - block * lanes)
        for slot in range(slots):
            to, row = at + block * depth * width + slot * lanes, slot * units + block * lanes
            for lane in range(lanes):
                bias = panels.dtype.type(0.0)
                if lane < some and b_ih.size:
                    bias += b_ih[row + lane]
                if lane < some and b_hh.size:
                    bias += b_hh[row + lane]
                panels[to + lane] = bias
            turn_matrix(address(w_ih), row, inputs, address(panels), to + width, width, some, lanes)
            turn_matrix(address(w_hh), row, units, address(panels), to + (1 + inputs) * width, width, some, lanes)


@kernel
def unpack_gates(
    panels: ReadReals, at: Int, w_ih: Reals, w_hh: Reals, bias: Reals, inputs: Int, units: Int, slots: Int, lanes: Int
):
    """Read gate panels (of gradients, say) at panels[at:] back into matrices; a bias of size 0 is left out."""
    depth, width = 1 + inputs + units, slots * lanes
    for block in range((units + lanes - 1) // lanes):
        some = min(lanes, units - block * lanes)
        for slot in range(slots):
            source, row = at + block * depth * width + slot * lanes, slot * units + block * lanes
            if bias.size:
                for lane in range(some):
                    bias[row + lane] = panels[source + lane]
            turn_back(address(panels), source + width, width, some, address(w_ih), row, inputs, lanes)
            turn_back(address(panels), source + (1 + inputs) * width, width, some, address(w_hh), row, units, lanes)


@kernel
def pack_columns(
    matrix: ReadReals, panels: Reals, at: Int, columns: Int, units: Int, slots: Int, lanes: Int, group: Int
):
    """Write column panels of a (slots * units, columns) matrix to panels[at:], groups of ``group`` vectors."""
    blocks = (units + lanes - 1) // lanes
    to = at
    for first in range(0, columns, group * lanes):
        vectors = min(group, (columns - first + lanes - 1) // lanes)
        some = min(vectors * lanes, columns - first)
        for block in range(blocks):
            for slot in range(slots):
                for lane in range(lanes):
                    unit = block * lanes + lane
                    if unit < units:
                        source = (slot * units + unit) * columns + first
                        for column in range(some):
                            panels[to + column] = matrix[source + column]
                        for column in range(some, vectors * lanes):
                            panels[to + column] = 0.0
                    else:
                        for column in range(vectors * lanes):
                            panels[to + column] = 0.0
                    to += vectors * lanes
