"""The backward pass: its tasks, and the kernel that launches them.

First the scan back over time (`scan_back`): only the gradient of h needs a product per step. Then the merged products
over all pairs (`merged`). Weight gradients are parallel over output tiles, with pairs ascending: no private copies per
thread, and the same bits for any number of threads.
"""

from __future__ import annotations

from typing import Any

from fastseq.cells.contract import shape_of
from fastseq.jit import Flag, Int, Integers, Launcher, ReadReals, Reals, kernel, piece, share
from fastseq.sequence.merged import input_gradient, panel_rows, weight_gradient
from fastseq.sequence.scan_back import scan_back
from fastseq.sequence.second import second_gradient, unpack_second
from fastseq.sequence.slot_products import input_columns_size, recurrent_columns_size
from fastseq.sequence.workspace import (
    CHUNK,
    backward_scratch_size,
    layout_of,
    merged_scratch_size,
    residual_places,
    residuals_size,
)
from fastseq.simd.lanes import address
from fastseq.simd.memory import clear_padding
from fastseq.simd.pack import unpack_gates

UNPACKED_ALONE = 16384
"""Weights per slot up to which one thread unpacks them sooner than several are called."""


@piece
def scan_task(
    task, weights, layout, d_states, d_out, d_x, want_x, residuals, scratch, plan, batch, steps, directions, pairs,
    shards, largest,
):  # fmt: skip
    """Run one shard in one direction back over its steps; the input gradients past its rows' lengths are zeros."""
    units, outputs = layout.units, layout.outputs
    d, shard = task // shards, task % shards
    bounds = 2 * batch + (plan[batch] if batch > 0 else 0) + 1 + shard
    vectors = directions * (recurrent_columns_size(layout) + input_columns_size(layout))
    own = layout.vectors * layout.units_padded
    scan_back(
        weights, layout, d * recurrent_columns_size(layout), vectors + d * own,
        vectors + directions * own + d * layout.joined * layout.units_padded,
        d_states, d * batch * outputs, (directions * outputs + d * units) * batch, directions * batch * units,
        d_out, d * outputs, directions * outputs, residuals, d * residuals_size(layout, pairs),
        scratch, task * backward_scratch_size(layout, largest), plan, batch, steps, pairs,
        plan[bounds], plan[bounds + 1], d == 1,
    )  # fmt: skip
    if want_x and d == 0:
        for r in range(plan[bounds], plan[bounds + 1]):
            inputs, length = layout.inputs, plan[batch + r]
            clear_padding(d_x, plan[r] * steps * inputs, inputs, inputs, length, steps, layout.lanes)


@piece
def second_place(layout, directions, d):
    """Return where the gradient of a direction's second matrix is, behind the panels of all directions."""
    return directions * layout.blocks * layout.panels_block + d * layout.joined * layout.units_padded


