"""Activation functions as layers, with PyTorch's names and arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor
from fastseq.nn import functional
from fastseq.nn.init import constant_, expect_room
from fastseq.nn.module import Module, Parameter


class Identity(Module):
    """Return the input."""

    def forward(self, input: Any) -> Any:
        """Return the input, any shape."""
        return input


class ReLU(Module):
    """Return max(x, 0).

    Parameters
    ----------
    inplace
        PyTorch's argument, for its order of arguments: the input is never written to, and the results are the same.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        checks.boolean("inplace", inplace)

    def forward(self, input: Any) -> Tensor:
        """Return the function of the input, any shape."""
        return functional.relu(input)


class Sigmoid(Module):
    """Return 1 / (1 + exp(-x))."""

    def forward(self, input: Any) -> Tensor:
        """Return the function of the input, any shape."""
        return functional.sigmoid(input)


class Tanh(Module):
    """Return the hyperbolic tangent."""

    def forward(self, input: Any) -> Tensor:
        """Return the function of the input, any shape."""
        return functional.tanh(input)


class SiLU(Module):
    """Return x * sigmoid(x).

    Parameters
    ----------
    inplace
        PyTorch's argument, for its order of arguments: the input is never written to, and the results are the same.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        checks.boolean("inplace", inplace)

    def forward(self, input: Any) -> Tensor:
        """Return the function of the input, any shape."""
        return functional.silu(input)


class Softmax(Module):
    """Return exp(x) / sum exp(x) along an axis.

    Parameters
    ----------
    dim
        The axis that sums to one; the last unless given.
    """

    _config = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = checks.integer("dim", dim)

    def forward(self, input: Any) -> Tensor:
        """Return the function of the input, any shape."""
        return functional.softmax(input, self.dim)


class LogSoftmax(Softmax):
    """Return the logarithm of softmax along an axis.

    Parameters
    ----------
    dim
        The axis whose exponentials sum to one; the last unless given.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim)

    def forward(self, input: Any) -> Tensor:
        """Return the function of the input, any shape."""
        return functional.log_softmax(input, self.dim)


class GELU(Module):
    """Return x * Phi(x), where Phi is the normal distribution function.

    Parameters
    ----------
    approximate
        ``"none"`` for the exact function, ``"tanh"`` for the approximation with tanh.
    """

    _config = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = checks.choice("approximate", approximate, ("none", "tanh"))

    def forward(self, input: Any) -> Tensor:
        """Return the function of the input, any shape."""
        return functional.gelu(input, self.approximate)


class ELU(Module):
    """Return x where positive, else alpha * (exp(x) - 1).

    Parameters
    ----------
    alpha
        The limit on the negative side is -alpha.
    inplace
        PyTorch's argument, for its order of arguments: the input is never written to, and the results are the same.
    """

    _config = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        checks.boolean("inplace", inplace)
        self.alpha = checks.real("alpha", alpha)

    def forward(self, input: Any) -> Tensor:
        """Return the function of the input, any shape."""
        return functional.elu(input, self.alpha)


class LeakyReLU(Module):
    """Return x where positive, else negative_slope * x.

    Parameters
    ----------
    negative_slope
        The slope on the negative side.
    inplace
        PyTorch's argument, for its order of arguments: the input is never written to, and the results are the same.
    """

    _config = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        checks.boolean("inplace", inplace)
        self.negative_slope = checks.real("negative_slope", negative_slope)

    def forward(self, input: Any) -> Tensor:
        """Return the function of the input, any shape."""
        return functional.leaky_relu(input, self.negative_slope)


class PReLU(Module):
    """Return x where positive, else weight * x, with a weight that is learnt.

    Parameters
    ----------
    num_parameters
        1, or as many as there are features (the last axis).
    init
        What the weight is at first.
    dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter
        (num_parameters,)
    """

    weight: Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        size = self.slopes = checks.integer("num_parameters", num_parameters, 1)  # num_parameters() is every module's
        self.init = checks.real("init", init)
        self.dtype = checks.float_dtype("dtype", dtype)
        expect_room(size)
        self.weight = Parameter(np.full(size, self.init, self.dtype))

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"num_parameters": self.slopes, "init": self.init, "dtype": self.dtype.name}

    def reset_parameters(self) -> None:
        """Set the weight to ``init``."""
        constant_(self.weight, self.init)

    def forward(self, input: Any) -> Tensor:
        """Return the function of the input.

        Parameters
        ----------
        input
            Any shape, with ``num_parameters`` as its last axis unless that is 1. Converted to the layer's dtype.

        Returns
        -------
        Tensor
            Of the input's shape.

        Raises
        ------
        ValueError
            If the last axis differs.
        """
        data = array(input)
        if self.slopes > 1 and (not data.ndim or data.shape[-1] != self.slopes):
            raise checks.value_error("input", f"shape (..., {self.slopes})", data)
        return functional.prelu(input if data.dtype == self.dtype else ops.cast(input, self.dtype), self.weight)


class Softplus(Module):
    """Return log(1 + exp(beta * x)) / beta.

    Parameters
    ----------
    beta
        How sharp the bend is, > 0.
    threshold
        Above beta * x = threshold the function is x.
    """

    _config = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = checks.real("beta", beta, 0.0, open_minimum=True)
        self.threshold = checks.real("threshold", threshold)

    def forward(self, input: Any) -> Tensor:
        """Return the function of the input, any shape."""
        return functional.softplus(input, self.beta, self.threshold)
