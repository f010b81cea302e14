"""MultiheadAttention: every step looks at all steps, or at those before it, with several heads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.noise import noise_of
from fastseq.autograd.ops_attention import Rows, attention, packed_rows
from fastseq.autograd.ops_feedforward import project
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init
from fastseq.nn.linear import Linear
from fastseq.nn.masks import Mask, lone_mask, mask_of
from fastseq.nn.module import Module, Parameter
from fastseq.nn.tokens import as_given, batched, lone_length, row_lengths, tokens_of


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
    add_bias_kv
        Whether each row has one more key, with a value, both learned: ``bias_k`` and ``bias_v``.
    add_zero_attn
        Whether each row has one more key of zeros, with a value of zeros.
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
    bias_k, bias_v : Parameter or None
        (1, 1, E), with ``add_bias_kv``.
    out_proj : Linear
        (E, E)

    Notes
    -----
    Vaswani et al., "Attention Is All You Need", 2017, section 3.2. Fused: memory grows with T, not with its square,
    unless weights are asked for. A row's results have the same bits whatever its neighbours, its padding, the batch
    size and the number of threads, and a causal layer's do not depend on later steps. A query that sees no key gets
    zeros before ``out_proj``. No mask, length or ``causal`` hides extra keys; their weights come last, as in PyTorch.
    """

    _config = (
        "embed_dim", "num_heads", "dropout", "bias", "add_bias_kv", "add_zero_attn", "kdim", "vdim", "batch_first",
        "causal", "dtype",
    )  # fmt: skip

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

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
        self.add_bias_kv = checks.boolean("add_bias_kv", add_bias_kv)
        self.add_zero_attn = checks.boolean("add_zero_attn", add_zero_attn)
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
            "bias_k": (1, 1, size) if self.add_bias_kv else None,
            "bias_v": (1, 1, size) if self.add_bias_kv else None,
        }
        for name, shape in shapes.items():
            init.expect_room(0 if shape is None else math.prod(shape))
            self.register_parameter(name, None if shape is None else Parameter(np.empty(shape, self.dtype)))
        self.out_proj = Linear(size, size, bias=self.bias, dtype=self.dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the projections anew, from Glorot's distributions as PyTorch does; biases become zeros."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "bias_k", "bias_v"):
            parameter = self._parameters[name]
            if parameter is not None:
                (init.xavier_normal_ if name.startswith("bias") else init.xavier_uniform_)(parameter)
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
            (B, L, E). Converted to the layer's dtype, as key and value are. Or one row (L, E), whatever ``batch_first``
            is: all others are without B, too, then.
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
            and gives zeros. A number for one row.
        key_lengths
            Valid keys per row, integers (B,), likewise.

        Returns
        -------
        tuple
            (B, L, E); and weights (B, L, S), or (B, num_heads, L, S) if not averaged, or None. Those of extra keys
            make S larger.

        Raises
        ------
        TypeError
            If a mask holds neither bools nor floats.
        ValueError
            If a shape or a length does not fit.
        """
        x, single = self._rows("query", query, self.embed_dim)
        alone = (key is None or key is query) and (value is None or value is query or value is key)
        k = x if key is None or key is query else self._rows("key", key, self.kdim, single)[0]
        v = k if value is None or value is key else self._rows("value", value, self.vdim, single)[0]
        batch, queries, keys = *x.shape[:2], k.shape[1]
        if k.shape[0] != batch:
            raise checks.value_error("key", f"{batch} rows, as the queries", f"{k.shape[0]}")
        if v.shape[:2] != k.shape[:2]:
            raise checks.value_error("value", f"shape {k.shape[:2]} before the features, as the keys", f"{v.shape[:2]}")
        for name, found, size in (("key", k, self.kdim), ("value", v, self.vdim)):
            if found.shape[2] != size:
                raise checks.value_error(name, f"{size} features", f"{found.shape[2]}")
        if single:
            lengths, key_lengths = lone_length(lengths), lone_length(key_lengths)
            key_padding_mask = lone_mask("key_padding_mask", key_padding_mask, keys)
        causal = self.causal or checks.boolean("is_causal", is_causal)
        mask = mask_of(attn_mask, key_padding_mask, causal, batch, self.num_heads, queries, keys, self.dtype)
        valid = row_lengths("lengths", lengths, batch, queries)
        seen = row_lengths("key_lengths", key_lengths, batch, keys)
        if alone and valid is not None:
            seen = valid if seen is None else np.minimum(seen, valid)
        if mask.lengths is not None:
            seen = mask.lengths if seen is None else np.minimum(seen, mask.lengths)
        tokens = tokens_of(x, valid)
        if alone and self.in_proj_weight is not None and not (self.add_bias_kv or self.add_zero_attn):
            rows = tokens.rows
            k_rows = rows if seen is None else Rows(rows.first, np.minimum(seen, rows.counts), rows.most)
            found, kept = self.attend(tokens.values, rows, k_rows, mask, need_weights)
        else:
            k_tokens = tokens_of(k, seen)
            v_tokens = k_tokens if v is k else tokens_of(v, seen)
            found, kept = self._cross(tokens, k_tokens, v_tokens, mask, need_weights)
        out = tokens.padded(found)
        if need_weights and average_attn_weights:
            kept = ops.mean(kept, 1)
        return as_given(out, single, self.batch_first), as_given(kept, single) if need_weights else None

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
        more, rows, added = self.add_bias_kv + self.add_zero_attn, k.rows, mask.added
        if more:  # in front, where neither lengths nor padding change their places
            rows = packed_rows(k.rows.counts + more, k.rows.most + more)
            keys, values = (self._with_more(t, b, k.rows) for t, b in ((keys, self.bias_k), (values, self.bias_v)))
            if added is not None:
                added = np.concatenate([np.zeros((*added.shape[:3], more), added.dtype), added], 3)
        found, kept = attention(
            queries, keys, values, q.rows, rows, self.num_heads, causal=mask.causal, offset=more, mask=added,
            noise=self._noise(), keep=keep,
        )  # fmt: skip
        if more and keep:
            kept = ops.concatenate([kept[..., more:], kept[..., :more]], 3)
        return project(found, self.out_proj.weight, self.out_proj.bias), kept

    def _with_more(self, tokens: Tensor, learned: Tensor | None, rows: Rows) -> Tensor:
        """Return keys or values (M, E) with the extra ones in front of each row's."""
        more: list[Any] = [ops.reshape(learned, (1, -1))] if learned is not None else []
        more += [np.zeros((1, self.embed_dim), self.dtype)] if self.add_zero_attn else []
        counts = rows.counts + len(more)
        row = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
        return ops.concatenate([*more, tokens], 0)[np.where(place < len(more), place, rows.first[row] + place)]

    def _noise(self) -> Any:
        return noise_of(self.dropout, init.generator()) if self.training else None

    def _rows(self, name: str, x: Any, features: int, single: bool | None = None) -> tuple[Tensor, bool]:
        """Return an argument as (B, T, F), and whether it is one row (T, F), as ``single`` says it has to be."""
        found, one = batched(name, x, features, self.dtype, self.batch_first)
        if single is not None and one != single:
            raise checks.value_error(name, f"{2 if single else 3} axes, as the query", f"{2 if one else 3}")
        return found, one
