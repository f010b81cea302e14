"""A tag for every step: an encoder, a linear layer, and a CRF over the result."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.nn.crf import CRF
from fastseq.nn.dropout import Dropout
from fastseq.nn.linear import Linear
from fastseq.nn.module import Module


class Tagger(Module):
    """One tag per step: an encoder, a linear layer to the tags' scores, and a CRF over them.

    Parameters
    ----------
    encoder
        Takes (B, T, F) and lengths and returns (B, T, num_features), or a tuple of that and a state: an LSTM, a
        Sequential.
    num_features
        Size of the encoder's output.
    num_tags
        K.
    dropout
        Probability of dropping a feature before the linear layer, while training.
    dtype
        float32 or float64.

    Notes
    -----
    To train: ``fastseq.fit(tagger, x, tags, loss=tagger.crf.loss)``. Lample et al., "Neural Architectures for Named
    Entity Recognition", 2016.
    """

    _config = ("num_features", "num_tags", "dropout", "dtype")
    _parts = ("encoder",)

    encoder: Module
    crf: CRF

    def __init__(
        self,
        encoder: Module,
        num_features: int,
        num_tags: int,
        dropout: float = 0.0,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        if not isinstance(encoder, Module):
            raise checks.kind_error("encoder", "a Module", encoder)
        if not encoder.uses_lengths:
            raise checks.kind_error("encoder", "a Module whose forward takes lengths", encoder)
        self.num_features = checks.integer("num_features", num_features, 1)
        self.num_tags = checks.integer("num_tags", num_tags, 1)
        self.dtype = checks.float_dtype("dtype", dtype)
        self.encoder = encoder
        self.drop = Dropout(dropout)
        self.scores = Linear(self.num_features, self.num_tags, dtype=self.dtype)
        self.crf = CRF(self.num_tags, dtype=self.dtype)

    @property
    def dropout(self) -> float:
        """The probability of dropping a feature."""
        return self.drop.p

    def forward(self, x: Any, lengths: Any = None) -> Tensor:
        """Return the emissions: the score of each tag at each step.

        Parameters
        ----------
        x
            What the encoder takes.
        lengths
            Valid steps per row, integers (B,); None means all.

        Returns
        -------
        Tensor
            (B, T, K)

        Raises
        ------
        ValueError
            If a shape or a length does not fit.
        """
        out = self.encoder(x, lengths=lengths)
        return self.scores(self.drop(out[0] if isinstance(out, tuple) else out))

    def loss(self, x: Any, tags: Any, lengths: Any = None, reduction: str = "mean") -> Tensor:
        """Return minus the log likelihood of the tags.

        Parameters
        ----------
        x
            What the encoder takes.
        tags
            Integers in 0..K-1, (B, T); past a row's end anything.
        lengths
            Valid steps per row, integers (B,); None means all.
        reduction
            As for ``CRF.forward``.

        Returns
        -------
        Tensor
            A scalar, or (B,) with ``"none"``.
        """
        return self.crf.loss(self.forward(x, lengths), tags, lengths, reduction=reduction)

    def decode(self, x: Any, lengths: Any = None) -> list[list[int]]:
        """Return each row's most probable tags.

        Parameters
        ----------
        x
            What the encoder takes.
        lengths
            Valid steps per row, integers (B,); None means all.

        Returns
        -------
        list of list of int
            One list per row, as long as the row.
        """
        return self.crf.decode(self.forward(x, lengths), lengths=lengths)
