"""Beam search: the most probable sequences of tokens that a step-by-step model can produce."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Numbers = NDArray[np.int64]


class Hypothesis(NamedTuple):
    """A sequence that was found: its tokens without the end, how good it is, and where the model looked.

    ``score`` is ``log_probability`` divided by the length penalty; ``finished`` says whether the end was reached.
    ``attention`` has one row per token, (U, T) over the T valid steps of the source, or is None.
    """

    tokens: list[int]
    score: float
    log_probability: float
    finished: bool
    attention: Array | None


class Step(NamedTuple):
    """What a model says after the last token of each of n unfinished sequences."""

    log_probs: Array  # (n, V)
    attention: Array | None  # (n, T)
    state: Any


class _Alive(NamedTuple):
    """Unfinished sequences, those of a row side by side and the best first: n of u tokens."""

    rows: Numbers  # (n,) which row each belongs to
    log_probability: Array  # (n,)
    tokens: Numbers  # (n, u)
    attention: Array | None  # (n, u, T)


def penalty(length: int, strength: float) -> float:
    """Return what the log probability of a sequence is divided by.

    Parameters
    ----------
    length
        Number of tokens, with the end.
    strength
        0 for none; larger favours longer sequences.

    Returns
    -------
    float

    Notes
    -----
    Wu et al., "Google's Neural Machine Translation System", 2016, section 7, equation 14.
    """
    return ((5 + length) / 6) ** strength


def beam_search(
    step: Callable[[Numbers, Any], Step],
    select: Callable[[Any, Numbers], Any],
    state: Any,
    rows: int,
    *,
    bos: int,
    eos: int,
    max_steps: int,
    width: int,
    length_penalty: float,
    n_best: int,
) -> list[list[Hypothesis]]:
    """Return the best sequences of each row, best first.

    Parameters
    ----------
    step
        Maps the last tokens (n,) and the state of n sequences to a `Step`.
    select
        Maps a state and numbers (m,) of sequences to the state of those, in that order.
    state
        Of the rows, before the first token.
    rows
        B.
    bos, eos
        Tokens that stand before the first and after the last; ``bos`` is no part of a result.
    max_steps
        Most tokens of a sequence, the end included.
    width
        Unfinished sequences that are kept per row after each step.
    length_penalty
        Strength of the `penalty`.
    n_best
        How many to return per row, at most ``width``.

    Returns
    -------
    list of list of Hypothesis
        Fewer than ``n_best`` for a row only where there are no more. What is unfinished after ``max_steps`` competes
        too.

    Notes
    -----
    A row's search ends when no unfinished sequence can still be among its best. With a width that holds all beginnings
    the search is exhaustive. Of equal scores the one found first wins, then the lower token.
    """
    done: list[list[Hypothesis]] = [[] for _ in range(rows)]
    alive = _Alive(np.arange(rows), np.zeros(rows), np.zeros((rows, 0), np.int64), None)
    last = np.full(rows, bos, np.int64)
    for length in range(1, max_steps + 1):
        if not last.size:
            break
        said = step(last, state)
        totals = alive.log_probability[:, None] + said.log_probs
        seen = _append(alive.attention, said.attention)
        parents: list[int] = []
        chosen: list[int] = []
        for row in np.unique(alive.rows):
            first, stop = np.searchsorted(alive.rows, [row, row + 1])
            going: list[tuple[int, int]] = []
            largest = _largest(totals[first:stop].reshape(-1), 2 * width)
            if not largest:  # the model says NaN
                tokens = alive.tokens[first].tolist()
                shown = None if alive.attention is None else alive.attention[first]
                done[row].append(Hypothesis(tokens, math.nan, math.nan, False, shown))
            for place, flat in enumerate(largest):
                parent, token = first + flat // totals.shape[1], flat % totals.shape[1]
                if token != eos:
                    going.append((parent, token))
                elif place < width:
                    found = float(totals[parent, token])
                    tokens = alive.tokens[parent].tolist()
                    shown = None if alive.attention is None else alive.attention[parent]
                    if shown is None and seen is not None:
                        shown = seen[parent, :0]
                    score = found / penalty(length, length_penalty)
                    done[row].append(Hypothesis(tokens, score, found, True, shown))
            going = going[:width]
            if going and _decided(done[row], totals[going[0]], length, max_steps, length_penalty, n_best):
                continue
            parents += [parent for parent, _ in going]
            chosen += [token for _, token in going]
        kept, last = np.array(parents, np.int64), np.array(chosen, np.int64)
        state = select(said.state, kept)
        alive = _Alive(
            alive.rows[kept],
            totals[kept, last],
            np.concatenate([alive.tokens[kept], last[:, None]], axis=1),
            None if seen is None else seen[kept],
        )
    for n, row in enumerate(alive.rows):
        found = float(alive.log_probability[n])
        shown = None if alive.attention is None else alive.attention[n]
        score = found / penalty(max(1, alive.tokens.shape[1]), length_penalty)
        done[row].append(Hypothesis(alive.tokens[n].tolist(), score, found, False, shown))
    return [sorted(found, key=lambda one: -one.score)[:n_best] for found in done]


def _largest(values: Array, count: int) -> list[int]:
    """Return where the largest values are, largest first, of equal ones the first; -inf and NaN are left out."""
    places = np.flatnonzero(values > -np.inf)
    if places.size > count:
        least = np.partition(values[places], places.size - count)[places.size - count]
        places = places[values[places] >= least]
    return places[np.argsort(-values[places], kind="stable")][:count].tolist()


def _decided(done: list[Hypothesis], best: float, length: int, max_steps: int, strength: float, n_best: int) -> bool:
    """Say whether nothing that goes on can still be among a row's best.

    A log probability only falls, and the penalty is largest at one end of the lengths that are left.
    """
    if len(done) < n_best:
        return False
    bound = max(best / penalty(n, strength) for n in (min(length + 1, max_steps), max_steps))
    return sorted((one.score for one in done), reverse=True)[n_best - 1] >= bound


def _append(before: Array | None, now: Array | None) -> Array | None:
    if now is None:
        return None
    return now[:, None] if before is None else np.concatenate([before, now[:, None]], axis=1)
