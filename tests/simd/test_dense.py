"""Dense products over arrays: NumPy's shapes and values, and bits that depend on a row and a column alone."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq.simd.dense import ROWS, product

DTYPES = [np.float32, np.float64]
SHAPES = [
    ((1, 5), (5, 1)), ((5, 7), (7, 3)), ((100, 64), (64, 64)), ((97, 33), (33, 130)), ((2 * ROWS + 1, 9), (9, 65)),
    ((3, 4, 5), (5, 6)), ((2, 3, 4, 5), (3, 5, 16)), ((4, 5), (3, 5, 2)), ((2, 1, 4, 5), (1, 3, 5, 17)),
]  # fmt: skip
EMPTY = [((0, 5), (5, 3)), ((3, 0), (0, 4)), ((3, 5), (5, 0)), ((0, 3, 5), (5, 2)), ((2, 3, 0), (0, 4))]


def within_rounding(got, a, b, start=0.0) -> bool:
    """Within the bound of depth roundings (Higham, Accuracy and Stability, section 3.1)."""
    want = a.astype(np.longdouble) @ b + start
    bound = (a.shape[-1] + 1) * np.finfo(a.dtype).eps * (np.abs(a) @ np.abs(b) + np.abs(start))
    return got.shape == want.shape and got.dtype == a.dtype and bool((np.abs(got - want) <= bound).all())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_it_is_the_matrix_product(left, right, dtype, rng):
    a, b = rng.standard_normal(left).astype(dtype), rng.standard_normal(right).astype(dtype)
    assert within_rounding(product(a, b), a, b)
    start = rng.standard_normal(right[-1]).astype(dtype)
    assert within_rounding(product(a, b, start), a, b, start)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("left", "right"), EMPTY)
def test_empty_operands(left, right, dtype):
    a, b = np.ones(left, dtype), np.ones(right, dtype)
    got = product(a, b)
    np.testing.assert_array_equal(got, a @ b)
    assert got.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_width_up_to_130(dtype, rng):
    a = rng.standard_normal((7, 11)).astype(dtype)
    b = rng.standard_normal((11, 130)).astype(dtype)
    whole = product(a, b)
    for columns in range(1, 131):
        part = product(a, np.ascontiguousarray(b[:, :columns]))
        assert part.tobytes() == np.ascontiguousarray(whole[:, :columns]).tobytes(), columns


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 33, 64])
def test_a_rows_bits_do_not_depend_on_the_rows_beside_it(columns, dtype, rng):
    a, b = rng.standard_normal((30, 57)).astype(dtype), rng.standard_normal((57, columns)).astype(dtype)
    together = product(a, b)
    for rows in range(1, 31):
        assert product(a[:rows], b).tobytes() == together[:rows].tobytes()
        assert product(a[rows - 1 : rows], b).tobytes() == together[rows - 1 : rows].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_order_changes_no_bit(dtype, rng):
    a, b = rng.standard_normal((50, 20)).astype(dtype), rng.standard_normal((20, 30)).astype(dtype)
    want = product(a, b).tobytes()
    wide = np.empty((50, 41), dtype)
    wide[:, 1::2] = a
    for left in (np.asfortranarray(a), a[::-1].copy()[::-1], wide[:, 1::2]):
        for right in (np.asfortranarray(b), np.ascontiguousarray(b[:, ::-1])[:, ::-1], np.array([b, b])[1]):
            assert product(left, right).tobytes() == want
    reading = a.copy()
    reading.flags.writeable = False
    assert product(reading, b).tobytes() == want


@pytest.mark.parametrize("dtype", DTYPES)
def test_repeated_rows_and_columns_without_memory_of_their_own(dtype, rng):
    a, b = rng.standard_normal(9).astype(dtype), rng.standard_normal(9).astype(dtype)
    left, right = np.broadcast_to(a, (5, 9)), np.broadcast_to(b[:, None], (9, 3))
    assert product(left, right).tobytes() == product(left.copy(), right.copy()).tobytes()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_changes_no_bit(dtype, rng):
    a, b = rng.standard_normal((3, 300, 65)).astype(dtype), rng.standard_normal((65, 70)).astype(dtype)
    most = fs.get_num_threads()
    fs.set_num_threads(1)
    one = product(a, b)
    fs.set_num_threads(most)
    assert product(a, b).tobytes() == one.tobytes()
