"""Copying and filling: exactly the named elements, at any count and offset."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.simd.lanes import LANES
from tests.simd.lane_kernels import MOVES, move

DTYPES = [np.float32, np.float64]


def moved(name: str, dtype, count: int, at: int = 5, to: int = 3):
    source, target = np.arange(1, 201).astype(dtype), np.full(200, -1.0, dtype)
    move(MOVES.index(name), source, at, target, to, count, 0, LANES[np.dtype(dtype)])
    return source, target, np.full(200, -1.0, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_copy_writes_its_elements_and_no_more(dtype):
    for count in range(70):
        source, target, want = moved("copy", dtype, count)
        want[3 : 3 + count] = source[5 : 5 + count]
        np.testing.assert_array_equal(target, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_copy_padded_fills_the_last_vector_with_zeros(dtype):
    lanes = LANES[np.dtype(dtype)]
    for count in range(70):
        source, target, want = moved("copy_padded", dtype, count)
        want[3 : 3 + -(-count // lanes) * lanes] = 0
        want[3 : 3 + count] = source[5 : 5 + count]
        np.testing.assert_array_equal(target, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clear_writes_whole_vectors_of_zeros(dtype):
    lanes = LANES[np.dtype(dtype)]
    for count in range(0, 5 * lanes, lanes):
        _, target, want = moved("clear", dtype, count)
        want[3 : 3 + count] = 0
        np.testing.assert_array_equal(target, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["copy", "copy_padded"])
def test_nan_and_signed_zeros_are_copied_as_they_are(name, dtype):
    source = np.tile(np.array([np.nan, -0.0, np.inf, -np.inf, 1e-40], dtype), 8)
    target = np.zeros(48, dtype)  # copy_padded fills the last vector
    move(MOVES.index(name), source, 0, target, 0, 37, 0, LANES[np.dtype(dtype)])
    assert target[:37].tobytes() == source[:37].tobytes()
