"""Random configurations of attention and encoders beside the installed PyTorch: outputs, weights, every gradient."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq import nn
from fastseq.autograd import Tensor

torch = pytest.importorskip("torch")

LIMIT = {"float32": 1e-5, "float64": 1e-10}
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_chunk = pytest.mark.parametrize("chunk", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 10))])
PER_CHUNK = 20


def agree(got: np.ndarray, want, dtype: str, what: str) -> None:
    """Differences relative to the largest entry."""
    want = want.detach().numpy()
    assert got.shape == want.shape and got.dtype == want.dtype == dtype, what
    scale = max(1.0, np.abs(want).max(initial=0.0))
    assert np.abs(got - want).max(initial=0.0) <= LIMIT[dtype] * scale, what


def draw(rng, *shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


@each_chunk
@each_dtype
def test_attention(dtype, chunk):
    rng = np.random.default_rng([chunk, 11])
    for _ in range(PER_CHUNK):
        heads, depth = (int(n) for n in (rng.integers(1, 6), rng.integers(1, 24)))
        embed, batch = heads * depth, int(rng.integers(1, 6))
        queries, keys = (int(n) for n in rng.integers(1, 70, 2))
        self_attention = bool(rng.integers(2))
        keys = queries if self_attention else keys
        sizes = [(None, None), (None, None) if self_attention else (int(rng.integers(1, 9)), int(rng.integers(1, 9)))]
        kdim, vdim = sizes[rng.integers(2)]
        made = {name: bool(rng.integers(2)) for name in ("bias", "add_bias_kv", "add_zero_attn")}
        made |= {"kdim": kdim, "vdim": vdim}
        theirs = torch.nn.MultiheadAttention(embed, heads, **made, batch_first=True, dtype=getattr(torch, dtype))
        for parameter in theirs.parameters():
            # scores of the order of 1: a softmax turns rounding of large ones into large differences
            torch.nn.init.normal_(parameter, std=embed**-0.5)
        ours = nn.MultiheadAttention(embed, heads, **made, dtype=dtype)
        ours.load_state_dict(theirs.state_dict())
        arrays = [draw(rng, batch, queries, embed, dtype=dtype)]
        if not self_attention:
            arrays += [draw(rng, batch, keys, n or embed, dtype=dtype) for n in (kdim, vdim)]
        options: dict = {"need_weights": bool(rng.integers(2)), "average_attn_weights": bool(rng.integers(2))}
        lengths = rng.integers(1, keys + 1, batch)
        padding, mask = np.arange(keys) >= lengths[:, None], None
        if rng.integers(2):
            # A query that sees no key is NaN or zero in PyTorch, as the path goes: let all see the first key.
            mask = rng.random((batch * heads, queries, keys)) < 0.3
            mask[:, :, 0] = False
            if rng.integers(2):
                padding = np.where(padding, -np.inf, 0).astype(dtype)
                mask = np.where(mask, -np.inf, draw(rng, *mask.shape, dtype=dtype)).astype(dtype)
        leaves = [Tensor(a, requires_grad=True) for a in arrays]
        others = [torch.tensor(a, requires_grad=True) for a in arrays]
        by_length = mask is None and bool(rng.integers(2))
        given = {"key_lengths": lengths} if by_length else {"key_padding_mask": padding}
        out, weights = ours(*leaves, attn_mask=mask, **given, **options)
        want, expected = theirs(
            *(others * 3 if self_attention else others), key_padding_mask=torch.tensor(padding),
            attn_mask=None if mask is None else torch.tensor(mask), **options,
        )  # fmt: skip
        assert (weights is None) == (expected is None)
        pairs = [(out, want)] + ([(weights, expected)] if options["need_weights"] else [])
        upstream = [draw(rng, *one.shape, dtype=dtype) for one, _ in pairs]
        sum(((one * g).sum() for (one, _), g in zip(pairs, upstream, strict=True)), start=Tensor(0.0)).backward()
        torch.autograd.backward([two for _, two in pairs], [torch.from_numpy(g) for g in upstream])
        for one, two in pairs:
            agree(one.numpy(), two, dtype, "output")
        for one, two in zip(leaves, others, strict=True):
            agree(one.grad.numpy(), two.grad, dtype, "input")
        named = dict(theirs.named_parameters())
        for name, parameter in ours.named_parameters():
            agree(parameter.grad.numpy(), named[name].grad, dtype, name)


@each_chunk
@each_dtype
def test_encoder(dtype, chunk):
    rng = np.random.default_rng([chunk, 12])
    for _ in range(PER_CHUNK):
        # Normalising two or three numbers that are nearly equal magnifies rounding without limit: E is 8 or more.
        heads, depth = (int(n) for n in (rng.integers(1, 5), rng.integers(8, 18)))
        embed, batch, steps = heads * depth, int(rng.integers(1, 6)), int(rng.integers(1, 60))
        options = {
            "dim_feedforward": int(rng.integers(1, 70)), "dropout": 0.0, "norm_first": bool(rng.integers(2)),
            "bias": bool(rng.integers(3)), "layer_norm_eps": 1e-4, "activation": str(rng.choice(["relu", "gelu"])),
        }  # fmt: skip
        kind = {"dtype": getattr(torch, dtype)}
        one = torch.nn.TransformerEncoderLayer(embed, heads, **options, batch_first=True, **kind)
        count, normed = int(rng.integers(1, 4)), bool(rng.integers(2))
        norm = torch.nn.LayerNorm(embed, **kind) if normed else None
        theirs = torch.nn.TransformerEncoder(one, count, norm=norm, enable_nested_tensor=False)
        for parameter in theirs.parameters():
            torch.nn.init.normal_(parameter, std=embed**-0.5)
        ours = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(embed, heads, **options, dtype=dtype), count,
            nn.LayerNorm(embed, dtype=dtype) if normed else None,
        )  # fmt: skip
        ours.load_state_dict(theirs.state_dict())
        x = draw(rng, batch, steps, embed, dtype=dtype)
        lengths = rng.integers(1, steps + 1, batch) if rng.integers(2) else np.full(batch, steps)
        valid = np.arange(steps) < lengths[:, None]
        causal = bool(rng.integers(2))
        mask = torch.triu(torch.full((steps, steps), -torch.inf, **kind), 1) if causal else None
        padding = torch.where(torch.tensor(valid), 0.0, -torch.inf).to(kind["dtype"])
        leaf, other = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        out, want = ours(leaf, is_causal=causal, lengths=lengths), theirs(other, mask, padding, causal)
        upstream = draw(rng, *x.shape, dtype=dtype) * valid[:, :, None]
        out.backward(upstream)
        want.backward(torch.from_numpy(upstream))
        agree(out.numpy(), want * torch.tensor(valid)[:, :, None], dtype, "output")
        agree(leaf.grad.numpy(), other.grad, dtype, "input")
        named = dict(theirs.named_parameters())
        for name, parameter in ours.named_parameters():
            agree(parameter.grad.numpy(), named[name].grad, dtype, name)
