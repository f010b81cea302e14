"""Attention, norms, dense layers and embeddings in processes of their own: under guard pages, and as digests.

Run as a program (``start`` or ``end``, a dtype), everything that a kernel gets touches a page that nobody may touch;
the number of passes is printed: one element too far and the process is gone.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np

import fastseq as fs
from fastseq import buffers, nn
from fastseq.autograd import ops_attention, ops_embedding, ops_feedforward, ops_norm
from fastseq.simd import dense
from tests.guard_pages import GuardedNumpy

KINDS = [{}, {"norm_first": True, "activation": "gelu"}, {"causal": True, "dropout": 0.5}]


def model(embed: int, heads: int, hidden: int, dtype: str, options: dict) -> nn.Sequential:
    """Everything that this file is about."""
    fs.manual_seed(0)
    layer = nn.TransformerEncoderLayer(embed, heads, hidden, **{"dropout": 0.0, **options}, dtype=dtype)
    return nn.Sequential(
        nn.Embedding(9, embed, dtype=dtype), nn.TransformerEncoder(layer, 2, nn.LayerNorm(embed, dtype=dtype)),
        nn.MultiheadAttention(embed, heads, dtype=dtype), nn.Conv1d(embed, 3, 2, causal=True, dtype=dtype),
        nn.AttentionPool(3, dtype=dtype),
    )  # fmt: skip


def run(net: nn.Sequential, x: np.ndarray, lengths: np.ndarray | None) -> list[np.ndarray]:
    """Outputs and gradients."""
    net.zero_grad()
    out = net(x, lengths=lengths)
    (out * out).sum().backward()
    return [out.numpy(), *(p.grad.numpy().copy() for p in net.parameters())]


def digests() -> list[np.ndarray]:
    """What must be the same on every processor."""
    found = []
    rng = np.random.default_rng(0)
    for options, dtype in itertools.product(KINDS, ("float32", "float64")):
        net = model(24, 3, 40, dtype, options)
        found += run(net, rng.integers(0, 9, (5, 60)), rng.integers(1, 61, 5))
    return found


def passes(at_end: bool, dtype: str) -> int:
    """Run with every array guarded."""
    own = GuardedNumpy(at_end)
    buffers.empty = buffers.scratch = buffers.aligned = ops_norm.empty = ops_feedforward.empty = own.empty
    buffers.zeros = own.zeros
    for module in (ops_attention, ops_embedding, ops_feedforward, ops_norm, dense):
        module.np = own
    rng, done = np.random.default_rng(0), 0
    for (embed, heads), hidden, options in itertools.product(((1, 1), (6, 2), (17, 1), (32, 2)), (1, 19), KINDS):
        net = model(embed, heads, hidden, dtype, options)
        for parameter in net.parameters():
            parameter._data = own.copied(parameter._data)
        for steps in (1, 50):
            for lengths in (None, rng.integers(0, steps + 1, 3)):
                for found in run(net, rng.integers(0, 9, (3, steps)), lengths):
                    assert np.isfinite(found).all()
                done += 1
    return done


if __name__ == "__main__":
    print(passes(sys.argv[1] == "end", sys.argv[2]))
