"""Operations that move elements: gradients, views and indexing."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.autograd import Tensor, no_grad, ops
from tests.gradcheck import gradcheck

X = np.random.default_rng(0).standard_normal((2, 3, 4))

MOVES = {
    "reshape": (lambda x: x.reshape(4, 6), lambda x: x.reshape(4, 6)),
    "reshape tuple": (lambda x: x.reshape((4, -1)), lambda x: x.reshape(4, -1)),
    "view": (lambda x: x.view(-1), lambda x: x.reshape(-1)),
    "flatten": (lambda x: x.flatten(), lambda x: x.reshape(-1)),
    "flatten from": (lambda x: x.flatten(1), lambda x: x.reshape(2, 12)),
    "flatten to": (lambda x: x.flatten(0, -2), lambda x: x.reshape(6, 4)),
    "unsqueeze": (lambda x: x.unsqueeze(-1), lambda x: x[..., None]),
    "squeeze": (lambda x: x.unsqueeze(0).squeeze(), lambda x: x),
    "squeeze one": (lambda x: x.unsqueeze(0).unsqueeze(0).squeeze(1), lambda x: x[None]),
    "squeeze long": (lambda x: x.squeeze(1), lambda x: x),
    "T": (lambda x: x.T, lambda x: x.T),
    "mT": (lambda x: x.mT, lambda x: x.swapaxes(-1, -2)),
    "transpose": (lambda x: x.transpose(), lambda x: x.transpose()),
    "transpose two": (lambda x: x.transpose(0, -1), lambda x: x.swapaxes(0, -1)),
    "transpose order": (lambda x: x.transpose((1, 2, 0)), lambda x: x.transpose(1, 2, 0)),
    "permute": (lambda x: x.permute(2, 0, -2), lambda x: x.transpose(2, 0, 1)),
    "swapaxes": (lambda x: x.swapaxes(-3, 1), lambda x: x.swapaxes(0, 1)),
    "broadcast_to": (lambda x: x.broadcast_to(5, 2, 3, 4), lambda x: np.broadcast_to(x, (5, 2, 3, 4))),
    "flip": (lambda x: x.flip(1), lambda x: np.flip(x, 1)),
    "flip all": (lambda x: x.flip(), lambda x: np.flip(x)),
    "of a transposed": (lambda x: x.T.reshape(6, 4) * 2, lambda x: x.T.reshape(6, 4) * 2),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name):
    ours, numpys = MOVES[name]
    gradcheck(ours, X)
    np.testing.assert_array_equal(ours(Tensor(X)).numpy(), numpys(X))


INDICES = {
    "integer": 1, "negative": -1, "slice": slice(0, 1), "step": (slice(None), slice(None, None, -2)),
    "ellipsis": (..., 2), "none": (None, 1, ..., None), "empty tuple": (), "numpy integer": np.int64(1),
    "list": [1, 0, 1], "array with repeats": (slice(None), np.array([2, 0, 2, 2])),
    "two arrays": (np.array([0, 1, 0]), np.array([2, 2, 2])), "array of two axes": (np.array([[0, 1], [1, 1]]),),
    "array and slice": (np.array([0, 0]), slice(1, 3)), "negative array": (..., np.array([-1, 3])),
    "mask": X > 0, "mask of one axis": (slice(None), np.array([True, False, True])), "empty list": [],
    "mask and array": (np.array([True, False]), np.array([1, 1])), "empty slice": (slice(2, 2),),
}  # fmt: skip


@pytest.mark.parametrize("name", INDICES)
def test_indexing(name):
    index = INDICES[name]
    gradcheck(lambda x: x[index], X)
    np.testing.assert_array_equal(Tensor(X)[index].numpy(), X[index])


def test_tensors_as_indices():
    picks, mask = Tensor([1, 1, 0]), Tensor(X) > 0
    gradcheck(lambda x: x[picks], X)
    gradcheck(lambda x: x[mask], X)
    gradcheck(lambda x: x[:, Tensor(np.array([0, 2])), 1], X)
    with pytest.raises(IndexError):
        Tensor(X)[5]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_joining(axis):
    others = [np.delete(X, 0, axis), X]
    gradcheck(lambda a, b, c: ops.concatenate([a, b, c], axis), X, *others)
    gradcheck(lambda a, b: ops.stack([a, b, a], axis), X, X + 1)
    np.testing.assert_array_equal(ops.cat([X, *others], dim=axis).numpy(), np.concatenate([X, *others], axis))
    np.testing.assert_array_equal(ops.stack([X, X], dim=axis).numpy(), np.stack([X, X], axis))


def test_joining_what_cannot_be_joined():
    for function in (ops.concatenate, ops.stack):
        with pytest.raises(ValueError, match="tensors: expected at least one"):
            function([])
    with pytest.raises(ValueError):
        ops.concatenate([np.ones((2, 3)), np.ones(3)])
    with pytest.raises(ValueError):
        ops.stack([np.ones(2), np.ones(3)])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_taking_apart(axis):
    length = X.shape[axis]
    gradcheck(lambda x: ops.unbind(x, axis), X)
    gradcheck(lambda x: ops.split(x, 2, axis), X)
    gradcheck(lambda x: ops.split(x, [1, 0, length - 1], dim=axis), X)
    gradcheck(lambda x: ops.unbind(x, axis)[1], X)
    assert [part.shape[axis] for part in Tensor(X).split(2, axis)] == [min(2, length - k) for k in range(0, length, 2)]
    gradcheck(lambda x: [row * 2 for row in x], X)
    with pytest.raises(ValueError, match="size: expected lengths that add up"):
        Tensor(X).split([1, 1, 1, 1, 1], axis)


def test_a_tensor_without_axes_has_no_rows():
    with pytest.raises(TypeError, match="at least one axis"):
        list(Tensor(1.0))
    with pytest.raises(TypeError):
        len(Tensor(1.0))


def test_moves_that_do_not_exist():
    for function in (
        lambda x: x.permute(0, 1), lambda x: x.permute(0, 1, 1), lambda x: x.swapaxes(0, 3), lambda x: x.flatten(2, 0),
        lambda x: x.reshape(5), lambda x: x.unsqueeze(4), lambda x: x.split(2, 3),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            function(Tensor(X))


def test_views_share_storage_and_version():
    x = Tensor(X.copy())
    views = [x.reshape(-1), x.T, x[0], x[..., 1:], x.flip(), x.unbind()[0], x.split(1)[0], x.detach(), x.data]
    for view in views:
        assert np.shares_memory(view.numpy(), x.numpy())
    views[2].zero_()
    assert (x.numpy()[0] == 0).all()
    assert {view.version for view in views} == {x.version} == {1}
    assert not np.shares_memory(x[[0]].numpy(), x.numpy())


def test_a_write_through_a_view_is_noticed():
    x = Tensor(X.copy())
    w = Tensor(X.copy(), requires_grad=True)
    out = (x * w).sum()
    x[0][1].zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()
    with no_grad():
        loss = w.reshape(-1)
    assert not loss.requires_grad
