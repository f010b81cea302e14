"""Scaled dot-product attention over rows of tokens, forwards and backwards, one head of one row at a time.

    W[r, j] = softmax over j of (scale * q[r] . k[j] + mask[r, j])          j < keys, with ``causal`` j <= r + offset
    out[r]  = sum over j of W[r, j] * v[j]                                  j ascending, one fma each

(Vaswani et al., "Attention Is All You Need", 2017, section 3.2.1.) Queries come in blocks of `QUERIES`; the weights of
a block stand in scratch and are computed anew in the backward pass, so that memory grows with T and not with its
square. Sums over queries run upwards through all blocks. No number of a result depends on other rows, on what stands
past a row's end, or on threads: a shard is a range of (row, head) pairs.

Numbers of a call (int64): the fields of `Sizes`, then per row the first query token, the number of queries, the first
key token, the number of keys; then the shards' bounds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastseq.jit import Int, Integers, Launcher, ReadReals, Real, Reals, kernel, piece, share, shared
from fastseq.simd.fold import largest, moved, total
from fastseq.simd.gemm import multiply
from fastseq.simd.lanes import address, at_least, load, splat, store, turn, zero_like
from fastseq.simd.math import exp
from fastseq.simd.memory import clear, copy, copy_padded
from fastseq.simd.noise import thinned
from fastseq.simd.norm import cut, take

QUERIES = 48
"""Queries of a block; a multiple of the tiles' rows."""
STEP = 6
"""Queries that a causal product takes together: one tile."""


class Sizes(NamedTuple):
    """What the kernels need to know besides the arrays; strides and offsets in elements, flags 0 or 1."""

    batch: Any
    heads: Any
    depth: Any  # of a head's queries and keys
    values: Any  # of a head's values
    q_at: Any
    q_row: Any
    k_at: Any
    k_row: Any
    v_at: Any
    v_row: Any
    o_row: Any
    causal: Any
    offset: Any
    masked: Any
    mask_batch: Any
    mask_head: Any
    mask_query: Any
    keep: Any  # whether weights are written
    most_queries: Any
    most_keys: Any
    noisy: Any
    key_0: Any
    key_1: Any
    threshold: Any
    shards: Any


FIELDS = len(Sizes._fields)


@piece
def sizes_of(n):
    """Return the `Sizes` at the beginning of the numbers."""
    return Sizes(
        n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12], n[13], n[14], n[15], n[16],
        n[17], n[18], n[19], n[20], n[21], n[22], n[23], n[24],
    )  # fmt: skip


@shared
def up(count, lanes):
    """Return a count rounded up to whole vectors."""
    return (count + lanes - 1) // lanes * lanes


@shared
def row_of(keys, lanes):
    """Return the row stride of what has one column per key; multiples of 1 KiB would collide in the cache."""
    width = up(keys, lanes)
    return width + lanes if width % (16 * lanes) == 0 else width


@shared
def forward_scratch(keys, depth, values, lanes):
    """Return the elements of scratch of one shard."""
    row, wide = row_of(keys, lanes), up(values, lanes)
    return max(row, wide) + depth * row + keys * wide + QUERIES * (row + wide)


@shared
def backward_scratch(keys, depth, values, lanes):
    """Return the elements of scratch of one shard."""
    row, deep, wide = row_of(keys, lanes), up(depth, lanes), up(values, lanes)
    products = (depth + values) * row + keys * (2 * deep + wide)
    return max(row, deep, wide) + products + QUERIES * (2 * row + 2 * deep + wide)


@piece
def pack_turned(source, at, row, count, width, target, to, stride, lanes):
    """Write ``count`` rows of ``width`` elements as columns, zeros behind the last one to the end of its vector."""
    for j in range(0, count, lanes):
        for c in range(0, width, lanes):
            rows, columns = min(lanes, count - j), min(lanes, width - c)
            turn(source, at + j * row + c, row, rows, columns, target, to + c * stride + j, stride, True)


@piece
def pack_rows(source, at, row, count, width, target, to, stride, lanes):
    """Copy ``count`` rows of ``width`` elements, zeros behind each to the end of its last vector."""
    for r in range(count):
        copy_padded(source, at + r * row, target, to + r * stride, width, lanes)


