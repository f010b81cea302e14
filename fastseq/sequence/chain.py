"""All sequences of tags over the steps of a row, scored step by step and pair by pair: sums, shares, and the best one.

The score of tags y over n steps is start[y_0] + sum_t emissions[t, y_t] + sum_t transitions[y_t, y_t+1] + end[y_n-1]
(Lafferty et al., "Conditional Random Fields", 2001; sums forwards and backwards: Rabiner, "A Tutorial on Hidden Markov
Models", 1989, section III). ``before[t, j]`` is the log of the sum over all beginnings that have tag j at step t, with
that step; ``after[j]`` that over all continuations, without it.

A step is a matrix product of exponentials, brought below one by the largest score and the largest transition. Where
such a sum is so small that terms may have been lost (transitions of -10000 are used to forbid), it is done again in
log space. The lattice is in double precision whatever the inputs are.
"""

from __future__ import annotations

import math

import numpy as np

from fastseq.jit import Doubles, Flag, Int, Integers, Launcher, ReadReals, Reals, kernel, piece, share
from fastseq.simd.lanes import address

RELIABLE = 1e-200
"""A sum of exponentials, none of them above one, that is larger than this has lost nothing to underflow."""

STRETCH = 200.0
"""The log of a factor on a product of exponentials up to which what underflows in the product does not matter."""


@piece
def exponentials(values, at, count, weights, to):
    """Write e**(value - top) and return top, the largest value; NaN is no value to be the largest."""
    top = -np.inf
    for i in range(count):
        if values[at + i] > top:
            top = values[at + i]
    for i in range(count):
        weights[to + i] = math.exp(values[at + i] - top)
    return top


@piece
def log_of_sum(values, at, matrix, place, stride, count):
    """Return log(sum_i e**(values[at + i] + matrix[place + i * stride])); NaN in, NaN out."""
    top, total = -np.inf, 0.0
    for i in range(count):
        term = values[at + i] + matrix[place + i * stride]
        if term > top:
            top = term
    if top == -np.inf:
        for i in range(count):
            total += values[at + i] + matrix[place + i * stride]
        return total
    for i in range(count):
        total += math.exp(values[at + i] + matrix[place + i * stride] - top)
    return top + math.log(total)


@piece
def spread(room, at, matrix, outer, inner, steepness, turned, largest, count, weights, totals):
    """Write at ``totals`` of ``room`` log(sum_i e**(room[at + i] + m[i, j])) for every j.

    m[i, j] is matrix[i * outer + j * inner]. ``steepness``, from ``turned`` on, holds e**(m - largest) with j running
    fastest. ``weights`` are working room.
    """
    top = exponentials(room, at, count, room, weights)
    for j in range(count):
        room[totals + j] = 0.0
    for i in range(count):
        weight, row = room[weights + i], turned + i * count
        for j in range(count):
            room[totals + j] += weight * steepness[row + j]
    for j in range(count):
        total = room[totals + j]
        if total > RELIABLE and total < np.inf:
            room[totals + j] = top + largest + math.log(total)
        else:
            room[totals + j] = log_of_sum(room, at, matrix, j * inner, outer, count)


@piece
def take_pairs(room, before, ahead, matrix, steepness, largest, whole, count, weights, parts, d_pairs):
    """Take from the pairs' slopes the probability of each pair of tags at two steps that follow one another."""
    top = exponentials(room, before, count, room, weights)
    other = exponentials(room, ahead, count, room, parts)
    stretch = top + other + largest - whole
    if stretch < STRETCH:
        scale = math.exp(stretch)
        for i in range(count):
            weight, row = room[weights + i] * scale, i * count
            for j in range(count):
                room[d_pairs + row + j] -= weight * steepness[row + j] * room[parts + j]
    else:
        for i in range(count):
            for j in range(count):
                pair = room[before + i] + matrix[i * count + j] + room[ahead + j]
                room[d_pairs + i * count + j] -= math.exp(pair - whole)


@piece
def score_row(
    emissions, start, matrix, end, d_emissions, d_start, d_transitions, d_end, tags, base, length, row, count,
    steepness, largest, wanted, room, home,
):  # fmt: skip
    """Return the log probability of one row's tags, and write its derivatives; see `score`."""
    pairs = count * count
    d_pairs = home
    weights, totals, after = home + pairs, home + pairs + count, home + pairs + 2 * count
    ahead, parts, before = after + count, after + 2 * count, after + 3 * count
    for j in range(count):
        room[before + j] = start[j] + emissions[base * count + j]
    for t in range(1, length):
        now = before + t * count
        spread(room, now - count, matrix, count, 1, steepness, 0, largest, count, weights, totals)
        for j in range(count):
            room[now + j] = room[totals + j] + emissions[(base + t) * count + j]
    whole = log_of_sum(room, before + (length - 1) * count, end, 0, 1, count)
    known, total = tags[base] >= 0, 0.0
    if known:
        total = start[tags[base]] + end[tags[base + length - 1]]
        for t in range(length):
            total += emissions[(base + t) * count + tags[base + t]]
            if t > 0:
                total += matrix[tags[base + t - 1] * count + tags[base + t]]
    if not wanted:
        return total - whole
    for i in range(pairs):
        room[d_pairs + i] = 0.0
    for j in range(count):
        room[after + j] = end[j]
    for back in range(length):
        t = length - 1 - back
        now = before + t * count
        if back > 0:
            for j in range(count):
                room[ahead + j] = room[after + j] + emissions[(base + t + 1) * count + j]
            take_pairs(room, now, ahead, matrix, steepness, largest, whole, count, weights, parts, d_pairs)
            spread(room, ahead, matrix, 1, count, steepness, pairs, largest, count, weights, after)
        for j in range(count):
            part = math.exp(room[now + j] + room[after + j] - whole)
            d_emissions[(base + t) * count + j] = -part
            if t == 0:
                d_start[row * count + j] = -part
            if back == 0:
                d_end[row * count + j] = -part
    if known:
        d_start[row * count + tags[base]] += 1.0
        d_end[row * count + tags[base + length - 1]] += 1.0
        for t in range(length):
            d_emissions[(base + t) * count + tags[base + t]] += 1.0
            if t > 0:
                room[d_pairs + tags[base + t - 1] * count + tags[base + t]] += 1.0
    for i in range(pairs):
        d_transitions[row * pairs + i] = room[d_pairs + i]
    return total - whole


