"""New tensors, with PyTorch's names: tensor, zeros, ones, full, arange, linspace, eye, and those like another one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks
from fastseq.autograd.tensor import Tensor


def shape_of(sizes: tuple[Any, ...], size: Any = None) -> tuple[int, ...]:
    """Return a shape that was given as integers, as one tuple of them, or by name.

    Parameters
    ----------
    sizes
        The positional arguments.
    size
        What was given by name.
    """
    if size is not None:
        sizes = (size,)
    given = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    return tuple(checks.integer("size", one, 0) for one in given)


def on_cpu(device: Any) -> None:
    """Raise unless a device is the CPU or None.

    Parameters
    ----------
    device
        What was given as one.
    """
    if device is not None and not checks.is_device("device", device):
        raise checks.kind_error("device", "'cpu'", device)


def _number(value: Any) -> Any:
    """Return the Python number of a tensor or scalar that stands for one."""
    return value.item() if hasattr(value, "item") else value


def full(
    size: Any, fill_value: Any, dtype: DTypeLike | None = None, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """Return one number everywhere.

    Parameters
    ----------
    size
        The shape.
    fill_value
        The number.
    dtype
        Any dtype of tensors; None for the number's: float32, int64 or bool.
    requires_grad
        Whether ``backward`` should leave a gradient.
    device
        ``"cpu"`` or None.
    """
    on_cpu(device)
    value = _number(fill_value)
    own = np.bool_ if isinstance(value, bool) else np.int64 if isinstance(value, int) else np.float32
    return Tensor(np.full(shape_of((), size), value, own if dtype is None else dtype), requires_grad)


def zeros(
    *sizes: Any, size: Any = None, dtype: DTypeLike = np.float32, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """Return zeros.

    Parameters
    ----------
    *sizes
        Sizes, or one tuple of them.
    size
        The same by name.
    dtype
        Any dtype of tensors.
    requires_grad
        Whether ``backward`` should leave a gradient.
    device
        ``"cpu"`` or None.
    """
    return full(shape_of(sizes, size), 0, dtype, requires_grad, device)


empty = zeros  # what stands in new memory is nobody's business


def ones(
    *sizes: Any, size: Any = None, dtype: DTypeLike = np.float32, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """Return ones.

    Parameters
    ----------
    *sizes
        Sizes, or one tuple of them.
    size
        The same by name.
    dtype
        Any dtype of tensors.
    requires_grad
        Whether ``backward`` should leave a gradient.
    device
        ``"cpu"`` or None.
    """
    return full(shape_of(sizes, size), 1, dtype, requires_grad, device)


def full_like(
    input: Any, fill_value: Any, dtype: DTypeLike | None = None, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """Return one number in a tensor's shape.

    Parameters
    ----------
    input
        A Tensor or array.
    fill_value
        The number.
    dtype
        Any dtype of tensors; None for the tensor's.
    requires_grad
        Whether ``backward`` should leave a gradient.
    device
        ``"cpu"`` or None.
    """
    like = Tensor(input)
    return full(like.shape, fill_value, like.dtype if dtype is None else dtype, requires_grad, device)


def zeros_like(input: Any, dtype: DTypeLike | None = None, requires_grad: bool = False, device: Any = None) -> Tensor:
    """Return zeros in a tensor's shape; see `full_like`."""
    return full_like(input, 0, dtype, requires_grad, device)


empty_like = zeros_like


def ones_like(input: Any, dtype: DTypeLike | None = None, requires_grad: bool = False, device: Any = None) -> Tensor:
    """Return ones in a tensor's shape; see `full_like`."""
    return full_like(input, 1, dtype, requires_grad, device)


def tensor(data: Any, dtype: DTypeLike | None = None, requires_grad: bool = False, device: Any = None) -> Tensor:
    """Return a tensor with a copy of the data; Python floats become float32, ints int64.

    Parameters
    ----------
    data
        A number, nested list, array or Tensor.
    dtype
        The dtype wanted, or None for that of the data.
    requires_grad
        Whether ``backward`` should leave a gradient.
    device
        ``"cpu"`` or None.
    """
    on_cpu(device)
    source = data._data if isinstance(data, Tensor) else data
    return Tensor(source.copy() if isinstance(source, np.ndarray) else source, requires_grad, dtype)


def as_tensor(data: Any, dtype: DTypeLike | None = None, device: Any = None) -> Tensor:
    """Return data as a tensor, which shares memory and tape where it can.

    Parameters
    ----------
    data
        A number, nested list, array or Tensor.
    dtype
        The dtype wanted, or None for that of the data.
    device
        ``"cpu"`` or None.
    """
    on_cpu(device)
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    return Tensor(data, dtype=dtype)


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


def arange(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """Return numbers from ``start`` (0 if there is one number only) up to ``end``, which is left out.

    Parameters
    ----------
    start, end, step
        As in NumPy.
    dtype
        int64 for integers and float32 for others if None.
    requires_grad
        Whether ``backward`` should leave a gradient.
    device
        ``"cpu"`` or None.
    """
    on_cpu(device)
    first, last, stride = _number(start), _number(end), _number(step)
    found = np.arange(0, first, stride) if last is None else np.arange(first, last, stride)
    own = np.float32 if found.dtype.kind == "f" else np.int64
    return Tensor(found.astype(own if dtype is None else dtype), requires_grad)


def linspace(
    start: Any, end: Any, steps: int, dtype: DTypeLike = np.float32, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """Return so many numbers at equal distances from ``start`` to ``end``, both included.

    Parameters
    ----------
    start, end
        The ends.
    steps
        How many numbers.
    dtype
        float32 or float64.
    requires_grad
        Whether ``backward`` should leave a gradient.
    device
        ``"cpu"`` or None.
    """
    on_cpu(device)
    count = checks.integer("steps", steps, 0)
    return Tensor(np.linspace(_number(start), _number(end), count).astype(dtype), requires_grad)


def eye(
    n: int, m: int | None = None, dtype: DTypeLike = np.float32, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """Return ones on the diagonal of a matrix of zeros.

    Parameters
    ----------
    n, m
        Rows and columns; as many columns as rows if None.
    dtype
        Any dtype of tensors.
    requires_grad
        Whether ``backward`` should leave a gradient.
    device
        ``"cpu"`` or None.
    """
    on_cpu(device)
    return Tensor(np.eye(n, m, dtype=dtype), requires_grad)


def _typed(name: str, dtype: DTypeLike) -> Any:
    def make(*data: Any) -> Tensor:
        if data and not isinstance(data[0], int):
            return tensor(data[0], dtype)
        return zeros(*data, dtype=dtype) if data else zeros(0, dtype=dtype)

    make.dtype = np.dtype(dtype)  # type: ignore[attr-defined]
    make.__name__, make.__doc__ = name, f"Return data as a tensor of {np.dtype(dtype)}; of integers, zeros so large."
    return make


FloatTensor, DoubleTensor = _typed("FloatTensor", np.float32), _typed("DoubleTensor", np.float64)
LongTensor, IntTensor = _typed("LongTensor", np.int64), _typed("IntTensor", np.int32)
BoolTensor = _typed("BoolTensor", np.bool_)

pi, inf, nan = math.pi, math.inf, math.nan
