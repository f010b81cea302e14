"""One recurrent layer over a whole batch as one node of the tape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastseq import buffers, jit
from fastseq.autograd.mode import is_grad_enabled
from fastseq.autograd.tensor import Tensor, make_node, wrap
from fastseq.sequence import workspace
from fastseq.sequence.backward import backward_tasks, make_backward
from fastseq.sequence.forward import make_forward
from fastseq.simd import dense, pack

PACKING_WORK = 25.0
"""What packing one weight costs, in floating-point operations, when it is decided whether to share the work."""


@cache
def kernels_of(cell: Any) -> tuple[jit.Kernel, jit.Kernel]:
    """Return the forward and the backward kernel of a cell, given its weights type."""
    return make_forward(cell), make_backward(cell)


class Call(NamedTuple):
    """What follows from the sizes of a layer and a plan.

    Sizes of buffers in elements, the work of the two kernels in floating-point operations, the numbers that both take,
    and the number of threads that the buffers are made for.
    """

    residuals: int
    d_panels: int
    forward_scratch: int
    backward_scratch: int
    forward_work: float
    backward_work: float
    sizes: tuple[int, ...]
    threads: int


@lru_cache(maxsize=256)
def _call(
    layout: workspace.Layout,
    directions: int,
    batch: int,
    steps: int,
    pairs: int,
    shards: int,
    largest: int,
    threads: int,
) -> Call:
    tasks = shards * directions
    merged = backward_tasks(directions, pairs, threads) * workspace.merged_scratch_size(layout)
    panels = layout.blocks * layout.panels_block + layout.joined * layout.units_padded
    weights = layout.units * (layout.inputs * layout.input_slots + layout.outputs * layout.state_slots + layout.joined)
    work = 2.0 * pairs * directions * weights
    # One row cannot be shared; of its backward pass, the products over all its steps can, if they are worth a launch.
    alone = tasks == 1
    return Call(
        workspace.residuals_size(layout, pairs) * directions,
        panels * directions,
        tasks * workspace.forward_scratch_size(layout, largest),
        max(tasks * workspace.backward_scratch_size(layout, largest), merged),
        0.0 if alone else work,
        work / 4 if alone else 2 * work,
        (batch, steps, layout.inputs, layout.units, layout.outputs, layout.lanes, directions, pairs, shards, largest),
        threads,
    )


class PackedLayer:
    """The parameters of one layer, packed for the kernels when they have changed.

    Parameters
    ----------
    cell
        The cell's weights type.
    directions
        Per direction: w_ih (X*H, F), w_hh (R*H, P), b_ih (X*H,), b_hh (R*H,) or None for both, the cell's vectors (H,),
        or one parameter (k * H,) or None for k of the same name, and, if it projects, w_hr (P, H); X slots take a
        product with the input and R with h or something in its place (see `cells.contract.CellSpec`). Where R is 0,
        w_hh and b_hh are None. P is H unless the cell projects.
    """

    def __init__(self, cell: Any, directions: Sequence[Sequence[Tensor | None]]) -> None:
        self.cell = cell
        self.directions = [tuple(d) for d in directions]
        self.parameters = tuple(p for d in self.directions for p in d if p is not None)
        self.dtype = self.parameters[0].dtype
        self.empty = np.empty(0, self.dtype)
        w_ih, w_hh, bias = self.directions[0][:3]
        assert w_ih is not None
        self.biases = bias is not None
        self.order = np.array(cell.spec.order, np.int64)
        units = w_ih.shape[0] // len(cell.spec.input_rows)
        lanes, outputs = workspace.lanes_per_vector(w_ih.dtype), units if w_hh is None else w_hh.shape[1]
        self.layout = workspace.layout_of(w_ih.shape[1], units, outputs, cell.spec.shape, lanes)
        names = list(cell.spec.vectors)
        blocks = [1] * 4 + [names.count(name) for name in dict.fromkeys(names)]
        self._shapes = [  # of the gradients; a vector that is not there has one too, which nobody wants
            (blocks[k] * units, None) if p is None else (p._data.size, p._data.shape)
            for d in self.directions
            for k, p in enumerate(d)
            if p is not None or k >= 4
        ]
        own = self.layout.input_slots * (self.layout.inputs + self.biases) + self.layout.vectors + self.layout.joined
        own += self.layout.state_slots * (outputs + self.biases)
        self.gradients_size = len(self.directions) * units * own
        self._versions = [p._version for p in self.parameters]
        self._packed = -1, self.empty, self.empty  # the versions' sum, which grows with each; gates; columns
        self._dense: dict[tuple[int, int, int], tuple[workspace.Plan, Call]] = {}

    def panels(self, columns: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the gate panels of all directions, and the column panels.

        The latter are the recurrent matrices of all directions, then the input matrices; of size 0 where they are not
        there and not asked for.

        Parameters
        ----------
        columns
            Whether column panels are asked for.
        """
        now = sum([version[0] for version in self._versions])
        packed, gates, known = self._packed
        if packed != now or (columns and not known.size):
            gates, known = self._pack(columns)
            self._packed = now, gates, known
        return gates, known

    def _pack(self, wanted: bool) -> tuple[np.ndarray, np.ndarray]:
        layout, count = self.layout, len(self.directions)
        inputs, units, lanes = layout.inputs, layout.units, layout.lanes
        size = layout.blocks * layout.panels_block
        outputs, joined = layout.outputs, layout.joined
        state_size = pack.column_panels_size(outputs, units, layout.state_slots, lanes)
        input_size = pack.column_panels_size(inputs, units, layout.input_slots, lanes)
        # Other arrays: a backward pass to come, or another thread, may hold the former ones.
        forth, back = units * layout.joined_padded, joined * layout.units_padded  # of a second product's matrix
        gates = buffers.aligned((size + forth) * count, self.dtype)
        matrices = (state_size + input_size) * count
        second = matrices + layout.vectors * layout.units_padded * count
        columns = buffers.aligned(second + back * count, self.dtype) if wanted else self.empty
        for d, parameters in enumerate(self.directions):
            weights, matrix = self._weights(parameters)
            pack.pack_layer.launch(
                PACKING_WORK * size, *[self.empty if p is None else p.reshape(-1) for p in weights],
                self.order, gates, d * size, columns, d * state_size, count * state_size + d * input_size,
                inputs, units, outputs, layout.slots, layout.vectors, layout.input_slots, layout.state_slots,
                layout.group, lanes,
            )  # fmt: skip
            if matrix is not None:
                flat, to = matrix.reshape(-1), size * count + d * forth
                dense.pack_right(flat, 1, units, units, joined, gates[to : to + forth], lanes)
                if wanted:
                    to = second + d * back
                    dense.pack_right(flat, units, 1, joined, units, columns[to : to + back], lanes)
        if layout.vectors:
            self._put_vectors(gates, columns[matrices:second])
        return gates, columns

    def _weights(self, parameters: Sequence[Tensor | None]) -> tuple[list[np.ndarray | None], np.ndarray | None]:
        """Return what one direction's panels are made of, and the matrix of its second product."""
        given = [None if p is None else p._data for p in parameters]
        if self.cell.spec.projects:
            return given[:4], given[-1]
        if not self.cell.spec.second:
            return given[:4], None
        w_ih, w_hh, b_ih, b_hh = given[:4]
        assert w_hh is not None
        rows = self.layout.state_slots * self.layout.units
        both = None if b_ih is None or b_hh is None else b_ih + b_hh  # in the same order, the last rows too
        return [w_ih, w_hh[:rows], both, None], w_hh[rows:]

    def _put_vectors(self, gates: np.ndarray, behind: np.ndarray) -> None:
        """Write the cell's vectors into the gate panels, and, if there is room, to where backward finds them."""
        layout = self.layout
        blocks = (len(self.directions), layout.blocks, layout.vectors, layout.lanes)
        found = np.zeros(blocks, self.dtype)
        for own, parameters in zip(found, self.directions, strict=True):
            names = self.cell.spec.vectors
            for name, parameter in zip(dict.fromkeys(names), parameters[4:], strict=False):
                if parameter is None:
                    continue
                whole = np.zeros((names.count(name), layout.units_padded), self.dtype)
                whole[:, : layout.units] = parameter._data.reshape(-1, layout.units)
                first = names.index(name)
                own[:, first : first + len(whole)] = whole.reshape(-1, layout.blocks, layout.lanes).swapaxes(0, 1)
        panels = gates[: math.prod(blocks[:2]) * layout.panels_block].reshape(*blocks[:2], layout.panels_block)
        panels[:, :, layout.width : layout.head] = found.reshape(*blocks[:2], -1)
        if behind.size:
            behind[:] = found.reshape(-1)

    def plan(self, batch: int, steps: int, lengths: np.ndarray | None) -> tuple[workspace.Plan, Call]:
        """Return the order of work on a batch, and what it needs.

        Parameters
        ----------
        batch
            B.
        steps
            T.
        lengths
            Integers in 0..T (B,), or None for full rows.
        """
        threads = jit.get_num_threads()
        key = batch, steps, threads
        if lengths is None and key in self._dense:
            return self._dense[key]
        plan = workspace.plan_batch(lengths, batch, steps, threads)
        call = _call(
            self.layout, len(self.directions), batch, steps,
            plan.pairs, plan.shards, plan.largest, threads,
        )  # fmt: skip
        if lengths is None:
            if len(self._dense) > 64:
                self._dense.clear()
            self._dense[key] = plan, call
        return plan, call

    def split(self, flat: np.ndarray) -> list[np.ndarray]:
        """Return the parts of a flat array of gradients, in the order and with the shapes of the parameters.

        Parameters
        ----------
        flat
            As the backward kernel writes it.
        """
        if self.cell.spec.second and not self.cell.spec.projects:
            flat = np.concatenate([self._rejoined(part) for part in np.split(flat, len(self.directions))])
        found, at = [], 0
        for size, shape in self._shapes:
            if shape is not None:
                found.append(flat[at : at + size].reshape(shape))
            at += size
        return found

    def _rejoined(self, flat: np.ndarray) -> np.ndarray:
        """Return one direction's gradients with those of h's matrix together, and a whole gradient of b_hh."""
        layout = self.layout
        rows = layout.input_slots * layout.units
        w_ih, w_hh = layout.inputs * rows, layout.state_slots * layout.units * layout.units
        parts = [flat[: w_ih + w_hh], flat[flat.size - layout.joined * layout.units :]]
        bias = flat[w_ih + w_hh :][: rows if self.biases else 0]
        return np.concatenate([*parts, bias, bias])


