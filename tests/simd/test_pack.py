"""Panels: the layout of the module's diagram, packing and unpacking as each other's inverse, zeros in the tails."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.simd.lanes import LANES
from fastseq.simd.pack import PANEL_VECTORS, column_panels_size, gate_panels_size, pack_layer
from tests.simd.lane_kernels import unpack_all_gates

DTYPES = [np.float32, np.float64]
SIZES = [(1, 1), (1, 16), (5, 17), (16, 8), (17, 33), (40, 7), (130, 31)]


def matrices(inputs, units, slots, dtype, rng):
    """w_ih, w_hh, b_ih, b_hh as PyTorch shapes them."""
    shapes = (slots * units, inputs), (slots * units, units), (slots * units,), (slots * units,)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def packed(w_ih, w_hh, b_ih, b_hh, slots, at=0, room=0):
    units, inputs = w_hh.shape[1], w_ih.shape[1]
    lanes = LANES[w_ih.dtype]
    panels = np.full(at + gate_panels_size(inputs, units, slots, lanes) + room, -77.0, w_ih.dtype)
    none = np.empty(0, w_ih.dtype)
    weights = w_ih.ravel(), w_hh.ravel(), b_ih, b_hh
    pack_layer.launch(0.0, *weights, panels, at, none, 0, 0, inputs, units, slots, lanes)
    return panels


def unpacked(panels, at, biases, inputs, units, slots):
    """The matrices and so many biases, read back, and what stands behind them."""
    rows = slots * units
    sizes = [rows * inputs, rows * units] + [rows] * biases
    flat = np.full(2 + sum(sizes) + 3, -77.0, panels.dtype)
    unpack_all_gates(panels, at, flat, 2, biases, inputs, units, slots, LANES[panels.dtype])
    assert (flat[:2] == -77).all() and (flat[-3:] == -77).all(), "nothing is written outside"
    parts = np.split(flat[2:-3], np.cumsum(sizes)[:-1])
    return [parts[0].reshape(rows, inputs), parts[1].reshape(rows, units), *parts[2:]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slots", [1, 3, 4])
@pytest.mark.parametrize(("inputs", "units"), SIZES)
def test_gate_panels_follow_the_diagram(inputs, units, slots, dtype, rng):
    w_ih, w_hh, b_ih, b_hh = matrices(inputs, units, slots, dtype, rng)
    lanes = LANES[np.dtype(dtype)]
    blocks = -(-units // lanes)
    panels = packed(w_ih, w_hh, b_ih, b_hh, slots).reshape(blocks, 1 + inputs + units, slots, lanes)
    rows = [(b_ih + b_hh)[:, None], w_ih, w_hh]
    # (S, H, 1 + F + H) padded to whole vectors of units, then blocks outermost and the depth next
    whole = np.concatenate(rows, 1).reshape(slots, units, -1)
    whole = np.pad(whole, ((0, 0), (0, blocks * lanes - units), (0, 0)))
    want = whole.reshape(slots, blocks, lanes, -1).transpose(1, 3, 0, 2)
    np.testing.assert_array_equal(panels, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("inputs", "units"), SIZES)
def test_unpacking_gives_back_what_was_packed(inputs, units, dtype, rng):
    w_ih, w_hh, b_ih, _ = matrices(inputs, units, 4, dtype, rng)
    panels = packed(w_ih, w_hh, b_ih, np.zeros_like(b_ih), 4, at=5, room=7)
    assert (panels[:5] == -77).all() and (panels[-7:] == -77).all(), "nothing is written outside"
    back = unpacked(panels, 5, 2, inputs, units, 4)
    for got, want in zip(back, (w_ih, w_hh, b_ih, b_ih), strict=True):
        assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_missing_biases_count_as_zeros_and_are_left_out(dtype, rng):
    w_ih, w_hh, b_ih, b_hh = matrices(3, 5, 4, dtype, rng)
    none = np.empty(0, dtype)
    zeros = np.zeros_like(b_ih)
    assert packed(w_ih, w_hh, none, none, 4).tobytes() == packed(w_ih, w_hh, zeros, zeros, 4).tobytes()
    assert packed(w_ih, w_hh, b_ih, none, 4).tobytes() == packed(w_ih, w_hh, b_ih, zeros, 4).tobytes()
    assert packed(w_ih, w_hh, none, b_hh, 4).tobytes() == packed(w_ih, w_hh, zeros, b_hh, 4).tobytes()
    back = unpacked(packed(w_ih, w_hh, b_ih, b_hh, 4), 0, 0, 3, 5, 4)
    np.testing.assert_array_equal(back[0], w_ih)
    np.testing.assert_array_equal(back[1], w_hh)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize(("columns", "units"), SIZES)
def test_column_panels_follow_the_diagram(columns, units, slots, dtype, rng):
    lanes = LANES[np.dtype(dtype)]
    matrix = rng.standard_normal((slots * units, columns)).astype(dtype)
    size, none = column_panels_size(columns, units, slots, lanes), np.empty(0, dtype)
    panels = np.full(3 + size + 4, -77.0, dtype)
    square = np.full(column_panels_size(units, units, slots, lanes), -77.0, dtype)
    whole, state = np.concatenate([panels, square]), rng.standard_normal((slots * units, units)).astype(dtype)
    gates = np.empty(gate_panels_size(columns, units, slots, lanes), dtype)
    weights = matrix.reshape(-1), state.reshape(-1), none, none
    pack_layer.launch(0.0, *weights, gates, 0, whole, panels.size, 3, columns, units, slots, lanes)
    panels = whole[: panels.size]
    assert (panels[:3] == -77).all() and (panels[-4:] == -77).all()
    np.testing.assert_array_equal(whole[panels.size :], column_panels(state, units, slots, lanes))
    np.testing.assert_array_equal(panels[3:-4], column_panels(matrix, units, slots, lanes))


def column_panels(matrix, units, slots, lanes):
    """The panels as the diagram has them."""
    columns = matrix.shape[1]
    blocks, vectors = -(-units // lanes), -(-columns // lanes)
    # rows in the order (block, slot, lane), columns in groups
    whole = np.pad(
        matrix.reshape(slots, units, columns), ((0, 0), (0, blocks * lanes - units), (0, vectors * lanes - columns))
    )
    whole = whole.reshape(slots, blocks, lanes, -1).transpose(1, 0, 2, 3).reshape(blocks * slots * lanes, -1)
    group = PANEL_VECTORS * lanes
    return np.concatenate([whole[:, j : j + group].ravel() for j in range(0, vectors * lanes, group)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_signed_zeros_survive(dtype):
    w_ih = np.array([[np.nan], [-0.0], [np.inf]], dtype)
    w_hh = np.array([[-0.0], [np.nan], [-np.inf]], dtype)
    none = np.empty(0, dtype)
    back = unpacked(packed(w_ih, w_hh, none, none, 3), 0, 0, 1, 1, 3)
    assert back[0].tobytes() == w_ih.tobytes()
    assert back[1].tobytes() == w_hh.tobytes()
