"""Convolution over time as one node of the tape."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import buffers, jit
from fastseq.autograd.operands import array
from fastseq.autograd.ops_feedforward import row_sums
from fastseq.autograd.tensor import Tensor, make_node
from fastseq.simd import conv
from fastseq.simd.dense import pack_right
from fastseq.simd.lanes import VECTOR_BYTES

Array = NDArray[Any]


def _packed(matrices: Array, lanes: int) -> Array:
    """Return matrices (..., depth, columns) packed for products."""
    depth, columns = matrices.shape[-2:]
    count = matrices.size // (depth * columns)
    panels = np.empty(count * depth * conv.padded(columns, lanes), matrices.dtype)
    pack_right(np.ascontiguousarray(matrices).reshape(-1), columns, 1, depth, columns, panels, lanes)
    return panels


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
    data, w = np.ascontiguousarray(array(x)), array(weight)
    batch, given, features = data.shape
    outputs, part, taps = w.shape
    per_out, dtype = outputs // groups, data.dtype
    lanes = VECTOR_BYTES // data.itemsize
    # (groups, taps, F / groups, O / groups)
    right = np.ascontiguousarray(w.reshape(groups, per_out, part, taps).transpose(0, 3, 2, 1))
    start = np.zeros((groups, conv.padded(per_out, lanes)), dtype)
    if bias is not None:
        start[:, :per_out] = array(bias).reshape(groups, per_out)
    shards = jit.get_num_threads()
    head = [batch, given, steps, features, outputs, taps, before, stride, dilation, groups, shards]
    numbers = np.concatenate([head, np.stack([lengths, out_lengths], axis=1).reshape(-1)]).astype(np.int64)
    each = conv.scratch_size(given, steps, features, outputs, lanes)
    work = 2.0 * float(out_lengths.sum()) * outputs * part * taps
    whole = bool((out_lengths == steps).all())
    out = (buffers.empty if whole else buffers.zeros)((batch, steps, outputs), dtype)
    panels = _packed(right.reshape(groups, taps * part, per_out), lanes)
    scratch = buffers.scratch(shards * each, dtype)
    tail = scratch, numbers, each, lanes
    conv.convolve.launch(work, data.reshape(-1), panels, start.reshape(-1), out.reshape(-1), *tail)
    wanted = isinstance(x, Tensor) and x.requires_grad

    def back(grads: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        g: Any = np.ascontiguousarray(grads[0], dtype)
        tail = buffers.scratch(shards * each, dtype), numbers, each, lanes
        d_x = None
        if wanted:
            d_x = (buffers.empty if (lengths == given).all() else buffers.zeros)(data.shape, dtype)
            turned = _packed(right.swapaxes(2, 3), lanes)
            conv.input_gradient.launch(work, g.reshape(-1), turned, d_x.reshape(-1), *tail)
        d_right = np.empty(right.shape, dtype)
        conv.weight_gradient.launch(work, data.reshape(-1), g.reshape(-1), d_right.reshape(-1), *tail)
        d_weight = np.ascontiguousarray(d_right.transpose(0, 3, 2, 1)).reshape(w.shape)
        if bias is None:
            return d_x, d_weight, None
        rows = g.reshape(batch * steps, outputs) if whole else g[np.arange(steps) < out_lengths[:, None]]
        return d_x, d_weight, row_sums(rows)

    return make_node((x, weight, bias), (out,), back, fresh=True)[0]
