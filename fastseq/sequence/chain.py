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

from fastseq.jit import Flag, Int, Integers, ReadReals, Reals, kernel, piece, prange

RELIABLE = 1e-200
"""A sum of exponentials, none of them above one, that is larger than this has lost nothing to underflow."""

STRETCH = 200.0
"""The log of a factor on a product of exponentials up to which what underflows in the product does not matter."""


@piece
def exponentials(values, at, count, weights):
    """Write e**(value - top) and return top, the largest value; NaN is no value to be the largest."""
    top = -np.inf
    for i in range(count):
        if values[at + i] > top:
            top = values[at + i]
    for i in range(count):
        weights[i] = math.exp(values[at + i] - top)
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
def spread(values, at, matrix, stride, steepness, largest, count, weights, totals):
    """Write to ``totals`` log(sum_i e**(values[at + i] + matrix[i, j])) for every j; return the largest value.

    ``steepness`` holds e**(matrix - largest) with j running fastest; ``matrix`` has its i's ``stride`` apart.
    """
    top = exponentials(values, at, count, weights)
    for j in range(count):
        totals[j] = 0.0
    for i in range(count):
        weight = weights[i]
        for j in range(count):
            totals[j] += weight * steepness[i * count + j]
    step = count if stride == 1 else 1
    for j in range(count):
        if totals[j] > RELIABLE and totals[j] < np.inf:
            totals[j] = top + largest + math.log(totals[j])
        else:
            totals[j] = log_of_sum(values, at, matrix, j * step, stride, count)
    return top


@piece
def take_pairs(before, at, matrix, largest, steepness, ahead, whole, count, weights, shares, d_pairs):
    """Take from ``d_pairs`` the probability of each pair of tags at two steps that follow one another."""
    top = exponentials(before, at, count, weights)
    other = exponentials(ahead, 0, count, shares)
    stretch = top + other + largest - whole
    if stretch < STRETCH:
        scale = math.exp(stretch)
        for i in range(count):
            weight = weights[i] * scale
            for j in range(count):
                d_pairs[i * count + j] -= weight * steepness[i * count + j] * shares[j]
    else:
        for i in range(count):
            for j in range(count):
                d_pairs[i * count + j] -= math.exp(before[at + i] + matrix[i * count + j] + ahead[j] - whole)


@kernel(parallel=True)
def score(
    emissions: ReadReals,
    start: ReadReals,
    transitions: ReadReals,
    end: ReadReals,
    results: Reals,
    d_emissions: Reals,
    d_start: Reals,
    d_transitions: Reals,
    d_end: Reals,
    tags: Integers,
    lengths: Integers,
    rows: Int,
    steps: Int,
    count: Int,
    wanted: Flag,
) -> None:
    """Write the log probability of each row's tags and, if wanted, its derivatives, row by row.

    emissions (rows, steps, count); start, end (count,); transitions (count, count), from and to; tags (rows, steps), in
    0..count-1 or, all of a row's, negative for no tags: minus the log of the sum alone. results (rows,). d_emissions
    has the shape of emissions and comes with zeros; the other three have ``rows`` in front and are written as a whole.
    All four are empty if not wanted. What stands past a row's length is neither read nor written.
    """
    pairs = count * count
    matrix, steepness, turned = np.empty(pairs), np.empty(pairs), np.empty(pairs)
    for i in range(pairs):
        matrix[i] = transitions[i]
    largest = exponentials(matrix, 0, pairs, steepness)
    for i in range(count):
        for j in range(count):
            turned[j * count + i] = steepness[i * count + j]
    for row in prange(rows):
        length, base = lengths[row], row * steps
        if wanted:
            for i in range(count):
                d_start[row * count + i] = 0.0
                d_end[row * count + i] = 0.0
            for i in range(pairs):
                d_transitions[row * pairs + i] = 0.0
        if length == 0:
            results[row] = 0.0
            continue
        before, weights, totals = np.empty(length * count), np.empty(count), np.empty(count)
        for j in range(count):
            before[j] = np.float64(start[j]) + emissions[base * count + j]
        for t in range(1, length):
            spread(before, (t - 1) * count, matrix, count, steepness, largest, count, weights, totals)
            for j in range(count):
                before[t * count + j] = totals[j] + emissions[(base + t) * count + j]
        final = (length - 1) * count
        whole = log_of_sum(before, final, end, 0, 1, count)
        known = tags[base] >= 0
        total = 0.0
        if known:
            total = np.float64(start[tags[base]]) + end[tags[base + length - 1]]
            for t in range(length):
                total += emissions[(base + t) * count + tags[base + t]]
                if t > 0:
                    total += matrix[tags[base + t - 1] * count + tags[base + t]]
        results[row] = total - whole
        if not wanted:
            continue
        after, ahead, shares, d_pairs = np.empty(count), np.empty(count), np.empty(count), np.zeros(pairs)
        for j in range(count):
            after[j] = end[j]
        for back in range(length):
            t = length - 1 - back
            if back > 0:
                for j in range(count):
                    ahead[j] = after[j] + emissions[(base + t + 1) * count + j]
                take_pairs(before, t * count, matrix, largest, steepness, ahead, whole, count, weights, shares, d_pairs)
                spread(ahead, 0, matrix, 1, turned, largest, count, weights, after)
            for j in range(count):
                share = math.exp(before[t * count + j] + after[j] - whole)
                d_emissions[(base + t) * count + j] = -share
                if t == 0:
                    d_start[row * count + j] = -share
                if back == 0:
                    d_end[row * count + j] = -share
        if known:
            d_start[row * count + tags[base]] += 1.0
            d_end[row * count + tags[base + length - 1]] += 1.0
            for t in range(length):
                d_emissions[(base + t) * count + tags[base + t]] += 1.0
                if t > 0:
                    d_pairs[tags[base + t - 1] * count + tags[base + t]] += 1.0
        for i in range(pairs):
            d_transitions[row * pairs + i] = d_pairs[i]


@kernel(parallel=True)
def best(
    emissions: ReadReals,
    start: ReadReals,
    transitions: ReadReals,
    end: ReadReals,
    results: Reals,
    tags: Integers,
    lengths: Integers,
    rows: Int,
    steps: Int,
    count: Int,
) -> None:
    """Write each row's best tags (Viterbi) and their score; of equal scores the lower tag wins.

    Shapes as in `score`; ``tags`` past a row's length is not written.
    """
    for row in prange(rows):
        length, base = lengths[row], row * steps
        if length == 0:
            results[row] = 0.0
            continue
        scores, following = np.empty(count), np.empty(count)
        origin = np.empty(length * count, np.int64)
        for j in range(count):
            scores[j] = np.float64(start[j]) + emissions[base * count + j]
        for t in range(1, length):
            for j in range(count):
                following[j] = scores[0] + transitions[j]
                origin[t * count + j] = 0
            for i in range(1, count):
                for j in range(count):
                    reached = scores[i] + transitions[i * count + j]
                    if reached > following[j]:
                        following[j] = reached
                        origin[t * count + j] = i
            for j in range(count):
                scores[j] = following[j] + emissions[(base + t) * count + j]
        winner, highest = 0, scores[0] + end[0]
        for j in range(1, count):
            if scores[j] + end[j] > highest:
                winner, highest = j, scores[j] + end[j]
        results[row] = highest
        for back in range(length):
            t = length - 1 - back
            tags[base + t] = winner
            winner = origin[t * count + winner] if t > 0 else winner
