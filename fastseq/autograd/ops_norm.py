"""Layer normalisation, alone or after dropout of a branch and its sum with the input, as one node of the tape."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.noise import Noise, numbers_of
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor, make_node
from fastseq.buffers import empty
from fastseq.simd.lanes import VECTOR_BYTES
from fastseq.simd.norm import CHUNK, normalize, normalize_back

Array = NDArray[Any]


@lru_cache(maxsize=64)
def _constant(value: float, width: int, dtype: Any) -> Array:
    found = np.full(width, value, dtype)
    found.flags.writeable = False
    return found


def _checked(name: str, value: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    found = array(value, name)
    if found.shape != shape:
        raise checks.value_error(name, f"shape {shape}", found)
    if found.dtype != dtype:
        raise checks.kind_error(name, f"{dtype}, as x is", found)
    return found


def layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Return (input - mean) / sqrt(var + eps) * weight + bias, with mean and variance over the last axes.

    Parameters
    ----------
    input
        (..., *normalized_shape), float32 or float64.
    normalized_shape
        The axes that are normalised together: an integer or several.
    weight, bias
        Of that shape; None for 1 and 0.
    eps
        Added to the variance (the mean square, as in PyTorch).

    Returns
    -------
    Tensor
        Of the input's shape.

    Raises
    ------
    TypeError
        If the input is not floating, or weight or bias are of another dtype.
    ValueError
        If the shapes do not fit.
    """
    data = array(input, "input")
    if data.dtype.kind != "f":
        raise checks.kind_error("input", "float32 or float64", data)
    given = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    shape = tuple(checks.integer("normalized_shape", n, 1) for n in given)
    if not shape or data.shape[data.ndim - len(shape) :] != shape:
        raise checks.value_error("input", f"shape (..., {', '.join(map(str, shape))})", data)
    return sum_and_norm(input, None, weight, bias, eps, shape=shape)[1]


def sum_and_norm(
    x: Any,
    branch: Any,
    weight: Any,
    bias: Any,
    eps: float = 1e-5,
    *,
    noise: Noise | None = None,
    shape: tuple[int, ...] | None = None,
    norm: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return s = x + dropout(branch) and its layer normalisation, as one node.

    Parameters
    ----------
    x
        (..., *shape)
    branch
        Of x's shape, or None: then s is x.
    weight, bias
        Of that shape; None for 1 and 0.
    eps
        Added to the variance.
    noise
        Dropout of the branch, or None.
    shape
        The axes that are normalised together; the last one if None.
    norm
        False leaves the normalisation out; the second result is then empty.

    Returns
    -------
    tuple of Tensor
        s and its normalisation.

    Notes
    -----
    Ba et al., "Layer Normalization", 2016. A row's bits depend on the row alone.
    """
    data = array(x)
    shape = data.shape[-1:] if shape is None else shape
    width, dtype = math.prod(shape), data.dtype
    rows = data.size // width if width else 0
    lanes = VECTOR_BYTES // data.itemsize
    flat = np.ascontiguousarray(data).reshape(-1)
    joined = branch is not None
    w = _constant(1.0, width, dtype) if weight is None else _checked("weight", weight, shape, dtype).reshape(-1)
    b = _constant(0.0, width, dtype) if bias is None else _checked("bias", bias, shape, dtype).reshape(-1)
    other = np.ascontiguousarray(_checked("branch", branch, data.shape, dtype)).reshape(-1) if joined else flat[:0]
    sums = empty((flat.size,), dtype) if joined else flat
    y = empty((flat.size if norm else 0,), dtype)
    statistics = empty((rows * 2 * lanes if norm else 0,), dtype)
    numbers, factor = numbers_of(noise)
    sizes = width, rows
    normalize.launch(
        20.0 * flat.size, flat, other, sums if joined else y, y, statistics, w, b, numbers, factor, eps, *sizes,
        joined, norm, lanes,
    )  # fmt: skip

    def back(grads: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        asked = grads[0] if joined else None, grads[1] if norm else None  # the others are empty
        d_sums, d_y = (None if g is None else np.ascontiguousarray(g, dtype).reshape(-1) for g in asked)
        if d_sums is None and d_y is None:
            return (None,) * 4
        if d_y is None and noise is None and d_sums is not None:  # the sum alone: its gradient is that of both
            whole = d_sums.reshape(data.shape)
            return whole, whole if joined else None, None, None
        chunks, padded = -(-rows // CHUNK), -(-width // lanes) * lanes
        d_s = empty((flat.size,), dtype)
        d_branch = empty((flat.size if noise is not None else 0,), dtype)
        partial = np.empty(chunks * 2 * padded, dtype)
        nothing = d_s[:0]
        normalize_back.launch(
            30.0 * flat.size, sums, statistics, w, nothing if d_y is None else d_y,
            nothing if d_sums is None else d_sums, d_s, d_branch, partial, numbers, factor, *sizes,
            d_sums is not None, noise is not None, d_y is not None, lanes,
        )  # fmt: skip
        whole = d_s.reshape(data.shape)
        d_w, d_b = np.add.reduce(partial.reshape(chunks, 2, padded), axis=0)[:, :width]
        return (
            whole,
            None if not joined else whole if noise is None else d_branch.reshape(data.shape),
            None if weight is None else d_w.reshape(shape),
            None if bias is None else d_b.reshape(shape),
        )

    out = sums.reshape(data.shape) if joined else data[:0]
    result = y.reshape(data.shape) if norm else y
    alone = not joined or noise is not None  # else x and branch get the same array
    return make_node((x, branch, weight, bias), (out, result), back, fresh=alone)  # type: ignore[return-value]
