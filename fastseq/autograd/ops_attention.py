"""Attention of all rows and heads as one node of the tape."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import buffers, jit
from fastseq.autograd.noise import Noise
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor, make_node
from fastseq.simd import attention as kernels
from fastseq.simd.lanes import VECTOR_BYTES

Array = NDArray[Any]


class Rows(NamedTuple):
    """Where each row's tokens stand in an array of tokens: its first token, how many there are, and the most."""

    first: NDArray[np.int64]
    counts: NDArray[np.int64]
    most: int

    @property
    def tokens(self) -> int:
        """How many tokens there are in all."""
        return int(self.counts.sum())


@lru_cache(maxsize=64)
def full_rows(batch: int, steps: int) -> Rows:
    """Return rows of ``steps`` tokens each, one after the other.

    Parameters
    ----------
    batch, steps
        B and T.
    """
    return Rows(np.arange(batch, dtype=np.int64) * steps, np.full(batch, steps, np.int64), steps)


def packed_rows(lengths: NDArray[np.int64], steps: int) -> Rows:
    """Return rows of these lengths, one after the other, without padding.

    Parameters
    ----------
    lengths
        (B,)
    steps
        T, how many steps there are at most: what masks are made for.
    """
    return Rows(np.cumsum(lengths) - lengths, lengths, steps)


def attention(
    q: Any,
    k: Any,
    v: Any,
    q_rows: Rows,
    k_rows: Rows,
    heads: int,
    *,
    scale: float | None = None,
    causal: bool = False,
    offset: int = 0,
    mask: Array | None = None,
    noise: Noise | None = None,
    keep: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return softmax(scale * q k^T + mask) v of every row and head, and the weights if they are wanted.

    Parameters
    ----------
    q
        Queries (M, A * D): tokens, A heads of D features; or, with k and v None, queries, keys and values side by
        side (M, 3 * A * D).
    k
        Keys (N, A * D), or None.
    v
        Values (N, A * E), or None.
    q_rows, k_rows
        Which tokens belong to which row.
    heads
        A.
    scale
        1 / sqrt(D) if None.
    causal
        Whether query r sees keys 0 .. r + offset only.
    offset
        How many keys come before the first query's own.
    mask
        Added to the products; broadcasts to (B, A, queries, keys) with its last axis whole, -inf hides a key.
    noise
        Dropout of the weights, or None.
    keep
        Whether weights are returned.

    Returns
    -------
    tuple of Tensor
        (M, A * E), and the weights (B, A, most queries, most keys), zeros past lengths, or an empty tensor.

    Notes
    -----
    A query that sees no key gets zeros.
    """
    fused = k is None
    datas = [np.ascontiguousarray(array(x)) for x in ((q,) if fused else (q, k, v))]
    dtype, lanes = datas[0].dtype, VECTOR_BYTES // datas[0].itemsize
    width = datas[0].shape[1] // 3 if fused else datas[0].shape[1]
    depth, values = width // heads, (width if fused else datas[2].shape[1]) // heads
    places = [(0, 3 * width), (width, 3 * width), (2 * width, 3 * width)] if fused else [
        (0, width), (0, width), (0, heads * values)
    ]  # fmt: skip
    batch, queries, keys = len(q_rows.first), q_rows.most, k_rows.most
    threads = jit.get_num_threads()
    cost = q_rows.counts * k_rows.counts + q_rows.counts + k_rows.counts
    tasks = np.cumsum(np.repeat(cost, heads))
    shards = max(1, min(threads, batch * heads))
    inner = np.searchsorted(tasks, (tasks[-1] if batch else 0) * np.arange(1, shards) / shards, side="left")
    bounds = np.concatenate([[0], inner, [batch * heads]])
    if mask is None:
        lowered, strides = np.empty(0, dtype), [0, 0, 0]
    else:
        lowered = np.ascontiguousarray(mask, dtype)
        strides = [0 if n == 1 else s // dtype.itemsize for n, s in zip(lowered.shape, lowered.strides, strict=True)]
    head = [
        batch, heads, depth, values, *(n for place in places for n in place), heads * values, causal, offset,
        mask is not None, *strides[:3], keep, queries, keys, noise is not None,
        *((0, 0, 0) if noise is None else noise[:3]), shards,
    ]  # fmt: skip
    rows = np.stack([q_rows.first, q_rows.counts, k_rows.first, k_rows.counts], axis=1).reshape(-1)
    numbers = np.concatenate([head, rows, bounds]).astype(np.int64)
    options = (depth**-0.5 if scale is None else scale, 1.0 if noise is None else noise.share)
    work = 2.0 * heads * float(cost.sum()) * (depth + values + 20)
    whole = q_rows.tokens == len(datas[0]) and k_rows.tokens == len(datas[-1])
    fresh = buffers.empty if whole else buffers.zeros  # tokens of no row are left alone
    out = fresh((len(datas[0]), heads * values), dtype)
    kept = np.zeros((batch, heads, queries, keys) if keep else 0, dtype)
    flats = [data.reshape(-1) for data in datas] * (3 if fused else 1)
    longest = int(k_rows.counts.max()) if batch else 0
    each = kernels.forward_scratch(longest, depth, values, lanes)
    kernels.attend.launch(
        work, *flats, out.reshape(-1), kept.reshape(-1), lowered.reshape(-1), buffers.scratch(each * shards, dtype),
        numbers, *options, each, lanes,
    )  # fmt: skip

    def back(grads: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        d_out = np.zeros(out.shape, dtype) if grads[0] is None else np.ascontiguousarray(grads[0], dtype)
        felt = keep and grads[1] is not None
        d_kept = np.ascontiguousarray(grads[1], dtype) if felt else np.empty(0, dtype)
        numbers[KEEP] = felt
        found = [fresh(data.shape, dtype) for data in datas]
        each = kernels.backward_scratch(longest, depth, values, lanes)
        kernels.attend_back.launch(
            2 * work, *flats, lowered.reshape(-1), d_out.reshape(-1), d_kept.reshape(-1),
            *([d.reshape(-1) for d in found] * (3 if fused else 1)), buffers.scratch(each * shards, dtype), numbers,
            *options, each, lanes,
        )  # fmt: skip
        return tuple(found) if not fused else (found[0], None, None)

    return make_node((q, k, v), (out, kept), back, fresh=True)  # type: ignore[return-value]


KEEP = kernels.Sizes._fields.index("keep")
