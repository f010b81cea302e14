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

from fastseq.jit import Int, ReadReals, Reals, kernel, shared

PANEL_VECTORS = 4


@shared
def gate_panels_size(inputs, units, slots, lanes):
    """Return the number of elements of the gate panels."""
    return (units + lanes - 1) // lanes * (1 + inputs + units) * slots * lanes


@shared
def column_panels_size(columns, units, slots, lanes):
    """Return the number of elements of the column panels of a (slots * units, columns) matrix."""
    return (units + lanes - 1) // lanes * slots * lanes * ((columns + lanes - 1) // lanes * lanes)


@kernel
def pack_gates(
    w_ih: ReadReals, w_hh: ReadReals, b_ih: ReadReals, b_hh: ReadReals, panels: Reals, at: Int,
    inputs: Int, units: Int, slots: Int, lanes: Int,
):  # fmt: skip
    """Write gate panels to panels[at:]; a bias of size 0 counts as zeros."""
    depth, width = 1 + inputs + units, slots * lanes
    for block in range((units + lanes - 1) // lanes):
        for slot in range(slots):
            for lane in range(lanes):
                to = at + block * depth * width + slot * lanes + lane
                unit = block * lanes + lane
                if unit >= units:
                    for k in range(depth):
                        panels[to + k * width] = 0.0
                    continue
                row = slot * units + unit
                bias = b_ih[row] if b_ih.size else panels.dtype.type(0.0)
                panels[to] = bias + b_hh[row] if b_hh.size else bias
                to += width
                for k in range(inputs):
                    panels[to + k * width] = w_ih[row * inputs + k]
                to += inputs * width
                for k in range(units):
                    panels[to + k * width] = w_hh[row * units + k]


@kernel
def unpack_gates(
    panels: ReadReals, at: Int, w_ih: Reals, w_hh: Reals, bias: Reals, inputs: Int, units: Int, slots: Int, lanes: Int
):
    """Read gate panels (of gradients, say) at panels[at:] back into matrices; a bias of size 0 is left out."""
    depth, width = 1 + inputs + units, slots * lanes
    for slot in range(slots):
        for unit in range(units):
            block, lane, row = unit // lanes, unit % lanes, slot * units + unit
            source = at + block * depth * width + slot * lanes + lane
            if bias.size:
                bias[row] = panels[source]
            source += width
            for k in range(inputs):
                w_ih[row * inputs + k] = panels[source + k * width]
            source += inputs * width
            for k in range(units):
                w_hh[row * units + k] = panels[source + k * width]


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
