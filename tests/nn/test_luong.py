"""Luong's attention: the paper's formulas in scalar loops, float64 differences, padding, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastseq.autograd import Tensor
from fastseq.nn import LuongAttention
from tests.gradcheck import gradcheck

LENGTHS = np.array([4, 0, 2])
BUILDS = {
    "dot": lambda: LuongAttention(3, score="dot", dtype=np.float64),
    "general": lambda: LuongAttention(3, 5, dtype=np.float64),
    "concat": lambda: LuongAttention(3, 5, "concat", 4, dtype=np.float64),
}
each_score = pytest.mark.parametrize("score", BUILDS)


def arrays(layer, rng):
    """Queries and keys."""
    return rng.standard_normal((3, 2, layer.query_size)), rng.standard_normal((3, 4, layer.key_size))


def by_hand(layer, q, keys):
    """Context and weights of one query (Q,) over keys (T, K)."""
    weights = {name: p.numpy() for name, p in layer.named_parameters()}
    scores = []
    for k in keys:
        if layer.score == "dot":
            scores.append(sum(a * b for a, b in zip(q, k, strict=True)))
        elif layer.score == "general":
            scores.append(sum(q[i] * weights["key.weight"][i, j] * k[j] for i in range(3) for j in range(5)))
        else:
            inner = [
                math.tanh(
                    sum(weights["query.weight"][a, i] * q[i] for i in range(3))
                    + sum(weights["key.weight"][a, j] * k[j] for j in range(5))
                )
                for a in range(4)
            ]
            scores.append(sum(v * x for v, x in zip(weights["value.weight"][0], inner, strict=True)))
    shares = [math.exp(s) for s in scores]
    shares = [s / sum(shares) for s in shares]
    return [sum(s * k[j] for s, k in zip(shares, keys, strict=True)) for j in range(keys.shape[1])], shares


@each_score
def test_values_and_gradients(score, rng):
    layer = BUILDS[score]()
    query, keys = arrays(layer, rng)
    for lengths in (None, LENGTHS):
        context, weights = layer(query, keys, lengths)
        assert context.shape == (3, 2, layer.key_size) and weights.shape == (3, 2, 4)
        for b, u in np.ndindex(3, 2):
            count = 4 if lengths is None else lengths[b]
            if count == 0:
                assert (context.numpy()[b] == 0).all() and (weights.numpy()[b] == 0).all()
                continue
            expected, shares = by_hand(layer, query[b, u], keys[b, :count])
            np.testing.assert_allclose(context.numpy()[b, u], expected, rtol=1e-12)
            np.testing.assert_allclose(weights.numpy()[b, u, :count], shares, rtol=1e-12)
            assert (weights.numpy()[b, u, count:] == 0).all()
        gradcheck(lambda q, k, n=lengths: layer(q, k, n), query, keys, parameters=layer.parameters())
    assert layer.uses_lengths


@each_score
@pytest.mark.parametrize("junk", [np.nan, np.inf, -1e300])
def test_padding_nan_and_neighbours(score, junk, rng):
    layer = BUILDS[score]()
    query, keys = arrays(layer, rng)
    valid = np.arange(4) < LENGTHS[:, None]
    dirty = np.where(valid[..., None], keys, junk)
    results = []
    for data in (keys, dirty):
        leaf = Tensor(data.copy(), requires_grad=True)
        context, weights = layer(query, leaf, LENGTHS)
        context.sum().backward()
        assert (leaf.grad.numpy()[~valid] == 0).all()
        results.append([a.tobytes() for a in (context.numpy(), weights.numpy(), leaf.grad.numpy())])
    assert results[0] == results[1]
    keys[0, 2] = np.nan
    context, _ = layer(query, keys, LENGTHS)
    assert np.isnan(context.numpy()[0]).any() and np.isfinite(context.numpy()[1:]).all()


@each_score
def test_neither_padding_nor_neighbours_change_a_bit(score, rng):
    layer = BUILDS[score]().float()
    for length in (1, 7, 8, 13, 40):
        query = rng.standard_normal((1, 2, layer.query_size)).astype(np.float32)
        keys = rng.standard_normal((1, length, layer.key_size)).astype(np.float32)
        wide = rng.standard_normal((3, length + 9, layer.key_size)).astype(np.float32)
        wide[1, :length] = keys
        alone = layer(query, keys)
        among = layer(np.repeat(query, 3, axis=0), wide, [length + 9, length, 0])
        assert alone[0].numpy()[0].tobytes() == among[0].numpy()[1].tobytes()
        assert alone[1].numpy()[0].tobytes() == np.ascontiguousarray(among[1].numpy()[1, :, :length]).tobytes()


def test_nothing_to_attend_to(rng):
    layer = BUILDS["general"]()
    for shape in ((3, 0, 5), (0, 4, 5)):
        query = rng.standard_normal((shape[0], 2, 3))
        context, weights = layer(query, np.zeros(shape), np.zeros(shape[0], int))
        assert (context.numpy() == 0).all() and weights.shape == (shape[0], 2, shape[1])
    assert layer(np.zeros((3, 0, 3)), np.zeros((3, 4, 5)))[0].shape == (3, 0, 5)


def test_bad_arguments_are_named():
    for build, error, message in [
        (lambda: LuongAttention(3, 5, "dot"), ValueError, r"key_size: expected query_size \(3\)"),
        (lambda: LuongAttention(3, score="additive"), ValueError, "score: expected one of"),
        (lambda: LuongAttention(0), ValueError, "query_size: expected an integer >= 1"),
        (lambda: LuongAttention(3)(np.zeros((2, 1, 3)), np.zeros((2, 4, 5))), ValueError, r"keys: expected shape \(B,"),
        (lambda: LuongAttention(3)(np.zeros((1, 1, 3)), np.zeros((2, 4, 3))), ValueError, "query: expected shape"),
        (lambda: LuongAttention(3)(np.zeros((2, 1, 3)), np.zeros((2, 4, 3)), [5, 1]), ValueError, "lengths: expected"),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            build()
