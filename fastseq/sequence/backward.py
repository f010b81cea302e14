"""The backward pass: the scan back over time, then the merged products over all pairs.

Only the gradient of h needs a product per step. Weight gradients are parallel over output tiles, with pairs
ascending: no private copies per thread, and the same bits for any number of threads.
"""

from __future__ import annotations

from typing import Any

from fastseq.cells.contract import (
    PROJECTED,
    memory_pattern,
    shape_of,
    slot_pattern,
    stage,
    step_backward,
    vector_pattern,
)
from fastseq.jit import Flag, Int, Integers, Launcher, ReadReals, Reals, kernel, piece, share
from fastseq.sequence.second import join_back, project_back, second_gradient, unpack_second
from fastseq.sequence.standardize import back_standardized
from fastseq.sequence.workspace import (
    CHUNK,
    PAIRS,
    backward_scratch_size,
    layout_of,
    merged_scratch_size,
    residual_places,
    residuals_size,
    spread_rows,
)
from fastseq.simd.gemm import multiply, multiply_row, multiply_runs
from fastseq.simd.lanes import address, load, load_group, load_head, store, store_group
from fastseq.simd.memory import clear, copy, copy_padded
from fastseq.simd.pack import PANEL_VECTORS, column_panels_size, unpack_gates

UNPACKED_ALONE = 16384
"""Weights per slot up to which one thread unpacks them sooner than several are called."""


@stage(lambda spec: not spec.standardized)
def back_row(
    weights,
    layout,
    vectors_at,
    gates,
    gates_at,
    kept,
    h_at,
    memory_at,
    kept_stride,
    d_out,
    d_out_at,
    scratch,
    d_h,
    d_m,
    d_stride,
):
    """Replace one pair's gates by its slot gradients, for all blocks; d_h and d_memories move one step back.

    Where h is a product, d_h is the gradient of its operand, with everything in it, and h before is of no account.
    """
    lanes, projects = layout.lanes, shape_of(weights).second_slot == PROJECTED
    for block in range(layout.blocks):
        e, at = block * lanes, gates_at + block * layout.head
        opened = load_group(gates, at, lanes, slot_pattern(weights))
        total = load(scratch, d_h + e)
        h = total if projects else load(kept, h_at + e)
        memory = load_group(kept, memory_at + e, kept_stride, memory_pattern(weights))
        if not projects:
            left = layout.units - e
            total = total + (load(d_out, d_out_at + e) if left >= lanes else load_head(d_out, d_out_at + e, left))
        d_memory = load_group(scratch, d_m + e, d_stride, memory_pattern(weights))
        vectors = load_group(weights.panels, vectors_at + e * layout.vectors, lanes, vector_pattern(weights))
        d_slots, d_before, d_memory, d_vectors = step_backward(weights, opened, h, memory, total, d_memory, vectors)
        store_group(gates, at, lanes, d_slots)
        store_group(gates, at + layout.width, lanes, d_vectors)
        store(scratch, d_h + e, d_before)
        store_group(scratch, d_m + e, d_stride, d_memory)


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


