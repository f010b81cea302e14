"""Picking, ordering, repeating and multiplying elements: by hand, and by finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.autograd import Tensor, ops
from tests.gradcheck import gradcheck

X = np.random.default_rng(3).standard_normal((3, 4))
Y = np.random.default_rng(4).standard_normal((3, 4))
PLACES = np.array([[3, 0], [1, 1], [0, 2]])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.gather(1, PLACES), lambda x: x.index_select(1, [2, 0, 2]), lambda x: x.masked_select(X > 0),
        lambda x: x.take(PLACES), lambda x: ops.take_along_dim(x, PLACES[:1], 1), lambda x: x.select(1, -1),
        lambda x: x.narrow(1, -3, 2), lambda x: x.scatter(1, PLACES, 2.0), lambda x: x.diagonal(1),
        lambda x: x[0].diag(),
        lambda x: x.repeat_interleave(np.array([2, 0, 1]), 0), lambda x: x.max(1).values, lambda x: x.min(0)[0],
        lambda x: x.median(1)[0], lambda x: x.sort(1, descending=True)[0], lambda x: x.topk(2, 0)[0],
        lambda x: x.roll((1, -1), (0, 1)), lambda x: x.roll(5), lambda x: x.repeat(2, 1, 3), lambda x: x.tile(2),
        lambda x: x[:, None].expand(-1, 2, -1), lambda x: x.movedim(0, 1), lambda x: x.unflatten(1, (2, -1)),
        lambda x: x.tril(1), lambda x: x.triu(), lambda x: ops.pad(x, (1, -1, 0, 2), value=3.0), lambda x: x.prod(1),
        lambda x: x.norm(), lambda x: x.norm(1, 0), lambda x: x.norm(3, 1, True), lambda x: x.norm(float("inf"), 1),
        lambda x: x.outer(Y[0]) if x.ndim == 1 else x[0].outer(x[1]), lambda x: ops.concatenate(x.chunk(3, 1), 0),
    ],
)  # fmt: skip
def test_gradients(function):
    gradcheck(lambda x: function(Tensor(x) if isinstance(x, np.ndarray) else x), X)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]), ("bij,bjk->bki", [(2, 3, 4), (2, 4, 2)]), ("ij->j", [(2, 3)]),
        ("ii->i", [(3, 3)]), ("ij,ij", [(2, 3), (2, 3)]), ("i,j,k->kij", [(2,), (3,), (2,)]),
        ("ij,k->i", [(2, 3), (4,)]),
        ("...i,ij->...j", [(2, 2, 3), (3, 2)]), ("bhqd,bhkd->bhqk", [(1, 2, 3, 2), (1, 2, 4, 2)]),
        ("i,i", [(3,), (3,)]),
        ("ji", [(2, 3)]), ("bi,ij,bj->b", [(2, 3), (3, 4), (2, 4)]), ("ab,cb->", [(2, 3), (4, 3)]),
    ],
)  # fmt: skip
def test_einsum_is_numpys(equation, shapes):
    arrays = [np.random.default_rng(k).standard_normal(shape) for k, shape in enumerate(shapes)]
    np.testing.assert_allclose(ops.einsum(equation, *arrays).numpy(), np.einsum(equation, *arrays), rtol=1e-12)
    gradcheck(lambda *xs: ops.einsum(equation, *xs), *arrays)


def test_both_gradients_of_what_is_put_in():
    gradcheck(lambda x, y: ops.scatter(x, 1, PLACES[:, :1], y), X, Y)
    gradcheck(lambda x, y: ops.scatter_add(x, 1, PLACES, y), X, Y)
    gradcheck(lambda x, y: ops.remainder(x, y), X, np.array([[0.7], [1.3], [-0.9]]))


def test_products_with_zeros_have_gradients():
    x = Tensor([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0]], requires_grad=True)
    x.prod(1).sum().backward()
    assert x.grad.tolist() == [[0, 6, 0], [0, 0, 0]]
    zero = Tensor(np.zeros(3), requires_grad=True)
    zero.norm().backward()
    assert zero.grad.tolist() == [0, 0, 0]


def test_order_and_ties():
    x = Tensor([[1.0, 3.0, 3.0, np.nan], [2.0, 2.0, 0.0, 2.0]])
    assert x.max(1).indices.tolist() == [3, 0] and x.min(dim=1).indices.tolist() == [3, 2]
    assert x.argsort(descending=True).tolist() == [[3, 1, 2, 0], [0, 1, 3, 2]]
    values, places = x.topk(2)
    assert places.tolist() == [[3, 1], [0, 1]] and values[1].tolist() == [2, 2]
    assert np.isnan(x.median().item()) and x.median(1).values.tolist()[1] == 2
    tie = Tensor([3.0, 3.0], requires_grad=True)
    tie.max(0)[0].backward()
    assert tie.grad.tolist() == [1, 0]  # the first only, as the place says
    found, inverse, counts = ops.unique(np.array([[3, 1], [3, 2]]), return_inverse=True, return_counts=True)
    assert found.tolist() == [1, 2, 3] and inverse.tolist() == [[2, 0], [2, 1]] and counts.tolist() == [1, 1, 2]


def test_numbers_and_nothing():
    number = Tensor(2.0)
    assert number.sort()[0].item() == 2 and number.topk(1)[1].tolist() == [0] and number.max(0).indices.item() == 0
    assert Tensor(np.zeros((0, 3))).nonzero().shape == (0, 2) and Tensor(1.0).nonzero().shape == (1, 0)
    assert Tensor(np.zeros((2, 0))).repeat(1, 2).shape == (2, 0) and Tensor(np.zeros(0)).sort()[0].shape == (0,)
    with pytest.raises(ValueError, match="dim: expected an axis that is not empty"):
        Tensor(np.zeros((2, 0))).max(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x.gather(1, [[4]]), "index: expected places in 0..3, got 4"),
        (lambda x: x.gather(1, [0]), "index: expected 2 axes"),
        (lambda x: x.gather(1, np.zeros((4, 1), int)), "index: expected at most shape"),
        (lambda x: x.index_select(0, [-1]), "index: expected places in 0..2, got -1"),
        (lambda x: x.topk(5), "k: expected an integer >= 0 and <= 4, got 5"),
        (lambda x: x.repeat(2), "repeats: expected at least 2"),
        (lambda x: x.expand(2, 4), "sizes: expected lengths that shape"),
        (lambda x: x.expand(-1, 3, 4), "sizes: expected lengths for shape"),
        (lambda x: x.unflatten(1, (3, -1)), "sizes: expected lengths whose product is 4"),
        (lambda x: x.scatter(1, [[0, 1]], [[1.0]]), "src: expected shape"),
        (lambda x: ops.pad(x, (1,)), "pad: expected an even number"),
        (lambda x: ops.pad(x, (1, 1), "reflect"), "mode: expected one of 'constant'"),
        (lambda x: ops.einsum("ij,jk", x), "equation: expected 1 operand"),
        (lambda x: ops.einsum("ij->k", x), "equation: expected each letter"),
        (lambda x: ops.einsum("ij,ij", x, x[:, :3]), "operands: expected axes of one length for 'j'"),
        (lambda x: ops.one_hot([0, 3], 3), "tensor: expected integers in 0..2"),
        (lambda x: x.repeat_interleave(np.array([1, 2]), 0), "repeats: expected one integer, or 3"),
        (lambda x: x[None].t(), "t: expected at most two axes"),
    ],
)
def test_what_does_not_fit_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call(Tensor(X))


@pytest.mark.parametrize("name", ["gather", "index_select"])
def test_places_are_integers(name):
    with pytest.raises(TypeError, match="index: expected integers"):
        getattr(Tensor(X), name)(0, [0.5])
    with pytest.raises(TypeError, match="mask: expected bools"):
        Tensor(X).masked_select([1, 0, 1, 1])


def test_in_place_methods_write_and_refuse():
    x = Tensor(np.array([[4.0, -9.0]]))
    before = x.version
    assert x.abs_() is x and x.sqrt_().tolist() == [[2, 3]] and x.version == before + 2
    assert x.sub_(1).div_(2).tolist() == [[0.5, 1]] and x.clamp_(max=0.7).masked_fill_(x < 0.6, 9).tolist() == [
        [9, 0.7]
    ]
    assert x.uniform_(2, 3).min().item() >= 2 and x.bernoulli_(1.0).tolist() == [[1, 1]]
    leaf = Tensor(np.ones(2), requires_grad=True)
    for call in (lambda: leaf.exp_(), lambda: leaf.normal_(), lambda: (leaf * 2).relu_()):
        with pytest.raises(RuntimeError, match="expected no_grad|expected a tensor that no recorded"):
            call()
    with pytest.raises(RuntimeError, match="scatter_: expected a value that does not require grad"):
        Tensor(np.zeros((2, 2))).scatter_(0, np.zeros((1, 2), int), (leaf * 1).unsqueeze(0))
    with pytest.raises(TypeError, match="div_: expected values that fit int64"):
        Tensor([1, 2]).div_(2)
