"""Embedding: a learned vector for each of a number of symbols."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd.operands import array
from fastseq.autograd.ops_embedding import embedding, indices_of
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init
from fastseq.nn.module import Module, Parameter


class Embedding(Module):
    """Return row x of a table for each index x: (B, T) becomes (B, T, E).

    Parameters
    ----------
    num_embeddings
        N, the number of rows.
    embedding_dim
        E, their size.
    padding_idx
        A row that starts as zeros and gets no gradient; negative counts from the end.
    max_norm
        Rows that are looked up and are longer than this are first shortened to it, in place.
    norm_type
        Which p-norm measures that; infinity for the largest entry.
    scale_grad_by_freq
        Divide each row's gradient by how often a batch names the row.
    sparse
        False: gradients are arrays of the table's shape. Stands here for PyTorch's order of arguments.
    dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter
        (N, E), from N(0, 1) at first, as in PyTorch.
    """

    _config = (
        "num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "dtype",
    )  # fmt: skip

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float | str = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        rows = self.num_embeddings = checks.integer("num_embeddings", num_embeddings, 1)
        self.embedding_dim = checks.integer("embedding_dim", embedding_dim, 1)
        checks.product_fits("num_embeddings", rows, self.embedding_dim)
        self.padding_idx = (
            None if padding_idx is None else checks.integer("padding_idx", padding_idx, -rows, rows - 1) % rows
        )
        self.max_norm = None if max_norm is None else checks.real("max_norm", max_norm, 0.0, open_minimum=True)
        largest = norm_type in (math.inf, "inf")  # in files, JSON has no infinity
        self.norm_type = math.inf if largest else checks.real("norm_type", norm_type, 0.0, open_minimum=True)
        self.scale_grad_by_freq = checks.boolean("scale_grad_by_freq", scale_grad_by_freq)
        if checks.boolean("sparse", sparse):
            raise checks.value_error("sparse", "False: there are no sparse gradients", sparse)
        self.dtype = checks.float_dtype("dtype", dtype)
        init.expect_room(rows * self.embedding_dim)
        self.weight = Parameter(np.empty((rows, self.embedding_dim), self.dtype))
        self.reset_parameters()

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain JSON values.

        Returns
        -------
        dict
            One entry per argument.
        """
        found = super().config()
        return found | {"norm_type": "inf"} if self.norm_type == math.inf else found

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
    ) -> Embedding:
        """Build a layer around a table that is there already.

        Parameters
        ----------
        embeddings
            (N, E), float32 or float64; copied.
        freeze
            Whether it is not to be learned.
        padding_idx, max_norm, norm_type, scale_grad_by_freq
            As in the constructor; the row of ``padding_idx`` stays as it is.

        Returns
        -------
        Embedding
        """
        table = array(embeddings)
        if table.ndim != 2:
            raise checks.value_error("embeddings", "shape (N, E)", table)
        kind, (rows, width) = checks.float_dtype("embeddings", table.dtype), table.shape
        layer = cls(rows, width, padding_idx, max_norm, norm_type, scale_grad_by_freq, dtype=kind)
        layer.weight.data = table
        return layer.requires_grad_(not checks.boolean("freeze", freeze))

    def reset_parameters(self) -> None:
        """Draw the table anew; the row of ``padding_idx`` becomes zeros."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight._data[self.padding_idx] = 0

    def forward(self, input: Any, lengths: Any = None) -> Tensor:
        """Return the rows.

        Parameters
        ----------
        input
            Integers in 0..N-1, any shape; with ``lengths`` (B, T, ...).
        lengths
            Valid steps per row, integers (B,): what stands past them may be anything and gives zeros.

        Returns
        -------
        Tensor
            (..., E)

        Raises
        ------
        TypeError
            If the input holds no integers.
        ValueError
            If an index is out of range.
        """
        if self.max_norm is not None:
            self._shorten(indices_of(input, self.num_embeddings, lengths), self.max_norm)
        return embedding(
            input, self.weight, self.padding_idx, scale_grad_by_freq=self.scale_grad_by_freq, lengths=lengths
        )

    def _shorten(self, places: np.ndarray, limit: float) -> None:
        """Shorten the rows that are named to the largest norm allowed, as PyTorch does."""
        used = np.unique(places[places >= 0])
        rows = self.weight._data[used]
        if self.norm_type == math.inf:
            norms = np.abs(rows).max(axis=1, keepdims=True)
        else:
            norms = (np.abs(rows) ** self.norm_type).sum(axis=1, keepdims=True) ** (1 / self.norm_type)
        long = norms[:, 0] > limit
        if long.any():
            self.weight._data[used[long]] = rows[long] * (limit / (norms[long] + 1e-7))
            self.weight._version[0] += 1
