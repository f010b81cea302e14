"""MultiheadAttention: a scalar loop, finite differences, lengths, masks, bits, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.autograd import Tensor
from fastseq.autograd.noise import noise_of
from fastseq.autograd.ops_attention import attention, full_rows
from fastseq.nn import init
from tests.gradcheck import gradcheck

B, T, E, A = 4, 5, 6, 2
LENGTHS = np.array([3, 5, 0, 1])
VALID = np.arange(T) < LENGTHS[:, None]


def layer(dtype=np.float64, embed=E, heads=A, **options) -> nn.MultiheadAttention:
    """A layer whose biases are not zeros."""
    fs.manual_seed(3)
    made = nn.MultiheadAttention(embed, heads, **options, dtype=dtype)
    for parameter in made.parameters():
        parameter.data = parameter.numpy() + 0.1 * np.random.default_rng(0).standard_normal(parameter.shape)
    return made


def by_hand(q, k, v, limit):
    """One head: the softmax-weighted mean of the first ``limit(r)`` values for each query r, in scalar loops."""
    out = np.zeros((len(q), v.shape[1]))
    weights = np.zeros((len(q), len(k)))
    for r in range(len(q)):
        count = limit(r)
        if count == 0:
            continue
        scores = [sum(float(a) * float(b) for a, b in zip(q[r], k[j], strict=True)) / math.sqrt(q.shape[1])
                  for j in range(count)]  # fmt: skip
        top = max(scores)
        powers = [math.exp(s - top) for s in scores]
        for j in range(count):
            weights[r, j] = powers[j] / sum(powers)
            out[r] += weights[r, j] * v[j]
    return out, weights


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("steps", "depth", "heads"), [(1, 1, 1), (5, 3, 2), (17, 8, 1), (50, 16, 2), (101, 20, 1)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-12)])
def test_the_equation(causal, steps, depth, heads, dtype, tolerance, rng):
    joint = rng.standard_normal((2 * steps, 3 * heads * depth)).astype(dtype)
    rows = full_rows(2, steps)
    out, kept = attention(joint, None, None, rows, rows, heads, causal=causal, keep=True)
    parts = joint.astype(np.float64).reshape(2, steps, 3, heads, depth)
    for b in range(2):
        for h in range(heads):
            want, weights = by_hand(*parts[b, :, :, h].swapaxes(0, 1), lambda r: r + 1 if causal else steps)
            got = out.numpy().reshape(2, steps, heads, depth)[b, :, h]
            np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)
            np.testing.assert_allclose(kept.numpy()[b, h], weights, rtol=0, atol=tolerance)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"causal": True}])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gradients_of_self_attention(options, lengths, rng):
    mha = layer(**options)
    gradcheck(lambda x: mha(x, lengths=lengths), rng.standard_normal((B, T, E)), parameters=mha.parameters())


def test_gradients_of_cross_attention(rng):
    mha = layer(kdim=3, vdim=4)
    q, k, v = (rng.standard_normal((2, n, f)) for n, f in ((4, E), (7, 3), (7, 4)))

    def run(q, k, v):
        return mha(q, k, v, lengths=[2, 4], key_lengths=[7, 3], average_attn_weights=False)

    gradcheck(run, q, k, v, parameters=mha.parameters())
    joint = layer()
    gradcheck(
        lambda q, k: joint(q, k, need_weights=False), q, rng.standard_normal((2, 3, E)), parameters=joint.parameters()
    )


def test_gradients_under_masks_and_dropout(rng):
    mha = layer()
    hidden = rng.random((B, T)) < 0.4
    hidden[:, 0] = False
    added = rng.standard_normal((B * A, T, T))
    gradcheck(lambda x: mha(x, key_padding_mask=hidden, attn_mask=added), rng.standard_normal((B, T, E)))
    rows, noise = full_rows(2, 20), noise_of(0.4, rng)
    gradcheck(lambda x: attention(x, None, None, rows, rows, 1, noise=noise, keep=True), rng.standard_normal((40, 9)))


def test_gradients_over_several_blocks_of_queries(rng):
    rows = full_rows(1, 103)
    for causal in (False, True):
        gradcheck(
            lambda x, causal=causal: attention(x, None, None, rows, rows, 1, causal=causal),
            rng.standard_normal((103, 3)),
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("causal", [False, True])
def test_padding_is_not_read_and_gets_no_gradient(dtype, causal, rng):
    mha, x = layer(dtype, causal=causal), rng.standard_normal((B, T, E)).astype(dtype)
    found = []
    for fill in (np.nan, np.inf, 7.0):
        x[~VALID] = fill
        leaf = Tensor(x, requires_grad=True)
        mha.zero_grad()
        out, weights = mha(leaf, lengths=LENGTHS)
        (out * out).sum().backward()
        found.append([out.numpy(), weights.numpy(), leaf.grad.numpy(), *(p.grad.numpy() for p in mha.parameters())])
    for several in zip(*found, strict=True):
        assert np.isfinite(several[0]).all()
        assert all(one.tobytes() == several[0].tobytes() for one in several)
    assert not found[0][0][~VALID].any() and not found[0][2][~VALID].any()


@pytest.mark.parametrize("causal", [False, True])
def test_a_row_alone_has_the_bits_it_has_among_others(causal, rng):
    mha = layer(np.float32, 24, 3, causal=causal)
    x = rng.standard_normal((7, 130, 24)).astype(np.float32)
    lengths = np.array([130, 1, 60, 49, 48, 96, 17])
    out, weights = mha(x, lengths=lengths)
    for row, n in enumerate(lengths):
        alone, own = mha(x[row : row + 1, :n])
        assert out.numpy()[row, :n].tobytes() == alone.numpy()[0].tobytes()
        assert weights.numpy()[row, :n, :n].tobytes() == own.numpy()[0].tobytes()
    if causal:  # and a step's bits do not depend on what comes later
        for n in (1, 5, 6, 7, 48, 50):
            assert mha(x[:1, :n])[0].numpy().tobytes() == out.numpy()[:1, :n].tobytes()
        later = x[:1].copy()
        later[:, 50:] = np.nan
        assert mha(later)[0].numpy()[:, :50].tobytes() == out.numpy()[:1, :50].tobytes()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_change_no_bit(dtype, rng):
    mha, x = layer(dtype, 48, 4), rng.standard_normal((9, 80, 48)).astype(dtype)
    lengths, most = rng.integers(0, 81, 9), fs.get_num_threads()
    found = []
    for count in (1, most):
        fs.set_num_threads(count)
        mha.zero_grad()
        leaf = Tensor(x, requires_grad=True)
        out, _ = mha(leaf, need_weights=False, lengths=lengths)
        (out * out).sum().backward()
        found.append([out.numpy(), leaf.grad.numpy(), *(p.grad.numpy() for p in mha.parameters())])
    for one, other in zip(*found, strict=True):
        assert one.tobytes() == other.tobytes()


def test_weights_change_nothing_else(rng):
    mha, x = layer(np.float32), rng.standard_normal((B, T, E)).astype(np.float32)
    with_weights, weights = mha(x, lengths=LENGTHS)
    without, none = mha(x, need_weights=False, lengths=LENGTHS)
    assert none is None and with_weights.numpy().tobytes() == without.numpy().tobytes()
    assert weights.shape == (B, T, T)
    np.testing.assert_allclose(weights.numpy().sum(axis=2), VALID, atol=1e-6)
    assert mha(x, average_attn_weights=False)[1].shape == (B, A, T, T)


def test_masks_that_say_the_same(rng):
    x = rng.standard_normal((B, T, E))
    mha, triangle = layer(), ~np.tri(T, dtype=bool)
    want = layer(causal=True)(x)[0].numpy()
    for options in (
        {"is_causal": True},
        {"attn_mask": triangle},
        {"attn_mask": np.where(triangle, -np.inf, 0.0)},
        {"attn_mask": np.broadcast_to(triangle, (B * A, T, T))},
    ):
        np.testing.assert_allclose(mha(x, **options)[0].numpy(), want, rtol=1e-12, atol=1e-14)
    lengths = np.array([3, 5, 2, 1])
    past = np.arange(T) >= lengths[:, None]
    want = mha(x, key_lengths=lengths)[0].numpy()
    for mask in (past, np.where(past, -np.inf, 0.0)):
        assert mha(x, key_padding_mask=mask)[0].numpy().tobytes() == want.tobytes()
    shuffled = x.copy()
    shuffled[past] = np.nan
    np.testing.assert_array_equal(
        mha(x, shuffled, key_padding_mask=past)[0].numpy(), mha(x, x, key_padding_mask=past)[0].numpy()
    )


def test_a_query_that_sees_nothing_gets_the_bias(rng):
    mha, x = layer(), rng.standard_normal((B, T, E))
    out, weights = mha(x, x, key_lengths=[0, 1, 2, 0])
    bias = mha.out_proj.bias.numpy()
    np.testing.assert_array_equal(out.numpy()[[0, 3]], np.broadcast_to(bias, (2, T, E)))
    assert not weights.numpy()[[0, 3]].any()
    hidden = np.zeros((T, T), bool)
    hidden[2] = True
    np.testing.assert_array_equal(mha(x, attn_mask=hidden)[0].numpy()[:, 2], np.broadcast_to(bias, (B, E)))


def test_nan_stays_in_its_row_and_spreads_there(rng):
    x = rng.standard_normal((B, T, E))
    x[1, 3, 0] = np.nan
    bad = np.isnan(layer()(x)[0].numpy()).all(axis=2)
    assert bad[1].all() and not bad[[0, 2, 3]].any()
    early = np.isnan(layer(causal=True)(x)[0].numpy()).any(axis=2)
    assert early[1].tolist() == [False, False, False, True, True]


def test_scores_beyond_the_range_of_exp(rng):
    for dtype in (np.float32, np.float64):
        rows = full_rows(1, 5)
        joint = (1e4 * rng.standard_normal((5, 12))).astype(dtype)
        out, kept = attention(joint, None, None, rows, rows, 1, keep=True)
        assert np.isfinite(out.numpy()).all()
        np.testing.assert_allclose(kept.numpy().sum(axis=-1), 1, rtol=1e-6)


def test_time_first_and_defaults(rng):
    mha = layer(batch_first=False)
    x = rng.standard_normal((T, B, E))
    out, weights = mha(x, lengths=LENGTHS)
    want, _ = layer()(x.swapaxes(0, 1), lengths=LENGTHS)
    assert out.numpy().tobytes() == np.ascontiguousarray(want.numpy().swapaxes(0, 1)).tobytes()
    assert weights.shape == (B, T, T)


def test_dropout_only_while_training(rng):
    mha, x = layer(np.float32, dropout=0.5), rng.standard_normal((B, T, E)).astype(np.float32)
    init.manual_seed(1)
    one = mha(x)[0].numpy()
    init.manual_seed(1)
    assert mha(x)[0].numpy().tobytes() == one.tobytes() != mha(x)[0].numpy().tobytes()
    weights = mha(x, average_attn_weights=False)[1].numpy()
    assert 0.2 < (weights == 0).mean() < 0.8
    mha.eval()
    assert mha(x)[0].numpy().tobytes() == layer(np.float32)(x)[0].numpy().tobytes()


EXTRA = [{"add_bias_kv": True}, {"add_zero_attn": True}, {"add_bias_kv": True, "add_zero_attn": True, "bias": False}]


@pytest.mark.parametrize("options", EXTRA)
@pytest.mark.parametrize("causal", [False, True])
def test_extra_keys_by_hand(options, causal, rng):
    mha, x = layer(**options, causal=causal), rng.standard_normal((B, T, E))
    out, kept = mha(x, lengths=LENGTHS, average_attn_weights=False)
    more = mha.add_bias_kv + mha.add_zero_attn
    bias = np.zeros(3 * E) if mha.in_proj_bias is None else mha.in_proj_bias.numpy()
    assert kept.shape == (B, A, T, T + more)
    for b, n in enumerate(LENGTHS):
        joint = x[b, :n] @ mha.in_proj_weight.numpy().T + bias
        q, k, v = (joint[:, place * E : (place + 1) * E] for place in range(3))
        found = np.zeros((n, E))
        for h in range(A):
            part = slice(h * E // A, (h + 1) * E // A)
            front_k, front_v = ([learned.numpy()[0, :, part]] if mha.add_bias_kv else []
                                for learned in (mha.bias_k, mha.bias_v))  # fmt: skip
            zeros = [np.zeros((1, E // A))] * mha.add_zero_attn
            keys, values = (np.concatenate([*front, *zeros, one[:, part]])
                            for front, one in ((front_k, k), (front_v, v)))  # fmt: skip
            found[:, part], weights = by_hand(q[:, part], keys, values, lambda r, n=n: more + (r + 1 if causal else n))
            np.testing.assert_allclose(kept.numpy()[b, h, :n, :n], weights[:, more:], rtol=0, atol=1e-12)
            np.testing.assert_allclose(kept.numpy()[b, h, :n, T:], weights[:, :more], rtol=0, atol=1e-12)
        offset = 0 if mha.out_proj.bias is None else mha.out_proj.bias.numpy()
        want = found @ mha.out_proj.weight.numpy().T + offset
        np.testing.assert_allclose(out.numpy()[b, :n], want, rtol=0, atol=1e-12)
        assert not out.numpy()[b, n:].any()


@pytest.mark.parametrize("options", EXTRA)
def test_extra_keys_keep_gradients_bits_and_masks(options, rng):
    mha, x = layer(**options), rng.standard_normal((B, T, E))
    mask = rng.random((B * A, T, T)) < 0.4
    gradcheck(lambda x: mha(x, lengths=LENGTHS, attn_mask=mask), x, parameters=mha.parameters())
    x[~VALID] = np.nan
    out = mha(x, lengths=LENGTHS, need_weights=False)[0].numpy()
    for b, n in enumerate(LENGTHS):
        assert out[b, :n].tobytes() == mha(x[b, :n])[0].numpy().tobytes()
    hidden = mha(np.nan_to_num(x), key_padding_mask=~VALID)[0].numpy()
    assert hidden[VALID].tobytes() == out[VALID].tobytes()
    all_hidden, weights = mha(np.nan_to_num(x), attn_mask=np.ones((T, T), bool))
    assert not weights.numpy()[:, :, :T].any()  # no mask hides extra keys
    np.testing.assert_allclose(weights.numpy()[:, :, T:].sum(axis=2), 1, rtol=0, atol=1e-12)
    assert all_hidden.shape == (B, T, E)
    twin = nn.MultiheadAttention.from_config(mha.config())
    assert twin.load_state_dict(mha.state_dict()) == ([], [])
    with pytest.raises(TypeError, match="MultiheadAttention with extra keys"):
        fs.Stream(layer(**options, causal=True))


@pytest.mark.parametrize("shape", [(0, 4, E), (3, 0, E), (0, 0, E)])
def test_empty_input(shape):
    mha, x = layer(), Tensor(np.ones(shape), requires_grad=True)
    out, weights = mha(x)
    (out.sum() + weights.sum()).backward()
    assert out.shape == x.grad.shape == shape and weights.shape == (shape[0], shape[1], shape[1])
    assert not mha.in_proj_weight.grad.numpy().any()


def test_bad_input_is_named(rng):
    mha, x = layer(), rng.standard_normal((B, T, E))
    for bad in (np.ones((B, T, E + 1)), np.ones((T, E + 1)), np.ones(E), np.ones((1, B, T, E))):
        with pytest.raises(ValueError, match=r"query: expected shape \(B, T, 6\) or \(T, 6\)"):
            mha(bad)
    for one, two, axes in ((x, x[0], 3), (x[0], x, 2)):
        with pytest.raises(ValueError, match=f"key: expected {axes} axes, as the query, got {5 - axes}"):
            mha(one, two)
    with pytest.raises(ValueError, match=r"key_padding_mask: expected shape \(5,\), since there is one row"):
        mha(x[0], key_padding_mask=np.zeros((1, T), bool))
    with pytest.raises(ValueError, match="key: expected 4 rows"):
        mha(x, x[:2])
    with pytest.raises(ValueError, match="value: expected shape"):
        mha(x, x, x[:, :2])
    with pytest.raises(ValueError, match="attn_mask: expected shape"):
        mha(x, attn_mask=np.zeros((T, T + 1)))
    with pytest.raises(TypeError, match="attn_mask: expected bools"):
        mha(x, attn_mask=np.zeros((T, T), int))
    with pytest.raises(TypeError, match="attn_mask: expected a constant"):
        mha(x, attn_mask=Tensor(np.zeros((T, T)), requires_grad=True))
    with pytest.raises(ValueError, match="key_padding_mask: expected shape"):
        mha(x, key_padding_mask=np.zeros((B, T + 1), bool))
    for name in ("lengths", "key_lengths"):
        with pytest.raises(ValueError, match=f"{name}: expected 0 <= length"):
            mha(x, **{name: [9, 1, 1, 1]})
    with pytest.raises(ValueError, match="num_heads: expected a divisor of embed_dim = 6"):
        nn.MultiheadAttention(6, 4)
    for name in ("add_bias_kv", "add_zero_attn"):
        with pytest.raises(TypeError, match=f"{name}: expected True or False"):
            nn.MultiheadAttention(6, 2, **{name: 1})
    with pytest.raises(ValueError, match="dropout"):
        nn.MultiheadAttention(6, 2, dropout=1.5)
