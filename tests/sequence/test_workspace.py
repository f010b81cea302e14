"""Plans of batches, sizes and strides, and buffers that are used again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastseq.cells.contract import CellSpec
from fastseq.sequence.workspace import (
    TILE_ROWS,
    forward_scratch_size,
    lanes_per_vector,
    layout_of,
    plan_batch,
    spread_rows,
)

SHAPE = CellSpec(slots=("a", "b", "c", "d"), memories=("m",)).shape


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 5))
def test_a_plan_covers_every_pair_once(lengths, threads):
    lengths = np.array(lengths, np.int64)
    rows, longest = len(lengths), int(lengths.max(initial=0))
    plan = plan_batch(lengths, rows, 9, threads)
    order, sorted_lengths, rest = plan.numbers[:rows], plan.numbers[rows : 2 * rows], plan.numbers[2 * rows :]
    start, bounds = rest[: plan.steps + 1], rest[plan.steps + 1 :]
    assert sorted(order) == list(range(rows))
    np.testing.assert_array_equal(sorted_lengths, lengths[order])
    assert (np.diff(sorted_lengths) <= 0).all(), "longest first"
    assert plan.steps == longest
    assert plan.pairs == lengths.sum() == start[-1]
    for t in range(longest):
        assert start[t + 1] - start[t] == (lengths > t).sum()
    assert len(bounds) == plan.shards + 1
    assert bounds[0] == 0 and bounds[-1] == rows and (np.diff(bounds) >= 0).all()
    assert plan.largest == np.diff(bounds).max()
    assert 1 <= plan.shards <= max(1, min(threads, rows))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_equal_lengths_keep_their_order(lengths):
    lengths = np.array(lengths)
    order = plan_batch(lengths, len(lengths), 9, 1).numbers[: len(lengths)]
    for n in set(lengths.tolist()):
        assert (np.diff(order[lengths[order] == n]) > 0).all()


def test_full_rows_are_planned_once():
    one = plan_batch(None, 5, 7, 2)
    assert plan_batch(np.full(5, 7), 5, 7, 2) is one
    assert one.pairs == 35


def test_shards_have_about_the_same_work():
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    plan = plan_batch(lengths, 1000, 100, 4)
    bounds = plan.numbers[2 * 1000 + plan.steps + 1 :]
    ordered = plan.numbers[1000:2000]
    work = [ordered[a:b].sum() for a, b in zip(bounds, bounds[1:], strict=False)]
    assert max(work) - min(work) <= 200


@pytest.mark.parametrize(("dtype", "lanes"), [(np.float32, 16), (np.float64, 8)])
def test_sizes_are_whole_vectors(dtype, lanes):
    assert lanes_per_vector(np.dtype(dtype)) == lanes
    for inputs in range(1, 140, 7):
        for units in range(1, 140, 7):
            layout = layout_of(inputs, units, units, SHAPE, lanes)
            assert layout.units_padded - units in range(lanes) and layout.units_padded % lanes == 0
            assert layout.inputs_padded - inputs in range(lanes) and layout.inputs_padded % lanes == 0
            assert layout.blocks * lanes == layout.units_padded
            assert layout.gates_row >= 4 * layout.units_padded
            assert layout.z_row >= layout.inputs_padded + layout.units_padded
            for stride in (layout.gates_row, layout.units_row, layout.z_row):
                assert stride % lanes == 0 and stride * 64 // lanes % 1024 != 0
            rows = forward_scratch_size(layout, 3) - forward_scratch_size(layout, 2)
            assert rows == 2 * layout.z_row + layout.units_row
            assert forward_scratch_size(layout, 0) == TILE_ROWS * layout.width


def test_row_strides_avoid_multiples_of_a_kibibyte():
    assert spread_rows(256, 16) == 272
    assert spread_rows(240, 16) == 240
