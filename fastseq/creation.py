"""New tensors, with PyTorch's names: randn, rand, zeros, ones, tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init


def _shape(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    given = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    return tuple(checks.integer("size", size, 0) for size in given)


def randn(*size: Any, dtype: DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Return draws from the standard normal distribution, by the package's generator (``fastseq.manual_seed``).

    Parameters
    ----------
    *size
        Sizes, or one tuple of them.
    dtype
        float32 or float64.
    requires_grad
        Whether ``backward`` should leave a gradient.
    """
    kind = checks.float_dtype("dtype", dtype)
    return Tensor(init.generator().standard_normal(_shape(size)).astype(kind), requires_grad)


def rand(*size: Any, dtype: DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Return draws from U[0, 1), by the package's generator.

    Parameters
    ----------
    *size
        Sizes, or one tuple of them.
    dtype
        float32 or float64.
    requires_grad
        Whether ``backward`` should leave a gradient.
    """
    kind = checks.float_dtype("dtype", dtype)
    return Tensor(init.generator().random(_shape(size), kind), requires_grad)


def zeros(*size: Any, dtype: DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Return zeros.

    Parameters
    ----------
    *size
        Sizes, or one tuple of them.
    dtype
        Any dtype of tensors.
    requires_grad
        Whether ``backward`` should leave a gradient.
    """
    return Tensor(np.zeros(_shape(size), dtype), requires_grad)


def ones(*size: Any, dtype: DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Return ones.

    Parameters
    ----------
    *size
        Sizes, or one tuple of them.
    dtype
        Any dtype of tensors.
    requires_grad
        Whether ``backward`` should leave a gradient.
    """
    return Tensor(np.ones(_shape(size), dtype), requires_grad)


def tensor(data: Any, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor with a copy of the data; Python floats become float32, ints int64.

    Parameters
    ----------
    data
        A number, nested list, array or Tensor.
    dtype
        The dtype wanted, or None for that of the data.
    requires_grad
        Whether ``backward`` should leave a gradient.
    """
    source = data._data if isinstance(data, Tensor) else data
    return Tensor(source.copy() if isinstance(source, np.ndarray) else source, requires_grad, dtype)
