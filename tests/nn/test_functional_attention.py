"""scaled_dot_product_attention: gradients, shapes, and torch."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq.autograd import Tensor
from fastseq.nn import functional as F
from tests.gradcheck import gradcheck

attend = F.scaled_dot_product_attention


def test_by_hand():
    q, k = np.array([[1.0], [0.0]]), np.array([[0.0], [np.log(3.0)]])
    out = attend(q, k, np.array([[4.0, 0.0], [8.0, 1.0]])).numpy()
    np.testing.assert_allclose(out, [[7.0, 0.75], [6.0, 0.5]])
    np.testing.assert_allclose(attend(q, k, k, is_causal=True).numpy()[0], [0.0])
    np.testing.assert_allclose(attend(q, k, k, np.array([[False, False], [True, False]])).numpy(), [[0.0], [0.0]])


def test_gradients(rng):
    gradcheck(attend, *(rng.standard_normal((2, 3, n, 4)) for n in (5, 6, 6)))
    shared = rng.standard_normal((6, 4)), rng.standard_normal((3, 6, 5))  # broadcast over leading axes
    gradcheck(lambda q, k, v: attend(q, k, v, scale=0.3), rng.standard_normal((2, 3, 5, 4)), *shared)
    gradcheck(lambda q, k, v: attend(q, k, v, enable_gqa=True), *(rng.standard_normal((2, n, 4, 3)) for n in (6, 2, 2)))


def test_dropout_is_seeded(rng):
    x = rng.standard_normal((2, 9, 4)).astype(np.float32)
    fs.manual_seed(1)
    one = attend(x, x, x, dropout_p=0.5).numpy()
    fs.manual_seed(1)
    assert attend(x, x, x, dropout_p=0.5).numpy().tobytes() == one.tobytes() != attend(x, x, x).numpy().tobytes()


def test_bad_input_is_named(rng):
    x = rng.standard_normal((2, 3, 4))
    for arguments, error, name in (
        ((x, x.astype(np.float32), x), TypeError, "key"),
        ((x, x[:, :, :3], x), ValueError, "key"),
        ((x, x, x[:, :2]), ValueError, "value"),
        ((x, np.zeros((3, 3, 4)), np.zeros((3, 3, 4))), ValueError, "key"),
        ((x[0, 0], x, x), ValueError, "query"),
        ((x, x, x, np.zeros((3, 4))), ValueError, "attn_mask"),
        ((x, x, x, np.zeros((3, 3), int)), TypeError, "attn_mask"),
        ((x.astype(int), x, x), TypeError, "query"),
    ):
        with pytest.raises(error, match=f"{name}: expected"):
            attend(*arguments)
    with pytest.raises(ValueError, match="key: expected heads of which the query has a multiple"):
        attend(x, x[:0], x[:0], enable_gqa=True)
    assert attend(x[:0], x[:0], x[:0]).shape == (0, 3, 4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_against_torch(dtype, tolerance, rng):
    torch = pytest.importorskip("torch")
    for _ in range(100):
        batch, heads, queries, keys, depth, values = (int(n) for n in rng.integers(1, [4, 5, 40, 40, 30, 30]))
        many = bool(rng.integers(2))
        arrays = [
            rng.standard_normal((batch, heads * (2 if many else 1), queries, depth)).astype(dtype),
            rng.standard_normal((batch, heads, keys, depth)).astype(dtype),
            rng.standard_normal((batch, heads, keys, values)).astype(dtype),
        ]
        options = {"scale": [None, 0.3][rng.integers(2)], "enable_gqa": many}
        mask, kind = None, rng.integers(4)
        if kind == 0:
            options["is_causal"] = True
        elif kind == 1:
            mask = rng.random((queries, keys)) < 0.7
        elif kind == 2:
            mask = rng.standard_normal((batch, 1, queries, keys)).astype(dtype)
        leaves = [Tensor(a, requires_grad=True) for a in arrays]
        others = [torch.tensor(a, requires_grad=True) for a in arrays]
        out = attend(*leaves, attn_mask=mask, **options)
        want = torch.nn.functional.scaled_dot_product_attention(
            *others, attn_mask=None if mask is None else torch.tensor(mask), **options
        )
        upstream = rng.standard_normal(out.shape).astype(dtype)
        out.backward(upstream)
        want.backward(torch.from_numpy(upstream))
        pairs = [(out.numpy(), want), *((a.grad.numpy(), b.grad) for a, b in zip(leaves, others, strict=True))]
        for got, expected in pairs:
            expected = np.nan_to_num(expected.detach().numpy())  # a query that sees nothing may be NaN there
            limit = tolerance * max(1.0, np.abs(expected).max(initial=0))
            np.testing.assert_allclose(got, expected, rtol=0, atol=limit)
