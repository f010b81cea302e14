"""Random arrays under the names of ``tf.random`` and ``keras.random``, drawn by the package's generator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init


def _shape(shape: Any) -> tuple[int, ...]:
    sizes = (shape,) if not isinstance(shape, (tuple, list)) else shape
    return tuple(checks.integer("shape", size, 0) for size in sizes)


def _with(seed: int | None) -> np.random.Generator:
    return init.generator() if seed is None else np.random.default_rng(checks.integer("seed", seed, 0))


def normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: DTypeLike = np.float32, seed: int | None = None
) -> Tensor:
    """Return draws from N(mean, stddev**2).

    Parameters
    ----------
    shape
        Sizes.
    mean, stddev
        Mean and standard deviation.
    dtype
        float32 or float64.
    seed
        None draws from the package's generator (``fastseq.manual_seed``).
    """
    kind = checks.float_dtype("dtype", dtype)
    location, scale = checks.real("mean", mean), checks.real("stddev", stddev, 0.0)
    return Tensor((location + scale * _with(seed).standard_normal(_shape(shape))).astype(kind))


def uniform(
    shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: DTypeLike = np.float32, seed: int | None = None
) -> Tensor:
    """Return draws from U[minval, maxval), or integers of that range with an integer dtype.

    Parameters
    ----------
    shape
        Sizes.
    minval, maxval
        The bounds.
    dtype
        float32, float64, int32 or int64.
    seed
        None draws from the package's generator (``fastseq.manual_seed``).
    """
    kind = np.dtype(dtype)
    low, high = checks.real("minval", minval), checks.real("maxval", maxval)
    if high < low or (kind.kind == "i" and high <= low):
        raise checks.value_error("maxval", f"a number greater than minval = {low:g}", maxval)
    if kind.kind == "i":
        return Tensor(_with(seed).integers(int(low), int(high), _shape(shape)).astype(kind))
    return Tensor(_with(seed).uniform(low, high, _shape(shape)).astype(checks.float_dtype("dtype", kind)))


def set_seed(seed: int) -> None:
    """Restart the package's random numbers from a seed, as ``fastseq.manual_seed`` does.

    Parameters
    ----------
    seed
        An integer >= 0.
    """
    init.manual_seed(seed)
