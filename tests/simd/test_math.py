"""exp, sigmoid and tanh over the whole float range: error in ulp, order, symmetry, bounds, NaN and infinity."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.simd import math
from fastseq.simd.elementwise import EXP, SIGMOID, TANH, elementwise

Wide = np.longdouble
DTYPES = [np.float32, np.float64]
KINDS = {"exp": EXP, "sigmoid": SIGMOID, "tanh": TANH}
REFERENCE = {"exp": np.exp, "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh}

# The largest errors found over 2 million random arguments a function were 4.5, 5.3 and 2.6 ulp in float32 and 1.0,
# 2.1 and 3.1 in float64. A reference that is no wider than float64 (no long double) may itself be one ulp off.
SLACK = 0 if np.finfo(Wide).nmant > 52 else 1
ULP = {
    np.float32: {"exp": 5, "sigmoid": 6, "tanh": 3},
    np.float64: {"exp": 2 + SLACK, "sigmoid": 3 + SLACK, "tanh": 4 + SLACK},
}

# From one float to the next, results that should rise may fall by so many ulp: rounding is not monotone where a sum
# changes its exponent. Counted over all 2**32 floats: sigmoid at 904 places and exp at 2925, by 1 ulp; tanh at 25450
# (most near |x| = 0.06), by up to 3 ulp.
FALL = {"exp": 1, "sigmoid": 1, "tanh": 3}

# Where results would be subnormal, exp gives zero and sigmoid its smallest normal value: the absolute error is tiny.
NORMAL = {
    np.float32: {"exp": (-86.6, 88.72), "sigmoid": (-87.0, 87.0), "tanh": (-100.0, 100.0)},
    np.float64: {"exp": (-707.7, 709.78), "sigmoid": (-708.0, 708.0), "tanh": (-1000.0, 1000.0)},
}


def lanes(name: str, x: np.ndarray) -> np.ndarray:
    return elementwise(KINDS[name], x)


def plain(name: str, x) -> np.ndarray:
    with np.errstate(all="ignore"):
        return getattr(math, name)(x)


def exact(name: str, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return REFERENCE[name](x.astype(Wide))


def arguments(name: str, dtype, rng) -> np.ndarray:
    """Arguments whose results are normal numbers: uniform in narrowing ranges, and of every magnitude."""
    low, high = NORMAL[dtype][name]
    ranges = [(low, high), (-20, 20), (-1, 1), (-0.1, 0.1), (-1e-3, 1e-3)]
    some = [rng.uniform(max(a, low), min(b, high), 40_000) for a, b in ranges]
    every = np.ldexp(rng.uniform(-1, 1, 40_000), rng.integers(-60, 7, 40_000))
    x = np.concatenate([*some, every]).astype(dtype)
    return x[(x >= low) & (x <= high)]


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Distance in units of the last place of the right result."""
    return np.abs(got.astype(Wide) - want) / np.spacing(np.abs(want.astype(got.dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KINDS)
def test_the_largest_error_in_ulp(name, dtype, rng):
    x = arguments(name, dtype, rng)
    error = ulps(lanes(name, x), exact(name, x))
    assert error.max() <= ULP[dtype][name], x[error.argmax()]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KINDS)
def test_the_same_source_in_numpy_agrees(name, dtype, rng):
    # NumPy has no fused multiply-add: the reduction x - n ln 2 loses up to |x| ulp there.
    x = arguments(name, dtype, rng)
    error = ulps(np.asarray(plain(name, x), dtype), exact(name, x))
    assert (error <= ULP[dtype][name] + 1 + np.abs(x)).all()
    one = plain(name, float(x[0]))
    np.testing.assert_allclose(float(one), float(exact(name, x[:1])[0]), rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KINDS)
def test_results_rise_with_their_arguments(name, dtype, rng):
    low, high = NORMAL[dtype][name]
    grid = np.linspace(low, high, 300_001).astype(dtype)
    bits = np.uint32 if dtype == np.float32 else np.uint64
    starts = np.abs(arguments(name, dtype, rng)[::2000]).view(bits)
    runs = (starts[:, None] + np.arange(400, dtype=bits)).view(dtype)  # consecutive floats
    for x in (grid, *runs, *-runs[:, ::-1]):
        y = lanes(name, x)
        fallen = -np.diff(y) > FALL[name] * np.spacing(np.abs(y[1:]))
        assert not fallen.any(), x[1:][fallen]


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_odd_to_the_bit(dtype, rng):
    x = np.concatenate([arguments("tanh", dtype, rng), np.array([0.0, 1e-40, 1e30, np.inf], dtype)])
    assert lanes("tanh", -x).tobytes() == (-lanes("tanh", x)).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_of_both_signs_sums_to_one(dtype, rng):
    x = arguments("sigmoid", dtype, rng)
    np.testing.assert_allclose(
        lanes("sigmoid", x).astype(Wide) + lanes("sigmoid", -x), 1, rtol=0, atol=4 * float(np.finfo(dtype).eps)
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_results_keep_within_their_bounds(dtype, rng):
    info = np.finfo(dtype)
    everything = np.ldexp(rng.uniform(-1, 1, 200_000), rng.integers(info.minexp, info.maxexp, 200_000)).astype(dtype)
    x = np.concatenate([everything, np.array([info.max, info.min, info.tiny, np.inf, -np.inf], dtype)])
    assert (np.abs(lanes("tanh", x)) <= 1).all()
    y = lanes("sigmoid", x)
    assert ((y > 0) & (y <= 1)).all()
    assert (lanes("exp", x) >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_arguments(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, 1e30, -1e30, np.nan], dtype)
    tiny = float(np.finfo(dtype).tiny)
    assert lanes("tanh", x[:6]).tobytes() == np.array([0.0, -0.0, 1, -1, 1, -1], dtype).tobytes()
    np.testing.assert_allclose(lanes("sigmoid", x[:6]), [0.5, 0.5, 1, 0, 1, 0], rtol=0, atol=2 * tiny)
    np.testing.assert_array_equal(lanes("exp", x[:6]), [1, 1, np.inf, 0, np.inf, 0])
    for name in KINDS:
        assert np.isnan(lanes(name, x[6:])).all()
        assert np.isnan(plain(name, x[6:])).all()
        want = np.nan_to_num(lanes(name, x[:6]), posinf=1e9)
        np.testing.assert_allclose(np.nan_to_num(plain(name, x[:6]), posinf=1e9), want, rtol=1e-6, atol=tiny)


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_results_go_to_zero_and_large_ones_to_infinity(dtype):
    low, high = NORMAL[dtype]["exp"]
    tiny = float(np.finfo(dtype).tiny)
    below = np.linspace(low - 30, low - 0.01, 2001).astype(dtype)
    assert (lanes("exp", below) == 0).all()
    assert (exact("exp", below) < 2.6 * tiny).all(), "what is taken for zero is next to no number at all"
    above = np.linspace(high + 0.01, high + 30, 2001).astype(dtype)
    assert np.isinf(lanes("exp", above)).all()
    x = np.linspace(NORMAL[dtype]["sigmoid"][0] - 50, NORMAL[dtype]["sigmoid"][0], 2001).astype(dtype)
    assert (np.abs(lanes("sigmoid", x) - exact("sigmoid", x)) < 2 * tiny).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_keeps_its_precision_near_zero(dtype, rng):
    info = np.finfo(dtype)
    x = np.ldexp(rng.uniform(0.5, 1, 20_000), rng.integers(info.minexp + 2, -8, 20_000)).astype(dtype)
    assert ulps(lanes("tanh", x), exact("tanh", x)).max() <= ULP[dtype]["tanh"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_the_derivative_from_the_output(name, dtype):
    x = np.linspace(-8, 8, 4001).astype(dtype)
    y = exact(name, x)
    slope = getattr(math, f"{name}_slope")(lanes(name, x))
    want = y * (1 - y) if name == "sigmoid" else 1 - y * y
    np.testing.assert_allclose(slope.astype(Wide), want, rtol=0, atol=4 * float(np.finfo(dtype).eps))