@piece
def unpack_rows(source, at, stride, count, width, target, to, row, lanes):
    """Copy ``count`` rows of ``width`` elements out of scratch."""
    for r in range(count):
        copy(source, at + r * stride, target, to + r * row, width, lanes)


@piece
def softmax_row(s, at, limit, width, scale, mask, m, masked, lanes):
    """Turn products into weights, in place: those before ``limit`` sum to one, those behind it are 0 up to ``width``.

    A row without a key, or with -inf on all, has weights 0.
    """
    top = splat(s, -np.inf)
    for e in range(0, limit, lanes):
        some = limit - e
        x = load(s, at + e) * splat(s, scale)
        if masked:
            x = x + take(mask, m + e, some, lanes)
        x = cut(x, some, -np.inf, lanes)
        top = at_least(top, x)
        store(s, at + e, x)
    highest = largest(top)
    top = splat(s, 0.0) if highest == -np.inf else splat(s, highest)
    sums = splat(s, 0.0)
    for e in range(0, limit, lanes):
        x = exp(load(s, at + e) - top)
        sums = sums + x
        store(s, at + e, x)
    whole = total(sums)
    inverse = splat(s, 0.0) if whole == 0.0 else splat(s, 1.0) / splat(s, whole)
    for e in range(0, limit, lanes):
        store(s, at + e, load(s, at + e) * inverse)
    for e in range(up(limit, lanes), width, lanes):
        store(s, at + e, zero_like(inverse))


@piece
def limit_of(size, r, keys):
    """Return how many keys a query sees."""
    if size.causal:
        return max(0, min(keys, r + size.offset + 1))
    return keys


@piece
def noise_keys(size, b, h):
    """Return the keys of one head's dropout."""
    number = b * size.heads + h
    return size.key_0 + number * 0x85EBCA6B, size.key_1 + number * 0xC2B2AE35


@piece
def weights_of(size, q, at, r0, count, keys, w, kt, s, row, scale, mask, m, lanes):
    """Write the weights of a block of queries to w[s:], row by row; return how many columns are written.

    ``kt`` is where the packed keys are, ``m`` where the first query's mask is. The zeros at w[0:] start the products.
    """
    width = up(limit_of(size, r0 + count - 1, keys), lanes)
    multiply(q, at, size.q_row, 1, w, kt, row, size.depth, w, 0, 0, w, s, row, count, width // lanes, lanes)
    for i in range(count):
        limit = limit_of(size, r0 + i, keys)
        softmax_row(w, s + i * row, limit, width, scale, mask, m + (r0 + i) * size.mask_query, size.masked == 1, lanes)
    return width


@piece
def thin_row(size, w, at, r, width, keys_of_noise, factor, lanes):
    """Apply dropout to a query's weights, or to their gradients."""
    for e in range(0, width, lanes):
        number = r * size.most_keys + e
        store(w, at + e, thinned(load(w, at + e), number, keys_of_noise, size.threshold, factor))


@piece
def weighted_sums(size, w, s, row, vp, wide, o, r0, count, keys, lanes):
    """Write sums of values under a block's weights to w[o:]; a key that a query does not see is not touched for it."""
    vectors = wide // lanes
    if not size.causal:
        multiply(w, s, row, 1, w, vp, wide, keys, w, 0, 0, w, o, wide, count, vectors, lanes)
        return
    for i in range(0, count, STEP):
        several = min(STEP, count - i)
        seen = limit_of(size, r0 + i, keys)
        multiply(w, s + i * row, row, 1, w, vp, wide, seen, w, 0, 0, w, o + i * wide, wide, several, vectors, lanes)
        for j in range(i + 1, i + several):
            more = limit_of(size, r0 + j, keys) - seen
            at, to = s + j * row + seen, o + j * wide
            if more > 0:
                multiply(w, at, row, 1, w, vp + seen * wide, wide, more, w, to, wide, w, to, wide, 1, vectors, lanes)


@piece
def forward_head(size, b, h, q_first, queries, k_first, keys, q, k, v, out, kept, mask, w, scale, factor, lanes):
    """Compute one head of one row; w is scratch."""
    row, wide = row_of(keys, lanes), up(size.values, lanes)
    kt = max(row, wide)
    vp = kt + size.depth * row
    s = vp + keys * wide
    o = s + QUERIES * row
    clear(w, 0, kt, lanes)
    k_at, v_at = size.k_at + h * size.depth, size.v_at + h * size.values
    pack_turned(k, k_at + k_first * size.k_row, size.k_row, keys, size.depth, w, kt, row, lanes)
    pack_rows(v, v_at + k_first * size.v_row, size.v_row, keys, size.values, w, vp, wide, lanes)
    m = b * size.mask_batch + h * size.mask_head
    hashes = noise_keys(size, b, h)
    for r0 in range(0, queries, QUERIES):
        count = min(QUERIES, queries - r0)
        at = size.q_at + (q_first + r0) * size.q_row + h * size.depth
        width = weights_of(size, q, at, r0, count, keys, w, kt, s, row, scale, mask, m, lanes)
        if size.noisy:
            for i in range(count):
                thin_row(size, w, s + i * row, r0 + i, width, hashes, factor, lanes)
        if size.keep:
            to = ((b * size.heads + h) * size.most_queries + r0) * size.most_keys
            unpack_rows(w, s, row, count, min(width, keys), kept, to, size.most_keys, lanes)
        weighted_sums(size, w, s, row, vp, wide, o, r0, count, keys, lanes)
        to = (q_first + r0) * size.o_row + h * size.values
        unpack_rows(w, o, wide, count, size.values, out, to, size.o_row, lanes)


@piece
def forward_task(shard, size, numbers, q, k, v, out, kept, mask, scratch, scale, factor, each, lanes):
    """Compute a shard's heads."""
    bounds = FIELDS + 4 * size.batch + shard
    for task in range(numbers[bounds], numbers[bounds + 1]):
        b, h = task // size.heads, task % size.heads
        at = FIELDS + 4 * b
        forward_head(
            size, b, h, numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3], q, k, v, out, kept, mask,
            moved(scratch, shard * each), scale, factor, lanes,
        )  # fmt: skip


