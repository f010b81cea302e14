"""Products of slot gradients with the columns of a layer's matrices, which lie in panels of their own."""

from __future__ import annotations

from fastseq.jit import piece
from fastseq.simd.gemm import multiply, multiply_row, multiply_runs
from fastseq.simd.pack import PANEL_VECTORS, column_panels_size


@piece
def recurrent_columns_size(layout):
    """Return the number of elements of one direction's column panels of the recurrent matrix."""
    return column_panels_size(layout.outputs, layout.units, layout.state_slots, layout.lanes)


@piece
def input_columns_size(layout):
    """Return the number of elements of one direction's column panels of the input matrix."""
    return column_panels_size(layout.inputs, layout.units, layout.input_slots, layout.lanes)


@piece
def multiply_slots(layout, slots, first, count, gates, gates_at, columns, columns_at, at, c, c0, c_row, rows, vectors):
    """Add to c the products of pairs' slot gradients and some columns.

    Of the ``slots`` that lie in a row, ``count`` from ``first`` on take part.

    ``columns_at`` is where the column panels begin, ``at`` the first of these columns.
    """
    lanes, row_size = layout.lanes, layout.gates_row
    width, run = vectors * lanes, count * lanes
    w0 = columns_at + at * count * layout.units_padded
    if count == slots:
        depth = layout.slots * layout.units_padded
        multiply(
            gates, gates_at, row_size, 1, columns, w0, width, depth, c, c0, c_row, c, c0, c_row, rows, vectors, lanes
        )
    else:
        multiply_runs(
            gates, gates_at + first * lanes, row_size, run, layout.head - run, layout.blocks, columns, w0, width,
            c, c0, c_row, rows, vectors, lanes,
        )  # fmt: skip


@piece
def multiply_pair(layout, gates, gates_at, columns, columns_at, panel, c, c0):
    """Add to c the products of one pair's slot gradients and two neighbouring panels of columns, from ``panel`` on."""
    width, depth = PANEL_VECTORS * layout.lanes, layout.slots * layout.units_padded
    at, to = columns_at + panel * width * depth, c0 + panel * width
    multiply_row(
        gates, gates_at, 1, columns, at, width * depth, width, depth, c, to, width, c, to, width,
        PANEL_VECTORS, layout.lanes,
    )  # fmt: skip
