"""Panels: the layout of the module's diagram, packing and unpacking as each other's inverse, zeros in the tails."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.cells.contract import CellSpec
from fastseq.simd.lanes import LANES
from fastseq.simd.pack import PANEL_VECTORS, column_panels_size, gate_panels_size, pack_layer
from tests.simd.lane_kernels import unpack_all_gates

DTYPES = [np.float32, np.float64]
SIZES = [(1, 1), (1, 16), (5, 17), (16, 8), (17, 33), (40, 7), (130, 31)]


CELLS = {
    1: CellSpec(("a",)),
    2: CellSpec(("a", "b")),
    3: CellSpec(("a", "b", "c")),
    4: CellSpec(("a", "b", "c", "d")),
    "split": CellSpec(("m", "r", "z", "x"), (), ("r", "z", "x"), ("r", "z", "m")),
    "inputs": CellSpec(("a", "b"), (), None, ()),
}
"""Specifications by number of slots; one whose slots take different products, one without a product with h."""


def matrices(inputs, units, spec, dtype, rng):
    """w_ih, w_hh, b_ih, b_hh as PyTorch shapes them."""
    x, r = len(spec.input_rows) * units, len(spec.state_rows) * units
    return [rng.standard_normal(shape).astype(dtype) for shape in ((x, inputs), (r, units), (x,), (r,))]


def sizes_of(spec, inputs, units):
    """The numbers that packing takes, but for the lanes."""
    shape = spec.shape
    return inputs, units, units, shape.slots, 0, shape.input_slots, shape.state_slots


def packed(w_ih, w_hh, b_ih, b_hh, spec, at=0, room=0):
    units, inputs = w_hh.shape[1], w_ih.shape[1]
    sizes, lanes = sizes_of(spec, inputs, units), LANES[w_ih.dtype]
    panels = np.full(at + gate_panels_size(*sizes, lanes) + room, -77.0, w_ih.dtype)
    none = np.empty(0, w_ih.dtype)
    weights = w_ih.ravel(), w_hh.ravel(), b_ih, b_hh, np.array(spec.order)
    pack_layer.launch(0.0, *weights, panels, at, none, 0, 0, *sizes, spec.shape.group, lanes)
    return panels


def unpacked(panels, at, biases, inputs, units, spec):
    """The matrices and their biases, read back, and what stands behind them."""
    x, r = len(spec.input_rows) * units, len(spec.state_rows) * units
    sizes = [x * inputs, r * units] + [x, r] * biases
    flat = np.full(2 + sum(sizes) + 3, -77.0, panels.dtype)
    numbers = *sizes_of(spec, inputs, units), spec.shape.group, LANES[panels.dtype]
    unpack_all_gates(panels, at, flat, 2, np.array(spec.order), biases, *numbers)
    assert (flat[:2] == -77).all() and (flat[-3:] == -77).all(), "nothing is written outside"
    parts = np.split(flat[2:-3], np.cumsum(sizes)[:-1])
    return [parts[0].reshape(x, inputs), parts[1].reshape(r, units), *parts[2:]]


def by_slot(matrix, rows, spec, units, lanes):
    """(S, blocks, lanes, columns) of a matrix, zeros where a slot has no rows and past the last unit."""
    blocks = -(-units // lanes)
    whole = np.zeros((len(spec.slots), blocks * lanes, matrix.shape[1]), matrix.dtype)
    for place, slot in enumerate(rows):
        whole[spec.slots.index(slot), :units] = matrix[place * units : (place + 1) * units]
    return whole.reshape(len(spec.slots), blocks, lanes, -1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("inputs", "units"), SIZES)
def test_gate_panels_follow_the_diagram(inputs, units, name, dtype, rng):
    spec = CELLS[name]
    w_ih, w_hh, b_ih, b_hh = matrices(inputs, units, spec, dtype, rng)
    lanes = LANES[np.dtype(dtype)]
    blocks = -(-units // lanes)
    x, r = (by_slot(w, rows, spec, units, lanes) for w, rows in ((w_ih, spec.input_rows), (w_hh, spec.state_rows)))
    bias = by_slot(b_ih[:, None], spec.input_rows, spec, units, lanes)
    bias = bias + by_slot(b_hh[:, None], spec.state_rows, spec, units, lanes)
    places = [[k for k, slot in enumerate(spec.slots) if slot in rows] for rows in (spec.input_rows, spec.state_rows)]
    want = []
    for first in range(0, blocks, spec.shape.group):
        some = slice(first, first + spec.shape.group)
        for part, slots in ((bias, slice(None)), (x, places[0]), (r, places[1])):
            want.append(part[slots, some].transpose(3, 1, 0, 2).ravel())  # depth, block of the group, slot, lane
    np.testing.assert_array_equal(packed(w_ih, w_hh, b_ih, b_hh, spec), np.concatenate(want))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("inputs", "units"), SIZES)
def test_unpacking_gives_back_what_was_packed(inputs, units, name, dtype, rng):
    spec = CELLS[name]
    w_ih, w_hh, b_ih, b_hh = matrices(inputs, units, spec, dtype, rng)
    panels = packed(w_ih, w_hh, b_ih, b_hh, spec, at=5, room=7)
    assert (panels[:5] == -77).all() and (panels[-7:] == -77).all(), "nothing is written outside"
    back = unpacked(panels, 5, True, inputs, units, spec)
    assert back[0].tobytes() == w_ih.tobytes() and back[1].tobytes() == w_hh.tobytes()
    biases = dict.fromkeys(spec.slots, 0)  # a slot with both products has one bias: the sum of the two given
    for rows, bias in ((spec.input_rows, b_ih), (spec.state_rows, b_hh)):
        biases |= {slot: biases[slot] + bias[k * units : (k + 1) * units] for k, slot in enumerate(rows)}
    for rows, got in ((spec.input_rows, back[2]), (spec.state_rows, back[3])):
        np.testing.assert_array_equal(got, np.concatenate([np.empty(0, dtype), *(biases[slot] for slot in rows)]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_missing_biases_count_as_zeros_and_are_left_out(dtype, rng):
    spec = CELLS[4]
    w_ih, w_hh, b_ih, b_hh = matrices(3, 5, spec, dtype, rng)
    none = np.empty(0, dtype)
    zeros = np.zeros_like(b_ih)
    assert packed(w_ih, w_hh, none, none, spec).tobytes() == packed(w_ih, w_hh, zeros, zeros, spec).tobytes()
    assert packed(w_ih, w_hh, b_ih, none, spec).tobytes() == packed(w_ih, w_hh, b_ih, zeros, spec).tobytes()
    assert packed(w_ih, w_hh, none, b_hh, spec).tobytes() == packed(w_ih, w_hh, zeros, b_hh, spec).tobytes()
    back = unpacked(packed(w_ih, w_hh, b_ih, b_hh, spec), 0, False, 3, 5, spec)
    np.testing.assert_array_equal(back[0], w_ih)
    np.testing.assert_array_equal(back[1], w_hh)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("columns", "units"), SIZES)
def test_column_panels_follow_the_diagram(columns, units, name, dtype, rng):
    lanes, spec = LANES[np.dtype(dtype)], CELLS[name]
    matrix, state, *_ = matrices(columns, units, spec, dtype, rng)
    sizes, none = sizes_of(spec, columns, units), np.empty(0, dtype)
    panels = np.full(3 + column_panels_size(columns, units, len(spec.input_rows), lanes) + 4, -77.0, dtype)
    square = np.full(column_panels_size(units, units, len(spec.state_rows), lanes), -77.0, dtype)
    whole = np.concatenate([panels, square])
    gates = np.empty(gate_panels_size(*sizes, lanes), dtype)
    weights = matrix.reshape(-1), state.reshape(-1), none, none, np.array(spec.order)
    pack_layer.launch(0.0, *weights, gates, 0, whole, panels.size, 3, *sizes, spec.shape.group, lanes)
    panels = whole[: panels.size]
    assert (panels[:3] == -77).all() and (panels[-4:] == -77).all()
    np.testing.assert_array_equal(whole[panels.size :], column_panels(state, spec.state_rows, spec, units, lanes))
    np.testing.assert_array_equal(panels[3:-4], column_panels(matrix, spec.input_rows, spec, units, lanes))


def column_panels(matrix, rows, spec, units, lanes):
    """The panels as the diagram has them."""
    columns = matrix.shape[1]
    vectors = -(-columns // lanes)
    # rows in the order (block, slot, lane), columns in groups
    whole = by_slot(matrix, rows, spec, units, lanes)[[k for k, slot in enumerate(spec.slots) if slot in rows]]
    whole = np.pad(whole, ((0, 0), (0, 0), (0, 0), (0, vectors * lanes - columns)))
    whole = whole.transpose(1, 0, 2, 3).reshape(-1, vectors * lanes)
    group = PANEL_VECTORS * lanes
    return np.concatenate([whole[:, j : j + group].ravel() for j in range(0, vectors * lanes, group)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_signed_zeros_survive(dtype):
    w_ih = np.array([[np.nan], [-0.0], [np.inf]], dtype)
    w_hh = np.array([[-0.0], [np.nan], [-np.inf]], dtype)
    none = np.empty(0, dtype)
    back = unpacked(packed(w_ih, w_hh, none, none, CELLS[3]), 0, False, 1, 1, CELLS[3])
    assert back[0].tobytes() == w_ih.tobytes()
    assert back[1].tobytes() == w_hh.tobytes()