@piece
def score_rows(
    task, emissions, start, matrix, end, results, d_emissions, d_start, d_transitions, d_end, tags, lengths, rows,
    steps, count, tasks, steepness, largest, wanted, room, size,
):  # fmt: skip
    """Do every ``tasks``-th row, in the task's own part of the room."""
    pairs = count * count
    for row in range(task, rows, tasks):
        if lengths[row] > 0:
            results[row] = score_row(
                emissions, start, matrix, end, d_emissions, d_start, d_transitions, d_end, tags, row * steps,
                lengths[row], row, count, steepness, largest, wanted, room, task * size,
            )  # fmt: skip
            continue
        results[row] = 0.0
        if wanted:
            for j in range(count):
                d_start[row * count + j] = 0.0
                d_end[row * count + j] = 0.0
            for i in range(pairs):
                d_transitions[row * pairs + i] = 0.0


@kernel
def score(
    emissions: ReadReals,
    start: Doubles,
    transitions: Doubles,
    end: Doubles,
    results: Reals,
    d_emissions: Reals,
    d_start: Reals,
    d_transitions: Reals,
    d_end: Reals,
    tags: Integers,
    lengths: Integers,
    steepness: Doubles,
    room: Doubles,
    rows: Int,
    steps: Int,
    count: Int,
    tasks: Int,
    size: Int,
    wanted: Flag,
    launcher: Launcher,
) -> None:
    """Write the log probability of each row's tags and, if wanted, its derivatives, row by row.

    emissions (rows, steps, count); start, end (count,); transitions (count, count), from and to; tags (rows, steps), in
    0..count-1 or, all of a row's, negative for no tags: minus the log of the sum alone. results (rows,). d_emissions
    has the shape of emissions and comes with zeros; the other three have ``rows`` in front and are written as a whole.
    All four are empty if not wanted. What stands past a row's length is neither read nor written. ``steepness`` has
    room for the transitions twice, ``room`` has ``size`` (`room_size`) per task.
    """
    pairs = count * count
    matrix, steep = address(transitions), address(steepness)
    largest = exponentials(matrix, 0, pairs, steep, 0)
    for i in range(count):
        for j in range(count):
            steep[pairs + j * count + i] = steep[i * count + j]
    arguments = (
        address(emissions), address(start), matrix, address(end), address(results), address(d_emissions),
        address(d_start), address(d_transitions), address(d_end), address(tags), address(lengths), rows, steps, count,
        tasks, steep, largest, wanted, address(room), size,
    )  # fmt: skip
    share(launcher, tasks, score_rows, arguments)


@piece
def best_rows(
    task, emissions, start, matrix, end, results, tags, lengths, rows, steps, count, tasks, room, origin, size
):
    """Do every ``tasks``-th row, in the task's own part of the room and of the origins."""
    scores, following, home = task * 2 * count, task * 2 * count + count, task * size
    for row in range(task, rows, tasks):
        length, base = lengths[row], row * steps
        if length == 0:
            results[row] = 0.0
            continue
        for j in range(count):
            room[scores + j] = start[j] + emissions[base * count + j]
        for t in range(1, length):
            now = home + t * count
            for j in range(count):
                room[following + j] = room[scores] + matrix[j]
                origin[now + j] = 0
            for i in range(1, count):
                for j in range(count):
                    reached = room[scores + i] + matrix[i * count + j]
                    if reached > room[following + j]:
                        room[following + j] = reached
                        origin[now + j] = i
            for j in range(count):
                room[scores + j] = room[following + j] + emissions[(base + t) * count + j]
        winner, highest = 0, room[scores] + end[0]
        for j in range(1, count):
            if room[scores + j] + end[j] > highest:
                winner, highest = j, room[scores + j] + end[j]
        results[row] = highest
        for back in range(length):
            t = length - 1 - back
            tags[base + t] = winner
            winner = origin[home + t * count + winner] if t > 0 else winner


@kernel
def best(
    emissions: ReadReals,
    start: Doubles,
    transitions: Doubles,
    end: Doubles,
    results: Reals,
    tags: Integers,
    lengths: Integers,
    room: Doubles,
    origin: Integers,
    rows: Int,
    steps: Int,
    count: Int,
    tasks: Int,
    size: Int,
    launcher: Launcher,
) -> None:
    """Write each row's best tags (Viterbi) and their score; of equal scores the lower tag wins.

    Shapes as in `score`; ``tags`` past a row's length is not written. ``room`` has two rows of ``count`` per task,
    ``origin`` has ``size``, the largest length times ``count``.
    """
    arguments = (
        address(emissions), address(start), address(transitions), address(end), address(results), address(tags),
        address(lengths), rows, steps, count, tasks, address(room), address(origin), size,
    )  # fmt: skip
    share(launcher, tasks, best_rows, arguments)


def room_size(steps: int, count: int) -> int:
    """Return how many numbers a task of `score` works on.

    Parameters
    ----------
    steps
        The largest length.
    count
        Number of tags.
    """
    return count * (count + 5 + steps)
