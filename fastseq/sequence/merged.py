"""The merged products: gradients of weights and inputs, over the pairs of all steps at once."""

from __future__ import annotations

from fastseq.cells.contract import shape_of
from fastseq.jit import piece
from fastseq.sequence.slot_products import multiply_slots
from fastseq.sequence.workspace import PAIRS, spread_rows
from fastseq.simd.gemm import multiply
from fastseq.simd.memory import clear, copy
from fastseq.simd.pack import PANEL_VECTORS


@piece
def step_of_pair(plan, batch, pair):
    """Return the step that a pair belongs to."""
    low, high = 0, plan[batch]
    while high - low > 1:
        middle = (low + high) // 2
        if plan[2 * batch + middle] <= pair:
            low = middle
        else:
            high = middle
    return low


@piece
def gather_inputs(x, k0, some, scratch, q0, row_size, plan, batch, steps, inputs, first, count, reverse, lanes):
    """Copy the inputs k0..k0+some of ``count`` pairs from ``first`` on into rows of scratch."""
    t = step_of_pair(plan, batch, first)
    for i in range(count):
        while first + i >= plan[2 * batch + t + 1]:
            t += 1
        r = first + i - plan[2 * batch + t]
        time = plan[batch + r] - 1 - t if reverse else t
        copy(x, (plan[r] * steps + time) * inputs + k0, scratch, q0 + i * row_size, some, lanes)


@piece
def scatter_inputs(scratch, q0, row_size, x, k0, some, plan, batch, steps, inputs, first, count, reverse, lanes):
    """Copy rows of scratch back to where `gather_inputs` took them from."""
    t = step_of_pair(plan, batch, first)
    for i in range(count):
        while first + i >= plan[2 * batch + t + 1]:
            t += 1
        r = first + i - plan[2 * batch + t]
        time = plan[batch + r] - 1 - t if reverse else t
        copy(scratch, q0 + i * row_size, x, (plan[r] * steps + time) * inputs + k0, some, lanes)


@piece
def panel_rows(layout):
    """Return the number of rows of a panel: the biases, inputs, and h if there is a product with it."""
    return 1 + layout.inputs + (layout.outputs if layout.state_slots > 0 else 0)


@piece
def weight_gradient(
    layout, d_panels, panels_at, panels_from, panels_to, k_from, k_to, x, residuals, r0, scratch, q0,
    plan, batch, steps, pairs, reverse,
):  # fmt: skip
    """Compute the rows k_from..k_to of some gate panels' gradients (k = 0 is the bias, then inputs, then h).

    Some pairs at a time, so that their slot gradients, which serve all rows of a panel, and their inputs and h, which
    serve all panels, stay in the cache meanwhile.
    """
    inputs, lanes, gates_row = layout.inputs, layout.lanes, layout.gates_row
    kept_h = r0 + pairs * gates_row
    x_from, x_to = max(k_from - 1, 0), min(k_to - 1, inputs)
    h_from, h_to = max(k_from - 1 - inputs, 0), k_to - 1 - inputs
    x_row = spread_rows(layout.inputs_padded, lanes)
    one = q0 + PAIRS * x_row
    scratch[one] = 1.0
    still = one - one  # a zero that is no constant: a product with constants would be compiled apart
    for first in range(0, max(pairs, 1), PAIRS):
        count = min(PAIRS, pairs - first)
        if x_from < x_to and count > 0:
            gather_inputs(
                x, x_from, x_to - x_from, scratch, q0, x_row, plan, batch, steps, inputs, first, count, reverse, lanes
            )
        h = kept_h + first * layout.outputs_row + h_from
        for panel in range(panels_from, panels_to):
            block = panel * layout.group
            wide = min(layout.group, layout.blocks - block)
            slots = r0 + first * gates_row + block * layout.head
            at = panels_at + block * layout.panels_block
            if k_from == 0 and k_to > 0:  # a task without rows must not write what another one does
                width, vectors = wide * layout.head, wide * (layout.slots + layout.vectors)
                if first == 0:
                    clear(d_panels, at, width, lanes)
                multiply(
                    scratch, one, 1, still, residuals, slots, gates_row, count,
                    d_panels, at, width, d_panels, at, width, 1 + still, vectors, lanes,
                )  # fmt: skip
            at += wide * layout.head
            vectors = wide * layout.input_slots
            width = vectors * lanes
            if x_from < x_to:
                to, some = at + x_from * width, x_to - x_from
                if first == 0:
                    clear(d_panels, to, some * width, lanes)
                multiply(
                    scratch, q0, 1, x_row, residuals, slots + layout.input_first * lanes, gates_row, count,
                    d_panels, to, width, d_panels, to, width, some, vectors, lanes,
                )  # fmt: skip
            if h_from < h_to:
                at += inputs * width
                vectors = wide * layout.state_slots
                width = vectors * lanes
                to, some = at + h_from * width, h_to - h_from
                if first == 0:
                    clear(d_panels, to, some * width, lanes)
                multiply(
                    residuals, h, 1, layout.outputs_row,
                    residuals, slots + layout.state_first * lanes,
                    gates_row, count, d_panels, to, width, d_panels, to, width, some, vectors, lanes,
                )  # fmt: skip


@piece
def input_gradient(
    weights, layout, columns_at, d_x, residuals, r0, scratch, q0, plan, batch, steps, first, count, reverse, add
):  # fmt: skip
    """Compute the input gradients of ``count`` pairs from ``first`` on; ``add`` them to what is there, or write."""
    inputs, lanes, shape = layout.inputs, layout.lanes, shape_of(weights)
    vectors = layout.inputs_padded // lanes
    for panel in range(0, vectors, PANEL_VECTORS):
        wide = min(PANEL_VECTORS, vectors - panel)
        row_size, k0 = wide * lanes, panel * lanes
        some = min(row_size, inputs - k0)
        if add:
            gather_inputs(
                d_x, k0, some, scratch, q0, row_size, plan, batch, steps, inputs, first, count, reverse, lanes
            )
        else:
            clear(scratch, q0, count * row_size, lanes)
        multiply_slots(
            layout, shape.slots + shape.vectors, shape.input_first, shape.input_slots,
            residuals, r0 + first * layout.gates_row, weights.panels, columns_at, k0,
            scratch, q0, row_size, count, wide,
        )  # fmt: skip
        scatter_inputs(scratch, q0, row_size, d_x, k0, some, plan, batch, steps, inputs, first, count, reverse, lanes)
