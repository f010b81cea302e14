"""Pooling over time: a sequence (B, T, C) becomes one vector per row (B, C).

What stands past a row's length, NaN included, changes neither value nor gradient, and gets gradient 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.ops_attention import attention, full_rows
from fastseq.autograd.tensor import Tensor, record
from fastseq.nn.linear import Linear
from fastseq.nn.module import Module
from fastseq.nn.tokens import as_tensor, row_lengths, tokens_of

Array = NDArray[Any]


def _input(x: Any, lengths: Any) -> tuple[Array, NDArray[np.int64]]:
    data = array(x, "x")
    if data.ndim != 3:
        raise checks.value_error("x", "shape (B, T, C)", data)
    if data.dtype.kind != "f":
        raise checks.kind_error("x", "float32 or float64", data)
    return data, checks.lengths("lengths", lengths, data.shape[0], data.shape[1])


class LastStep(Module):
    """Return the output at each row's last valid step.

    Parameters
    ----------
    bidirectional
        Take the first half of the features at the last valid step and the second half, the reverse direction's, at
        step 0, where that direction ends.

    Notes
    -----
    A row of length 0 gives zeros.
    """

    _config = ("bidirectional",)
    uses_lengths = True

    def __init__(self, bidirectional: bool = False) -> None:
        super().__init__()
        self.bidirectional = checks.boolean("bidirectional", bidirectional)

    def forward(self, x: Any, lengths: Any = None) -> Tensor:
        """Return the chosen steps.

        Parameters
        ----------
        x
            (B, T, C).
        lengths
            Valid steps per row, integers (B,); None means all T.

        Returns
        -------
        Tensor
            (B, C)

        Raises
        ------
        ValueError
            If a shape or a length does not fit.
        """
        data, valid = _input(x, lengths)
        rows = np.flatnonzero(valid)
        last = valid[rows] - 1
        first = np.zeros_like(last)
        width = data.shape[2]
        if self.bidirectional and width % 2:
            raise checks.value_error("x", "an even number of features, half of them per direction", data)
        half = width // 2 if self.bidirectional else width
        out = np.zeros((data.shape[0], width), data.dtype)
        out[rows, :half] = data[rows, last, :half]
        if self.bidirectional:
            out[rows, half:] = data[rows, first, half:]
        shape, dtype = data.shape, data.dtype

        def pull(g: Array) -> Array:
            d_x = np.zeros(shape, dtype)
            d_x[rows, last, :half] = g[rows, :half]
            if half < width:
                d_x[rows, first, half:] = g[rows, half:]
            return d_x

        return record(out, (x,), (pull,))


class MeanPool(Module):
    """Return the mean over each row's valid steps.

    Notes
    -----
    A row of length 0 gives zeros. Each row is added up by itself, in an order that depends on its length alone:
    neither padding nor the other rows change a bit.
    """

    uses_lengths = True

    def forward(self, x: Any, lengths: Any = None) -> Tensor:
        """Return the means.

        Parameters
        ----------
        x
            (B, T, C).
        lengths
            Valid steps per row, integers (B,); None means all T.

        Returns
        -------
        Tensor
            (B, C)

        Raises
        ------
        ValueError
            If a shape or a length does not fit.
        """
        data, valid = _input(x, lengths)
        rows = np.flatnonzero(valid)
        shape, dtype = data.shape, data.dtype
        out = np.zeros((shape[0], shape[2]), dtype)
        count = valid[rows, None].astype(dtype)
        if rows.size:
            starts = rows * shape[1]
            edges = np.stack([starts, starts + valid[rows]], axis=1).reshape(-1)
            flat = data.reshape(shape[0] * shape[1], shape[2])
            with np.errstate(all="ignore"):  # the pieces between rows are padding, which may hold anything
                sums = np.add.reduceat(flat, edges[:-1] if edges[-1] == len(flat) else edges, axis=0)
            out[rows] = sums[::2] / count

        def pull(g: Array) -> Array:
            d_x = np.zeros(shape, dtype)
            d_x[np.arange(shape[1]) < valid[:, None]] = np.repeat(g[rows] / count, valid[rows], axis=0)
            return d_x

        return record(out, (x,), (pull,))


class MaxPool(Module):
    """Return the largest value of each feature over a row's valid steps; NaN wins.

    Notes
    -----
    A row of length 0 gives zeros. Of equal values the earliest gets the gradient.
    """

    uses_lengths = True

    def forward(self, x: Any, lengths: Any = None) -> Tensor:
        """Return the maxima.

        Parameters
        ----------
        x
            (B, T, C).
        lengths
            Valid steps per row, integers (B,); None means all T.

        Returns
        -------
        Tensor
            (B, C)

        Raises
        ------
        ValueError
            If a shape or a length does not fit.
        """
        data, valid = _input(x, lengths)
        rows = np.flatnonzero(valid)
        shape, dtype = data.shape, data.dtype
        out = np.zeros((shape[0], shape[2]), dtype)
        best = np.zeros((shape[0], 1, shape[2]), np.intp)
        if rows.size and shape[2]:
            masked = data
            if (valid < shape[1]).any():
                masked = data.copy()
                masked[np.arange(shape[1]) >= valid[:, None]] = -np.inf
            best = np.argmax(masked, axis=1, keepdims=True)
            out[rows] = np.take_along_axis(masked, best, 1)[rows, 0]

        def pull(g: Array) -> Array:
            d_x = np.zeros(shape, dtype)
            if rows.size:
                d_x[rows[:, None], best[rows, 0], np.arange(shape[2])] = g[rows]
            return d_x

        return record(out, (x,), (pull,))


class AttentionPool(Module):
    """Return the mean of each row's valid steps under weights that are learned.

    A step's score is u . x, or with hidden features v . tanh(W x + b); the softmax of the scores of a row's valid
    steps are its weights.

    Parameters
    ----------
    in_features
        C.
    hidden_features
        Size of the hidden layer of the scores, or None for scores without one.
    dtype
        float32 or float64.

    Attributes
    ----------
    hidden : Linear or None
        W (hidden_features, C) and b.
    score : Linear
        u or v, one row without bias (softmax would not feel one).

    Notes
    -----
    Yang et al., "Hierarchical Attention Networks for Document Classification", 2016, section 2.2. A row of length 0
    gives zeros.
    """

    _config = ("in_features", "hidden_features", "dtype")

    def __init__(self, in_features: int, hidden_features: int | None = None, *, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        self.in_features = checks.integer("in_features", in_features, 1)
        self.hidden_features = (
            None if hidden_features is None else checks.integer("hidden_features", hidden_features, 1)
        )
        kind = self.dtype = checks.float_dtype("dtype", dtype)
        inner = self.hidden_features
        self.hidden = None if inner is None else Linear(self.in_features, inner, dtype=kind)
        self.score = Linear(self.in_features if inner is None else inner, 1, bias=False, dtype=kind)

    def forward(self, x: Any, lengths: Any = None) -> Tensor:
        """Return the weighted means.

        Parameters
        ----------
        x
            (B, T, C). Converted to the layer's dtype.
        lengths
            Valid steps per row, integers (B,); None means all T.

        Returns
        -------
        Tensor
            (B, C)

        Raises
        ------
        ValueError
            If a shape or a length does not fit.
        """
        rows = as_tensor("x", x, self.in_features, self.dtype)
        tokens = tokens_of(rows, row_lengths("lengths", lengths, *rows.shape[:2]))
        inner = tokens.values if self.hidden is None else ops.tanh(self.hidden(tokens.values))
        # One query of one feature, 1, per row, whose keys are the scores.
        ones = np.ones((tokens.batch, 1), self.dtype)
        return attention(ones, self.score(inner), tokens.values, full_rows(tokens.batch, 1), tokens.rows, 1)[0]
