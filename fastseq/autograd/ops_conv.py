"""Convolution over time as one node of the tape: windows of valid steps, one product."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.autograd import elementary
from fastseq.autograd.operands import array
from fastseq.autograd.ops_feedforward import row_sums
from fastseq.autograd.tensor import Tensor, make_node

Array = NDArray[Any]


def conv1d_rows(
    x: Any,
    weight: Any,
    bias: Any,
    lengths: NDArray[np.int64],
    out_lengths: NDArray[np.int64],
    steps: int,
    before: int,
    stride: int,
    dilation: int,
    groups: int,
) -> Tensor:
    """Return out[b, t, o] = bias[o] + sum of weight[o, f, i] * x[b, t * stride + i * dilation - before, f].

    Parameters
    ----------
    x
        (B, T, F); what is outside 0..lengths[b] - 1 counts as zeros and is not read.
    weight
        (O, F / groups, K), PyTorch's layout.
    bias
        (O,) or None.
    lengths, out_lengths
        Valid steps of input and output per row (B,).
    steps
        Steps of the output.
    before
        Zeros before the first step.
    stride, dilation, groups
        As in PyTorch.

    Returns
    -------
    Tensor
        (B, steps, O), zeros past out_lengths.

    Notes
    -----
    An output's sum runs over taps first and features second, and depends on its own window alone.
    """
    data, w = array(x), array(weight)
    batch, _, features = data.shape
    outputs, part, taps = w.shape
    dtype = data.dtype
    rows, times = np.nonzero(np.arange(steps) < out_lengths[:, None])
    source = times[:, None] * stride + np.arange(taps) * dilation - before  # (M, K)
    outside = (source < 0) | (source >= lengths[rows, None])
    windows = np.empty((len(rows), taps, features), dtype)
    if data.shape[1]:
        windows[...] = data[rows[:, None], np.where(outside, 0, source)]
    windows[outside] = 0
    # (groups, M, K * F / groups) times (groups, K * F / groups, O / groups)
    left = windows.reshape(len(rows), taps, groups, part).transpose(2, 0, 1, 3).reshape(groups, len(rows), taps * part)
    right = (
        w.reshape(groups, outputs // groups, part, taps)
        .transpose(0, 3, 2, 1)
        .reshape(groups, taps * part, outputs // groups)
    )
    right = np.ascontiguousarray(right)
    first = None if bias is None else array(bias)
    if groups == 1:  # as a dense layer over the window does it
        sums = elementary.product(left[0], right[0], first)
    else:
        sums = elementary.product(left, right).transpose(1, 0, 2).reshape(len(rows), outputs)
        sums = sums if first is None else sums + first
    out = np.zeros((batch, steps, outputs), dtype)
    out[rows, times] = sums

    def back(grads: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        given: Any = grads[0]
        g = given[rows, times]
        split = np.ascontiguousarray(g.reshape(len(rows), groups, outputs // groups).swapaxes(0, 1))
        d_right = elementary.product(left.swapaxes(1, 2), split).reshape(groups, taps, part, outputs // groups)
        d_weight = np.ascontiguousarray(d_right.transpose(0, 3, 2, 1)).reshape(w.shape)
        d_x = None
        if isinstance(x, Tensor) and x.requires_grad:
            d_left = elementary.product(split, right.swapaxes(1, 2)).reshape(groups, len(rows), taps, part)
            d_windows = d_left.transpose(1, 2, 0, 3).reshape(len(rows), taps, features)
            d_x = np.zeros(data.shape, dtype)
            for tap in range(taps):  # within a tap no step comes twice
                inside = ~outside[:, tap]
                d_x[rows[inside], source[inside, tap]] += d_windows[inside, tap]
        return d_x, d_weight, None if bias is None else row_sums(g)

    return make_node((x, weight, bias), (out,), back, fresh=True)[0]
