"""Connectionist temporal classification as one node of the tape, its slopes in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import buffers, jit
from fastseq.autograd.mode import is_grad_enabled
from fastseq.autograd.tensor import Tensor, record
from fastseq.sequence.alignments import align, lattice_size

WORK = 60.0
"""Floating-point operations per state and step, both ways, roughly."""


def alignment_losses(
    log_probs: Tensor,
    labels: NDArray[np.int64],
    facts: NDArray[np.int64],
    factors: NDArray[Any] | None = None,
    *,
    blank: int,
    batch_axis: int,
    zero_infinity: bool,
) -> Tensor:
    """Return minus the log probability of each row's labels over all their alignments.

    Parameters
    ----------
    log_probs
        (T, B, C) or (B, T, C).
    labels
        Classes, the rows' one after the other or with gaps.
    facts
        (B, 3): steps, number of labels, and where these begin in ``labels``.
    factors
        (B,), what each row counts in their sum; None for the rows' losses themselves.
    blank
        The class that stands for no label.
    batch_axis
        0 or 1, where the rows are.
    zero_infinity
        Whether rows that no alignment fits give 0, and no gradient.

    Returns
    -------
    Tensor
        (B,), or a scalar with ``factors``.

    Notes
    -----
    The slopes are computed with the losses, so that the lattices are gone when the kernel returns.
    """
    data: Any = np.ascontiguousarray(log_probs._data)
    steps, rows = data.shape[1 - batch_axis], data.shape[batch_axis]
    classes = data.shape[2]
    strides = (steps * classes, classes) if batch_axis == 0 else (classes, rows * classes)
    wanted = log_probs.requires_grad and is_grad_enabled()
    losses = np.empty(rows, data.dtype)
    slopes = np.zeros(data.shape if wanted else 0, data.dtype)
    work = WORK * float((facts[:, 0] * (2 * facts[:, 1] + 1)).sum())
    tasks, room = min(rows, 2 * jit.get_num_threads()), lattice_size(*facts[:, :2].max(axis=0, initial=0).tolist())
    align.launch(
        work, data.reshape(-1), losses, slopes.reshape(-1), buffers.scratch(tasks * room, np.dtype(np.float64)),
        labels, facts.reshape(-1), rows, tasks, room, *strides, classes, blank, wanted,
    )  # fmt: skip
    place = (slice(None), None, None) if batch_axis == 0 else (None, slice(None), None)
    lost = np.isposinf(losses)
    if zero_infinity and lost.any():
        losses[lost] = 0
        if wanted:
            slopes[lost if batch_axis == 0 else (slice(None), lost)] = 0

    def pull(g: Any) -> Any:
        each = g if factors is None else g * factors.astype(g.dtype)
        part = slopes * each[place]
        if not np.isfinite(each).all():
            padding = np.arange(steps) >= facts[:, :1]
            part[padding if batch_axis == 0 else padding.T] = 0
        return part

    out = losses if factors is None else np.sum(losses * factors).astype(data.dtype)
    return record(out, (log_probs,), (pull,))
