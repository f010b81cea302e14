"""relu or gelu, then dropout, over arrays: what stands between the two products of a feed-forward network.

gelu(x) = x * Phi(x), Phi the normal distribution function (Hendrycks and Gimpel, 2016). With q = erfc(|x| / sqrt 2),
Phi is q / 2 below zero and 1 - q / 2 above; erfc(y) = e**(-y**2) * f(y), where f is a polynomial in
(y - 2) / (y + 2), a Chebyshev fit for y in 0..6 (error of Phi 2e-9 in the degree for float32, 2e-16 for float64).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload

from fastseq.jit import PIECE, Int, Integers, Launcher, ReadReals, Real, Reals, kernel, piece, share, shared
from fastseq.simd.lanes import Lanes, address, at_least, at_most, fma, magnitude, where_less, zero_like
from fastseq.simd.math import exp
from fastseq.simd.noise import thinned
from fastseq.simd.norm import put, take

ACTIVATIONS = ("relu", "gelu")
RELU, GELU = range(2)
PART = 16_384
"""Elements of a task."""

SINGLE = (
    6.232692827863302e-05,
    -2.396655780495492e-05,
    -0.0009435935116232707,
    -0.0008063924128823235,
    0.006995506805485002,
    0.003725545579654772,
    -0.07897891223080075,
    0.24165863403197835,
    -0.4271858311299697,
    0.25539567199456603,
)
DOUBLE = (
    1.781568090495568e-10,
    -2.1322171213332125e-08,
    -1.573272083074193e-07,
    -4.400076473980513e-07,
    -3.5461440733528033e-07,
    1.1914325233500654e-06,
    3.7227063625534525e-06,
    1.3844902068655216e-06,
    -1.3956240431761804e-05,
    -2.7577087852090105e-05,
    2.7524478854164677e-05,
    0.00017436068048184888,
    4.3555620652775165e-05,
    -0.0009819769818298107,
    -0.0008471432479543839,
    0.006997461737071338,
    0.0037328924041380067,
    -0.07897858101568629,
    0.24165819424246965,
    -0.4271858474139587,
    0.25539567631050575,
)
ROOT_HALF, PEAK = 0.7071067811865476, 0.3989422804014327  # sqrt(1 / 2), 1 / sqrt(2 pi)


@shared
def _polynomial_single(u):
    q = u * 0.0 + SINGLE[0]
    for k in SINGLE[1:]:
        q = fma(q, u, k)
    return q


@shared
def _polynomial_double(u):
    q = u * 0.0 + DOUBLE[0]
    for k in DOUBLE[1:]:
        q = fma(q, u, k)
    return q


def _polynomial(u: Any) -> Any:
    """Return e**(y**2) * erfc(y) where u = (y - 2) / (y + 2)."""
    return _polynomial_single(u) if u.dtype == np.float32 else _polynomial_double(u)


@overload(_polynomial, jit_options=PIECE)
def _polynomial_of_lanes(u):
    if isinstance(u, Lanes):
        return _polynomial_single if u.real.bitwidth == 32 else _polynomial_double
    return None


@shared
def normal_share(x, density):
    """Return Phi(x), given e**(-x**2 / 2)."""
    y = at_most(magnitude(x) * ROOT_HALF, 6.0)
    half = 0.5 * density * _polynomial((y - 2.0) / (y + 2.0))
    return where_less(x, 0.0, half, 1.0 - half)


@piece
def activated(kind, x):
    """Return the function numbered ``kind`` of a vector; NaN in, NaN out."""
    if kind == RELU:
        return at_least(x, 0.0)
    return x * normal_share(x, exp(x * x * -0.5))


@piece
def slope(kind, x):
    """Return the derivative where the argument (for relu, or else the result) is x; for NaN it is not 0."""
    if kind == RELU:
        one = zero_like(x) + 1.0
        return where_less(0.0, x, one, where_less(x, 1.0, 0.0, one))
    density = exp(x * x * -0.5)
    return fma(x, density * PEAK, normal_share(x, density))


@piece
def activate_task(part, kind, x, y, count, noise, factor, lanes):
    """Write the function of a part's elements."""
    keys, threshold, noisy = (noise[0], noise[1]), noise[2], noise[3] == 1
    for e in range(part * PART, min(count, (part + 1) * PART), lanes):
        some = count - e
        value = activated(kind, take(x, e, some, lanes))
        if noisy:
            value = thinned(value, e, keys, threshold, factor)
        put(y, e, value, some, lanes)


@kernel
def activate(kind: Int, x: ReadReals, y: Reals, noise: Integers, factor: Real, lanes: Int, launcher: Launcher):
    """Write the function of all elements, after dropout; x and y may be the same.

    ``noise`` holds two keys, the threshold, and whether there is noise.
    """
    arguments = (kind, address(x), address(y), x.size, address(noise), factor, lanes)
    share(launcher, (x.size + PART - 1) // PART, activate_task, arguments)


@piece
def activate_back_task(part, kind, x, d, count, noise, factor, lanes):
    """Turn a part's gradients."""
    keys, threshold, noisy = (noise[0], noise[1]), noise[2], noise[3] == 1
    for e in range(part * PART, min(count, (part + 1) * PART), lanes):
        some = count - e
        g = take(d, e, some, lanes)
        if noisy:
            g = thinned(g, e, keys, threshold, factor)
        put(d, e, g * slope(kind, take(x, e, some, lanes)), some, lanes)


@kernel
def activate_back(kind: Int, x: ReadReals, d: Reals, noise: Integers, factor: Real, lanes: Int, launcher: Launcher):
    """Turn gradients of the results of `activate` into those of its arguments, in place."""
    arguments = (kind, address(x), address(d), x.size, address(noise), factor, lanes)
    share(launcher, (x.size + PART - 1) // PART, activate_back_task, arguments)
