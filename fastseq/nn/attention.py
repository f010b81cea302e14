"""MultiheadAttention: every step looks at all steps, or at those before it, with several heads."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.noise import noise_of
from fastseq.autograd.operands import array
from fastseq.autograd.ops_attention import Rows, attention
from fastseq.autograd.ops_feedforward import project
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init
from fastseq.nn.linear import Linear
from fastseq.nn.module import Module, Parameter
from fastseq.nn.tokens import as_tensor, row_lengths, tokens_of


class Mask(NamedTuple):
    """What hides keys: numbers to add (or None), the keys of each row (or None), and whether it is causal."""

    added: NDArray[Any] | None
    lengths: NDArray[np.int64] | None
    causal: bool


def _hiding(name: str, mask: Any, dtype: np.dtype) -> NDArray[Any]:
    """Return a mask as numbers to add; of bools, True hides."""
    found = array(mask)
    if isinstance(mask, Tensor) and mask.requires_grad:
        raise checks.kind_error(name, "a constant (its gradient is not computed)", mask)
    if found.dtype.kind == "b":
        return np.where(found, dtype.type(-np.inf), dtype.type(0))
    if found.dtype.kind != "f":
        raise checks.kind_error(name, "bools (True hides) or floats to add", found)
    return found.astype(dtype, copy=False)


def mask_of(
    attn_mask: Any,
    key_padding_mask: Any,
    causal: bool,
    batch: int,
    heads: int,
    queries: int,
    keys: int,
    dtype: np.dtype,
    names: tuple[str, str] = ("attn_mask", "key_padding_mask"),
) -> Mask:
    """Return PyTorch's two masks in the form that attention takes.

    Parameters
    ----------
    attn_mask
        (queries, keys) or (B * heads, queries, keys): bools, of which True hides, or floats to add; or None.
    key_padding_mask
        (B, keys), likewise. Bools that hide the end of each row, and only it, become lengths.
    causal
        Whether query r sees keys 0..r only.
    batch, heads, queries, keys
        Sizes.
    dtype
        Of the numbers to add.
    names
        What messages call the two masks.

    Returns
    -------
    Mask

    Raises
    ------
    TypeError
        If a mask holds neither bools nor floats, or requires a gradient.
    ValueError
        If a shape does not fit.
    """
    added: NDArray[Any] | None = None
    lengths = None
    if attn_mask is not None:
        found = _hiding(names[0], attn_mask, dtype)
        if found.shape == (queries, keys):
            added = found[None, None]
            if queries == keys and np.array_equal(np.isneginf(found), ~np.tri(keys, dtype=bool)):
                rest = np.tril(added)
                causal, added = True, rest if rest.any() else None
        elif found.shape == (batch * heads, queries, keys):
            added = found.reshape(batch, heads, queries, keys)
        else:
            shapes = f"shape ({queries}, {keys}) or ({batch * heads}, {queries}, {keys})"
            raise checks.value_error(names[0], shapes, found)
    if key_padding_mask is not None:
        found = _hiding(names[1], key_padding_mask, dtype)
        if found.shape != (batch, keys):
            raise checks.value_error(names[1], f"shape ({batch}, {keys})", found)
        hidden = np.isneginf(found)
        count = keys - hidden.sum(axis=1)
        if np.array_equal(hidden, np.arange(keys) >= count[:, None]) and not found[~hidden].any():
            lengths = count.astype(np.int64)
        else:
            found = found[:, None, None]
            added = found if added is None else added + found
    return Mask(added, lengths, causal)


class MultiheadAttention(Module):
    """Attention with several heads, with PyTorch's names, shapes and parameters.

    Shape letters: B rows, L queries, S keys, E = embed_dim.

    Parameters
    ----------
    embed_dim
        E.
    num_heads
        How many heads; divides E.
    dropout
        Probability of dropping a weight, while training.
    bias
        Whether the projections have biases.
    add_bias_kv, add_zero_attn
        False: PyTorch's extra keys are not there. They stand here for its order of arguments.
    kdim, vdim
        Features of keys and of values; E if None.
    batch_first
        Whether arrays are (B, T, E), which is the default here, or (T, B, E) as PyTorch's default is.
    causal
        Whether query r sees keys 0..r only, in every call.
    dtype
        float32 or float64.

    Attributes
    ----------
    in_proj_weight : Parameter or None
        (3E, E), of queries, keys and values; None where kdim or vdim differ from E.
    q_proj_weight, k_proj_weight, v_proj_weight : Parameter or None
        (E, E), (E, kdim), (E, vdim), where they do.
    in_proj_bias : Parameter or None
        (3E,)
    out_proj : Linear
        (E, E)

    Notes
    -----
    Vaswani et al., "Attention Is All You Need", 2017, section 3.2. Fused: memory grows with T, not with its square,
    unless weights are asked for. A row's results have the same bits whatever its neighbours, its padding, the batch
    size and the number of threads, and a causal layer's do not depend on later steps. A query that sees no key gets
    zeros before ``out_proj``.
    """

    _config = ("embed_dim", "num_heads", "dropout", "bias", "kdim", "vdim", "batch_first", "causal", "dtype")

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = True,
        *,
        causal: bool = False,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        size = self.embed_dim = checks.integer("embed_dim", embed_dim, 1)
        self.num_heads = checks.integer("num_heads", num_heads, 1)
        if size % self.num_heads:
            raise checks.value_error("num_heads", f"a divisor of embed_dim = {size}", self.num_heads)
        self.dropout = checks.real("dropout", dropout, 0.0, 1.0)
        self.bias = checks.boolean("bias", bias)
        for name, value in (("add_bias_kv", add_bias_kv), ("add_zero_attn", add_zero_attn)):
            if checks.boolean(name, value):
                raise checks.value_error(name, "False: extra keys are not supported", value)
        self.kdim = size if kdim is None else checks.integer("kdim", kdim, 1)
        self.vdim = size if vdim is None else checks.integer("vdim", vdim, 1)
        self.batch_first = checks.boolean("batch_first", batch_first)
        self.causal = checks.boolean("causal", causal)
        self.dtype = checks.float_dtype("dtype", dtype)
        checks.product_fits("embed_dim", 3 * size, max(size, self.kdim, self.vdim))
        joint = self.kdim == size == self.vdim
        shapes = {
            "in_proj_weight": (3 * size, size) if joint else None,
            "q_proj_weight": None if joint else (size, size),
            "k_proj_weight": None if joint else (size, self.kdim),
            "v_proj_weight": None if joint else (size, self.vdim),
            "in_proj_bias": (3 * size,) if self.bias else None,
        }
        for name, shape in shapes.items():
            init.expect_room(0 if shape is None else math.prod(shape))
            self.register_parameter(name, None if shape is None else Parameter(np.empty(shape, self.dtype)))
        self.out_proj = Linear(size, size, bias=self.bias, dtype=self.dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the projections anew (Glorot's uniform distribution, as PyTorch does); biases become zeros."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            parameter = self._parameters[name]
            if parameter is not None:
                init.xavier_uniform_(parameter)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        lengths: Any = None,
        key_lengths: Any = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the queries find, and the weights.

        Parameters
        ----------
        query
            (B, L, E). Converted to the layer's dtype, as key and value are.
        key
            (B, S, kdim); the queries if None.
        value
            (B, S, vdim); the keys if None.
        key_padding_mask
            (B, S): bools, of which True hides a key, or floats to add to the products. ``key_lengths`` say the same
            faster, and keep NaN of padding away from gradients too.
        need_weights
            Whether weights are returned; without them, memory does not grow with L * S.
        attn_mask
            (L, S) or (B * num_heads, L, S), likewise.
        average_attn_weights
            Whether weights are averaged over the heads.
        is_causal
            Whether query r sees keys 0..r only; needs no ``attn_mask`` (in PyTorch it is a hint beside one).
        lengths
            Valid queries per row, integers (B,), and keys, where ``key`` is None: what stands past them is never read
            and gives zeros.
        key_lengths
            Valid keys per row, integers (B,).

        Returns
        -------
        tuple
            (B, L, E); and weights (B, L, S), or (B, num_heads, L, S) if not averaged, or None.

        Raises
        ------
        TypeError
            If a mask holds neither bools nor floats.
        ValueError
            If a shape or a length does not fit.
        """
        x = self._rows("query", query, self.embed_dim)
        alone = (key is None or key is query) and (value is None or value is query or value is key)
        k = x if key is None or key is query else self._rows("key", key, self.kdim)
        v = k if value is None or value is key else self._rows("value", value, self.vdim)
        batch, queries, keys = *x.shape[:2], k.shape[1]
        if k.shape[0] != batch:
            raise checks.value_error("key", f"{batch} rows, as the queries", f"{k.shape[0]}")
        if v.shape[:2] != k.shape[:2]:
            raise checks.value_error("value", f"shape {k.shape[:2]} before the features, as the keys", f"{v.shape[:2]}")
        for name, found, size in (("key", k, self.kdim), ("value", v, self.vdim)):
            if found.shape[2] != size:
                raise checks.value_error(name, f"{size} features", f"{found.shape[2]}")
        causal = self.causal or checks.boolean("is_causal", is_causal)
        mask = mask_of(attn_mask, key_padding_mask, causal, batch, self.num_heads, queries, keys, self.dtype)
        valid = row_lengths("lengths", lengths, batch, queries)
        seen = row_lengths("key_lengths", key_lengths, batch, keys)
        if alone and valid is not None:
            seen = valid if seen is None else np.minimum(seen, valid)
        if mask.lengths is not None:
            seen = mask.lengths if seen is None else np.minimum(seen, mask.lengths)
        tokens = tokens_of(x, valid)
        if alone and self.in_proj_weight is not None:
            rows = tokens.rows
            k_rows = rows if seen is None else Rows(rows.first, np.minimum(seen, rows.counts), rows.most)
            found, kept = self.attend(tokens.values, rows, k_rows, mask, need_weights)
        else:
            k_tokens = tokens_of(k, seen)
            v_tokens = k_tokens if v is k else tokens_of(v, seen)
            found, kept = self._cross(tokens, k_tokens, v_tokens, mask, need_weights)
        out = tokens.padded(found)
        if not self.batch_first:
            out = ops.transpose(out, 0, 1)
        if not need_weights:
            return out, None
        return out, ops.mean(kept, 1) if average_attn_weights else kept

    def attend(self, x: Tensor, rows: Rows, k_rows: Rows, mask: Mask, keep: bool = False) -> tuple[Tensor, Tensor]:
        """Let tokens look at one another.

        Parameters
        ----------
        x
            Tokens (M, E).
        rows
            Which tokens belong to which row, as queries.
        k_rows
            The same, as keys.
        mask
            What hides keys.
        keep
            Whether weights are returned.

        Returns
        -------
        tuple of Tensor
            (M, E), and weights (B, num_heads, L, S).
        """
        joint = project(x, self.in_proj_weight, self.in_proj_bias)
        found, kept = attention(
            joint, None, None, rows, k_rows, self.num_heads, causal=mask.causal, mask=mask.added, noise=self._noise(),
            keep=keep,
        )  # fmt: skip
        return project(found, self.out_proj.weight, self.out_proj.bias), kept

    def _cross(self, q: Any, k: Any, v: Any, mask: Mask, keep: bool) -> tuple[Tensor, Tensor]:
        """Let tokens look at other tokens."""
        size = self.embed_dim
        projected: list[Any] = []
        for place, (name, tokens) in enumerate((("q", q), ("k", k), ("v", v))):
            part = slice(place * size, (place + 1) * size)
            own = self._parameters[f"{name}_proj_weight"]
            weight = own if own is not None else ops.getitem(self.in_proj_weight, part)
            bias = None if self.in_proj_bias is None else ops.getitem(self.in_proj_bias, part)
            projected.append(project(tokens.values, weight, bias))
        queries, keys, values = projected
        found, kept = attention(
            queries, keys, values, q.rows, k.rows, self.num_heads, causal=mask.causal, mask=mask.added,
            noise=self._noise(), keep=keep,
        )  # fmt: skip
        return project(found, self.out_proj.weight, self.out_proj.bias), kept

    def _noise(self) -> Any:
        return noise_of(self.dropout, init.generator()) if self.training else None

    def _rows(self, name: str, x: Any, features: int) -> Tensor:
        """Return an argument as (B, T, F)."""
        if not self.batch_first:
            data = array(x)
            if data.ndim != 3:
                raise checks.value_error(name, f"shape (T, B, {features})", data)
            x = ops.transpose(x, 0, 1)
        return as_tensor(name, x, features, self.dtype)
