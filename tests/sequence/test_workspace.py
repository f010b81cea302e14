"""Plans of batches, sizes and strides, and buffers that are used again."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastseq.sequence.workspace import (
    TILE_ROWS,
    Pool,
    aligned,
    forward_scratch_size,
    lanes_per_vector,
    layout_of,
    plan_batch,
    scratch,
    spread_rows,
)


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
            layout = layout_of(inputs, units, 4, 1, lanes)
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


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_aligned_arrays_begin_on_a_cache_line(size, dtype):
    array = aligned(size, dtype)
    assert array.shape == (size,) and array.dtype == dtype
    assert array.ctypes.data % 64 == 0


F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


def test_the_pool_gives_back_what_it_got():
    pool = Pool()
    size = pool.rounded(4000)
    first = pool.take(size, F32)
    assert first.nbytes == size >= 4000 and first.dtype == F32 and first.ctypes.data % 64 == 0
    place = first.ctypes.data
    pool.give(first)
    again = pool.take(size, F64)
    assert again.ctypes.data == place and again.dtype == F64 and again.nbytes == size
    other = pool.take(size, F64)
    assert not np.shares_memory(again, other), "a buffer has one user at a time"


@pytest.mark.parametrize("dtype", [F32, F64])
def test_the_pool_rounds_sizes_up_by_little(dtype):
    pool = Pool()
    for size in [0, 1, 15, 16, 17, 100, 1000, 4097, 123_457, 1_000_003]:
        buffer = pool.take(pool.rounded(size * dtype.itemsize), dtype)
        assert buffer.size >= size and buffer.dtype == dtype and buffer.ndim == 1
        assert buffer.nbytes <= max(128, 1.13 * size * dtype.itemsize + 64)
        buffer[:] = 1  # all of it is there


def test_the_pool_keeps_few():
    pool = Pool(kept=2, sizes=3)
    for size in range(1, 20):
        for buffer in [pool.take(size * 4096, F32) for _ in range(5)]:
            pool.give(buffer)
    assert len(pool._free) <= 4
    assert all(len(same) <= 2 for same in pool._free.values())


def test_threads_never_share_a_buffer():
    pool = Pool()
    problems = []

    def work(mark: int) -> None:
        for _ in range(300):
            buffer = pool.take(512, F64)
            buffer[:] = mark
            time.sleep(0)
            if not (buffer == mark).all():
                problems.append(mark)
            pool.give(buffer)

    in_threads(work, 4)
    assert not problems


def test_scratch_is_the_threads_own():
    found: dict[int, np.ndarray] = {}
    barrier = threading.Barrier(3)

    def work(mark: int) -> None:
        found[mark] = scratch(100, F64)
        barrier.wait()

    in_threads(work, 3)
    for one, other in itertools.combinations(found.values(), 2):
        assert not np.shares_memory(one, other)


def test_scratch_grows_and_stays():
    first = scratch(1000, F32)
    assert first.size >= 1000 and first.dtype == F32 and first.ctypes.data % 64 == 0
    assert scratch(10, F32) is first
    assert scratch(first.size + 1, F32).size > first.size
    assert not np.shares_memory(scratch(10, F32), scratch(10, F64))


def in_threads(work, count: int) -> None:
    """Run work(0), work(1), ... at the same time."""
    threads = [threading.Thread(target=work, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
