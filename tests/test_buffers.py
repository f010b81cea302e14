"""Buffers that are used again: whole, one user at a time, not too many; arrays whose memory comes back by itself."""

from __future__ import annotations

import itertools
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from fastseq import buffers
from fastseq.buffers import LARGE, Lender, aligned, rounded, scratch

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_aligned_arrays_begin_on_a_cache_line(size, dtype):
    array = aligned(size, dtype)
    assert array.shape == (size,) and array.dtype == dtype
    assert array.ctypes.data % 64 == 0


def test_flat_arrays_use_memory_again(monkeypatch):
    monkeypatch.setattr(buffers, "lender", Lender())
    first = aligned(1000, F32)
    assert first.nbytes == 4000 and first.dtype == F32 and first.ctypes.data % 64 == 0
    place = first.ctypes.data
    del first
    again = aligned(500, F64)
    assert again.ctypes.data == place and again.dtype == F64 and again.nbytes == 4000
    other = aligned(500, F64)
    assert not np.shares_memory(again, other), "a buffer has one user at a time"


@pytest.mark.parametrize("dtype", [F32, F64])
def test_sizes_are_rounded_up_by_little(dtype):
    for size in [0, 1, 15, 16, 17, 100, 1000, 4097, 123_457, 1_000_003]:
        found = rounded(size * dtype.itemsize)
        assert size * dtype.itemsize <= found <= max(128, 1.13 * size * dtype.itemsize + 64)
        buffer = aligned(size, dtype)
        assert buffer.size == size and buffer.dtype == dtype and buffer.ndim == 1
        buffer[:] = 1  # all of it is there


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
    lender = Lender(kept=2, sizes=3)
    for size in range(1, 20):
        _ = [lender.lend(size * 4096, (size,), F32) for _ in range(5)]
    assert len(lender._known) <= 4
    assert all(len(same) <= 2 for same in lender._known.values())


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
