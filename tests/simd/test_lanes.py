"""Every lane operation against NumPy, in float32 and float64; loads and stores touch what they name and no more."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.simd.lanes import LANES, VECTOR_BYTES, cpu_features
from tests.simd.lane_kernels import MOVES, OPERATIONS, move, operate

DTYPES = [np.float32, np.float64]
NAMES = list(OPERATIONS)
AWKWARD = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1e30, -1e30, 3.25, -7.125, 1e-300]


def lanes_of(dtype) -> int:
    return LANES[np.dtype(dtype)]


def operands(dtype, rng) -> list[np.ndarray]:
    """Four arrays in which every awkward number meets every other, and random ones besides."""
    with np.errstate(over="ignore"):
        awkward = np.array(AWKWARD).astype(dtype)
    first, second = (m.ravel() for m in np.meshgrid(awkward, awkward))
    noise = rng.standard_normal((4, 31 + 1024 - first.size % 32)).astype(dtype)
    size = first.size + noise.shape[1]
    size -= size % lanes_of(dtype)
    columns = (first, second, rng.permutation(first), rng.permutation(second))
    return [np.concatenate([column, more])[:size] for column, more in zip(columns, noise, strict=True)]


def of_lanes(name: str, arrays: list[np.ndarray]) -> np.ndarray:
    out = np.full_like(arrays[0], 77.0)
    operate(NAMES.index(name), *arrays, out, lanes_of(out.dtype))
    return out


def assert_same_bits(got: np.ndarray, want: np.ndarray) -> None:
    """Equal to the sign of zero; any NaN equals any NaN (their payloads follow the order of operands)."""
    assert got.dtype == want.dtype
    whole = np.uint32 if got.itemsize == 4 else np.uint64
    both = np.isnan(got) & np.isnan(want)
    different = (got.view(whole) != want.view(whole)) & ~both
    assert not different.any(), (got[different][:5], want[different][:5])


def exact_fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c with one rounding, through exact fractions; infinities and NaN as IEEE 754 says."""
    from fractions import Fraction

    out = np.empty_like(a)
    for i, (x, y, z) in enumerate(zip(a.tolist(), b.tolist(), c.tolist(), strict=True)):
        if not all(map(np.isfinite, (x, y, z))):
            out[i] = a.dtype.type(x) * a.dtype.type(y) + a.dtype.type(z)
            continue
        total = Fraction(x) * Fraction(y) + Fraction(z)
        out[i] = rounded(total, a.dtype) if total else a.dtype.type(x) * a.dtype.type(y) + a.dtype.type(z)
    return out


def rounded(exact, dtype) -> np.floating:
    """The float nearest to a fraction, ties to even; NumPy rounds a Python float a second time, this does not."""
    if dtype == np.float64:
        try:
            return np.float64(float(exact))
        except OverflowError:
            return np.float64(np.inf if exact > 0 else -np.inf)
    from fractions import Fraction

    guess = np.float32(float(exact))
    if not np.isfinite(guess):
        return guess
    around = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    finite = [v for v in around if np.isfinite(v)]
    return min(finite, key=lambda v: (abs(Fraction(float(v)) - exact), int(v.view(np.uint32)) & 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("fma", "tanh_slope", "power_of_two")])
