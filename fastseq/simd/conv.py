"""Convolution over time without windows: each tap is a product of steps where they stand.

    out[b, t, o] = bias[o] + sum over taps i and features f of x[b, t * stride + i * dilation - before, f] * w[i, f, o]

Sums run over taps first and features second, gradients of weights over rows and steps upwards; steps outside a row are
left out. So no number depends on other rows, on what stands past a row's end, or on threads: a shard is a range of
tasks. Weights come packed (`simd.dense.pack_right`): one matrix per group, and for the gradients one per group and tap.

Numbers of a call (int64): the fields of `Sizes`, then per row the steps of its input and of its output.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastseq.jit import Int, Integers, Launcher, ReadReals, Reals, kernel, piece, share, shared
from fastseq.simd.dense import GROUP, ROWS
from fastseq.simd.gemm import multiply
from fastseq.simd.lanes import address, load, store
from fastseq.simd.memory import clear, copy, copy_padded


class Sizes(NamedTuple):
    """What the kernels need to know besides the arrays, in elements."""

    batch: Any
    steps: Any  # of the input
    outs: Any  # steps of the output
    features: Any
    outputs: Any
    taps: Any
    before: Any
    stride: Any
    dilation: Any
    groups: Any
    shards: Any


FIELDS = len(Sizes._fields)


@piece
def sizes_of(n):
    """Return the `Sizes` at the beginning of the numbers."""
    return Sizes(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10])


@shared
def padded(count, lanes):
    """Return a count rounded up to whole vectors."""
    return (count + lanes - 1) // lanes * lanes


@shared
def scratch_size(steps, outs, features, outputs, lanes):
    """Return the elements of scratch of one shard, for any of the kernels."""
    return (max(steps, outs, ROWS) + ROWS) * GROUP * lanes


@piece
def reached(size, tap, length, count):
    """Return the first output that a tap gives something to and the one after the last, and their distance in x."""
    shift = tap * size.dilation - size.before
    low = max(0, (-shift + size.stride - 1) // size.stride)
    high = min(count, (length - 1 - shift) // size.stride + 1) if length > 0 else 0
    return low, max(low, high), shift


@piece
def columns_of(part, columns, lanes):
    """Return a group of columns: the first, how many, and how many with padding."""
    j0 = part * GROUP * lanes
    some = min(GROUP * lanes, columns - j0)
    return j0, some, padded(some, lanes)


@piece
def forward_shard(shard, size, numbers, x, panels, bias, out, scratch, each, lanes):
    """Compute a range of (row, chunk of outputs, group, columns)."""
    per_in, per_out = size.features // size.groups, size.outputs // size.groups
    parts, chunks = (per_out + GROUP * lanes - 1) // (GROUP * lanes), (size.outs + ROWS - 1) // ROWS
    tasks, depth, wide = size.batch * chunks * size.groups * parts, size.taps * per_in, padded(per_out, lanes)
    for task in range(tasks * shard // size.shards, tasks * (shard + 1) // size.shards):
        part, rest = task % parts, task // parts
        group, rest = rest % size.groups, rest // size.groups
        t0, b = rest % chunks * ROWS, rest // chunks
        length, count = numbers[FIELDS + 2 * b], numbers[FIELDS + 2 * b + 1]
        rows = min(ROWS, count - t0)
        if rows <= 0:
            continue
        j0, some, width = columns_of(part, per_out, lanes)
        whole = some == width
        c, c0, c_row = scratch, shard * each, width
        if whole:
            c, c0, c_row = out, (b * size.outs + t0) * size.outputs + group * per_out + j0, size.outputs
        w0, first = group * depth * wide + j0 * depth, group * wide + j0
        for r in range(rows):
            for e in range(0, width, lanes):
                store(c, c0 + r * c_row + e, load(bias, first + e))
        for tap in range(size.taps):
            low, high, shift = reached(size, tap, length, count)
            low, high = max(low, t0), min(high, t0 + rows)
            if low < high:
                source = (b * size.steps + low * size.stride + shift) * size.features + group * per_in
                to = c0 + (low - t0) * c_row
                multiply(
                    x, source, size.stride * size.features, 1, panels, w0 + tap * per_in * width, width, per_in,
                    c, to, c_row, c, to, c_row, high - low, width // lanes, lanes,
                )  # fmt: skip
        if not whole:
            to = (b * size.outs + t0) * size.outputs + group * per_out + j0
            for r in range(rows):
                copy(scratch, c0 + r * width, out, to + r * size.outputs, some, lanes)


@kernel
def convolve(
    x: ReadReals, panels: ReadReals, bias: ReadReals, out: Reals, scratch: Reals, numbers: Integers, each: Int,
    lanes: Int, launcher: Launcher,
):  # fmt: skip
    """Write the outputs that rows have; ``bias`` is padded per group, ``each`` is the size of a shard's scratch."""
    size = sizes_of(numbers)
    arguments = (
        size, address(numbers), address(x), address(panels), address(bias), address(out), address(scratch), each, lanes,
    )  # fmt: skip
    share(launcher, size.shards, forward_shard, arguments)


