"""Buffers that are used again: whole, one user at a time, not too many; arrays whose memory comes back by itself."""

from __future__ import annotations

import itertools
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from fastseq import buffers
from fastseq.buffers import LARGE, Lender, Pool, aligned, scratch

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


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


def test_the_pool_keeps_no_more_bytes_than_its_limit():
    pool = Pool(limit=5 * LARGE)
    size = pool.rounded(2 * LARGE)
    for buffer in [pool.take(size, F32) for _ in range(4)]:
        pool.give(buffer)
        assert pool.size() <= 5 * LARGE
    pool.give(pool.take(pool.rounded(6 * LARGE), F32))
    assert pool.size() <= 5 * LARGE


@pytest.mark.parametrize("make", [buffers.empty, buffers.zeros])
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 5), (300, 500), (2, LARGE)])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_arrays_are_ordinary(make, shape, dtype):
    array = make(shape, dtype)
    assert type(array) is np.ndarray and array.shape == shape and array.dtype == dtype
    assert array.flags.c_contiguous and array.flags.writeable and array.flags.aligned
    if make is buffers.zeros:
        assert not array.any()
    array[...] = 1
    assert (array == 1).all()


@pytest.mark.parametrize(
    "view_of",
    [
        lambda array: array[5:].reshape(-1, 1),
        memoryview,
        lambda array: array.view(np.uint8)[::2][3:].T,
        lambda array: np.asarray(SimpleNamespace(__array_interface__=array.__array_interface__, held=array)),
        lambda array: np.from_dlpack(array),
        lambda array: iter(array),
        lambda array: array.ctypes,
    ],
    ids=["slice", "memoryview", "bytes", "interface", "dlpack", "iterator", "ctypes"],
)
def test_memory_is_lent_again_when_the_last_view_is_gone(monkeypatch, view_of):
    monkeypatch.setattr(buffers, "lender", Lender())
    array = buffers.empty((LARGE,), F32)
    place, view = array.ctypes.data, view_of(array)
    del array
    other = buffers.empty((LARGE,), F32)
    assert other.ctypes.data != place, "a view still uses it"
    del view
    again = buffers.zeros((LARGE,), F32)
    assert again.ctypes.data == place and not again.any()
    assert not np.shares_memory(again, other)


def test_arrays_in_use_are_never_lent_again_and_few_are_known():
    lender = Lender(kept=3, limit=12 * LARGE)
    held = [lender.lend(2 * LARGE, (2, LARGE // 4), F32) for _ in range(7)]
    places = {array.ctypes.data for array in held}
    assert len(places) == 7 and lender.size() == 6 * LARGE
    del held[0]  # which is not known any more
    assert lender.lend(2 * LARGE, (LARGE // 2,), F32).ctypes.data not in {array.ctypes.data for array in held}
    held.append(lender.lend(8 * LARGE, (2 * LARGE,), F32))
    assert lender.size() <= 12 * LARGE
    whole = lender.lend(13 * LARGE, (13 * LARGE,), np.dtype(np.uint8))
    whole[:] = 1
    assert lender.size() <= 12 * LARGE and (whole == 1).all()
    for size in range(1, 100):
        lender.lend(64 * size, (size,), F32)
    assert len(lender._known) <= 34


def test_threads_never_share_an_array():
    lender = Lender()
    problems = []

    def work(mark: int) -> None:
        for turn in range(500):
            array = lender.lend(LARGE, (LARGE // 8,), F64)
            array[:10] = mark
            if turn % 3:
                time.sleep(0)
            if not (array[:10] == mark).all():
                problems.append(mark)
            del array

    in_threads(work, 4)
    assert not problems


def in_threads(work, count: int) -> None:
    """Run work(0), work(1), ... at the same time."""
    threads = [threading.Thread(target=work, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
