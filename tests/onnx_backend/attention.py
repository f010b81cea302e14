"""Attention and layer normalisation: heads, caches and windows put into the form that fastseq's functions take."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastseq.autograd.ops_attention import attention, full_rows
from fastseq.nn import functional
from tests.onnx_backend.operators import Arrays, Unsupported, operator, options, padded, plain

FLOAT, DOUBLE = 1, 11


@operator("LayerNormalization")
def layer_normalization(attributes: dict[str, Any], inputs: Arrays) -> Arrays:
    """functional.layer_norm; the mean and the inverse deviation are given out too."""
    o = options(attributes, axis=-1, epsilon=1e-5, stash_type=FLOAT)
    x, scale, bias = padded(inputs, 3)
    shape = x.shape[o["axis"] :] if o["axis"] else x.shape
    (y,) = plain(functional.layer_norm(x, shape, scale, bias, o["epsilon"]))
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    return [y, x.mean(axes, keepdims=True), 1 / np.sqrt(x.var(axes, keepdims=True) + np.float32(o["epsilon"]))]


def heads_first(x: np.ndarray, heads: int | None) -> np.ndarray:
    """(B, T, heads * D) as (B, heads, T, D)."""
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def added_mask(mask: Any, queries: int, keys: int, dtype: Any) -> np.ndarray:
    """A mask as numbers to add, as wide as there are keys; what it does not reach is hidden."""
    if mask is None:
        return np.zeros((queries, keys), dtype)
    found = np.where(mask, 0, -np.inf) if mask.dtype == bool else mask
    widths = [(0, 0)] * (found.ndim - 1) + [(0, keys - found.shape[-1])]
    return np.pad(found, widths, constant_values=-np.inf).astype(dtype)


@operator("Attention")
def scaled_attention(attributes: dict[str, Any], inputs: Arrays) -> Arrays:
    """The fused attention, each head of each row a row of its own; weights are its own too, products are not kept."""
    o = options(
        attributes, is_causal=0, kv_num_heads=None, q_num_heads=None, qk_matmul_output_mode=0, scale=None,
        softcap=0.0, softmax_precision=None, left_window_size=-1, right_window_size=-1,
    )  # fmt: skip
    q, k, v, mask, past_key, past_value, valid = padded(inputs, 7)
    if o["softcap"]:
        raise Unsupported("softcap")
    if q.dtype not in (np.float32, np.float64) or o["softmax_precision"] not in (None, FLOAT, DOUBLE):
        raise Unsupported(f"elements of type {q.dtype}")
    four = q.ndim == 4
    q, k, v = (heads_first(x, o[f"{name}_num_heads"]) for x, name in ((q, "q"), (k, "kv"), (v, "kv")))
    if past_key is not None:
        k, v = np.concatenate([past_key, k], 2), np.concatenate([past_value, v], 2)
    batch, heads, queries, _ = q.shape
    keys = k.shape[2]
    present = [k, v]
    k, v = (np.repeat(x, heads // x.shape[1], axis=1) for x in (k, v))

    # The place of a query among the keys: behind the past, or at the end of the keys that are valid.
    first = np.zeros(batch, int) if past_key is None else np.full(batch, past_key.shape[2])
    if valid is not None:
        first = valid.reshape(-1) - queries
    ahead = np.arange(keys) - (first[:, None, None] + np.arange(queries)[:, None])  # (B, L, S)
    hidden = np.zeros(ahead.shape, bool)
    if o["is_causal"]:
        hidden |= ahead > 0
    if o["left_window_size"] >= 0:
        hidden |= -ahead > o["left_window_size"]
    if o["right_window_size"] >= 0:
        hidden |= ahead > o["right_window_size"]
    if valid is not None:
        hidden |= np.arange(keys) >= valid.reshape(-1, 1, 1)
    added = added_mask(mask, queries, keys, q.dtype)
    added = np.broadcast_to(np.where(hidden[:, None], q.dtype.type(-np.inf), added), (batch, heads, queries, keys))

    tokens = [np.ascontiguousarray(x).reshape(-1, x.shape[-1]) for x in (q, k, v)]
    out, weights = attention(
        *tokens, full_rows(batch * heads, queries), full_rows(batch * heads, keys), 1, scale=o["scale"],
        mask=added.reshape(-1, 1, queries, keys), keep=True,
    )  # fmt: skip
    y = plain(out)[0].reshape(batch, heads, queries, -1)
    if not four:
        y = y.swapaxes(1, 2).reshape(batch, queries, -1)
    kept = plain(weights)[0].reshape(batch, heads, queries, keys)
    if o["qk_matmul_output_mode"] != 3:  # the products before the softmax, which nobody has: whoever asks will see
        kept = np.full_like(kept, np.nan)
    return [y, *present, kept]