@piece
def merged_task(
    task, weights, layout, x, residuals, d_panels, d_x, scratch, plan, batch, steps, directions, pairs,
    groups, parts, chunks,
):  # fmt: skip
    """Compute a part of the weight gradients of one direction, then a share of the first direction's input gradient."""
    joined, share_of, shares = layout.joined, task % (groups * parts), groups * parts
    tasks = directions * groups * parts
    d, group, part = task // (groups * parts), task // parts % groups, task % parts
    rows = panel_rows(layout)
    own = task * merged_scratch_size(layout)
    weight_gradient(
        layout, d_panels, d * layout.blocks * layout.panels_block,
        layout.panels * group // groups, layout.panels * (group + 1) // groups,
        rows * part // parts, rows * (part + 1) // parts,
        x, residuals, d * residuals_size(layout, pairs), scratch, own, plan, batch, steps, pairs, d == 1,
    )  # fmt: skip
    r0 = d * residuals_size(layout, pairs)
    _, _, operand, d_joined, _ = residual_places(layout, pairs)
    second_gradient(
        weights, layout, d_panels, second_place(layout, directions, d),
        joined * share_of // shares, joined * (share_of + 1) // shares, residuals, r0 + operand, r0 + d_joined, pairs,
    )  # fmt: skip
    for chunk in range(chunks * task // tasks, chunks * (task + 1) // tasks):
        first = chunk * CHUNK
        input_gradient(
            weights, layout, directions * recurrent_columns_size(layout), d_x, residuals, 0, scratch, own,
            plan, batch, steps, first, min(CHUNK, pairs - first), False, False,
        )  # fmt: skip


@piece
def last_task(
    task,
    weights,
    layout,
    residuals,
    d_panels,
    d_x,
    d_parameters,
    order,
    biases,
    scratch,
    plan,
    batch,
    steps,
    directions,
    pairs,
):
    """Unpack one block of the weight gradients, or add a share of the second direction's input gradient."""
    inputs, units, outputs, blocks = layout.inputs, layout.units, layout.outputs, layout.blocks
    if task < directions * blocks:
        d = task // blocks
        with_bias = 1 if biases else 0
        own = layout.input_slots * (inputs + with_bias) + layout.state_slots * (outputs + with_bias) + layout.vectors
        to, block = d * units * (own + layout.joined), task - d * blocks
        unpack_second(
            weights, layout, d_panels, second_place(layout, directions, d), layout.joined * block // blocks,
            layout.joined * (block + 1) // blocks, d_parameters, to + units * own,
        )  # fmt: skip
        unpack_gates(
            d_panels, d * blocks * layout.panels_block, block, d_parameters, to, order,
            biases, inputs, units, outputs, layout.slots, layout.vectors, layout.input_slots, layout.state_slots,
            layout.group, layout.lanes,
        )  # fmt: skip
        return
    chunk = task - directions * blocks
    first = chunk * CHUNK
    input_gradient(
        weights, layout, 2 * recurrent_columns_size(layout) + input_columns_size(layout), d_x,
        residuals, residuals_size(layout, pairs), scratch, chunk * merged_scratch_size(layout),
        plan, batch, steps, first, min(CHUNK, pairs - first), True, True,
    )  # fmt: skip


def make_backward(cell: Any) -> Any:
    """Return the backward kernel of a cell, given its weights type.

    Its arguments: column panels of the recurrent matrices, then of the input matrices, then the vectors [block][V][L],
    then the second products' matrices as right operands, of all directions; x (B, T, F); d_states, of h (D, B, P) and
    then the memories (M, D, B, H), of the final states in and of the initial ones out; d_out (B, T, D * P); residuals
    from forward; d_panels, scratch for the weight gradients as gate panels; d_x (B, T, F), written (size 0: not
    wanted); d_parameters, written: per direction the gradients of w_ih, w_hh and, if there are biases, b_ih and
    b_hh, then of the vectors (see `simd.pack.unpack_gates`) and of the second matrix; scratch; the plan's numbers; B,
    T, F, H, P, L, D; number of pairs, shards, rows of the largest shard; the number of threads to share the weight
    gradients among; whether d_x is wanted; the order of the matrices' rows (`CellSpec.order`); whether there are
    biases.
    """

    @kernel(label=cell.__name__)
    def backward(
        columns: ReadReals, x: ReadReals, d_states: Reals, d_out: ReadReals, residuals: Reals, d_panels: Reals,
        d_x: Reals, d_parameters: Reals, scratch: Reals, plan: Integers,
        batch: Int, steps: Int, inputs: Int, units: Int, outputs: Int, lanes: Int, directions: Int, pairs: Int,
        shards: Int, largest: Int, workers: Int, want_x: Flag, order: Integers, biases: Flag, launcher: Launcher,
    ):  # fmt: skip
        weights = cell(address(columns))
        layout = layout_of(inputs, units, outputs, shape_of(weights), lanes)
        scan = (
            weights, layout, address(d_states), address(d_out), address(d_x), want_x, address(residuals),
            address(scratch), address(plan), batch, steps, directions, pairs, shards, largest,
        )  # fmt: skip
        share(launcher, shards * directions, scan_task, scan)
        groups = min(layout.panels, workers)
        parts = (workers + directions * groups - 1) // (directions * groups)
        chunks = (pairs + CHUNK - 1) // CHUNK if want_x else 0
        merged = (
            weights, layout, address(x), address(residuals), address(d_panels), address(d_x),
            address(scratch), address(plan), batch, steps, directions, pairs, groups, parts, chunks,
        )  # fmt: skip
        share(launcher, directions * groups * parts, merged_task, merged)
        last = (
            weights, layout, address(residuals), address(d_panels), address(d_x), address(d_parameters),
            address(order), biases, address(scratch), address(plan), batch, steps, directions, pairs,
        )  # fmt: skip
        again = chunks if directions == 2 else 0
        worth = again > 0 or (inputs + units) * units > UNPACKED_ALONE
        share(launcher if worth else 0, directions * layout.blocks + again, last_task, last)

    return backward


def backward_tasks(directions: int, pairs: int, workers: int) -> int:
    """Return the largest number of merged tasks that need scratch at the same time."""
    return max(directions * workers + workers, -(-pairs // CHUNK))
