"""Names that PyTorch's listings use beside layers: dtypes, the device, and functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks
from fastseq.autograd import no_grad, ops
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init

#: PyTorch's other name of it.
inference_mode = no_grad


def device(name: Any = "cpu") -> str:
    """Return the name of the only device there is.

    Parameters
    ----------
    name
        ``"cpu"``.

    Raises
    ------
    ValueError
        If it is another one.
    """
    checks.is_device("device", name)
    return checks.choice("device", name, ("cpu",))


class cuda:
    """What listings ask before they choose a device."""

    @staticmethod
    def is_available() -> bool:
        """Return False: there is no code for GPUs here."""
        return False

    @staticmethod
    def device_count() -> int:
        """Return 0."""
        return 0


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(x)


def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Return tensors one behind the other along an axis.

    Parameters
    ----------
    tensors
        Tensors or arrays.
    dim
        The axis.
    """
    return ops.concatenate(list(tensors), dim)


def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Return tensors of one shape along a new axis.

    Parameters
    ----------
    tensors
        Tensors or arrays.
    dim
        Where the new axis is.
    """
    return ops.stack(list(tensors), dim)


def matmul(input: Any, other: Any) -> Tensor:
    """Return the matrix product.

    Parameters
    ----------
    input, other
        Tensors or arrays.
    """
    return ops.matmul(_tensor(input), other)


def where(condition: Any, input: Any, other: Any) -> Tensor:
    """Return ``input`` where the condition holds, else ``other``.

    Parameters
    ----------
    condition
        Bools.
    input, other
        Tensors, arrays or numbers.
    """
    return ops.where(condition, input, other)


def exp(input: Any) -> Tensor:
    """Return e to the power of each entry.

    Parameters
    ----------
    input
        A Tensor or array.
    """
    return ops.exp(_tensor(input))


def log(input: Any) -> Tensor:
    """Return the natural logarithm of each entry.

    Parameters
    ----------
    input
        A Tensor or array.
    """
    return ops.log(_tensor(input))


def tanh(input: Any) -> Tensor:
    """Return the hyperbolic tangent of each entry.

    Parameters
    ----------
    input
        A Tensor or array.
    """
    return ops.tanh(_tensor(input))


def sigmoid(input: Any) -> Tensor:
    """Return the logistic function of each entry.

    Parameters
    ----------
    input
        A Tensor or array.
    """
    return ops.sigmoid(_tensor(input))


def relu(input: Any) -> Tensor:
    """Return each entry, zero for negative ones.

    Parameters
    ----------
    input
        A Tensor or array.
    """
    return ops.relu(_tensor(input))


def softmax(input: Any, dim: int) -> Tensor:
    """Return shares along an axis.

    Parameters
    ----------
    input
        A Tensor or array.
    dim
        The axis.
    """
    return ops.softmax(_tensor(input), dim)


def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return where the largest entry is, along an axis or of all.

    Parameters
    ----------
    input
        A Tensor or array.
    dim
        The axis; None for the flat tensor.
    keepdim
        Whether the axis stays, with length 1.
    """
    return ops.argmax(_tensor(input), dim, keepdim)


def arange(start: float, end: float | None = None, step: float = 1, dtype: DTypeLike | None = None) -> Tensor:
    """Return numbers from ``start`` (0 if there is one number only) up to ``end``, which is left out.

    Parameters
    ----------
    start, end, step
        As in NumPy.
    dtype
        int64 for integers and float32 for others if None.
    """
    found = np.arange(0, start, step) if end is None else np.arange(start, end, step)
    own = np.float32 if found.dtype.kind == "f" else np.int64
    return Tensor(found.astype(own if dtype is None else dtype))


def full(size: Any, fill_value: float, dtype: DTypeLike = np.float32) -> Tensor:
    """Return one number everywhere.

    Parameters
    ----------
    size
        The shape.
    fill_value
        The number.
    dtype
        Any dtype of tensors.
    """
    return Tensor(np.full(tuple(size), fill_value, dtype))


def zeros_like(input: Any) -> Tensor:
    """Return zeros of a tensor's shape and dtype.

    Parameters
    ----------
    input
        A Tensor or array.
    """
    return Tensor(np.zeros_like(_tensor(input)._data))


def ones_like(input: Any) -> Tensor:
    """Return ones of a tensor's shape and dtype.

    Parameters
    ----------
    input
        A Tensor or array.
    """
    return Tensor(np.ones_like(_tensor(input)._data))


def from_numpy(ndarray: NDArray[Any]) -> Tensor:
    """Return a tensor that shares an array's memory.

    Parameters
    ----------
    ndarray
        The array, of a dtype that tensors have.
    """
    if not isinstance(ndarray, np.ndarray):
        raise checks.kind_error("ndarray", "an ndarray", ndarray)
    return Tensor(ndarray)


def randint(low: int, high: int | None = None, size: Any = None) -> Tensor:
    """Return integers drawn from ``low`` (0 if there is one bound only) up to ``high``, which is left out.

    Parameters
    ----------
    low, high
        The bounds.
    size
        The shape.
    """
    if size is None:  # randint(high, size)
        low, high, size = 0, low, high
    if not isinstance(size, (tuple, list)):
        raise checks.kind_error("size", "a shape", size)
    return Tensor(init.generator().integers(low, high, tuple(size)))


def randperm(n: int) -> Tensor:
    """Return the numbers 0 .. n - 1 in random order.

    Parameters
    ----------
    n
        How many.
    """
    return Tensor(init.generator().permutation(checks.integer("n", n, 0)))
