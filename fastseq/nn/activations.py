"""Activation functions as layers, with PyTorch's names and arguments."""

from __future__ import annotations

from typing import Any

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.nn import functional
from fastseq.nn.module import Module


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