@piece
def input_shard(shard, size, numbers, d_out, panels, d_x, scratch, each, lanes):
    """Compute gradients of the input for a range of (row, group, columns)."""
    per_in, per_out = size.features // size.groups, size.outputs // size.groups
    parts, wide = (per_in + GROUP * lanes - 1) // (GROUP * lanes), padded(per_in, lanes)
    tasks = size.batch * size.groups * parts
    own = shard * each
    for task in range(tasks * shard // size.shards, tasks * (shard + 1) // size.shards):
        part, rest = task % parts, task // parts
        group, b = rest % size.groups, rest // size.groups
        length, count = numbers[FIELDS + 2 * b], numbers[FIELDS + 2 * b + 1]
        j0, some, width = columns_of(part, per_in, lanes)
        clear(scratch, own, length * width, lanes)
        for tap in range(size.taps):
            low, high, shift = reached(size, tap, length, count)
            if low < high:
                source = (b * size.outs + low) * size.outputs + group * per_out
                w0 = (group * size.taps + tap) * per_out * wide + j0 * per_out
                to = own + (low * size.stride + shift) * width
                multiply(
                    d_out, source, size.outputs, 1, panels, w0, width, per_out, scratch, to, size.stride * width,
                    scratch, to, size.stride * width, high - low, width // lanes, lanes,
                )  # fmt: skip
        to = b * size.steps * size.features + group * per_in + j0
        for t in range(length):
            copy(scratch, own + t * width, d_x, to + t * size.features, some, lanes)


@kernel
def input_gradient(
    d_out: ReadReals, panels: ReadReals, d_x: Reals, scratch: Reals, numbers: Integers, each: Int, lanes: Int,
    launcher: Launcher,
):  # fmt: skip
    """Write the gradients of the steps that rows have."""
    size = sizes_of(numbers)
    arguments = (size, address(numbers), address(d_out), address(panels), address(d_x), address(scratch), each, lanes)
    share(launcher, size.shards, input_shard, arguments)


@piece
def weight_shard(shard, size, numbers, x, d_out, d_w, scratch, each, lanes):
    """Compute gradients of the weights for a range of (group, tap, chunk of features, columns)."""
    per_in, per_out = size.features // size.groups, size.outputs // size.groups
    parts, chunks = (per_out + GROUP * lanes - 1) // (GROUP * lanes), (per_in + ROWS - 1) // ROWS
    tasks = size.groups * size.taps * chunks * parts
    c = shard * each
    panel = c + ROWS * GROUP * lanes
    for task in range(tasks * shard // size.shards, tasks * (shard + 1) // size.shards):
        part, rest = task % parts, task // parts
        f0, rest = rest % chunks * ROWS, rest // chunks
        tap, group = rest % size.taps, rest // size.taps
        j0, some, width = columns_of(part, per_out, lanes)
        rows = min(ROWS, per_in - f0)
        clear(scratch, c, rows * width, lanes)
        for b in range(size.batch):
            low, high, shift = reached(size, tap, numbers[FIELDS + 2 * b], numbers[FIELDS + 2 * b + 1])
            if low < high:
                come = (b * size.outs + low) * size.outputs + group * per_out + j0
                for t in range(high - low):
                    copy_padded(d_out, come + t * size.outputs, scratch, panel + t * width, some, lanes)
                source = (b * size.steps + low * size.stride + shift) * size.features + group * per_in + f0
                multiply(
                    x, source, 1, size.stride * size.features, scratch, panel, width, high - low,
                    scratch, c, width, scratch, c, width, rows, width // lanes, lanes,
                )  # fmt: skip
        to = ((group * size.taps + tap) * per_in + f0) * per_out + j0
        for r in range(rows):
            copy(scratch, c + r * width, d_w, to + r * per_out, some, lanes)


@kernel
def weight_gradient(
    x: ReadReals, d_out: ReadReals, d_w: Reals, scratch: Reals, numbers: Integers, each: Int, lanes: Int,
    launcher: Launcher,
):  # fmt: skip
    """Write the gradients of the weights as (groups, taps, features, outputs)."""
    size = sizes_of(numbers)
    arguments = (size, address(numbers), address(x), address(d_out), address(d_w), address(scratch), each, lanes)
    share(launcher, size.shards, weight_shard, arguments)
