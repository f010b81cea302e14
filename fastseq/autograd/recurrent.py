"""One recurrent layer over a whole batch as one node of the tape."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastseq import jit
from fastseq.autograd.mode import is_grad_enabled
from fastseq.autograd.tensor import Tensor, make_node, wrap
from fastseq.sequence import workspace
from fastseq.sequence.backward import backward_tasks, make_backward
from fastseq.sequence.forward import make_forward
from fastseq.simd import pack


@cache
def kernels_of(cell: Any) -> tuple[jit.Kernel, jit.Kernel]:
    """Return the forward and the backward kernel of a cell, given its weights type."""
    return make_forward(cell), make_backward(cell)


class Call(NamedTuple):
    """What follows from the sizes of a layer and a plan: buffer sizes, and the numbers that kernels take."""

    residuals: int
    forward_scratch: int
    backward_scratch: int
    work: float
    sizes: tuple[int, ...]


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
    return Call(
        workspace.residuals_size(layout, pairs) * directions,
        tasks * workspace.forward_scratch_size(layout, largest),
        max(tasks * workspace.backward_scratch_size(layout, largest), merged),
        2.0 * pairs * directions * layout.slots * layout.units * (layout.inputs + layout.units),
        (batch, steps, layout.inputs, layout.units, layout.lanes, directions, pairs, shards, largest),
    )


class PackedLayer:
    """The parameters of one layer, packed for the kernels when they have changed.

    Parameters
    ----------
    cell
        The cell's weights type.
    directions
        Per direction: w_ih (S*H, F), w_hh (S*H, H), and b_ih, b_hh (S*H,) or None for both.
    """

    def __init__(self, cell: Any, directions: Sequence[Sequence[Tensor | None]]) -> None:
        self.cell = cell
        self.directions = [tuple(d) for d in directions]
        self.parameters = tuple(p for d in self.directions for p in d if p is not None)
        self.dtype = self.parameters[0].dtype
        w_ih, w_hh = self.directions[0][:2]
        assert w_ih is not None and w_hh is not None
        self.layout = workspace.layout_of(
            w_ih.shape[1], w_hh.shape[1], len(cell.spec.slots), len(cell.spec.memories),
            workspace.lanes_per_vector(w_ih.dtype),
        )  # fmt: skip
        self._gates: tuple[Any, np.ndarray] | None = None
        self._columns: tuple[Any, np.ndarray] | None = None

    def state(self) -> list[int]:
        """Return what changes whenever a parameter does."""
        return [number for p in self.parameters for number in (id(p._data), p._version[0])]

    def gates(self, state: list[int]) -> np.ndarray:
        """Return the gate panels of all directions.

        Parameters
        ----------
        state
            What `state` returns now.
        """
        if self._gates is None or self._gates[0] != state:
            layout = self.layout
            size = pack.gate_panels_size(layout.inputs, layout.units, layout.slots, layout.lanes)
            dtype = self.parameters[0].dtype
            panels = workspace.aligned(size * len(self.directions), dtype)
            empty = np.empty(0, dtype)
            for d, (w_ih, w_hh, b_ih, b_hh) in enumerate(self.directions):
                assert w_ih is not None and w_hh is not None
                pack.pack_gates(
                    w_ih._data.ravel(), w_hh._data.ravel(),
                    empty if b_ih is None else b_ih._data, empty if b_hh is None else b_hh._data,
                    panels, d * size, layout.inputs, layout.units, layout.slots, layout.lanes,
                )  # fmt: skip
            self._gates = state, panels
        return self._gates[1]

    def columns(self, state: list[int]) -> np.ndarray:
        """Return the column panels: the recurrent matrices of all directions, then the input matrices.

        Parameters
        ----------
        state
            What `state` returns now.
        """
        if self._columns is None or self._columns[0] != state:
            layout = self.layout
            matrices = [d[1] for d in self.directions] + [d[0] for d in self.directions]
            depth = layout.slots * layout.units_padded
            size = depth * (layout.units_padded + layout.inputs_padded) * len(self.directions)
            panels = workspace.aligned(size, self.parameters[0].dtype)
            at = 0
            for matrix in matrices:
                assert matrix is not None
                columns = matrix.shape[1]
                pack.pack_columns(
                    matrix._data.ravel(), panels, at, columns, layout.units, layout.slots, layout.lanes,
                    pack.PANEL_VECTORS,
                )  # fmt: skip
                at += pack.column_panels_size(columns, layout.units, layout.slots, layout.lanes)
            self._columns = state, panels
        return self._columns[1]

    def unpacked(self, panels: np.ndarray, size: int) -> list[np.ndarray]:
        """Return gradients in the order and layout of the parameters, from those of the gate panels.

        Parameters
        ----------
        panels
            Gate panels of all directions.
        size
            Elements per direction.
        """
        layout, found = self.layout, []
        for d, (w_ih, w_hh, b_ih, _) in enumerate(self.directions):
            assert w_ih is not None and w_hh is not None
            d_w_ih, d_w_hh = np.empty(w_ih.shape, panels.dtype), np.empty(w_hh.shape, panels.dtype)
            d_bias = np.empty(0 if b_ih is None else b_ih.shape, panels.dtype)
            pack.unpack_gates(
                panels, d * size, d_w_ih.reshape(-1), d_w_hh.reshape(-1), d_bias,
                layout.inputs, layout.units, layout.slots, layout.lanes,
            )  # fmt: skip
            found += [d_w_ih, d_w_hh] if b_ih is None else [d_w_ih, d_w_hh, d_bias, d_bias.copy()]
        return found


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
        1 + M states before the first step, h first, each (D, B, H) or None for zeros.
    lengths
        Integers in 0..T (B,), or None for full rows.

    Returns
    -------
    tuple of Tensor
        Output (B, T, D * H), zeros past a row's length, then the 1 + M states after each row's last valid step,
        each (D, B, H).
    """
    layout, dtype, threads = layer.layout, layer.dtype, jit.get_num_threads()
    batch, steps, _ = x._data.shape
    directions = len(layer.directions)
    plan = workspace.plan_batch(lengths, batch, steps, threads)
    call = _call(layout, directions, batch, steps, plan.pairs, plan.shards, plan.largest, threads)
    # One row cannot be shared; of its backward pass, the products over all its steps can, if they are worth a launch.
    work, work_back = (call.work, 2 * call.work) if plan.shards * directions > 1 else (0.0, call.work / 4)
    empty = np.empty if plan.pairs == batch * steps else np.zeros
    forward, backward = kernels_of(layer.cell)
    wanted = [p for p in (x, *initial, *layer.parameters) if p is not None]
    keep = is_grad_enabled() and any([t.requires_grad for t in wanted])

    states = np.zeros((1 + layout.memories, directions, batch, layout.units), dtype)
    for j, given in enumerate(initial):
        if given is not None:
            states[j] = given._data
    out = empty((batch, steps, directions * layout.units), dtype)
    residuals = workspace.pool.take(call.residuals if keep else 0, dtype)
    x_flat = np.ascontiguousarray(x._data).reshape(-1)
    state = layer.state()
    gates, columns = layer.gates(state), layer.columns(state) if keep else None
    forward.launch(
        work, gates, x_flat, states.reshape(-1), out.reshape(-1), residuals,
        workspace.scratch(call.forward_scratch, dtype), plan.numbers, *call.sizes, keep,
    )  # fmt: skip
    if not keep:
        workspace.pool.give(residuals)
        return tuple(wrap(data) for data in (out, *states))
    want_x = x.requires_grad

    def back(grads: tuple[np.ndarray | None, ...]) -> tuple[np.ndarray | None, ...]:
        d_states = np.zeros(states.shape, dtype)
        for j, given in enumerate(grads[1:]):
            if given is not None:
                d_states[j] = given
        d_out = np.zeros(out.shape, dtype) if grads[0] is None else np.ascontiguousarray(grads[0], dtype)
        d_panels = workspace.pool.take(gates.size, dtype)
        d_x = empty(x._data.shape if want_x else 0, dtype)
        backward.launch(
            work_back, columns, x_flat, d_states.reshape(-1), d_out.reshape(-1), residuals, d_panels, d_x.reshape(-1),
            workspace.scratch(call.backward_scratch, dtype), plan.numbers, *call.sizes, threads, want_x,
        )  # fmt: skip
        workspace.pool.give(residuals)
        parameters = layer.unpacked(d_panels, gates.size // directions)
        workspace.pool.give(d_panels)
        d_initial = [d_states[j] for j, state in enumerate(initial) if state is not None]
        return (d_x if want_x else None, *d_initial, *parameters)

    return make_node(tuple(wanted), (out, *states), back, fresh=True)
