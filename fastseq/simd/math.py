"""exp, sigmoid and tanh, and their derivatives from their outputs: one source for floats, ndarrays and lanes.

e**x = 2**n * e**r with n the integer nearest to x / ln 2 and |r| <= ln 2 / 2 (Cody & Waite, Software Manual for the
Elementary Functions, 1980); e**r = 1 + r + r**2 * tail(r), where ``tail`` is a minimax polynomial (Chebyshev fit;
relative error of e**r 8e-9 for float32, 1.3e-17 for float64). tanh goes through e**(-2|x|) - 1, so that it keeps
its relative precision near zero, is odd to the bit and never exceeds one. NaN in, NaN out: clamps let it pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload

from fastseq.jit import PIECE, shared
from fastseq.simd.lanes import (
    Lanes,
    at_least,
    at_most,
    fma,
    magnitude,
    power_of_two,
    where_less,
    with_sign_of,
)

LOG2_E = 1.4426950408889634
LN2_SINGLE = float(np.float32(0.6931471805599453))
LN2_HIGH, LN2_LOW = 0.6931471805599453, 2.3190468138462996e-17
ROUND_SINGLE, ROUND_DOUBLE = 1.5 * 2.0**23, 1.5 * 2.0**52


@shared
def _tail_single(r):
    q = fma(r, 0.0013926213466332444, 0.008363202971575855)
    q = fma(q, r, 0.04166655443768594)
    q = fma(q, r, 0.16666576845993977)
    return fma(q, r, 0.5)


@shared
def _tail_double(r):
    q = fma(r, 2.5100424157005067e-08, 2.7620138719733994e-07)
    q = fma(q, r, 2.7557268378684192e-06)
    q = fma(q, r, 2.480152119021773e-05)
    q = fma(q, r, 0.00019841269863105968)
    q = fma(q, r, 0.0013888888917281794)
    q = fma(q, r, 0.008333333333330051)
    q = fma(q, r, 0.04166666666662399)
    q = fma(q, r, 0.16666666666666669)
    return fma(q, r, 0.5)


@shared
def _split_single(x, scale):
    shifted = fma(x, scale * LOG2_E, ROUND_SINGLE)
    return shifted, fma(shifted - ROUND_SINGLE, -LN2_SINGLE, x * scale)


@shared
def _split_double(x, scale):
    shifted = fma(x, scale * LOG2_E, ROUND_DOUBLE)
    n = shifted - ROUND_DOUBLE
    return shifted, fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x * scale))


@shared
def _range_single(x):
    return at_least(at_most(x, 88.0), -87.0)


@shared
def _range_double(x):
    return at_least(at_most(x, 709.0), -708.0)


@shared
def _limits_single(x):
    return -86.6, 88.72283, np.inf


@shared
def _limits_double(x):
    return -707.7, 709.782712893384, np.inf


def _tail(r: Any) -> Any:
    """Return (e**r - 1 - r) / r**2."""
    return _tail_single(r) if r.dtype == np.float32 else _tail_double(r)


def _split(x: Any, scale: float) -> Any:
    """Return n (shifted, see `power_of_two`) and r with x * scale = n * ln 2 + r."""
    return _split_single(x, scale) if x.dtype == np.float32 else _split_double(x, scale)


def _in_range(x: Any) -> Any:
    """Clamp x to where e**x and e**-x are normal numbers."""
    return _range_single(x) if x.dtype == np.float32 else _range_double(x)


def _limits(x: Any) -> Any:
    """Return the arguments between which `exp` is a normal number, and infinity."""
    return _limits_single(x) if x.dtype == np.float32 else _limits_double(x)


@overload(_limits, jit_options=PIECE)
def _limits_of_lanes(x):
    if isinstance(x, Lanes):
        return _limits_single if x.real.bitwidth == 32 else _limits_double
    return None


@overload(_tail, jit_options=PIECE)
def _tail_of_lanes(r):
    if isinstance(r, Lanes):
        return _tail_single if r.real.bitwidth == 32 else _tail_double
    return None


@overload(_split, jit_options=PIECE)
def _split_of_lanes(x, scale):
    if isinstance(x, Lanes):
        return _split_single if x.real.bitwidth == 32 else _split_double
    return None


@overload(_in_range, jit_options=PIECE)
def _in_range_of_lanes(x):
    if isinstance(x, Lanes):
        return _range_single if x.real.bitwidth == 32 else _range_double
    return None


def _real(x: Any) -> Any:
    """Make NumPy floats of Python's; in compiled code: nothing."""
    return np.asarray(x)[()] if not isinstance(x, np.ndarray) else x


@overload(_real, jit_options=PIECE)
def _real_of_lanes(x):
    if isinstance(x, Lanes):
        return lambda x: x
    return None


@shared
def exp(x):
    """Return e**x; results too small for a normal number are zero, too large ones infinity."""
    x = _real(x)
    low, high, infinity = _limits(x)
    shifted, r = _split(at_least(at_most(x, high), low), 1.0)
    # Half the power of two, twice the rest: n itself may be one more than an exponent can hold.
    found = power_of_two(shifted - 1.0) * (2.0 * fma(r, fma(r, _tail(r), 1.0), 1.0))
    return where_less(high, x, infinity, where_less(x, low, 0.0, found))


@shared
def sigmoid(x):
    """Return 1 / (1 + e**-x)."""
    x = _in_range(_real(x))
    shifted, r = _split(x, -1.0)
    return 1.0 / fma(power_of_two(shifted), fma(r, fma(r, _tail(r), 1.0), 1.0), 1.0)


@shared
def tanh(x):
    """Return (e**x - e**-x) / (e**x + e**-x)."""
    x = _real(x)
    shifted, r = _split(at_most(magnitude(x), 20.0), -2.0)
    scale = power_of_two(shifted)
    less_one = fma(scale, r * fma(r, _tail(r), 1.0), scale - 1.0)
    return with_sign_of(less_one / (less_one + 2.0), x)


@shared
def sigmoid_slope(y):
    """Return the derivative of sigmoid where its value is y."""
    return y * (1.0 - y)


@shared
def tanh_slope(y):
    """Return the derivative of tanh where its value is y."""
    return fma(-y, y, 1.0)
