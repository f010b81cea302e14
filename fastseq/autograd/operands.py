"""What operations do with their arguments: get at the arrays, resolve axes, undo broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.conversion import as_array
from fastseq.autograd.tensor import Tensor

Array = NDArray[Any]


def raw(value: Any) -> Any:
    """Return the ndarray behind an operand, or a Python number for a scalar (scalars are weak in promotion).

    Parameters
    ----------
    value
        Tensor, ndarray, number, or anything the Tensor constructor takes.

    Returns
    -------
    ndarray, or a Python number
    """
    if isinstance(value, Tensor):
        return value._data
    if type(value) is float or type(value) is int:
        return value
    if isinstance(value, (np.generic, float, int)):  # np.float64 is a float, and would not be weak
        return value.item() if isinstance(value, np.generic) else value
    return as_array("operand", value)


def pair(a: Any, b: Any) -> tuple[Any, Any]:
    """Return what ``raw`` makes of two operands; integers and bools beside floating-point ones take their dtype.

    Parameters
    ----------
    a, b
        As for ``raw``.

    Returns
    -------
    ndarrays, or Python numbers

    Notes
    -----
    PyTorch's rule: NumPy would make float64 of int64 with float32, or with a Python float.
    """
    x, y = raw(a), raw(b)
    return _beside(x, y), _beside(y, x)


def _beside(x: Any, y: Any) -> Any:
    if isinstance(x, np.ndarray) and x.dtype.kind in "iub":
        if type(y) is float:
            return x.astype(np.float32)
        if isinstance(y, np.ndarray) and y.dtype.kind == "f":
            return x.astype(y.dtype)
    return x


def floating(value: Any) -> Array:
    """Return the ndarray behind an operand of a function that gives no integers: of integers and bools, float32.

    Parameters
    ----------
    value
        Tensor, ndarray, number, or anything the Tensor constructor takes.

    Returns
    -------
    ndarray
    """
    data = array(value)
    return data if data.dtype.kind == "f" else data.astype(np.float32)


def array(value: Any, argument: str = "operand") -> Array:
    """Return the ndarray behind an operand, scalars included.

    Parameters
    ----------
    value
        Tensor, ndarray, number, or anything the Tensor constructor takes.
    argument
        The name to use in messages.

    Returns
    -------
    ndarray
    """
    return value._data if isinstance(value, Tensor) else as_array(argument, value)


def differentiable(value: Any) -> bool:
    """Return whether a gradient is wanted for an operand.

    Parameters
    ----------
    value
        Anything.

    Returns
    -------
    bool
    """
    return isinstance(value, Tensor) and value.requires_grad


def fit(gradient: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return a gradient brought to an operand's shape and dtype: sums over the axes that broadcasting repeated.

    Parameters
    ----------
    gradient
        Of the broadcast shape.
    shape, dtype
        The operand's.

    Returns
    -------
    ndarray
        ``gradient`` itself where nothing has to be done.
    """
    if gradient.shape != shape:
        extra = gradient.ndim - len(shape)
        axes = [*range(extra), *(k + extra for k, n in enumerate(shape) if n == 1 and gradient.shape[k + extra] != 1)]
        gradient = np.add.reduce(gradient, axis=tuple(axes)).reshape(shape)
    if gradient.dtype is not dtype and gradient.dtype != dtype:
        gradient = gradient.astype(dtype)
    return gradient


def unchanged(value: Any, data: Any, result: Any) -> Callable[[Array], Array] | None:
    """Return the pullback of an operand whose gradient is that of the result, up to broadcasting.

    Parameters
    ----------
    value
        The operand.
    data
        What ``raw`` made of it.
    result
        The operation's result.

    Returns
    -------
    callable or None
        None where the gradient passes as it is.
    """
    if not isinstance(value, Tensor) or (data.shape == result.shape and data.dtype is result.dtype):
        return None
    shape, dtype = data.shape, data.dtype
    return lambda g: fit(g, shape, dtype)


def scaled(data: Array, factor: Any) -> Callable[[Array], Array]:
    """Return the pullback of an operand whose gradient is ``g * factor``, up to broadcasting.

    Parameters
    ----------
    data
        The operand's array; only its shape and dtype are kept.
    factor
        Array or number.

    Returns
    -------
    callable
    """
    shape, dtype = data.shape, data.dtype
    return lambda g: fit(g * factor, shape, dtype)


def one_of(axis: Any, dim: Any, names: str = "axis") -> Any:
    """Return the one given of two spellings of an option (NumPy's and PyTorch's).

    Parameters
    ----------
    axis
        NumPy's spelling; its default stands for "not given".
    dim
        PyTorch's spelling; None stands for "not given".
    names
        NumPy's name of the option, for the message.

    Returns
    -------
    object
        The option's value.

    Raises
    ------
    TypeError
        If both are given.
    """
    if dim is None:
        return axis
    if axis is not None and axis is not False:
        raise TypeError(f"{names}: expected one of the two spellings (axis or dim, keepdims or keepdim), got both")
    return dim


def axes_of(axis: Any, ndim: int, argument: str = "axis") -> tuple[int, ...]:
    """Return an axis argument as a sorted tuple of axes >= 0; None means all.

    Parameters
    ----------
    axis
        None, an integer or a sequence of integers, negative ones counting from the end.
    ndim
        The number of axes there are.
    argument
        The name to use in messages.

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError
        If an axis does not exist or comes twice.
    """
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    found = [checks.integer(argument, k) for k in given]
    if any(not -ndim <= k < ndim for k in found):
        raise checks.value_error(argument, f"axes in {-ndim}..{ndim - 1}", str(axis))
    resolved = sorted(k % ndim for k in found)
    if len(set(resolved)) != len(resolved):
        raise checks.value_error(argument, "each axis once", str(axis))
    return tuple(resolved)


def axis_of(axis: Any, ndim: int, argument: str = "axis") -> int:
    """Return one axis as an integer >= 0.

    Parameters
    ----------
    axis
        An integer, negative ones counting from the end.
    ndim
        The number of axes there are.
    argument
        The name to use in messages.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the axis does not exist.
    """
    found = checks.integer(argument, axis)
    if not -ndim <= found < ndim:
        raise checks.value_error(argument, f"an axis in {-ndim}..{ndim - 1}", found)
    return found % ndim
