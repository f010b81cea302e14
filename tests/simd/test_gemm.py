"""The products of tiles: right, the same bits whatever tile an element fell into, and nothing written outside."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.simd import gemm
from fastseq.simd.lanes import LANES, cpu_features
from tests.simd.lane_kernels import accumulate_flat, multiply_flat, multiply_row_flat, multiply_runs_flat

DTYPES = [np.float32, np.float64]


def lanes_of(dtype) -> int:
    return LANES[np.dtype(dtype)]


def multiplied(a: np.ndarray, w: np.ndarray, start: np.ndarray) -> np.ndarray:
    """a (rows, depth) times w (depth, columns), from one start for all rows."""
    rows, depth = a.shape
    columns, lanes = w.shape[1], lanes_of(a.dtype)
    c = np.empty((rows, columns), a.dtype)
    multiply_flat(
        a.ravel(), 0, depth, 1, w.ravel(), 0, columns, depth, start, 0, 0,
        c.reshape(-1), 0, columns, rows, columns // lanes, lanes,
    )  # fmt: skip
    return c


def in_order(a: np.ndarray, w: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The promised order of operations: from the start, k ascending, one fused multiply-add each.

    float64 holds a product of two float32 exactly; the sum is rounded to float64, then to float32, which differs from
    a single rounding only where the first lands on a tie: for these operands, nowhere.
    """
    c = np.broadcast_to(start, (len(a), w.shape[1])).astype(a.dtype)
    for k in range(a.shape[1]):
        c = (a[:, k : k + 1].astype(np.float64) * w[k].astype(np.float64) + c.astype(np.float64)).astype(a.dtype)
    return c


def test_the_tile_follows_the_processor():
    assert gemm.WIDE == ("avx512f" in cpu_features())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vectors", [1, 2, 3, 4, 5, 7, 8, 11])
def test_any_number_of_rows_and_vectors(vectors, dtype, rng):
    columns = vectors * lanes_of(dtype)
    for rows in range(1, 31):
        a, w = rng.standard_normal((rows, 13)).astype(dtype), rng.standard_normal((13, columns)).astype(dtype)
        start = rng.standard_normal(columns).astype(dtype)
        want = a.astype(np.longdouble) @ w + start
        # each of the depth fused operations rounds once: Higham, Accuracy and Stability, section 3.1
        bound = 13 * np.finfo(dtype).eps * (np.abs(a) @ np.abs(w) + np.abs(start))
        assert (np.abs(multiplied(a, w, start) - want) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vectors", [1, 2, 4, 7])
def test_a_rows_bits_do_not_depend_on_the_rows_beside_it(vectors, dtype, rng):
    columns = vectors * lanes_of(dtype)
    a, w = rng.standard_normal((30, 41)).astype(dtype), rng.standard_normal((41, columns)).astype(dtype)
    start = rng.standard_normal(columns).astype(dtype)
    together = multiplied(a, w, start)
    alone = np.concatenate([multiplied(row[None], w, start) for row in a])
    assert together.tobytes() == alone.tobytes()
    for rows in range(1, 31):
        assert multiplied(a[:rows], w, start).tobytes() == together[:rows].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_elements_bits_do_not_depend_on_the_columns_beside_it(dtype, rng):
    lanes = lanes_of(dtype)
    a, w = rng.standard_normal((13, 29)).astype(dtype), rng.standard_normal((29, 8 * lanes)).astype(dtype)
    start = rng.standard_normal(8 * lanes).astype(dtype)
    together = multiplied(a, w, start)
    for vectors in range(1, 9):
        for first in range(9 - vectors):
            part = slice(first * lanes, (first + vectors) * lanes)
            got = multiplied(a, np.ascontiguousarray(w[:, part]), start[part].copy())
            assert got.tobytes() == np.ascontiguousarray(together[:, part]).tobytes(), (first, vectors)


def test_sums_run_over_k_upwards_with_one_fma_each(rng):
    a, w = rng.standard_normal((9, 57)).astype(np.float32), rng.standard_normal((57, 80)).astype(np.float32)
    start = rng.standard_normal(80).astype(np.float32)
    np.testing.assert_array_equal(multiplied(a, w, start), in_order(a, w, start))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", [0, 1])
def test_no_or_one_term(depth, dtype, rng):
    columns = 7 * lanes_of(dtype)
    a, w = rng.standard_normal((13, depth)).astype(dtype), rng.standard_normal((depth, columns)).astype(dtype)
    start = rng.standard_normal(columns).astype(dtype)
    got = multiplied(a, w, start)
    np.testing.assert_allclose(got, a @ w + start, rtol=0, atol=1e-6)
    if depth == 0:
        np.testing.assert_array_equal(got, np.tile(start, (13, 1)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 3, 6, 13, 25])
def test_offsets_and_strides_and_nothing_outside(rows, dtype, rng):
    lanes = lanes_of(dtype)
    vectors, depth = 7, 5
    columns = vectors * lanes
    a, w = rng.standard_normal(2000).astype(dtype), rng.standard_normal(3000).astype(dtype)
    s, c = rng.standard_normal(26 * 140).astype(dtype), np.full(30 * 140, -77.0, dtype)
    a0, a_row, a_k, w0, w_k, s0, s_row, c0, c_row = 11, 2, 57, 3, columns + 9, 5, columns + 1, 7, columns + 17
    multiply_flat(a, a0, a_row, a_k, w, w0, w_k, depth, s, s0, s_row, c, c0, c_row, rows, vectors, lanes)
    want = np.full_like(c, -77.0)
    for r in range(rows):
        value = s[s0 + r * s_row :][:columns].astype(np.float64)
        for k in range(depth):
            value = value + float(a[a0 + r * a_row + k * a_k]) * w[w0 + k * w_k :][:columns].astype(np.float64)
        want[c0 + r * c_row :][:columns] = value
    np.testing.assert_allclose(c, want, rtol=0, atol=2e-6 if dtype == np.float32 else 1e-14)
    untouched = want == -77
    assert (c[untouched] == -77).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_can_be_added_to_what_is_there(dtype, rng):
    lanes = lanes_of(dtype)
    columns = 5 * lanes
    a, w = rng.standard_normal((13, 9)).astype(dtype), rng.standard_normal((9, columns)).astype(dtype)
    c = rng.standard_normal((13, columns)).astype(dtype)
    before = c.copy()
    accumulate_flat(a.ravel(), 9, w.ravel(), columns, 9, c.reshape(-1), columns, 13, 5, lanes)
    np.testing.assert_allclose(c, before + a @ w, rtol=0, atol=1e-5)
    # split in two, the sums run through the same operations in the same order
    parts = before.copy()
    for k in (slice(0, 4), slice(4, 9)):
        left, right = np.ascontiguousarray(a[:, k]), np.ascontiguousarray(w[k])
        accumulate_flat(
            left.ravel(), len(right), right.ravel(), columns, len(right), parts.reshape(-1), columns, 13, 5, lanes
        )
    assert parts.tobytes() == c.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vectors", [1, 2, 3, 4, 5, 9])
def test_two_panels_at_once_give_the_bits_of_each_by_itself(vectors, dtype, rng):
    lanes = lanes_of(dtype)
    width, depth = vectors * lanes, 23
    a = rng.standard_normal(2 * depth).astype(dtype)
    w, s = rng.standard_normal((2, depth, width)).astype(dtype), rng.standard_normal((2, width)).astype(dtype)
    c = np.full(2 * width + 40, -77.0, dtype)
    multiply_row_flat(
        a, 1, 2, w.ravel(), 0, depth * width, width, depth, s.ravel(), 0, width, c, 9, width + 13, vectors, lanes
    )
    for p in range(2):
        at = 9 + p * (width + 13)
        want = multiplied(np.ascontiguousarray(a[1::2])[None], w[p], s[p])
        assert c[at : at + width].tobytes() == want.tobytes()
        c[at : at + width] = -77
    assert (c == -77).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("run", "runs", "jump"), [(1, 1, 0), (3, 7, 2), (24, 3, 8), (5, 4, 0)])
