"""relu and gelu in compiled code: accuracy over the range, NaN, slopes, and tails of arrays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from fastseq.autograd.noise import SILENT
from fastseq.simd.activate import GELU, RELU, activate, activate_back, normal_share


def run(kind, x):
    y = np.empty_like(x)
    activate(kind, x, y, SILENT, 1.0, 64 // x.itemsize, 0)
    return y


def slopes(kind, x):
    d = np.ones_like(x)
    activate_back(kind, x, d, SILENT, 1.0, 64 // x.itemsize, 0)
    return d


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1.5e-7), (np.float64, 4e-16)])
def test_gelu_and_its_slope(dtype, tolerance):
    x = np.linspace(-40, 40, 80_001).astype(dtype)
    exact = x.astype(np.float64)
    share = special.ndtr(exact)
    np.testing.assert_allclose(run(GELU, x), exact * share, rtol=tolerance, atol=5 * tolerance)
    slope = share + exact * np.exp(-exact * exact / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(slopes(GELU, x), slope, rtol=4 * tolerance, atol=4 * tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plain_arrays_and_lanes_agree(dtype):
    x = np.linspace(-8, 8, 999).astype(dtype)
    found = x * normal_share(x, np.exp(-x * x / 2))
    np.testing.assert_allclose(run(GELU, x), found, rtol=0, atol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 1e-40], dtype)
    np.testing.assert_array_equal(run(RELU, x), np.maximum(x, 0))
    np.testing.assert_array_equal(run(GELU, x)[[0, 1, 3, 4, 5, 6]], np.array([np.nan, np.inf, 0, 0, 1e30, 0], dtype))
    np.testing.assert_array_equal(slopes(RELU, np.maximum(x, 0))[1:], [1, 0, 0, 0, 1, 0, 1])
    assert np.isnan(slopes(GELU, x)[0]) and slopes(GELU, x)[[3, 5, 6]].tolist() == [0.5, 1, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_elements_anywhere(dtype, rng):
    whole = rng.standard_normal(40_000).astype(dtype)
    for kind in (RELU, GELU):
        want = run(kind, whole)
        for count in (1, 7, 8, 17, 16_384, 16_385, 33_001):
            assert run(kind, whole[:count]).tobytes() == want[:count].tobytes()
            assert run(kind, whole[3 : 3 + count]).tobytes() == want[3 : 3 + count].tobytes()
