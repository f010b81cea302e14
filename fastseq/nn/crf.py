"""A linear-chain conditional random field: which tag follows which is learned, and whole sequences are scored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks
from fastseq.autograd import enable_grad
from fastseq.autograd.chain import chain_best, chain_log_likelihood
from fastseq.autograd.operands import array
from fastseq.autograd.ops import swapaxes
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init
from fastseq.nn.module import Module, Parameter

Integers = NDArray[np.int64]

REDUCTIONS = ("none", "sum", "mean", "token_mean")


class CRF(Module):
    """Score sequences of tags, given the score of each tag at each step (pytorch-crf's names and meaning).

    The score of tags y is start[y_0] + sum_t emissions[t, y_t] + sum_t transitions[y_t, y_t+1] + end[y_last]; their
    probability is e**score divided by the sum of that over all sequences. Shape letters: B rows, T steps, K = num_tags.

    Parameters
    ----------
    num_tags
        K, at least 1.
    batch_first
        Whether arrays are (B, T, K), which is the default here, or (T, B, K) as pytorch-crf's default is.
    dtype
        float32 or float64.

    Attributes
    ----------
    start_transitions, end_transitions : Parameter
        (K,), from U(-0.1, 0.1) at first.
    transitions : Parameter
        (K, K), from row to column, likewise.

    Notes
    -----
    Lafferty et al., "Conditional Random Fields", 2001. Where rows end is said by ``lengths`` or by a ``mask``; what
    stands past it, NaN included, is never read and gets gradient 0. A row of length 0 has log likelihood 0 and no tags.
    Sums are made in double precision, row by row: neither neighbours nor padding change a bit.
    """

    _config = ("num_tags", "batch_first", "dtype")

    start_transitions: Parameter
    end_transitions: Parameter
    transitions: Parameter

    def __init__(self, num_tags: int, batch_first: bool = True, *, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        tags = self.num_tags = checks.integer("num_tags", num_tags, 1)
        self.batch_first = checks.boolean("batch_first", batch_first)
        self.dtype = checks.float_dtype("dtype", dtype)
        checks.product_fits("num_tags", tags, tags)
        init.expect_room(tags * (tags + 2))
        self.start_transitions = Parameter(np.empty(tags, self.dtype))
        self.end_transitions = Parameter(np.empty(tags, self.dtype))
        self.transitions = Parameter(np.empty((tags, tags), self.dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all transitions anew."""
        for parameter in (self.start_transitions, self.end_transitions, self.transitions):
            init.uniform_(parameter, -0.1, 0.1)

    def forward(
        self, emissions: Any, tags: Any, mask: Any = None, reduction: str = "sum", lengths: Any = None
    ) -> Tensor:
        """Return the log likelihood of the tags: what is to be made large.

        Parameters
        ----------
        emissions
            (B, T, K), the score of each tag at each step, in the parameters' dtype.
        tags
            Integers in 0..K-1, (B, T); past a row's end anything.
        mask
            (B, T), true or 1 at the valid steps, which come first in every row; None means all.
        reduction
            ``"none"``, ``"sum"``, ``"mean"`` over the rows, or ``"token_mean"``: the sum divided by the number of valid
            steps.
        lengths
            Valid steps per row, integers (B,), instead of a mask.

        Returns
        -------
        Tensor
            A scalar, or (B,) with ``"none"``.

        Raises
        ------
        TypeError
            If dtypes do not fit.
        ValueError
            If shapes or lengths do not fit, a mask has gaps, or a tag that counts does not exist.
        """
        checks.choice("reduction", reduction, REDUCTIONS)
        scores, valid = self._input(emissions, mask, lengths)
        chosen = self._tags(tags, scores.shape[:2], valid)
        out = chain_log_likelihood(scores, *self._weights(), chosen, valid)
        if reduction == "none":
            return out
        total = out.sum()
        if reduction == "sum":
            return total
        count = len(valid) if reduction == "mean" else int(valid.sum())
        return total * (1 / count if count else np.nan)

    def loss(self, emissions: Any, tags: Any, lengths: Any = None, mask: Any = None, reduction: str = "mean") -> Tensor:
        """Return minus the log likelihood of the tags: what is to be made small. Fit for ``fastseq.fit(..., loss=)``.

        Parameters
        ----------
        emissions, tags, lengths, mask
            As for ``forward``.
        reduction
            ``"none"``, ``"sum"``, ``"mean"`` or ``"token_mean"``.

        Returns
        -------
        Tensor
            A scalar, or (B,) with ``"none"``.
        """
        return -self.forward(emissions, tags, mask, reduction, lengths)

    def decode(self, emissions: Any, mask: Any = None, lengths: Any = None) -> list[list[int]]:
        """Return each row's most probable tags (Viterbi); of equal scores the lower tag wins.

        Parameters
        ----------
        emissions, mask, lengths
            As for ``forward``.

        Returns
        -------
        list of list of int
            One list per row, as long as the row.
        """
        scores, valid = self._input(emissions, mask, lengths)
        start, pairs, end = (weight._data for weight in self._weights())
        found, _ = chain_best(scores._data, start, pairs, end, valid)
        return [row[:length].tolist() for row, length in zip(found, valid, strict=True)]

    def marginals(self, emissions: Any, mask: Any = None, lengths: Any = None) -> Tensor:
        """Return the probability of each tag at each step, over all sequences of tags; no gradient goes through it.

        Parameters
        ----------
        emissions, mask, lengths
            As for ``forward``.

        Returns
        -------
        Tensor
            Of the shape of emissions, zeros past a row's end.
        """
        scores, valid = self._input(emissions, mask, lengths)
        leaf = Tensor(scores._data, requires_grad=True)
        start, pairs, end = (weight.detach() for weight in self._weights())
        with enable_grad():
            out = chain_log_likelihood(leaf, start, pairs, end, None, valid)
            out.backward(-np.ones_like(out._data))
        assert leaf.grad is not None
        return leaf.grad if self.batch_first else swapaxes(leaf.grad, 0, 1)

    def _weights(self) -> tuple[Parameter, Parameter, Parameter]:
        return self.start_transitions, self.transitions, self.end_transitions

    def _input(self, emissions: Any, mask: Any, lengths: Any) -> tuple[Tensor, Integers]:
        """Return the emissions rows first, and how many steps of each row count."""
        found = array(emissions)
        if found.ndim != 3 or found.shape[2] != self.num_tags:
            shape = f"({'B, T' if self.batch_first else 'T, B'}, {self.num_tags})"
            raise checks.value_error("emissions", f"shape {shape}", found)
        if found.dtype != self.transitions.dtype:
            wanted = f"dtype {self.transitions.dtype} like the transitions"
            raise checks.kind_error("emissions", wanted, found)
        tensor = emissions if isinstance(emissions, Tensor) else Tensor(found)
        if not self.batch_first:
            tensor = swapaxes(tensor, 0, 1)
        rows, steps = tensor.shape[:2]
        if mask is None:
            return tensor, checks.lengths("lengths", _raw(lengths), rows, steps)
        if lengths is not None:
            raise checks.value_error("lengths", "None where a mask is given", lengths)
        counts = array(mask)
        if counts.dtype.kind not in "biu":
            raise checks.kind_error("mask", "bools", counts)
        if counts.shape != found.shape[:2]:
            raise checks.value_error("mask", f"shape {found.shape[:2]}", counts)
        counts = (counts if self.batch_first else counts.T) != 0
        valid = np.count_nonzero(counts, axis=1).astype(np.int64)
        if (counts != (np.arange(steps) < valid[:, None])).any():
            raise checks.value_error("mask", "each row's valid steps first, without gaps", "a mask with gaps")
        return tensor, valid

    def _tags(self, tags: Any, shape: tuple[int, ...], valid: Integers) -> Integers:
        found = array(tags)
        if found.dtype.kind not in "iu":
            raise checks.kind_error("tags", "integers", found)
        own = shape if self.batch_first else shape[::-1]
        if found.shape != own:
            raise checks.value_error("tags", f"shape {own}", found)
        rows = found if self.batch_first else found.T
        used = rows[np.arange(shape[1]) < valid[:, None]]
        wrong = used[(used < 0) | (used >= self.num_tags)]
        if wrong.size:
            raise checks.value_error("tags", f"integers in 0..{self.num_tags - 1}", int(wrong[0]))
        return rows.astype(np.int64)


def _raw(lengths: Any) -> Any:
    return lengths._data if isinstance(lengths, Tensor) else lengths
