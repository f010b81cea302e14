"""Flatten: several axes become one."""

from __future__ import annotations

from typing import Any

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.nn.module import Module


class Flatten(Module):
    """Put axes together: rows (B, T, F) become (B, T * F).

    Parameters
    ----------
    start_dim, end_dim
        The first and the last of the axes that become one.
    """

    _config = ("start_dim", "end_dim")

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = checks.integer("start_dim", start_dim)
        self.end_dim = checks.integer("end_dim", end_dim)

    def forward(self, input: Any) -> Tensor:
        """Return the same numbers in fewer axes.

        Parameters
        ----------
        input
            Any shape that has these axes.

        Returns
        -------
        Tensor
            The input's numbers in their order.
        """
        return ops.flatten(input, self.start_dim, self.end_dim)
