"""Gradient clipping, and parameters as one vector. Named after ``torch.nn.utils``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import elementary
from fastseq.autograd.tensor import Tensor
from fastseq.nn.utils import rnn

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "rnn", "vector_to_parameters"]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> np.float64:
    """Scale all gradients down together, so that their joint norm is at most ``max_norm``.

    Parameters
    ----------
    parameters
        Tensors; those without a gradient are left out.
    max_norm
        The largest norm, >= 0.
    norm_type
        Which p-norm; ``float("inf")`` for the largest absolute value.
    error_if_nonfinite
        Whether a norm of infinity or NaN is an error; else it spreads to all gradients, as in PyTorch.

    Returns
    -------
    numpy.float64
        The norm before clipping.

    Raises
    ------
    RuntimeError
        If the norm is not finite and ``error_if_nonfinite``; the gradients are unchanged then.
    """
    gradients = _gradients(parameters)
    limit = checks.real("max_norm", max_norm, 0.0)
    total = _joint_norm(gradients, norm_type)
    if checks.boolean("error_if_nonfinite", error_if_nonfinite) and not math.isfinite(total):
        raise RuntimeError(f"gradients: expected a finite norm of order {norm_type:g}, got {total}")
    factor = np.float64(limit) / (total + np.float64(1e-6))  # PyTorch's guard against a norm of zero
    if not factor >= 1.0:
        for gradient in gradients:
            np.multiply(gradient, gradient.dtype.type(factor), out=gradient)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Cut every gradient entry off at ``-clip_value`` and ``clip_value``.

    Parameters
    ----------
    parameters
        Tensors; those without a gradient are left out.
    clip_value
        The largest absolute value, >= 0.
    """
    limit = checks.real("clip_value", clip_value, 0.0)
    for gradient in _gradients(parameters):
        np.clip(gradient, -limit, limit, out=gradient)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all values, one parameter after the other.

    Parameters
    ----------
    parameters
        Tensors.

    Returns
    -------
    Tensor
        (N,), detached, with storage of its own.
    """
    arrays = [_tensor(parameter)._data.reshape(-1) for parameter in parameters]
    if not arrays:
        raise checks.value_error("parameters", "at least one tensor", "none")
    return Tensor(np.concatenate(arrays))


def vector_to_parameters(vec: Tensor | NDArray[Any], parameters: Iterable[Tensor]) -> None:
    """Copy a vector's values into parameters, one after the other.

    Parameters
    ----------
    vec
        (N,), as many numbers as the parameters have.
    parameters
        Tensors; written in place.
    """
    values = vec._data if isinstance(vec, Tensor) else np.asarray(vec)
    targets = [_tensor(parameter) for parameter in parameters]
    wanted = sum(target._data.size for target in targets)
    if values.shape != (wanted,):
        raise checks.value_error("vec", f"shape ({wanted},)", values)
    start = 0
    for target in targets:
        stop = start + target._data.size
        target._data[...] = values[start:stop].reshape(target._data.shape)
        target._version[0] += 1
        start = stop


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise checks.kind_error("parameters", "tensors", value)
    return value


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[NDArray[Any]]:
    tensors = [parameters] if isinstance(parameters, Tensor) else [_tensor(p) for p in parameters]
    return [tensor.grad._data for tensor in tensors if tensor.grad is not None]


def _joint_norm(gradients: list[NDArray[Any]], norm_type: float) -> np.float64:
    """Return the p-norm over all entries, summed in double precision and in a fixed order."""
    order = float(norm_type)
    if math.isinf(order) and order > 0:
        largest = [np.abs(gradient).max(initial=0) for gradient in gradients]
        return np.float64(np.max(largest) if largest else 0.0)  # unlike max(), NumPy's lets NaN through
    checks.real("norm_type", norm_type, 0.0, open_minimum=True)
    with np.errstate(over="ignore"):
        if order == 2.0:
            return np.sqrt(np.float64(sum([elementary.sum_of_squares(g) for g in gradients])))
        parts = [np.add.reduce(np.abs(g, dtype=np.float64) ** order, axis=None) for g in gradients]
        return np.float64(np.sum(parts)) ** (1.0 / order)
