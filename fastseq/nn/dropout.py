"""Dropout: noise in training, nothing in evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor
from fastseq.nn import functional
from fastseq.nn.module import Module


class Dropout(Module):
    """In training, set each element to 0 with probability p and divide the others by 1 - p.

    Parameters
    ----------
    p
        The probability, in 0..1.
    inplace
        PyTorch's argument, for its order of arguments: the input is never written to, and the results are the same.

    Notes
    -----
    The random numbers are ``fastseq.nn.init.generator()``'s: ``fastseq.manual_seed`` makes them repeat.
    """

    _config = ("p",)

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = checks.real("p", p, 0.0, 1.0)
        checks.boolean("inplace", inplace)

    def forward(self, input: Any) -> Tensor:
        """Return the input with noise in training, the input itself in evaluation.

        Parameters
        ----------
        input
            Any shape.

        Returns
        -------
        Tensor
            Of the input's shape.
        """
        return functional.dropout(input, self.p, self.training)


class VariationalDropout(Module):
    """In training, drop whole features of a row: one mask for all its steps.

    Parameters
    ----------
    p
        The probability, in 0..1.
    batch_first
        Whether arrays are (B, T, F) or (T, B, F).

    Notes
    -----
    Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks", 2016; also
    known as locked dropout. For dropout inside the recurrence see `WeightDrop`.
    """

    _config = ("p", "batch_first")

    def __init__(self, p: float = 0.5, batch_first: bool = True) -> None:
        super().__init__()
        self.p = checks.real("p", p, 0.0, 1.0)
        self.batch_first = checks.boolean("batch_first", batch_first)

    def forward(self, x: Any) -> Tensor:
        """Return x with noise in training, x itself in evaluation.

        Parameters
        ----------
        x
            (B, T, F).

        Returns
        -------
        Tensor
            Of x's shape.

        Raises
        ------
        TypeError
            If training, and x holds no floats.
        ValueError
            If the shape does not fit.
        """
        data = array(x, "x")
        if data.ndim != 3:
            raise checks.value_error("x", "shape (B, T, F)" if self.batch_first else "shape (T, B, F)", data)
        if not self.training or self.p == 0:
            return x if isinstance(x, Tensor) else Tensor(x)
        if data.dtype.kind != "f":
            raise checks.kind_error("x", "float32 or float64", data)
        batch, _, features = data.shape if self.batch_first else (data.shape[1], 0, data.shape[2])
        mask = functional.dropout(np.ones((batch, features), data.dtype), self.p, True)
        return ops.mul(x, ops.unsqueeze(mask, 1 if self.batch_first else 0))
