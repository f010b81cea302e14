"""Activation functions and dropout, each one node of the tape with its derivative in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import elementary, ops
from fastseq.autograd.noise import noise_of, under_noise
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor, record
from fastseq.nn.init import generator

Array = NDArray[Any]

_GELU_SCALE = math.sqrt(2 / math.pi)
_GELU_CUBIC = 0.044715


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """Return input * Phi(input), where Phi is the normal distribution function.

    Parameters
    ----------
    input
        Any shape.
    approximate
        ``"none"`` for the exact function, ``"tanh"`` for the approximation with tanh.

    Returns
    -------
    Tensor
        Of the input's shape.

    Notes
    -----
    Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, section 2.
    """
    data = array(input)
    if checks.choice("approximate", approximate, ("none", "tanh")) == "tanh":
        inner = elementary.tanh(_GELU_SCALE * (data + _GELU_CUBIC * data * data * data))

        def slope() -> Array:
            grow = _GELU_SCALE * (1 + 3 * _GELU_CUBIC * data * data)
            return 0.5 * (1 + inner) + 0.5 * data * (1 - inner * inner) * grow

        return record(0.5 * data * (1 + inner), (input,), (lambda g: g * slope(),), (input,))

    from scipy import special  # here, since it takes longer to import than fastseq itself

    share = 0.5 * (1 + special.erf(data * math.sqrt(0.5)))

    def exact_slope() -> Array:
        return share + data * (elementary.exp(-0.5 * data * data) * (1 / math.sqrt(2 * math.pi)))

    return record(data * share, (input,), (lambda g: g * exact_slope(),), (input,))


def elu(input: Any, alpha: float = 1.0) -> Tensor:
    """Return input where positive, else alpha * (exp(input) - 1).

    Parameters
    ----------
    input
        Any shape.
    alpha
        The limit on the negative side is -alpha.

    Returns
    -------
    Tensor
        Of the input's shape.
    """
    data = array(input)
    out = np.where(data > 0, data, alpha * np.expm1(np.minimum(data, 0)))
    return record(out, (input,), (lambda g: np.where(data > 0, g, g * (out + alpha)),), (input,), saves_output=True)


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Tensor:
    """Return input where positive, else negative_slope * input.

    Parameters
    ----------
    input
        Any shape.
    negative_slope
        The slope on the negative side.

    Returns
    -------
    Tensor
        Of the input's shape.
    """
    data = array(input)
    out = np.where(data > 0, data, data * negative_slope)
    return record(out, (input,), (lambda g: np.where(data > 0, g, g * negative_slope),), (input,))


def prelu(input: Any, weight: Any) -> Tensor:
    """Return input where positive, else weight * input.

    Parameters
    ----------
    input
        Any shape.
    weight
        Of a shape that fits: one number, or one per feature (the last axis).

    Returns
    -------
    Tensor
        Of the input's shape.

    Notes
    -----
    He et al., "Delving Deep into Rectifiers", 2015, equation 1.
    """
    slope = ops.reshape(weight, ()) if array(weight).size == 1 else weight
    return ops.where(array(input) > 0, input, ops.mul(input, slope))


def silu(input: Any) -> Tensor:
    """Return input * sigmoid(input), also called swish.

    Parameters
    ----------
    input
        Any shape.

    Returns
    -------
    Tensor
        Of the input's shape.
    """
    data = np.maximum(array(input), -1000)  # as in simd.elementwise: our sigmoid is never quite zero
    gate = elementary.sigmoid(data)
    return record(data * gate, (input,), (lambda g: g * (gate * (1 + data * (1 - gate))),), (input,))


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return log(1 + exp(beta * input)) / beta.

    Parameters
    ----------
    input
        Any shape.
    beta
        How sharp the bend is, > 0.
    threshold
        Above beta * input = threshold the function is the input.

    Returns
    -------
    Tensor
        Of the input's shape.
    """
    checks.real("beta", beta, 0.0, open_minimum=True)
    data = array(input)
    scaled = data * beta
    straight = scaled > threshold
    out = np.where(straight, data, softplus_array(scaled) / beta)
    return record(out, (input,), (lambda g: np.where(straight, g, g * elementary.sigmoid(scaled)),))


def logsigmoid(input: Any) -> Tensor:
    """Return log(sigmoid(x)), without overflow.

    Parameters
    ----------
    input
        Any shape.

    Returns
    -------
    Tensor
        Of the input's shape.
    """
    data = array(input)
    return record(-softplus_array(-data), (input,), (lambda g: g * elementary.sigmoid(-data),), (input,))


def softplus_array(x: Array) -> Array:
    """Return log(1 + exp(x)) of an ndarray without overflow.

    Parameters
    ----------
    x
        Any shape.

    Returns
    -------
    ndarray
        Freshly allocated.
    """
    return elementary.log1p(elementary.exp(-np.abs(x))) + np.maximum(x, 0)


def dropout(input: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Return the input with each element set to 0 with probability p and the others divided by 1 - p.

    Parameters
    ----------
    input
        Any shape.
    p
        The probability, in 0..1.
    training
        False gives the input back.

    Returns
    -------
    Tensor
        Of the input's shape.

    Raises
    ------
    TypeError
        If training, and the input holds no floats.

    Notes
    -----
    Draws two keys from ``fastseq.nn.init.generator()``; which elements are dropped follows from them and the elements'
    numbers (see ``fastseq.simd.noise``): a seed drops the same ones in float32 and float64. Srivastava et al.,
    "Dropout", JMLR 15, 2014, in its inverted form.
    """
    p = checks.real("p", p, 0.0, 1.0)
    if not training or p == 0.0:
        return input if isinstance(input, Tensor) else Tensor(input)
    data = array(input, "input")
    if data.dtype.kind != "f":
        raise checks.kind_error("input", "float32 or float64", data)
    return under_noise(input, noise_of(p, generator()))