@kernel
def attend(
    q: ReadReals, k: ReadReals, v: ReadReals, out: Reals, kept: Reals, mask: ReadReals, scratch: Reals,
    numbers: Integers, scale: Real, factor: Real, each: Int, lanes: Int, launcher: Launcher,
):  # fmt: skip
    """Write the results of all rows and heads to ``out``, and the weights to ``kept`` if they are wanted.

    ``factor`` is what dropout multiplies by, ``each`` the size of a shard's scratch.
    """
    size = sizes_of(numbers)
    arguments = (
        size, address(numbers), address(q), address(k), address(v), address(out), address(kept), address(mask),
        address(scratch), scale, factor, each, lanes,
    )  # fmt: skip
    share(launcher, size.shards, forward_task, arguments)


@piece
def gradient_row(size, w, s, t, r, limit, width, hashes, scale, factor, lanes):
    """Turn the gradients of a query's weights, at w[t:], into those of its products; thin the weights at w[s:]."""
    if size.noisy:
        thin_row(size, w, t, r, width, hashes, factor, lanes)
    sums = splat(w, 0.0)
    for e in range(0, limit, lanes):
        sums = sums + cut(load(w, s + e) * load(w, t + e), limit - e, 0.0, lanes)
    mean, scaling = splat(w, total(sums)), splat(w, scale)
    for e in range(0, limit, lanes):
        found = load(w, s + e) * (load(w, t + e) - mean) * scaling
        store(w, t + e, cut(found, limit - e, 0.0, lanes))
    for e in range(up(limit, lanes), width, lanes):
        store(w, t + e, zero_like(mean))
    if size.noisy:
        thin_row(size, w, s, r, width, hashes, factor, lanes)


