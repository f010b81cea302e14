"""Dropout: noise in training, nothing in evaluation."""

from __future__ import annotations

from typing import Any

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.nn import functional
from fastseq.nn.module import Module


class Dropout(Module):
    """In training, set each element to 0 with probability p and divide the others by 1 - p.

    Parameters
    ----------
    p
        The probability, in 0..1.

    Notes
    -----
    The random numbers are ``fastseq.nn.init.generator()``'s: ``fastseq.manual_seed`` makes them repeat.
    """

    _config = ("p",)

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = checks.real("p", p, 0.0, 1.0)

    def forward(self, x: Any) -> Tensor:
        """Return x with noise in training, x itself in evaluation.

        Parameters
        ----------
        x
            Any shape.

        Returns
        -------
        Tensor
            Of x's shape.
        """
        return functional.dropout(x, self.p, self.training)
