"""Positions for layers that know no order: added to the features of each step."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.nn import functional, init
from fastseq.nn.module import Module, Parameter
from fastseq.nn.tokens import as_tensor, row_lengths


@lru_cache(maxsize=32)
def sinusoids(steps: int, features: int, dtype: Any) -> NDArray[Any]:
    """Return sines and cosines of positions, wave lengths from 2 pi to 20,000 pi.

    Parameters
    ----------
    steps
        T.
    features
        F.
    dtype
        float32 or float64.

    Returns
    -------
    ndarray
        (T, F), read-only: sin(t / 10000^(2i / F)) in column 2i, the cosine in column 2i + 1.
    """
    columns = np.arange(features)
    angle = np.arange(steps)[:, None] * 10_000.0 ** (-(columns - columns % 2) / features)
    table = np.where(columns % 2, np.cos(angle), np.sin(angle)).astype(dtype)
    table.flags.writeable = False
    return table


def _added(x: Any, table: Any, lengths: Any, p: float, training: bool, dtype: np.dtype) -> Tensor:
    """Return x + table, after dropout, zeros past lengths."""
    rows = as_tensor("x", x, table.shape[1], dtype)
    valid = row_lengths("lengths", lengths, *rows.shape[:2])
    out = functional.dropout(rows + table, p, training)
    if valid is None:
        return out
    return ops.where((np.arange(rows.shape[1]) < valid[:, None])[:, :, None], out, out.dtype.type(0))


class SinusoidalPositions(Module):
    """Add sines and cosines of each step's position to its features.

    Parameters
    ----------
    features
        F.
    dropout
        Probability of dropping an element of the sum, while training.
    dtype
        float32 or float64.

    Notes
    -----
    Vaswani et al., "Attention Is All You Need", 2017, section 3.5. Rows may be of any length; nothing is learned.
    """

    _config = ("features", "dropout", "dtype")

    def __init__(self, features: int, dropout: float = 0.0, *, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        self.features = checks.integer("features", features, 1)
        self.dropout = checks.real("dropout", dropout, 0.0, 1.0)
        self.dtype = checks.float_dtype("dtype", dtype)

    def forward(self, x: Any, lengths: Any = None) -> Tensor:
        """Return the sums.

        Parameters
        ----------
        x
            (B, T, F). Converted to the layer's dtype.
        lengths
            Valid steps per row, integers (B,): what stands past them gives zeros and gets no gradient.

        Returns
        -------
        Tensor
            (B, T, F)

        Raises
        ------
        ValueError
            If a shape or a length does not fit.
        """
        shape = np.shape(x)
        table = sinusoids(shape[1] if len(shape) == 3 else 0, self.features, self.dtype)
        return _added(x, table, lengths, self.dropout, self.training, self.dtype)


class LearnedPositions(Module):
    """Add a learned vector for each position to the features of its step.

    Parameters
    ----------
    max_steps
        How long rows may be.
    features
        F.
    dropout
        Probability of dropping an element of the sum, while training.
    dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter
        (max_steps, F), from N(0, 0.02^2) at first.
    """

    _config = ("max_steps", "features", "dropout", "dtype")

    weight: Parameter

    def __init__(self, max_steps: int, features: int, dropout: float = 0.0, *, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        self.max_steps = checks.integer("max_steps", max_steps, 1)
        self.features = checks.integer("features", features, 1)
        self.dropout = checks.real("dropout", dropout, 0.0, 1.0)
        self.dtype = checks.float_dtype("dtype", dtype)
        init.expect_room(checks.product_fits("max_steps", self.max_steps, self.features))
        self.weight = Parameter(np.empty((self.max_steps, self.features), self.dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors anew."""
        init.normal_(self.weight, 0.0, 0.02)

    def forward(self, x: Any, lengths: Any = None) -> Tensor:
        """Return the sums.

        Parameters
        ----------
        x
            (B, T, F), T at most max_steps. Converted to the layer's dtype.
        lengths
            Valid steps per row, integers (B,): what stands past them gives zeros and gets no gradient.

        Returns
        -------
        Tensor
            (B, T, F)

        Raises
        ------
        ValueError
            If a shape or a length does not fit.
        """
        shape = np.shape(x)
        if len(shape) == 3 and shape[1] > self.max_steps:
            raise checks.value_error("x", f"at most max_steps = {self.max_steps} steps", f"{shape[1]}")
        table = ops.getitem(self.weight, slice(0, shape[1] if len(shape) == 3 else 0))
        return _added(x, table, lengths, self.dropout, self.training, self.dtype)
