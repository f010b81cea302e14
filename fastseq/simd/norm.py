"""Layer normalisation of rows, with what usually stands before it: dropout of a branch and its sum with the input.

    s = x + dropout(branch)         y = (s - mean) / sqrt(var + eps) * weight + bias          mean, var over a row

(Ba et al., "Layer Normalization", 2016.) A row's sums are made as `simd.fold` says: they depend on the row alone.
Gradients of weight and bias are summed per chunk of `CHUNK` rows, rows ascending, for the caller to add in order.
"""

from __future__ import annotations

from fastseq.jit import Flag, Int, Integers, Launcher, ReadReals, Real, Reals, kernel, piece, share
from fastseq.simd.fold import head_or, total
from fastseq.simd.lanes import address, fma, load, load_head, splat, square_root, store, store_head
from fastseq.simd.noise import thinned

CHUNK = 64
"""Rows of a task."""


@piece
def take(array, at, some, lanes):
    """Load as many lanes as there are, zeros for the others."""
    if some >= lanes:
        return load(array, at)
    return load_head(array, at, some)


@piece
def cut(value, some, fill, lanes):
    """Return the first ``some`` lanes, and ``fill`` in the others."""
    if some >= lanes:
        return value
    return head_or(value, some, fill)


@piece
def put(array, at, value, some, lanes):
    """Store as many lanes as there is room for."""
    if some >= lanes:
        store(array, at, value)
    else:
        store_head(array, at, value, some)


@piece
def normalize_row(s, at, y, weight, bias, width, eps, lanes):
    """Normalise a row of s; return its mean and the reciprocal of its standard deviation."""
    sums = splat(s, 0.0)
    for e in range(0, width, lanes):
        sums = sums + take(s, at + e, width - e, lanes)
    size = splat(s, width)
    mean = splat(s, total(sums)) / size
    squares = splat(s, 0.0)
    for e in range(0, width, lanes):
        some = width - e
        away = cut(take(s, at + e, some, lanes) - mean, some, 0.0, lanes)
        squares = fma(away, away, squares)
    scale = 1.0 / square_root(splat(s, total(squares)) / size + splat(s, eps))
    for e in range(0, width, lanes):
        some = width - e
        x = (take(s, at + e, some, lanes) - mean) * scale
        put(y, at + e, fma(x, take(weight, e, some, lanes), take(bias, e, some, lanes)), some, lanes)
    return mean, scale


@piece
def normalize_task(
    chunk, x, branch, sums, y, statistics, weight, bias, noise, factor, eps, width, rows, joined, wanted, lanes
):
    """Normalise a chunk's rows."""
    keys, threshold, noisy = (noise[0], noise[1]), noise[2], noise[3] == 1
    source = sums if joined else x
    for r in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
        at = r * width
        if joined:
            for e in range(0, width, lanes):
                some = width - e
                value = take(branch, at + e, some, lanes)
                if noisy:
                    value = thinned(value, at + e, keys, threshold, factor)
                put(sums, at + e, take(x, at + e, some, lanes) + value, some, lanes)
        if wanted:
            mean, scale = normalize_row(source, at, y, weight, bias, width, eps, lanes)
            store(statistics, 2 * r * lanes, mean)
            store(statistics, (2 * r + 1) * lanes, scale)


@kernel
def normalize(
    x: ReadReals, branch: ReadReals, sums: Reals, y: Reals, statistics: Reals, weight: ReadReals, bias: ReadReals,
    noise: Integers, factor: Real, eps: Real, width: Int, rows: Int, joined: Flag, wanted: Flag, lanes: Int,
    launcher: Launcher,
):  # fmt: skip
    """Write the normalised rows, and per row [mean, 1 / deviation] into vectors of their own.

    ``joined`` says whether there is a branch; then ``sums`` is written. ``wanted`` says whether y is.
    ``noise`` holds two keys, the threshold, and whether there is noise.
    """
    arguments = (
        address(x), address(branch), address(sums), address(y), address(statistics), address(weight), address(bias),
        address(noise), factor, eps, width, rows, joined, wanted, lanes,
    )  # fmt: skip
    share(launcher, (rows + CHUNK - 1) // CHUNK, normalize_task, arguments)


@piece
def normalize_back_task(
    chunk, s, statistics, weight, d_y, d_sums, d_s, d_branch, partial, noise, factor, width, rows, more, joined,
    wanted, lanes,
):  # fmt: skip
    """Write the gradients of a chunk's rows."""
    padded = (width + lanes - 1) // lanes * lanes
    keys, threshold = (noise[0], noise[1]), noise[2]
    to = chunk * 2 * padded
    zero = splat(partial, 0.0)
    size = splat(partial, width)
    for e in range(0, 2 * padded, lanes):
        store(partial, to + e, zero)
    for r in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
        at = r * width
        mean, scale, direct, along = zero, zero, zero, zero
        if wanted:
            mean, scale = load(statistics, 2 * r * lanes), load(statistics, (2 * r + 1) * lanes)
            for e in range(0, width, lanes):
                some = width - e
                g = take(d_y, at + e, some, lanes)
                x = cut((take(s, at + e, some, lanes) - mean) * scale, some, 0.0, lanes)
                store(partial, to + e, fma(g, x, load(partial, to + e)))
                store(partial, to + padded + e, load(partial, to + padded + e) + g)
                g = g * take(weight, e, some, lanes)
                direct, along = direct + g, fma(g, x, along)
            direct, along = splat(partial, total(direct)) / size, splat(partial, total(along)) / size
        for e in range(0, width, lanes):
            some = width - e
            found = zero
            if wanted:
                x = (take(s, at + e, some, lanes) - mean) * scale
                found = (take(d_y, at + e, some, lanes) * take(weight, e, some, lanes) - direct - x * along) * scale
            if more:
                found = found + take(d_sums, at + e, some, lanes)
            put(d_s, at + e, found, some, lanes)
            if joined:
                put(d_branch, at + e, thinned(found, at + e, keys, threshold, factor), some, lanes)


@kernel
def normalize_back(
    s: ReadReals, statistics: ReadReals, weight: ReadReals, d_y: ReadReals, d_sums: ReadReals, d_s: Reals,
    d_branch: Reals, partial: Reals, noise: Integers, factor: Real, width: Int, rows: Int, more: Flag, joined: Flag,
    wanted: Flag, lanes: Int, launcher: Launcher,
):  # fmt: skip
    """Write the gradients of s and of the branch, and per chunk those of weight and bias, added up over its rows.

    ``more`` says whether s has a gradient of its own, ``d_sums``; ``joined`` whether the branch's differs from that
    of s and is written; ``wanted`` whether y was.
    """
    arguments = (
        address(s), address(statistics), address(weight), address(d_y), address(d_sums), address(d_s),
        address(d_branch), address(partial), address(noise), factor, width, rows, more, joined, wanted, lanes,
    )  # fmt: skip
    share(launcher, (rows + CHUNK - 1) // CHUNK, normalize_back_task, arguments)