def test_an_operation_is_numpys_to_the_bit(name, dtype, rng):
    arrays = operands(dtype, rng)
    arity, plain = OPERATIONS[name]
    with np.errstate(all="ignore"):
        want = np.asarray(plain(*arrays[:arity]), dtype)
    assert_same_bits(of_lanes(name, arrays), want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fma_rounds_once(dtype, rng):
    arrays = operands(dtype, rng)
    with np.errstate(all="ignore"):
        want = exact_fma(*arrays[:3])
        twice = arrays[0] * arrays[1] + arrays[2]
    assert_same_bits(of_lanes("fma", arrays), want)
    with np.errstate(invalid="ignore"):
        assert (want != twice)[np.isfinite(want)].sum() > 50, "the operands tell one rounding from two"


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_slope_of_tanh_rounds_once(dtype, rng):
    y = np.tanh(operands(dtype, rng)[0])
    with np.errstate(all="ignore"):
        assert_same_bits(of_lanes("tanh_slope", [y] * 4), exact_fma(-y, y, np.ones_like(y)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_two_over_all_normal_exponents(dtype):
    info, lanes = np.finfo(dtype), lanes_of(dtype)
    n = np.arange(info.minexp, info.maxexp)
    n = np.concatenate([n, np.zeros(-n.size % lanes, n.dtype)])
    shifted = n.astype(dtype) + dtype(1.5 * 2.0**info.nmant)
    assert_same_bits(of_lanes("power_of_two", [shifted] * 4), np.ldexp(dtype(1), n))
    assert_same_bits(OPERATIONS["power_of_two"][1](shifted), np.ldexp(dtype(1), n))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bounds_let_nan_pass_and_choices_take_the_second(dtype):
    lanes = lanes_of(dtype)
    nan, one, two = (np.full(lanes, v, dtype) for v in (np.nan, 1.0, 2.0))
    assert np.isnan(of_lanes("at_most", [nan, one, one, one])).all()
    assert np.isnan(of_lanes("at_least", [nan, one, one, one])).all()
    assert (of_lanes("at_most", [one, nan, one, one]) == 1).all(), "a NaN bound bounds nothing"
    assert (of_lanes("at_least", [one, nan, one, one]) == 1).all()
    assert (of_lanes("where_less", [nan, one, one, two]) == 2).all()
    assert (of_lanes("where_less", [one, nan, one, two]) == 2).all()
    assert (of_lanes("where_less", [one, one, one, two]) == 2).all(), "not less than itself"


@pytest.mark.parametrize("dtype", DTYPES)
def test_lanes_do_not_mix(dtype):
    lanes = lanes_of(dtype)
    for place in range(lanes):
        a, b = np.zeros(lanes, dtype), np.ones(lanes, dtype)
        a[place] = np.nan
        for name in ("add", "multiply", "divide", "fma", "at_most", "square_root"):
            assert np.flatnonzero(np.isnan(of_lanes(name, [a, b, b, b]))).tolist() == [place], name


def moved(name: str, dtype, *, count=0, stride=0, at=5, to=3):
    """The source, and a target of canaries after the move."""
    source = np.arange(1, 301).astype(dtype)
    target = np.full(300, -1.0, dtype)
    move(MOVES.index(name), source, at, target, to, count, stride, lanes_of(dtype))
    return source, target


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 1, 7, 16])
def test_a_vector_moves_whole_at_any_offset(dtype, offset):
    lanes = lanes_of(dtype)
    source, target = moved("vector", dtype, at=offset, to=offset + 1)
    want = np.full_like(target, -1.0)
    want[offset + 1 : offset + 1 + lanes] = source[offset : offset + lanes]
    np.testing.assert_array_equal(target, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_head_load_and_store_touch_the_named_elements_only(dtype):
    lanes = lanes_of(dtype)
    for count in range(lanes + 1):
        source, target = moved("head_in", dtype, count=count)
        np.testing.assert_array_equal(target[3 : 3 + lanes], np.r_[source[5 : 5 + count], np.zeros(lanes - count)])
        source, target = moved("head_out", dtype, count=count)
        want = np.full_like(target, -1.0)
        want[3 : 3 + count] = source[5 : 5 + count]
        np.testing.assert_array_equal(target, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_groups_stand_a_stride_apart(dtype):
    lanes = lanes_of(dtype)
    for stride in (lanes, lanes + 3, 50):
        source, target = moved("group", dtype, stride=stride)
        want = np.full_like(target, -1.0)
        for j in range(3):
            want[3 + j * stride : 3 + j * stride + lanes] = source[5 + j * stride : 5 + j * stride + lanes]
        np.testing.assert_array_equal(target, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_splat_fills_a_vector(dtype):
    lanes = lanes_of(dtype)
    source, target = moved("splat", dtype, at=41)
    want = np.full_like(target, -1.0)
    want[3 : 3 + lanes] = source[41]
    np.testing.assert_array_equal(target, want)


def test_a_vector_has_the_same_width_on_every_machine():
    assert VECTOR_BYTES == 64
    assert {dtype.name: count for dtype, count in LANES.items()} == {"float32": 16, "float64": 8}


def test_features_follow_numbas_settings(monkeypatch):
    from numba.core import config

    monkeypatch.setattr(config, "CPU_FEATURES", "+avx2,-avx512f,+fma")
    assert cpu_features() == {"avx2", "fma"}
    monkeypatch.setattr(config, "CPU_FEATURES", "")
    assert cpu_features() == frozenset()
    monkeypatch.setattr(config, "CPU_FEATURES", None)
    monkeypatch.setattr(config, "CPU_NAME", "generic")
    assert cpu_features() == frozenset()
