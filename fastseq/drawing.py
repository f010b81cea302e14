"""Random tensors with PyTorch's names, drawn by the package's generator (``fastseq.manual_seed``) or another one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd.generator import generator as package_generator
from fastseq.autograd.tensor import Tensor
from fastseq.creation import on_cpu, shape_of


def _rng(generator: Any, device: Any = None) -> np.random.Generator:
    on_cpu(device)
    if generator is not None and not isinstance(generator, np.random.Generator):
        raise checks.kind_error("generator", "a Generator", generator)
    return package_generator() if generator is None else generator


def randn(
    *sizes: Any,
    size: Any = None,
    dtype: DTypeLike = np.float32,
    requires_grad: bool = False,
    device: Any = None,
    generator: Any = None,
) -> Tensor:
    """Return draws from the standard normal distribution.

    Parameters
    ----------
    *sizes
        Sizes, or one tuple of them.
    size
        The same by name.
    dtype
        float32 or float64.
    requires_grad
        Whether ``backward`` should leave a gradient.
    device
        ``"cpu"`` or None.
    generator
        None for the package's.
    """
    kind = checks.float_dtype("dtype", dtype)
    drawn = _rng(generator, device).standard_normal(shape_of(sizes, size))
    return Tensor(np.asarray(drawn).astype(kind), requires_grad)


def rand(
    *sizes: Any,
    size: Any = None,
    dtype: DTypeLike = np.float32,
    requires_grad: bool = False,
    device: Any = None,
    generator: Any = None,
) -> Tensor:
    """Return draws from U[0, 1).

    Parameters
    ----------
    *sizes
        Sizes, or one tuple of them.
    size
        The same by name.
    dtype
        float32 or float64.
    requires_grad
        Whether ``backward`` should leave a gradient.
    device
        ``"cpu"`` or None.
    generator
        None for the package's.
    """
    kind = checks.float_dtype("dtype", dtype)
    return Tensor(np.asarray(_rng(generator, device).random(shape_of(sizes, size), kind)), requires_grad)


def randn_like(input: Any, dtype: DTypeLike | None = None, requires_grad: bool = False, device: Any = None) -> Tensor:
    """Return draws from the standard normal distribution in a tensor's shape, and dtype if none is given."""
    like = Tensor(input)
    return randn(like.shape, dtype=like.dtype if dtype is None else dtype, requires_grad=requires_grad, device=device)


def rand_like(input: Any, dtype: DTypeLike | None = None, requires_grad: bool = False, device: Any = None) -> Tensor:
    """Return draws from U[0, 1) in a tensor's shape, and dtype if none is given."""
    like = Tensor(input)
    return rand(like.shape, dtype=like.dtype if dtype is None else dtype, requires_grad=requires_grad, device=device)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    dtype: DTypeLike = np.int64,
    requires_grad: bool = False,
    device: Any = None,
    generator: Any = None,
) -> Tensor:
    """Return integers drawn from ``low`` (0 if there is one bound only) up to ``high``, which is left out.

    Parameters
    ----------
    low, high
        The bounds.
    size
        The shape.
    dtype
        Any dtype of tensors.
    requires_grad
        Whether ``backward`` should leave a gradient.
    device
        ``"cpu"`` or None.
    generator
        None for the package's.
    """
    if size is None:  # randint(high, size)
        low, high, size = 0, low, high
    elif high is None:  # randint(high, size=size)
        low, high = 0, low
    if not isinstance(size, (tuple, list)):
        raise checks.kind_error("size", "a shape", size)
    return Tensor(_rng(generator, device).integers(low, high, tuple(size)).astype(dtype), requires_grad)


def randperm(n: int, device: Any = None, generator: Any = None) -> Tensor:
    """Return the numbers 0 .. n - 1 in random order.

    Parameters
    ----------
    n
        How many.
    device
        ``"cpu"`` or None.
    generator
        None for the package's.
    """
    return Tensor(_rng(generator, device).permutation(checks.integer("n", n, 0)))


def normal(mean: Any = 0.0, std: Any = 1.0, size: Any = None, generator: Any = None) -> Tensor:
    """Return draws from N(mean, std**2).

    Parameters
    ----------
    mean, std
        Numbers, or tensors whose shapes broadcast.
    size
        The shape, where both are numbers.
    generator
        None for the package's.
    """
    centre, spread = Tensor(mean), Tensor(std)
    shape = np.broadcast_shapes(centre.shape, spread.shape) if size is None else shape_of((), size)
    kind = centre.dtype if centre.ndim or not spread.ndim else spread.dtype
    drawn = _rng(generator).normal(centre._data, spread._data, shape)
    return Tensor(np.asarray(drawn).astype(kind if kind.kind == "f" else np.float32))


def bernoulli(input: Any, generator: Any = None) -> Tensor:
    """Return ones, each with its own probability, and zeros.

    Parameters
    ----------
    input
        The probabilities, of any shape.
    generator
        None for the package's.
    """
    shares = Tensor(input)._data
    if not ((shares >= 0) & (shares <= 1)).all():
        raise checks.value_error("input", "probabilities in 0..1", shares)
    return Tensor((_rng(generator).random(shares.shape) < shares).astype(shares.dtype))


def multinomial(input: Any, num_samples: int, replacement: bool = False, generator: Any = None) -> Tensor:
    """Return places drawn with given weights, from each row.

    Parameters
    ----------
    input
        The weights, (C,) or (B, C), >= 0; they need not add up to 1.
    num_samples
        How many places to draw from each row.
    replacement
        Whether a place may be drawn twice.
    generator
        None for the package's.

    Returns
    -------
    Tensor
        int64, (num_samples,) or (B, num_samples)
    """
    weights = Tensor(input)._data.astype(np.float64)
    if weights.ndim not in (1, 2):
        raise checks.value_error("input", "one or two axes", weights)
    if not (np.isfinite(weights) & (weights >= 0)).all() or not (weights.sum(-1) > 0).all():
        raise checks.value_error("input", "finite weights >= 0, not all of a row 0", weights)
    count = checks.integer("num_samples", num_samples, 1)
    most = int((weights > 0).sum(-1).min())
    if not replacement and count > most:
        raise checks.value_error("num_samples", f"at most {most}, the weights > 0, without replacement", count)
    rows, rng = np.atleast_2d(weights / weights.sum(-1, keepdims=True)), _rng(generator)
    drawn = np.stack([rng.choice(len(row), count, checks.boolean("replacement", replacement), row) for row in rows])
    return Tensor(drawn if weights.ndim == 2 else drawn[0])