@piece
def scan_back(
    weights, layout, columns_at, vectors_at, second_at, d_states, s0, m0, memory_stride, d_out, out_at, out_row,
    residuals, r0, scratch, q0, plan, batch, steps, pairs, low, high, reverse,
):  # fmt: skip
    """Run the rows low..high of the plan's order back over all their steps.

    ``d_states`` holds the gradients of the final states and gets those of the initial ones.
    """
    rows, lanes, units, units_row = high - low, layout.lanes, layout.units, layout.units_row
    outputs, outputs_row = layout.outputs, layout.outputs_row
    shape, vectors = shape_of(weights), layout.outputs_padded // lanes
    width = shape.slots + shape.vectors
    d_h, d_m = q0, q0 + rows * outputs_row
    d_u = d_m + layout.memories * rows * units_row
    kept_h, kept_memory, _, kept_d, kept_scales = residual_places(layout, pairs)
    d_row = q0 + backward_scratch_size(layout, rows) - layout.blocks * layout.width
    for r in range(rows):
        copy_padded(d_states, s0 + plan[low + r] * outputs, scratch, d_h + r * outputs_row, outputs, lanes)
        for j in range(layout.memories):
            source = m0 + j * memory_stride + plan[low + r] * units
            copy_padded(d_states, source, scratch, d_m + (j * rows + r) * units_row, units, lanes)
    active = 0
    t = plan[batch + low] - 1 if rows > 0 else -1
    while t >= 0:
        while active < rows and plan[batch + low + active] > t:
            active += 1
        pair = plan[2 * batch + t] + low
        d_joined = r0 + kept_d + pair * layout.joined_row
        project_back(
            weights, layout, second_at, d_out, out_at, out_row, plan, low, batch, steps, t, reverse,
            residuals, d_joined, scratch, d_h, d_u, active,
        )  # fmt: skip
        d_given, given_row = (d_u, units_row) if shape.second_slot == PROJECTED else (d_h, outputs_row)
        for r in range(active):
            time = plan[batch + low + r] - 1 - t if reverse else t
            p = pair + r
            back_row(
                weights, layout, vectors_at, residuals, r0 + p * layout.gates_row,
                residuals, r0 + kept_h + p * outputs_row, r0 + kept_memory + p * units_row, pairs * units_row,
                d_out, (plan[low + r] * steps + time) * out_row + out_at,
                scratch, d_given + r * given_row, d_m + r * units_row, rows * units_row,
            )  # fmt: skip
            back_standardized(
                weights, layout, vectors_at, residuals, r0 + p * layout.gates_row, r0 + kept_h + p * outputs_row,
                r0 + kept_memory + p * units_row, pairs * units_row, r0 + kept_scales + p * layout.standards * lanes,
                d_out, (plan[low + r] * steps + time) * out_row + out_at,
                scratch, d_h + r * outputs_row, d_m + r * units_row, rows * units_row, d_row,
            )  # fmt: skip
        join_back(
            weights, layout, second_at, residuals, r0 + pair * layout.gates_row, r0 + kept_h + pair * outputs_row,
            d_joined, scratch, d_h, d_u, active,
        )  # fmt: skip
        panels = (vectors + PANEL_VECTORS - 1) // PANEL_VECTORS if shape.state_slots > 0 else 0
        pairs_of_panels = vectors // PANEL_VECTORS // 2 if active == 1 and shape.state_slots == width else 0
        for i in range(pairs_of_panels):
            multiply_pair(
                layout, residuals, r0 + pair * layout.gates_row, weights.panels, columns_at,
                2 * (pairs_of_panels - 1 - i if t % 2 else i), scratch, d_h,
            )  # fmt: skip
        for i in range(panels - 2 * pairs_of_panels):
            # Up and down in turns: a step begins with the panel that the one before has left in the cache.
            first = (panels - 1 - i if t % 2 else 2 * pairs_of_panels + i) * PANEL_VECTORS
            some = min(PANEL_VECTORS, vectors - first)
            multiply_slots(
                layout, width, shape.state_first, shape.state_slots,
                residuals, r0 + pair * layout.gates_row, weights.panels, columns_at, first * lanes,
                scratch, d_h + first * lanes, outputs_row, active, some,
            )  # fmt: skip
        t -= 1
    for r in range(rows):
        copy(scratch, d_h + r * outputs_row, d_states, s0 + plan[low + r] * outputs, outputs, lanes)
        for j in range(layout.memories):
            to = m0 + j * memory_stride + plan[low + r] * units
            copy(scratch, d_m + (j * rows + r) * units_row, d_states, to, units, lanes)


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
            if k_from == 0:
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
def recurrent_columns_size(layout):
    """Return the number of elements of one direction's column panels of the recurrent matrix."""
    return column_panels_size(layout.outputs, layout.units, layout.state_slots, layout.lanes)


@piece
def input_columns_size(layout):
    """Return the number of elements of one direction's column panels of the input matrix."""
    return column_panels_size(layout.inputs, layout.units, layout.input_slots, layout.lanes)


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


@piece
def scan_task(
    task, weights, layout, d_states, d_out, residuals, scratch, plan, batch, steps, directions, pairs, shards, largest
):
    """Run one shard in one direction back over its steps."""
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
    from forward; d_panels, scratch for the weight gradients as gate panels; d_x (B, T, F), written at valid steps (size
    0: not wanted); d_parameters, written: per direction the gradients of w_ih, w_hh and, if there are biases, b_ih and
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
            weights, layout, address(d_states), address(d_out), address(residuals), address(scratch), address(plan),
            batch, steps, directions, pairs, shards, largest,
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
