"""All ways to stretch a row of labels over the steps of a sequence, added up in log space.

The states of a row with L labels are blank, label 0, blank, label 1, ..., blank: S = 2 L + 1. A path stays, goes on by
one, or skips a blank between two different labels. ``before[t, s]`` is the log of the sum over the paths that are in
state s at step t, up to and with that step; ``after[s]`` that of what may follow (Graves et al., "Connectionist
Temporal Classification", 2006, section 4.1, where they are alpha and beta).

The lattice is in double precision whatever the inputs are: a log of -3000 leaves float32 four digits.
"""

from __future__ import annotations

import math

import numpy as np

from fastseq.jit import Flag, Int, Integers, ReadReals, Reals, kernel, piece, prange

RELIABLE = 1e-200
"""A sum of exponentials, none of them above one, that is larger than this has lost nothing to underflow."""

FACTS = 3  # per row: its steps, its labels, and where these begin


@piece
def log_of_sum(a, b, c):
    """Return log(e**a + e**b + e**c); NaN in, NaN out."""
    top = a
    if b > top:
        top = b
    if c > top:
        top = c
    if top == -np.inf:
        return a + b + c  # all of them -inf, or one is NaN
    return top + math.log(math.exp(a - top) + math.exp(b - top) + math.exp(c - top))


@piece
def exponentials(values, at, count, weights):
    """Write e**(value - top) and return top, the largest value; NaN is no value to be the largest."""
    top = -np.inf
    for s in range(count):
        if values[at + s] > top:
            top = values[at + s]
    for s in range(count):
        weights[s] = math.exp(values[at + s] - top)
    return top


@piece
def fill_before(log_probs, place, stride, symbols, skips, steps, states, before, weights):
    """Fill ``before`` (steps, states), from the first step to the last."""
    for s in range(states):
        before[s] = -np.inf
    for s in range(min(2, states)):
        before[s] = log_probs[place + symbols[s]]
    for t in range(1, steps):
        last, now, row = (t - 1) * states, t * states, place + t * stride
        top = exponentials(before, last, states, weights)
        for s in range(states):
            # Only states that some path reaches by now, and from which it reaches the end.
            if s > 2 * t + 1 or s < states - 2 * (steps - t):
                before[now + s] = -np.inf
                continue
            total = weights[s]
            if s > 0:
                total += weights[s - 1]
            if skips[s]:
                total += weights[s - 2]
            if total > RELIABLE:
                known = top + math.log(total)
            else:
                one = before[last + s - 1] if s > 0 else -np.inf
                two = before[last + s - 2] if skips[s] else -np.inf
                known = log_of_sum(before[last + s], one, two)
            before[now + s] = known + log_probs[row + symbols[s]]


@piece
def add_posteriors(
    log_probs, place, stride, symbols, skips, steps, states, before, weights, after, ahead, whole, slopes
):
    """Take from ``slopes`` the probability of each symbol at each step, given the labels; from the last step back."""
    for s in range(states):
        after[s] = 0.0 if s >= states - 2 else -np.inf
    for back in range(steps):
        t = steps - 1 - back
        row = place + t * stride
        if back > 0:
            top = exponentials(ahead, 0, states, weights)
            for s in range(states):
                total = weights[s]
                if s + 1 < states:
                    total += weights[s + 1]
                skip = s + 2 < states and skips[s + 2]
                if skip:
                    total += weights[s + 2]
                if total > RELIABLE:
                    after[s] = top + math.log(total)
                else:
                    one = ahead[s + 1] if s + 1 < states else -np.inf
                    two = ahead[s + 2] if skip else -np.inf
                    after[s] = log_of_sum(ahead[s], one, two)
        blank = 0.0
        for s in range(states):
            path = before[t * states + s] + after[s]
            share = 0.0 if path == -np.inf else math.exp(path - whole)
            if s % 2 == 0:
                blank += share
            else:
                slopes[row + symbols[s]] -= share
            ahead[s] = after[s] + log_probs[row + symbols[s]]
        slopes[row + symbols[0]] -= blank


@kernel(parallel=True)
def align(
    log_probs: ReadReals,
    losses: Reals,
    slopes: Reals,
    labels: Integers,
    facts: Integers,
    rows: Int,
    row_stride: Int,
    step_stride: Int,
    classes: Int,
    blank: Int,
    wanted: Flag,
) -> None:
    """Write minus the log probability of each row's labels and, if wanted, its derivative by every log probability.

    ``facts`` holds `FACTS` numbers per row; labels are in 0..classes-1. Element (row, step, class) of ``log_probs`` and
    ``slopes`` is at row * row_stride + step * step_stride + class; ``slopes`` comes with zeros, or empty if not wanted.
    What stands past a row's steps is neither read nor written.
    """
    for row in prange(rows):
        steps, count, first = facts[row * FACTS], facts[row * FACTS + 1], facts[row * FACTS + 2]
        states = 2 * count + 1
        if steps == 0:
            losses[row] = 0.0 if count == 0 else np.inf
            continue
        symbols = np.full(states, blank, np.int64)
        skips = np.zeros(states, np.bool_)
        for i in range(count):
            symbols[2 * i + 1] = labels[first + i]
            skips[2 * i + 1] = i > 0 and labels[first + i] != labels[first + i - 1]
        before = np.empty(steps * states, np.float64)
        weights = np.empty(states, np.float64)
        place = row * row_stride
        fill_before(log_probs, place, step_stride, symbols, skips, steps, states, before, weights)
        end = steps * states
        whole = log_of_sum(before[end - 1], before[end - 2] if count > 0 else -np.inf, -np.inf)
        losses[row] = -whole
        if wanted and whole == -np.inf:
            for t in range(steps):
                for c in range(classes):
                    slopes[place + t * step_stride + c] = np.nan
        elif wanted:
            after, ahead = np.empty(states, np.float64), np.empty(states, np.float64)
            add_posteriors(
                log_probs, place, step_stride, symbols, skips, steps, states, before, weights, after, ahead, whole,
                slopes,
            )  # fmt: skip