def _state_arrays(layout: workspace.Layout, directions: int, batch: int, dtype: np.dtype) -> tuple[np.ndarray, Any]:
    """Return zeros for all states as the kernels take them, and a view of each (D, B, P or H)."""
    units, outputs, memories = layout.units, layout.outputs, layout.memories
    if outputs == units:
        every = np.zeros((1 + memories, directions, batch, units), dtype)
        return every.reshape(-1), every
    first, rest = directions * batch * outputs, (memories, directions, batch, units)
    flat = np.zeros(first + math.prod(rest), dtype)
    return flat, [flat[:first].reshape(directions, batch, outputs), *flat[first:].reshape(rest)]


def recurrent(
    layer: PackedLayer, x: Tensor, initial: Sequence[Tensor | None], lengths: np.ndarray | None
) -> tuple[Tensor, ...]:
    """Run one layer, all its directions, over a padded batch.

    Parameters
    ----------
    layer
        The packed parameters; D directions.
    x
        Input (B, T, F); values past a row's length are not read.
    initial
        1 + M states before the first step, h (D, B, P) first, then each (D, B, H), or None for zeros.
    lengths
        Integers in 0..T (B,), or None for full rows.

    Returns
    -------
    tuple of Tensor
        Output (B, T, D * P), zeros past a row's length, then the 1 + M states after each row's last valid step.
    """
    layout, dtype = layer.layout, layer.dtype
    batch, steps, _ = x._data.shape
    directions = len(layer.directions)
    plan, call = layer.plan(batch, steps, lengths)
    forward, backward = kernels_of(layer.cell)
    wanted = [p for p in (x, *initial) if p is not None]
    wanted += layer.parameters
    keep = is_grad_enabled() and any([t.requires_grad for t in wanted])

    every_state, states = _state_arrays(layout, directions, batch, dtype)
    for state, given in zip(states, initial, strict=True):
        if given is not None:
            state[...] = given._data
    out = buffers.empty((batch, steps, directions * layout.outputs), dtype)
    residuals = buffers.aligned(call.residuals, dtype) if keep else layer.empty
    x_flat = x._data.ravel()
    gates, columns = layer.panels(keep)
    forward.launch(
        call.forward_work, gates, x_flat, every_state, out.ravel(), residuals,
        buffers.scratch(call.forward_scratch, dtype), plan.numbers, *call.sizes, keep,
    )  # fmt: skip
    if not keep:
        return tuple([wrap(data) for data in (out, *states)])
    want_x = x.requires_grad

    def back(grads: tuple[np.ndarray | None, ...]) -> tuple[np.ndarray | None, ...]:
        every_d_state, d_states = _state_arrays(layout, directions, batch, dtype)
        for d_state, d_given in zip(d_states, grads[1:], strict=True):
            if d_given is not None:
                d_state[...] = d_given
        d_out = buffers.zeros(out.shape, dtype) if grads[0] is None else grads[0]
        d_panels = buffers.aligned(call.d_panels, dtype)
        d_x = buffers.empty(x._data.shape, dtype) if want_x else layer.empty
        d_parameters = buffers.empty((layer.gradients_size,), dtype)
        backward.launch(
            call.backward_work, columns, x_flat, every_d_state, d_out.ravel(), residuals, d_panels, d_x.ravel(),
            d_parameters, buffers.scratch(call.backward_scratch, dtype), plan.numbers, *call.sizes,
            call.threads, want_x, layer.order, layer.biases,
        )  # fmt: skip
        d_initial = [d_states[j] for j, state in enumerate(initial) if state is not None]
        return (d_x if want_x else None, *d_initial, *layer.split(d_parameters))

    return make_node(tuple(wanted), (out, *states), back, fresh=True)
