"""Random numbers of the package and the initialisers that draw weights from them.

All random numbers of fastseq (initial weights, dropout, data order where no ``random_state`` is given) come from
one NumPy Generator, ``generator()``. Initialisers draw in float64 and round once, so that a seed gives the same
weights in float32 and float64. They write in place, bump the tensor's version and return the tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.generator import generator
from fastseq.autograd.generator import manual_seed as manual_seed
from fastseq.autograd.generator import use_generator as use_generator
from fastseq.autograd.tensor import Tensor

T = TypeVar("T", Tensor, NDArray)


class Plan:
    """What a model that is being rebuilt from a file may hold: so many arrays of so many elements in all.

    Parameters
    ----------
    arrays
        How many parameters and buffers.
    elements
        How many elements they have together.
    """

    def __init__(self, arrays: int, elements: int) -> None:
        self.arrays = arrays
        self.elements = elements

    def charge(self, elements: int) -> None:
        """Count one more array, or raise ValueError if that is more than there should be.

        Parameters
        ----------
        elements
            Its size.
        """
        self.arrays -= 1
        self.elements -= elements
        if self.arrays < 0 or self.elements < 0:
            raise ValueError("configuration: expected sizes of the arrays in the file, got larger ones")


_PLAN: ContextVar[Plan | None] = ContextVar("fastseq_plan", default=None)

GAINS = {
    "linear": 1.0,
    "identity": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4.0,
}


@contextmanager
def rebuilding(plan: Plan) -> Iterator[None]:
    """Let initialisers do nothing inside a ``with`` block, for a model whose weights are written right afterwards.

    Loading a model draws no random numbers this way, and so does not change what comes after it.

    Parameters
    ----------
    plan
        What the model may hold; making a Parameter or buffer beyond it raises ValueError.
    """
    token = _PLAN.set(plan)
    try:
        yield
    finally:
        _PLAN.reset(token)


def is_rebuilding() -> bool:
    """Say whether a model is being rebuilt from a file here and now: what would be drawn is written afterwards."""
    return _PLAN.get() is not None


def expect_room(elements: int) -> None:
    """Raise ValueError if the model that is being rebuilt, if one is, has no room for so many more elements.

    Parameters
    ----------
    elements
        What a layer is about to allocate.
    """
    plan = _PLAN.get()
    if plan is not None and elements > plan.elements:
        raise ValueError(f"configuration: expected at most {plan.elements} more elements, got {elements}")


def account(elements: int) -> None:
    """Charge a new parameter or buffer to the plan of the model that is being rebuilt, if one is.

    Parameters
    ----------
    elements
        Its size.
    """
    plan = _PLAN.get()
    if plan is not None:
        plan.charge(elements)


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0) -> T:
    """Fill with draws from U[a, b).

    Parameters
    ----------
    tensor
        Any shape; written in place.
    a, b
        The bounds.

    Returns
    -------
    Tensor or ndarray
        The tensor given.
    """
    low, high = checks.real("a", a), checks.real("b", b)
    if low > high:
        raise checks.value_error("a", f"a number <= b = {high:g}", low)
    return _fill(tensor, lambda shape: generator().uniform(low, high, shape))


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0) -> T:
    """Fill with draws from N(mean, std**2).

    Parameters
    ----------
    tensor
        Any shape; written in place.
    mean, std
        Mean and standard deviation, std >= 0.

    Returns
    -------
    Tensor or ndarray
        The tensor given.
    """
    mean, std = checks.real("mean", mean), checks.real("std", std, 0.0)
    return _fill(tensor, lambda shape: generator().normal(mean, std, shape))


def constant_(tensor: T, val: float) -> T:
    """Fill with one value.

    Parameters
    ----------
    tensor
        Any shape; written in place.
    val
        The value.

    Returns
    -------
    Tensor or ndarray
        The tensor given.
    """
    number = checks.real("val", val)
    return _fill(tensor, lambda shape: np.broadcast_to(number, shape))


def zeros_(tensor: T) -> T:
    """Fill with zeros.

    Parameters
    ----------
    tensor
        Any shape; written in place.

    Returns
    -------
    Tensor or ndarray
        The tensor given.
    """
    return constant_(tensor, 0.0)


def ones_(tensor: T) -> T:
    """Fill with ones.

    Parameters
    ----------
    tensor
        Any shape; written in place.

    Returns
    -------
    Tensor or ndarray
        The tensor given.
    """
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: T, gain: float = 1.0) -> T:
    """Fill from U(-a, a) with a = gain * sqrt(6 / (fan_in + fan_out)).

    Parameters
    ----------
    tensor
        Two axes or more, (fan_out, fan_in, ...); written in place.
    gain
        Scale, see ``calculate_gain``.

    Returns
    -------
    Tensor or ndarray
        The tensor given.

    Notes
    -----
    Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks", eq. 16.
    """
    fan_in, fan_out = _fans(tensor)
    bound = checks.real("gain", gain) * math.sqrt(6.0 / max(fan_in + fan_out, 1))
    return _fill(tensor, lambda shape: generator().uniform(-bound, bound, shape))


def xavier_normal_(tensor: T, gain: float = 1.0) -> T:
    """Fill from N(0, s**2) with s = gain * sqrt(2 / (fan_in + fan_out)).

    Parameters
    ----------
    tensor
        Two axes or more, (fan_out, fan_in, ...); written in place.
    gain
        Scale, see ``calculate_gain``.

    Returns
    -------
    Tensor or ndarray
        The tensor given.

    Notes
    -----
    Glorot and Bengio (2010), eq. 12.
    """
    fan_in, fan_out = _fans(tensor)
    std = checks.real("gain", gain) * math.sqrt(2.0 / max(fan_in + fan_out, 1))
    return _fill(tensor, lambda shape: generator().normal(0.0, std, shape))


def _fan(tensor: Tensor | NDArray, mode: str) -> int:
    """Return the fan that a mode names."""
    return _fans(tensor)[0 if checks.choice("mode", mode, ("fan_in", "fan_out")) == "fan_in" else 1]


def kaiming_uniform_(tensor: T, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> T:
    """Fill from U(-b, b) with b = gain * sqrt(3 / fan).

    Parameters
    ----------
    tensor
        Two axes or more, (fan_out, fan_in, ...); written in place.
    a
        Negative slope of the leaky ReLU that follows.
    mode
        ``"fan_in"`` keeps the variance of activations, ``"fan_out"`` that of gradients.
    nonlinearity
        What follows, see ``calculate_gain``.

    Returns
    -------
    Tensor or ndarray
        The tensor given.

    Notes
    -----
    He et al. (2015), "Delving Deep into Rectifiers", eq. 10 and 15.
    """
    fan = _fan(tensor, mode)
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / max(fan, 1))
    return _fill(tensor, lambda shape: generator().uniform(-bound, bound, shape))


def kaiming_normal_(tensor: T, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> T:
    """Fill from N(0, std**2) with std = gain / sqrt(fan).

    Parameters
    ----------
    tensor
        Two axes or more, (fan_out, fan_in, ...); written in place.
    a
        Negative slope of the leaky ReLU that follows.
    mode
        ``"fan_in"`` keeps the variance of activations, ``"fan_out"`` that of gradients.
    nonlinearity
        What follows, see ``calculate_gain``.

    Returns
    -------
    Tensor or ndarray
        The tensor given.
    """
    fan = _fan(tensor, mode)
    std = calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))
    return _fill(tensor, lambda shape: generator().normal(0.0, std, shape))


def orthogonal_(tensor: T, gain: float = 1.0) -> T:
    """Fill with a (semi-)orthogonal matrix: orthonormal rows or columns, whichever are fewer, times ``gain``.

    Parameters
    ----------
    tensor
        Two axes or more; axes after the first count as one. Written in place.
    gain
        Scale.

    Returns
    -------
    Tensor or ndarray
        The tensor given.

    Notes
    -----
    Saxe et al. (2013), "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks".
    The signs of R's diagonal are moved into Q, so that the matrix is uniform over the orthogonal group.
    """
    gain = checks.real("gain", gain)
    _fans(tensor)

    def draw(shape: tuple[int, ...]) -> NDArray:
        rows, columns = shape[0], math.prod(shape[1:])
        q, r = np.linalg.qr(generator().standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return (gain * (q if rows >= columns else q.T)).reshape(shape)

    return _fill(tensor, draw)


def calculate_gain(nonlinearity: str, param: float = 0.01) -> float:
    """Return the factor by which an initialiser's scale makes up for an activation.

    Parameters
    ----------
    nonlinearity
        ``"linear"``, ``"identity"``, ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` or ``"selu"``.
    param
        Negative slope, for ``"leaky_relu"``.

    Returns
    -------
    float
        The gain.
    """
    checks.choice("nonlinearity", nonlinearity, (*GAINS, "leaky_relu"))
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1.0 + checks.real("param", param) ** 2))
    return GAINS[nonlinearity]


def _fans(tensor: Tensor | NDArray) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight (fan_out, fan_in, receptive field ...)."""
    shape = tensor.shape
    if len(shape) < 2:
        raise checks.value_error("tensor", "at least 2 axes", f"shape {tuple(shape)}")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _fill(tensor: T, draw: Callable[[tuple[int, ...]], NDArray]) -> T:
    """Write ``draw(shape)`` into the tensor unless initialising is switched off."""
    if _PLAN.get() is not None:
        return tensor
    if isinstance(tensor, Tensor):
        tensor._data[...] = draw(tensor._data.shape)
        tensor._version[0] += 1
    elif isinstance(tensor, np.ndarray):
        tensor[...] = draw(tensor.shape)
    else:
        raise checks.kind_error("tensor", "a Tensor or an ndarray", tensor)
    return tensor
