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

from fastseq.jit import Doubles, Flag, Int, Integers, Launcher, ReadReals, Reals, kernel, piece, share
from fastseq.simd.lanes import address

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
def exponentials(values, at, count, weights, to):
    """Write e**(value - top) and return top, the largest value; NaN is no value to be the largest."""
    top = -np.inf
    for s in range(count):
        if values[at + s] > top:
            top = values[at + s]
    for s in range(count):
        weights[to + s] = math.exp(values[at + s] - top)
    return top


@piece
def symbol_of(labels, first, blank, s):
    """Return the class that stands for a state."""
    return labels[first + s // 2] if s % 2 == 1 else blank


@piece
def may_skip(labels, first, s):
    """Say whether a path may come to a state over the blank before it."""
    return s % 2 == 1 and s > 1 and labels[first + s // 2] != labels[first + s // 2 - 1]


@piece
def fill_before(log_probs, place, stride, labels, first, blank, steps, states, lattice, home):
    """Fill ``before`` (steps, states) at ``home`` of the lattice, from the first step to the last."""
    weights = home + steps * states
    for s in range(states):
        lattice[home + s] = -np.inf
    for s in range(min(2, states)):
        lattice[home + s] = log_probs[place + symbol_of(labels, first, blank, s)]
    for t in range(1, steps):
        last, now, row = home + (t - 1) * states, home + t * states, place + t * stride
        top = exponentials(lattice, last, states, lattice, weights)
        for s in range(states):
            # Only states that some path reaches by now, and from which it reaches the end.
            if s > 2 * t + 1 or s < states - 2 * (steps - t):
                lattice[now + s] = -np.inf
                continue
            skip = may_skip(labels, first, s)
            total = lattice[weights + s]
            if s > 0:
                total += lattice[weights + s - 1]
            if skip:
                total += lattice[weights + s - 2]
            if total > RELIABLE:
                known = top + math.log(total)
            else:
                one = lattice[last + s - 1] if s > 0 else -np.inf
                two = lattice[last + s - 2] if skip else -np.inf
                known = log_of_sum(lattice[last + s], one, two)
            lattice[now + s] = known + log_probs[row + symbol_of(labels, first, blank, s)]


@piece
def take_posteriors(log_probs, place, stride, labels, first, blank, steps, states, lattice, home, whole, slopes):
    """Take from ``slopes`` the probability of each symbol at each step, given the labels; from the last step back."""
    weights = home + steps * states
    after, ahead = weights + states, weights + 2 * states
    for s in range(states):
        lattice[after + s] = 0.0 if s >= states - 2 else -np.inf
    for back in range(steps):
        t = steps - 1 - back
        row = place + t * stride
        if back > 0:
            top = exponentials(lattice, ahead, states, lattice, weights)
            for s in range(states):
                skip = s + 2 < states and may_skip(labels, first, s + 2)
                total = lattice[weights + s]
                if s + 1 < states:
                    total += lattice[weights + s + 1]
                if skip:
                    total += lattice[weights + s + 2]
                if total > RELIABLE:
                    lattice[after + s] = top + math.log(total)
                else:
                    one = lattice[ahead + s + 1] if s + 1 < states else -np.inf
                    two = lattice[ahead + s + 2] if skip else -np.inf
                    lattice[after + s] = log_of_sum(lattice[ahead + s], one, two)
        silent = 0.0
        for s in range(states):
            path = lattice[home + t * states + s] + lattice[after + s]
            part = 0.0 if path == -np.inf else math.exp(path - whole)
            symbol = symbol_of(labels, first, blank, s)
            if s % 2 == 0:
                silent += part
            else:
                slopes[row + symbol] -= part
            lattice[ahead + s] = lattice[after + s] + log_probs[row + symbol]
        slopes[row + blank] -= silent


@piece
def align_rows(
    task, log_probs, losses, slopes, lattice, labels, facts, rows, tasks, room, row_stride, step_stride, classes, blank,
    wanted,
):  # fmt: skip
    """Do every ``tasks``-th row, in the task's own part of the lattice."""
    home = task * room
    for row in range(task, rows, tasks):
        steps, count, first = facts[row * FACTS], facts[row * FACTS + 1], facts[row * FACTS + 2]
        states, place = 2 * count + 1, row * row_stride
        if steps == 0:
            losses[row] = 0.0 if count == 0 else np.inf
            continue
        fill_before(log_probs, place, step_stride, labels, first, blank, steps, states, lattice, home)
        end = home + steps * states
        whole = log_of_sum(lattice[end - 1], lattice[end - 2] if count > 0 else -np.inf, -np.inf)
        losses[row] = -whole
        if wanted and whole == -np.inf:
            for t in range(steps):
                for c in range(classes):
                    slopes[place + t * step_stride + c] = np.nan
        elif wanted:
            take_posteriors(
                log_probs, place, step_stride, labels, first, blank, steps, states, lattice, home, whole, slopes
            )


@kernel
def align(
    log_probs: ReadReals,
    losses: Reals,
    slopes: Reals,
    lattice: Doubles,
    labels: Integers,
    facts: Integers,
    rows: Int,
    tasks: Int,
    room: Int,
    row_stride: Int,
    step_stride: Int,
    classes: Int,
    blank: Int,
    wanted: Flag,
    launcher: Launcher,
) -> None:
    """Write minus the log probability of each row's labels and, if wanted, its derivative by every log probability.

    ``facts`` holds `FACTS` numbers per row; labels are in 0..classes-1. Element (row, step, class) of ``log_probs`` and
    ``slopes`` is at row * row_stride + step * step_stride + class; ``slopes`` comes with zeros, or empty if not wanted.
    What stands past a row's steps is neither read nor written. ``lattice`` has ``room`` (`lattice_size`) per task.
    """
    arguments = (
        address(log_probs), address(losses), address(slopes), address(lattice), address(labels), address(facts), rows,
        tasks, room, row_stride, step_stride, classes, blank, wanted,
    )  # fmt: skip
    share(launcher, tasks, align_rows, arguments)


def lattice_size(steps: int, labels: int) -> int:
    """Return how many numbers a task works on, given the largest numbers of steps and labels of a row.

    Parameters
    ----------
    steps, labels
        Largest numbers.
    """
    return (steps + 3) * (2 * labels + 1)
