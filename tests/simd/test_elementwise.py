"""Functions over arrays: any count, any memory order, the same bits wherever an element stands."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.simd.elementwise import EXP, KINDS, LEAKY_RELU, RELU, SIGMOID, SILU, TANH, elementwise

DTYPES = [np.float32, np.float64]
REFERENCE = {
    EXP: np.exp,
    SIGMOID: lambda x: 1 / (1 + np.exp(-x)),
    TANH: np.tanh,
    RELU: lambda x: np.where(x < 0, 0, x),
    LEAKY_RELU: lambda x: np.where(x < 0, 0.25 * x, x),
    SILU: lambda x: x / (1 + np.exp(-x)),
}


def test_every_kind_has_a_reference():
    assert sorted(REFERENCE) == list(range(len(KINDS)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", REFERENCE)
def test_values(kind, dtype, rng):
    x = (4 * rng.standard_normal((3, 5, 7))).astype(dtype)
    got = elementwise(kind, x, 0.25)
    assert got.shape == x.shape and got.dtype == dtype
    want = REFERENCE[kind](x.astype(np.longdouble)).astype(dtype)
    np.testing.assert_allclose(got, want, rtol=10 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", REFERENCE)
def test_an_elements_bits_do_not_depend_on_its_place(kind, dtype, rng):
    x = (4 * rng.standard_normal(70)).astype(dtype)
    whole = elementwise(kind, x, 0.1)
    for first in (0, 1, 15):
        for count in range(70 - first):
            part = slice(first, first + count)
            assert elementwise(kind, x[part], 0.1).tobytes() == whole[part].tobytes()


@pytest.mark.parametrize("kind", REFERENCE)
def test_memory_order_and_read_only_memory(kind, rng):
    x = rng.standard_normal((6, 9)).astype(np.float32)
    want = elementwise(kind, x, 0.1)
    x.flags.writeable = False
    wide = np.repeat(x, 2, axis=1)
    for other in (x, np.asfortranarray(x), wide[:, ::2], np.ascontiguousarray(x[::-1])[::-1]):
        np.testing.assert_array_equal(elementwise(kind, other, 0.1), want)
    assert elementwise(kind, x[0, 0]).shape == ()
    assert elementwise(kind, np.empty((0, 3), np.float32)).shape == (0, 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", REFERENCE)
def test_nan_stays_in_its_place(kind, dtype):
    for place in range(37):
        x = np.ones(37, dtype)
        x[place] = np.nan
        assert np.flatnonzero(np.isnan(elementwise(kind, x, 0.1))).tolist() == [place]


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinities(dtype):
    x = np.array([np.inf, -np.inf], dtype)
    np.testing.assert_array_equal(elementwise(RELU, x), [np.inf, 0])
    np.testing.assert_array_equal(elementwise(LEAKY_RELU, x, 0.1), [np.inf, -np.inf])
    np.testing.assert_array_equal(elementwise(TANH, x), [1, -1])
    np.testing.assert_array_equal(elementwise(EXP, x), [np.inf, 0])
    assert elementwise(SILU, x)[0] == np.inf


@pytest.mark.parametrize("dtype", DTYPES)
def test_silu_goes_to_zero(dtype):
    x = np.array([-100, -1000, -1e30, np.finfo(dtype).min, -np.inf], dtype)
    assert (np.abs(elementwise(SILU, x)) < 1e-33).all()
