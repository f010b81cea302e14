"""The log probability of tags under a linear chain as one node of the tape, and the best tags."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import buffers, jit
from fastseq.autograd.mode import is_grad_enabled
from fastseq.autograd.tensor import Tensor, make_node
from fastseq.sequence import chain

Array = NDArray[Any]

WORK = 10.0
"""Floating-point operations per step and pair of tags, both ways, roughly; and ten times as many per step and tag."""


DOUBLE = np.dtype(np.float64)


def _double(values: Array) -> Any:
    return np.ascontiguousarray(values, DOUBLE).reshape(-1)


def _tasks(rows: int) -> int:
    """Return among how many tasks to share the rows: that changes no bit, since each is done by itself."""
    return min(rows, 2 * jit.get_num_threads())


def _work(lengths: NDArray[np.int64], count: int) -> float:
    return WORK * float(lengths.sum()) * count * (count + 10)


def chain_log_likelihood(
    emissions: Tensor,
    start: Tensor,
    transitions: Tensor,
    end: Tensor,
    tags: NDArray[np.int64] | None,
    lengths: NDArray[np.int64],
) -> Tensor:
    """Return the log probability of each row's tags.

    Parameters
    ----------
    emissions
        (B, T, K), the score of each tag at each step; past a row's length nothing is read, and the gradient is 0.
    start, transitions, end
        (K,), (K, K) from row to column, (K,).
    tags
        (B, T), in 0..K-1 at every valid step; None for minus the log of the sum over all tags alone.
    lengths
        (B,)

    Returns
    -------
    Tensor
        (B,), 0 for a row of length 0.

    Notes
    -----
    The slopes are computed with the values, so that the lattices are gone when the kernel returns.
    """
    data: Any = np.ascontiguousarray(emissions._data)
    rows, steps, count = data.shape
    parents = (emissions, start, transitions, end)
    wanted = is_grad_enabled() and any(parent.requires_grad for parent in parents)
    results = np.empty(rows, data.dtype)
    d_emissions = np.zeros(data.shape if wanted else (0, 0, 0), data.dtype)
    d_start, d_end = np.empty((2, rows if wanted else 0, count), data.dtype)
    d_transitions = np.empty((rows if wanted else 0, count, count), data.dtype)
    given = np.full(rows * steps, -1, np.int64) if tags is None else np.ascontiguousarray(tags, np.int64).reshape(-1)
    tasks, size = _tasks(rows), chain.room_size(int(lengths.max(initial=0)), count)
    chain.score.launch(
        _work(lengths, count), data.reshape(-1), _double(start._data), _double(transitions._data), _double(end._data),
        results, d_emissions.reshape(-1), d_start.reshape(-1), d_transitions.reshape(-1), d_end.reshape(-1), given,
        lengths, np.empty(2 * count * count), buffers.scratch(tasks * size, DOUBLE), rows, steps, count, tasks, size,
        wanted,
    )  # fmt: skip

    def back(grads: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        g = grads[0]
        assert g is not None
        d_all = d_emissions * g[:, None, None]
        if not np.isfinite(g).all():
            d_all[np.arange(steps) >= lengths[:, None]] = 0
        wide, columns = g.astype(np.float64), (rows, 1)
        return (
            d_all,
            (d_start * wide.reshape(columns)).sum(axis=0).astype(g.dtype),
            (d_transitions * wide.reshape(rows, 1, 1)).sum(axis=0).astype(g.dtype),
            (d_end * wide.reshape(columns)).sum(axis=0).astype(g.dtype),
        )

    return make_node(parents, (results,), back, saves=False, fresh=True)[0]


def chain_best(
    emissions: Array, start: Array, transitions: Array, end: Array, lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Array]:
    """Return each row's best tags and their score.

    Parameters
    ----------
    emissions
        (B, T, K)
    start, transitions, end
        (K,), (K, K) from row to column, (K,).
    lengths
        (B,)

    Returns
    -------
    tags : ndarray
        (B, T), 0 past a row's length. Of equal scores the lower tag wins.
    scores : ndarray
        (B,)
    """
    data: Any = np.ascontiguousarray(emissions)
    rows, steps, count = data.shape
    tags, scores = np.zeros((rows, steps), np.int64), np.empty(rows, data.dtype)
    tasks, size = _tasks(rows), int(lengths.max(initial=0)) * count
    chain.best.launch(
        _work(lengths, count) / 4, data.reshape(-1), _double(start), _double(transitions), _double(end), scores,
        tags.reshape(-1), lengths, buffers.scratch(2 * tasks * count, DOUBLE),
        buffers.scratch(tasks * size, np.dtype(np.int64)), rows, steps, count, tasks, size,
    )  # fmt: skip
    return tags, scores
