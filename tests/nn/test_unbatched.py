"""One row without an axis for rows, as PyTorch has it: the bits, lengths and gradients of a batch of one."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.autograd import Tensor

T, F, H = 7, 4, 6

RECURRENT = {
    "LSTM": lambda **o: nn.LSTM(F, H, **o),
    "projected": lambda **o: nn.LSTM(F, H, proj_size=2, **o),
    "GRU": lambda **o: nn.GRU(F, H, **o),
    "reset before": lambda **o: nn.GRU(F, H, reset_after=False, **o),
    "RNN": lambda **o: nn.RNN(F, H, **o),
    "PeepholeLSTM": lambda **o: nn.PeepholeLSTM(F, H, **o),
    "MinLSTM": lambda **o: nn.MinLSTM(F, H, **o),
}


def bits(tensor) -> bytes:
    return np.ascontiguousarray(tensor.numpy()).tobytes()


def states_of(layer, rng) -> tuple[np.ndarray, ...]:
    """Initial states (L * D, size) of one row."""
    count = layer.num_layers * layer.num_directions
    sizes = [layer.output_size, *[layer.hidden_size] * len(layer.cell.spec.memories)]
    return tuple(rng.standard_normal((count, size)).astype(np.float32) for size in sizes)


def packed(states):
    """States as a layer takes and returns them: a pair, or one alone."""
    return tuple(states) if len(states) > 1 else states[0]


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": False}], ids=str)
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers(name, options, rng):
    layer = RECURRENT[name](**options)
    x, states = rng.standard_normal((T, F)).astype(np.float32), states_of(layer, rng)
    rows = 0 if layer.batch_first else 1
    results = []
    for alone in (True, False):
        leaves = [Tensor(a, requires_grad=True) for a in (x, *states)]
        given = leaves if alone else [fs.Tensor.unsqueeze(leaf, axis) for leaf, axis in zip(leaves, (rows, 1, 1))]  # noqa: B905
        layer.zero_grad()
        out, last = layer(given[0], packed(given[1:]), lengths=5 if alone else [5])
        last = last if isinstance(last, tuple) else (last,)
        ((out * out).sum() + sum((s * s * s).sum() for s in last)).backward()
        if alone:
            assert out.shape == (T, layer.num_directions * layer.output_size) and not out.numpy()[5:].any()
            assert [s.shape for s in last] == [s.shape for s in states]
        grads = [leaf.grad for leaf in leaves] + [p.grad for p in layer.parameters()]
        results.append([bits(t) for t in (out, *last, *grads)])
    assert results[0] == results[1]
    out, last = layer(x)
    assert bits(out) == bits(layer(np.expand_dims(x, rows))[0])
    for length in (3, np.int64(3), np.array([3]), [3], Tensor(np.array(3))):
        assert bits(layer(x, lengths=length)[0][:3]) == bits(layer(x[:3])[0])


def test_what_recurrent_layers_refuse(rng):
    lstm, gru, x = nn.LSTM(F, H, 2), nn.GRU(F, H), np.zeros((T, F), np.float32)
    h = np.zeros((2, H), np.float32)
    lstm(x, (h, h))
    for name, hx, words in (
        ("batched", (h[:, None], h[:, None]), r"h_0: expected shape \(2, 6\), got shape \(2, 1, 6\)"),
        ("layers", (h, h[:1]), r"c_0: expected shape \(2, 6\), got shape \(1, 6\)"),
        ("size", (h[:, :5], h), r"h_0: expected shape \(2, 6\), got shape \(2, 5\)"),
    ):
        with pytest.raises(ValueError, match=words):
            lstm(x, hx), name
    with pytest.raises(ValueError, match=r"hx: expected shape \(1, 3, 6\), got shape \(1, 6\)"):
        gru(np.zeros((3, T, F), np.float32), np.zeros((1, H), np.float32))
    with pytest.raises(ValueError, match="lengths: expected 0 <= length <= 7, got 8 in row 0"):
        lstm(x, lengths=8)
    for bad, error in ((2.0, TypeError), (True, TypeError), ([3, 4], ValueError), ("3", TypeError)):
        with pytest.raises(error, match=r"lengths: expected integers of shape \(1,\)"):
            lstm(x, lengths=bad)
    with pytest.raises(ValueError, match=r"x: expected shape \(B, T, 4\) or \(T, 4\), got shape \(4,\)"):
        lstm(x[0])


def test_no_steps():
    out, (h, c) = nn.LSTM(F, H, bidirectional=True)(np.zeros((0, F), np.float32))
    assert out.shape == (0, 2 * H) and h.shape == c.shape == (2, H) and not h.numpy().any()


@pytest.mark.parametrize("extra", [{}, {"add_bias_kv": True, "add_zero_attn": True}], ids=str)
@pytest.mark.parametrize("first", [True, False])
def test_attention(first, extra, rng):
    mha = nn.MultiheadAttention(H, 2, kdim=4, vdim=3, batch_first=first, **extra)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in ((T, H), (5, 4), (5, 3))]
    mask, hidden = rng.random((2, T, 5)) < 0.3, np.array([True, False, False, True, False])
    axis = 0 if first else 1
    for options in ({}, {"average_attn_weights": False}, {"need_weights": False}):
        out, weights = mha(*arrays, key_padding_mask=hidden, attn_mask=mask, lengths=6, key_lengths=[4], **options)
        want, expected = mha(
            *(np.expand_dims(a, axis) for a in arrays), key_padding_mask=hidden[None], attn_mask=mask,
            lengths=[6], key_lengths=[4], **options,
        )  # fmt: skip
        assert out.shape == (T, H) and bits(out) == bits(want)
        assert (weights is None) == (expected is None)
        if weights is not None:
            assert weights.shape == expected.shape[1:] and bits(weights) == bits(expected)
    own = nn.MultiheadAttention(H, 2, batch_first=first)
    assert bits(own(arrays[0])[0]) == bits(own(np.expand_dims(arrays[0], axis))[0])


@pytest.mark.parametrize("first", [True, False])
def test_encoders(first, rng):
    layer = nn.TransformerEncoderLayer(H, 2, 8, 0.0, batch_first=first)
    x, mask = rng.standard_normal((T, H)).astype(np.float32), rng.random((2, T, T)) < 0.2
    hidden = np.arange(T) == 2
    axis = 0 if first else 1
    for model, name in ((layer, "src_mask"), (nn.TransformerEncoder(layer, 2, nn.LayerNorm(H)), "mask")):
        given = {name: mask, "src_key_padding_mask": hidden, "lengths": 6}
        out = model(x, **given)
        want = model(np.expand_dims(x, axis), **{**given, "src_key_padding_mask": hidden[None], "lengths": [6]})
        assert out.shape == (T, H) and bits(out) == bits(want)
        assert bits(model(x)) == bits(model(np.expand_dims(x, axis)))
        with pytest.raises(ValueError, match=r"src_key_padding_mask: expected shape \(7,\), since there is one row"):
            model(x, src_key_padding_mask=hidden[None])
        with pytest.raises(ValueError, match=rf"src: expected shape \({'B, T' if first else 'T, B'}, 6\) or \(T, 6\)"):
            model(x[0])


@pytest.mark.parametrize("options", [{"padding": 2}, {"causal": True}, {"padding": 2, "padding_mode": "circular"}])
def test_convolutions(options, rng):
    conv, x = nn.Conv1d(F, 5, 3, **options), rng.standard_normal((T, F)).astype(np.float32)
    assert bits(conv(x)) == bits(conv(x[None])) and conv(x).shape == conv(x[None]).shape[1:]
    assert bits(conv(x, lengths=4)) == bits(conv(x[None], lengths=[4]))