@piece
def backward_head(
    size, b, h, q_first, queries, k_first, keys, q, k, v, mask, d_out, d_kept, d_q, d_k, d_v, w, scale, factor, lanes
):
    """Compute the gradients of one head of one row; w is scratch."""
    row, deep, wide = row_of(keys, lanes), up(size.depth, lanes), up(size.values, lanes)
    kt = max(row, deep, wide)
    vt = kt + size.depth * row
    kp = vt + size.values * row
    dk = kp + keys * deep
    dv = dk + keys * deep
    s = dv + keys * wide
    t = s + QUERIES * row
    qp = t + QUERIES * row
    gp = qp + QUERIES * deep
    dq = gp + QUERIES * wide
    clear(w, 0, kt, lanes)
    clear(w, dk, keys * (deep + wide), lanes)
    q_at, k_at, v_at = size.q_at + h * size.depth, size.k_at + h * size.depth, size.v_at + h * size.values
    pack_turned(k, k_at + k_first * size.k_row, size.k_row, keys, size.depth, w, kt, row, lanes)
    pack_turned(v, v_at + k_first * size.v_row, size.v_row, keys, size.values, w, vt, row, lanes)
    pack_rows(k, k_at + k_first * size.k_row, size.k_row, keys, size.depth, w, kp, deep, lanes)
    m = b * size.mask_batch + h * size.mask_head
    hashes = noise_keys(size, b, h)
    for r0 in range(0, queries, QUERIES):
        count = min(QUERIES, queries - r0)
        at = q_at + (q_first + r0) * size.q_row
        width = weights_of(size, q, at, r0, count, keys, w, kt, s, row, scale, mask, m, lanes)
        pack_rows(q, at, size.q_row, count, size.depth, w, qp, deep, lanes)
        come = (q_first + r0) * size.o_row + h * size.values
        pack_rows(d_out, come, size.o_row, count, size.values, w, gp, wide, lanes)
        if size.keep:
            come = ((b * size.heads + h) * size.most_queries + r0) * size.most_keys
            pack_rows(d_kept, come, size.most_keys, count, min(width, keys), w, t, row, lanes)
            multiply(w, gp, wide, 1, w, vt, row, size.values, w, t, row, w, t, row, count, width // lanes, lanes)
        else:
            multiply(w, gp, wide, 1, w, vt, row, size.values, w, 0, 0, w, t, row, count, width // lanes, lanes)
        for i in range(count):
            limit = limit_of(size, r0 + i, keys)
            gradient_row(size, w, s + i * row, t + i * row, r0 + i, limit, width, hashes, scale, factor, lanes)
        seen = min(width, keys)
        multiply(w, s, 1, row, w, gp, wide, count, w, dv, wide, w, dv, wide, seen, wide // lanes, lanes)
        multiply(w, t, 1, row, w, qp, deep, count, w, dk, deep, w, dk, deep, seen, deep // lanes, lanes)
        multiply(w, t, row, 1, w, kp, deep, seen, w, 0, 0, w, dq, deep, count, deep // lanes, lanes)
        unpack_rows(w, dq, deep, count, size.depth, d_q, at, size.q_row, lanes)
    unpack_rows(w, dk, deep, keys, size.depth, d_k, k_at + k_first * size.k_row, size.k_row, lanes)
    unpack_rows(w, dv, wide, keys, size.values, d_v, v_at + k_first * size.v_row, size.v_row, lanes)


@piece
def backward_task(
    shard, size, numbers, q, k, v, mask, d_out, d_kept, d_q, d_k, d_v, scratch, scale, factor, each, lanes
):
    """Compute the gradients of a shard's heads."""
    bounds = FIELDS + 4 * size.batch + shard
    for task in range(numbers[bounds], numbers[bounds + 1]):
        b, h = task // size.heads, task % size.heads
        at = FIELDS + 4 * b
        backward_head(
            size, b, h, numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3], q, k, v, mask, d_out, d_kept,
            d_q, d_k, d_v, moved(scratch, shard * each), scale, factor, lanes,
        )  # fmt: skip


@kernel
def attend_back(
    q: ReadReals, k: ReadReals, v: ReadReals, mask: ReadReals, d_out: ReadReals, d_kept: ReadReals,
    d_q: Reals, d_k: Reals, d_v: Reals, scratch: Reals, numbers: Integers, scale: Real, factor: Real, each: Int,
    lanes: Int, launcher: Launcher,
):  # fmt: skip
    """Write the gradients of queries, keys and values, where tokens are; the arguments are those of `attend`."""
    size = sizes_of(numbers)
    arguments = (
        size, address(numbers), address(q), address(k), address(v), address(mask), address(d_out), address(d_kept),
        address(d_q), address(d_k), address(d_v), address(scratch), scale, factor, each, lanes,
    )  # fmt: skip
    share(launcher, size.shards, backward_task, arguments)
