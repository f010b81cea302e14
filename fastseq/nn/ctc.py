"""Connectionist temporal classification: labels without times, against log probabilities per step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.alignments import alignment_losses
from fastseq.autograd.operands import array
from fastseq.autograd.ops import reshape
from fastseq.autograd.tensor import Tensor
from fastseq.nn.functional_reduction import REDUCTIONS, floating
from fastseq.nn.module import Module

Integers = NDArray[np.int64]


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    batch_first: bool = False,
) -> Tensor:
    """Return minus the log probability of the targets over all their alignments with the steps, reduced.

    Parameters
    ----------
    log_probs
        Log probabilities (outputs of log_softmax) of C classes: (T, B, C) as in PyTorch, (B, T, C) with
        ``batch_first``, or (T, C) for one row.
    targets
        Integer classes, none of them ``blank``: padded (B, S), or all rows' one after the other in one axis. What
        stands past a row's length may be anything.
    input_lengths
        Valid steps per row, integers in 0..T (B,); a number for one row.
    target_lengths
        Valid targets per row, integers (B,); a number for one row.
    blank
        The class that stands for no label.
    reduction
        ``"mean"``: each row's loss divided by its number of targets (at least 1), then the mean over the rows;
        ``"sum"`` or ``"none"``.
    zero_infinity
        Whether the loss of a row that has fewer steps than its targets need is 0, without a gradient, instead of
        infinite, with a gradient of NaN.
    batch_first
        Whether log_probs is (B, T, C), as fastseq's layers have it.

    Returns
    -------
    Tensor
        A scalar, or (B,) with ``"none"``.

    Raises
    ------
    TypeError
        If log_probs is not floating, or targets or lengths are not integers.
    ValueError
        If shapes or lengths do not fit, or a target that counts is blank or no class.

    Notes
    -----
    Graves et al., "Connectionist Temporal Classification", 2006. The gradient is that of the value as it stands, minus
    the probability of each class at each step given the targets; PyTorch adds exp(log_probs) to it, which makes no
    difference behind log_softmax. The lattice is in double precision whatever the input's dtype is.
    """
    checks.choice("reduction", reduction, REDUCTIONS)
    data = floating("log_probs", log_probs)
    if data.ndim not in (2, 3):
        raise checks.value_error("log_probs", f"shape {'(B, T, C)' if batch_first else '(T, B, C)'} or (T, C)", data)
    single = data.ndim == 2
    axis = 0 if single or checks.boolean("batch_first", batch_first) else 1
    tensor = log_probs if isinstance(log_probs, Tensor) else Tensor(data)
    if single:
        tensor = reshape(tensor, (1, *data.shape))
    shape = tensor.shape
    rows, steps, classes = shape[axis], shape[1 - axis], shape[2]
    none = checks.integer("blank", blank, 0, classes - 1)
    inputs = checks.lengths("input_lengths", _integers("input_lengths", input_lengths, single), rows, steps)
    labels, counts, starts = _labels(targets, target_lengths, rows, single)
    _check_labels(labels, counts, starts, none, classes)
    factors = None
    if reduction != "none":
        factors = 1 / (rows * np.maximum(counts, 1.0)) if reduction == "mean" else np.ones(rows)
    out = alignment_losses(
        tensor, labels, np.stack([inputs, counts, starts], axis=1), factors,
        blank=none, batch_axis=axis, zero_infinity=checks.boolean("zero_infinity", zero_infinity),
    )  # fmt: skip
    if reduction == "mean" and rows == 0:
        return out * np.nan
    return reshape(out, ()) if single else out


def _integers(argument: str, value: Any, single: bool) -> Any:
    """Return lengths as an array of one axis; a number will do for a single row."""
    found = np.asarray(value._data if isinstance(value, Tensor) else value)
    return found.reshape(1) if single and found.ndim == 0 else found


def _labels(targets: Any, target_lengths: Any, rows: int, single: bool) -> tuple[Integers, Integers, Integers]:
    """Return all labels in one axis, their number per row, and where each row's begin."""
    found = array(targets)
    if found.dtype.kind not in "iu":
        if found.size:
            raise checks.kind_error("targets", "integer classes", found)
        found = found.astype(np.int64)
    if found.ndim not in (1, 2) or (found.ndim == 2 and len(found) != rows):
        raise checks.value_error("targets", f"shape ({rows}, S), or (S,) for all rows' one after the other", found)
    limit = found.shape[-1]
    counts = checks.lengths("target_lengths", _integers("target_lengths", target_lengths, single), rows, limit)
    if found.ndim == 2:
        starts = np.arange(rows) * limit
    elif single:
        starts = np.zeros(1, np.int64)
    else:
        starts = np.cumsum(counts) - counts
        if counts.sum() != limit:
            raise checks.value_error("targets", f"{counts.sum()} targets, the sum of target_lengths", found)
    return np.ascontiguousarray(found, np.int64).reshape(-1), counts, starts.astype(np.int64)


def _check_labels(labels: Integers, counts: Integers, starts: Integers, blank: int, classes: int) -> None:
    used = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    wrong = labels[used]
    wrong = wrong[(wrong < 0) | (wrong >= classes) | (wrong == blank)]
    if wrong.size:
        raise checks.value_error("targets", f"classes in 0..{classes - 1} other than blank ({blank})", int(wrong[0]))


class CTCLoss(Module):
    """Connectionist temporal classification, see ``functional.ctc_loss``.

    Parameters
    ----------
    blank
        The class that stands for no label.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    zero_infinity
        Whether rows that have fewer steps than their targets need give 0 instead of infinity.
    batch_first
        Whether inputs are (B, T, C), as fastseq's layers have it, or (T, B, C) as in PyTorch.
    """

    _config = ("blank", "reduction", "zero_infinity", "batch_first")

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False, *, batch_first: bool = False
    ) -> None:
        super().__init__()
        self.blank = checks.integer("blank", blank, 0)
        self.reduction = checks.choice("reduction", reduction, REDUCTIONS)
        self.zero_infinity = checks.boolean("zero_infinity", zero_infinity)
        self.batch_first = checks.boolean("batch_first", batch_first)

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        log_probs
            Log probabilities (T, B, C), (B, T, C) with ``batch_first``, or (T, C).
        targets
            Integer classes, padded (B, S) or all rows' one after the other.
        input_lengths, target_lengths
            Valid steps and targets per row, integers (B,).

        Returns
        -------
        Tensor
            A scalar, or (B,) with ``reduction="none"``.
        """
        return ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity,
            batch_first=self.batch_first,
        )  # fmt: skip