@pytest.mark.parametrize("vectors", [1, 3, 4, 6])
def test_gaps_in_k_change_no_bit(vectors, run, runs, jump, dtype, rng):
    columns = vectors * lanes_of(dtype)
    depth, row_size = run * runs, (run + jump) * runs + 3
    a, w = rng.standard_normal((13, row_size)).astype(dtype), rng.standard_normal((depth, columns)).astype(dtype)
    k = (np.arange(runs)[:, None] * (run + jump) + np.arange(run)).ravel() + 1
    start = rng.standard_normal((13, columns)).astype(dtype)
    a[:, np.setdiff1d(np.arange(row_size), k)] = np.nan  # what is jumped over is not read
    for rows in (1, 2, 3, 6, 13):
        want, c = start[:rows].copy(), np.full(13 * (columns + 5) + 9, -77.0, dtype)
        dense = np.ascontiguousarray(a[:rows, k])
        accumulate_flat(
            dense.ravel(), depth, w.ravel(), columns, depth, want.reshape(-1), columns, rows, vectors, lanes_of(dtype)
        )
        inside = 9 + np.arange(rows)[:, None] * (columns + 5) + np.arange(columns)
        c[inside] = start[:rows]
        multiply_runs_flat(
            a.ravel(), 1, row_size, run, jump, runs, w.ravel(), 0, columns, c, 9, columns + 5,
            rows, vectors, lanes_of(dtype),
        )  # fmt: skip
        assert c[inside].tobytes() == want.tobytes()
        c[inside] = -77
        assert (c == -77).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_nan_in_a_row_stays_in_it_and_one_in_a_column_too(dtype, rng):
    columns = 5 * lanes_of(dtype)
    a, w = rng.standard_normal((13, 9)).astype(dtype), rng.standard_normal((9, columns)).astype(dtype)
    a[4, 2] = np.nan
    got = multiplied(a, w, np.zeros(columns, dtype))
    assert np.isnan(got[4]).all()
    assert not np.isnan(np.delete(got, 4, 0)).any()
    a[4, 2], w[3, 17] = 0, np.inf
    got = multiplied(a, w, np.zeros(columns, dtype))
    assert not np.isfinite(got[:, 17]).any()
    assert np.isfinite(np.delete(got, 17, 1)).all()
