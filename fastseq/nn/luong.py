"""Attention of a decoder to an encoder's outputs, with the scores of Luong et al.

For a query q and keys k_t, the weights are softmax over t of score(q, k_t), and the context is the weighted sum of the
keys (Luong et al., "Effective Approaches to Attention-based Neural Machine Translation", 2015, section 3.1)::

    dot       score = q . k
    general   score = q . W k
    concat    score = v . tanh(W_q q + W_k k)        (the paper's W is W_q and W_k side by side)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks
from fastseq.autograd import elementary, ops
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor, record
from fastseq.nn.linear import Linear
from fastseq.nn.module import Module

Array = NDArray[Any]

SCORES = ("dot", "general", "concat")


class Memory(NamedTuple):
    """What is attended to: keys (B, T, K), what queries are compared with (B, T, Q), and valid steps (B,) or None."""

    keys: Tensor
    compared: Tensor
    lengths: NDArray[np.int64] | None

    def select(self, rows: NDArray[np.int64]) -> Memory:
        """Return the memory of some rows, in the order given, without gradients.

        Parameters
        ----------
        rows
            Row numbers.

        Returns
        -------
        Memory
        """
        lengths = None if self.lengths is None else self.lengths[rows]
        return Memory(Tensor(self.keys._data[rows]), Tensor(self.compared._data[rows]), lengths)


class LuongAttention(Module):
    """Return a weighted sum of keys for each query.

    Shape letters: B rows, U queries, T keys, Q = query_size, K = key_size.

    Parameters
    ----------
    query_size
        Q, size of the decoder's outputs.
    key_size
        K, size of the encoder's outputs; None for Q.
    score
        ``"dot"`` (Q and K must be equal), ``"general"`` or ``"concat"``.
    attention_size
        Size of the layer inside the score ``"concat"``; None for Q.
    dtype
        float32 or float64.

    Notes
    -----
    Keys past a row's length, NaN included, are never read, have weight 0 and gradient 0; a row without any gets zeros.
    """

    _config = ("query_size", "key_size", "score", "attention_size", "dtype")

    def __init__(
        self,
        query_size: int,
        key_size: int | None = None,
        score: str = "general",
        attention_size: int | None = None,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.query_size = checks.integer("query_size", query_size, 1)
        self.key_size = self.query_size if key_size is None else checks.integer("key_size", key_size, 1)
        self.score = checks.choice("score", score, SCORES)
        inner = self.query_size if attention_size is None else attention_size
        self.attention_size = checks.integer("attention_size", inner, 1)
        self.dtype = checks.float_dtype("dtype", dtype)
        if self.score == "dot" and self.key_size != self.query_size:
            raise checks.value_error("key_size", f"query_size ({self.query_size}) where score is 'dot'", self.key_size)
        if self.score == "general":
            self.key = Linear(self.key_size, self.query_size, bias=False, dtype=self.dtype)
        elif self.score == "concat":
            self.query = Linear(self.query_size, self.attention_size, bias=False, dtype=self.dtype)
            self.key = Linear(self.key_size, self.attention_size, bias=False, dtype=self.dtype)
            self.value = Linear(self.attention_size, 1, bias=False, dtype=self.dtype)

    def forward(self, query: Any, keys: Any, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """Attend to keys.

        Parameters
        ----------
        query
            (B, U, Q).
        keys
            (B, T, K).
        lengths
            Valid keys per row, integers (B,); None means all.

        Returns
        -------
        context : Tensor
            (B, U, K)
        weights : Tensor
            (B, U, T), each row's sum is 1.

        Raises
        ------
        ValueError
            If shapes or lengths do not fit.
        """
        return self.attend(query, self.remember(keys, lengths))

    def remember(self, keys: Any, lengths: Any = None) -> Memory:
        """Return keys prepared for ``attend``: what depends on them alone is computed once for all queries.

        Parameters
        ----------
        keys
            (B, T, K).
        lengths
            Valid keys per row, integers (B,); None means all.

        Returns
        -------
        Memory
        """
        found = array(keys)
        if found.ndim != 3 or found.shape[2] != self.key_size:
            raise checks.value_error("keys", f"shape (B, T, {self.key_size})", found)
        valid = None
        if lengths is not None:
            given = lengths._data if isinstance(lengths, Tensor) else lengths
            valid = checks.lengths("lengths", given, found.shape[0], found.shape[1])
            keys = ops.masked_fill(keys, (np.arange(found.shape[1]) >= valid[:, None])[..., None], 0.0)
        tensor = keys if isinstance(keys, Tensor) else Tensor(keys)
        return Memory(tensor, tensor if self.score == "dot" else self.key(tensor), valid)

    def attend(self, query: Any, memory: Memory) -> tuple[Tensor, Tensor]:
        """Attend to prepared keys.

        Parameters
        ----------
        query
            (B, U, Q).
        memory
            What ``remember`` returned.

        Returns
        -------
        context : Tensor
            (B, U, K)
        weights : Tensor
            (B, U, T)
        """
        found = array(query)
        rows = memory.keys.shape[0]
        if found.ndim != 3 or found.shape[0] != rows or found.shape[2] != self.query_size:
            raise checks.value_error("query", f"shape ({rows}, U, {self.query_size})", found)
        if self.score == "concat":
            both = ops.unsqueeze(self.query(query), 2) + ops.unsqueeze(memory.compared, 1)
            scores = ops.squeeze(self.value(ops.tanh(both)), 3)
        else:
            scores = ops.matmul(query, ops.swapaxes(memory.compared, 1, 2))
        weights = attention_weights(scores, memory.lengths)
        return ops.matmul(weights, memory.keys), weights


def attention_weights(scores: Tensor, lengths: NDArray[np.int64] | None) -> Tensor:
    """Return softmax over the last axis, of the valid entries alone.

    Parameters
    ----------
    scores
        (B, U, T).
    lengths
        Valid entries per row (B,); None means all.

    Returns
    -------
    Tensor
        (B, U, T), 0 past the lengths; zeros for a row of length 0.

    Notes
    -----
    Sums go through the matrix product, whose order the padding does not change: neither padding nor neighbours change
    a bit.
    """
    data = scores._data
    steps = data.shape[-1]
    ones = np.ones(steps, data.dtype)
    hidden = None if lengths is None else np.broadcast_to(np.arange(steps) >= lengths[:, None, None], data.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        shown = data if hidden is None else np.where(hidden, -np.inf, data)
        out = elementary.exp(shown - np.max(shown, axis=-1, keepdims=True, initial=-np.inf))
        if hidden is not None:
            out[hidden] = 0
        out /= elementary.product(out, ones)[..., None]
    if lengths is not None:
        out[lengths == 0] = 0

    def pull(g: Array) -> Array:
        upstream = g if hidden is None else np.where(hidden, 0, g)
        return out * (upstream - elementary.product(out * upstream, ones)[..., None])

    return record(out, (scores,), (pull,), saves_output=True)
