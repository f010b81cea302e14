"""Attention as a function of queries, keys and values, with PyTorch's name and arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.noise import noise_of
from fastseq.autograd.operands import array
from fastseq.autograd.ops_attention import attention, full_rows
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(scale * query key^T + mask) value.

    Parameters
    ----------
    query
        (..., L, D), float32 or float64; the axes before L broadcast.
    key
        (..., S, D)
    value
        (..., S, V)
    attn_mask
        Broadcasts to (..., L, S): bools, of which True lets a key be seen (the opposite of `MultiheadAttention`, as in
        PyTorch), or floats to add.
    dropout_p
        Probability of dropping a weight.
    is_causal
        Whether query r sees keys 0..r only; needs no ``attn_mask``.
    scale
        1 / sqrt(D) if None.
    enable_gqa
        Whether query may have a multiple of the heads (the axis before L) of key and value.

    Returns
    -------
    Tensor
        (..., L, V); zeros for a query that sees no key.

    Raises
    ------
    TypeError
        If dtypes differ or the mask holds neither bools nor floats.
    ValueError
        If the shapes do not fit.
    """
    q, k, v = array(query), array(key), array(value)
    for name, found in (("query", q), ("key", k), ("value", v)):
        if found.dtype.kind != "f" or found.dtype != q.dtype:
            raise checks.kind_error(name, f"{q.dtype if q.dtype.kind == 'f' else 'float32 or float64'}", found)
        if found.ndim < 2:
            raise checks.value_error(name, "shape (..., T, D)", found)
    if k.shape[-1] != q.shape[-1] or q.shape[-1] == 0:
        raise checks.value_error("key", f"shape (..., S, {q.shape[-1]}) with features", k)
    if v.shape[-2] != k.shape[-2] or v.shape[-1] == 0:
        raise checks.value_error("value", f"shape (..., {k.shape[-2]}, V) with features", v)
    if checks.boolean("enable_gqa", enable_gqa):
        key, value = (_repeated(name, x, q) for name, x in (("key", key), ("value", value)))
        k, v = array(key), array(value)
    try:
        leading = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except ValueError:
        shapes = f"{k.shape[:-2]} and {v.shape[:-2]}"
        raise checks.value_error("key", f"axes before the steps that broadcast to {q.shape[:-2]}", shapes) from None
    batch, queries, keys = math.prod(leading), q.shape[-2], k.shape[-2]
    tokens = []
    for x, shape in ((query, q.shape), (key, k.shape), (value, v.shape)):
        wide = x if shape[:-2] == leading else ops.broadcast_to(x, (*leading, *shape[-2:]))
        tokens.append(ops.reshape(wide, (batch * shape[-2], shape[-1])))
    mask = None
    if attn_mask is not None:
        given = array(attn_mask)
        if isinstance(attn_mask, Tensor) and attn_mask.requires_grad:
            raise checks.kind_error("attn_mask", "a constant (its gradient is not computed)", attn_mask)
        if given.dtype.kind == "b":
            given = np.where(given, q.dtype.type(0), q.dtype.type(-np.inf))
        elif given.dtype.kind != "f":
            raise checks.kind_error("attn_mask", "bools (False hides) or floats to add", given)
        try:
            whole = np.broadcast_to(given, (*leading, queries, keys))
        except ValueError:
            raise checks.value_error(
                "attn_mask", f"one that broadcasts to {(*leading, queries, keys)}", given
            ) from None
        mask = whole.reshape(batch, 1, queries, keys)
    out, _ = attention(
        tokens[0], tokens[1], tokens[2], full_rows(batch, queries), full_rows(batch, keys), 1, scale=scale,
        causal=checks.boolean("is_causal", is_causal), mask=mask, noise=noise_of(dropout_p, init.generator()),
    )  # fmt: skip
    return ops.reshape(out, (*leading, queries, v.shape[-1]))


def _repeated(name: str, x: Any, q: Any) -> Any:
    """Return keys or values with each head as often as queries share it."""
    data = array(x)
    if data.ndim < 3 or q.ndim < 3 or data.shape[-3] == 0 or q.shape[-3] % data.shape[-3]:
        raise checks.value_error(name, "heads of which the query has a multiple", data)
    heads = np.repeat(np.arange(data.shape[-3]), q.shape[-3] // data.shape[-3])
    return ops.getitem(x, (..., heads, slice(None), slice(None)))
