"""Tensor itself: construction, values, copies, writes in place."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from fastseq.autograd import Tensor, no_grad
from fastseq.nn.module import Parameter


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.uint8, bool])
def test_arrays_are_shared_not_copied(dtype):
    array = np.ones((2, 3), dtype)
    tensor = Tensor(array)
    assert tensor.numpy() is array
    assert tensor.dtype == dtype
    assert Tensor(tensor).numpy() is array


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1.5, np.float32), ([1.0, 2.0], np.float32), ([[1], [2]], np.int64), (3, np.int64), (True, bool), ([], np.float32),
     (np.float64(1), np.float64), (np.float32(1), np.float32), ([np.ones(2), np.ones(2)], np.float32)],
)  # fmt: skip
def test_python_values_get_a_dtype(value, dtype):
    assert Tensor(value).dtype == dtype


@pytest.mark.parametrize(
    "value",
    [np.ones(2, np.float16), np.ones(2, complex), np.array(["a"]), np.array([object()]), np.ones(2, ">f4"), "text",
     None, np.array(["2020"], "M8[Y]")],
)  # fmt: skip
def test_other_dtypes_are_refused_by_name(value):
    with pytest.raises(TypeError, match="array: expected an array of float32, float64, integers or bool"):
        Tensor(value)


def test_what_else_is_refused():
    with pytest.raises(TypeError, match="without a mask"):
        Tensor(np.ma.masked_array([1.0, 2.0], [True, False]))
    with pytest.raises(TypeError, match="requires_grad: expected a float32 or float64"):
        Tensor([1, 2], requires_grad=True)
    with pytest.raises(TypeError, match="requires_grad_: expected a float32 or float64"):
        Tensor([1, 2]).requires_grad_()
    with pytest.raises(TypeError, match="dtype: expected"):
        Tensor([1.0], dtype=np.float16)
    with pytest.raises(ValueError):
        Tensor([[1.0], [1.0, 2.0]])
    with pytest.raises(TypeError):
        np.exp(Tensor([1.0]))


def test_dtype_converts_and_requires_grad_sticks():
    tensor = Tensor([1, 2], requires_grad=True, dtype=np.float64)
    assert tensor.dtype == np.float64
    assert tensor.requires_grad
    assert tensor.is_leaf


def test_shape_and_size_under_both_names():
    x = Tensor(np.zeros((2, 3)))
    assert (x.shape, x.ndim, x.dim(), x.numel(), x.size(), x.size(-1), len(x)) == ((2, 3), 2, 2, 6, (2, 3), 3, 2)


def test_values_leave_as_python_and_numpy():
    x = Tensor(np.array([[1.5]]))
    assert x.item() == float(x) == 1.5
    assert int(Tensor(3)) == 3
    assert [10, 20][Tensor(1)] == 20
    assert bool(Tensor(0)) is False
    assert x.tolist() == [[1.5]]
    assert f"{Tensor(0.5):.2f}" == "0.50"
    assert np.asarray(x) is x.numpy()
    assert np.asarray(x, np.float32).dtype == np.float32
    assert np.array(x) is not x.numpy()
    with pytest.raises(ValueError, match="item: expected a tensor of one element"):
        Tensor([1.0, 2.0]).item()
    with pytest.raises(ValueError, match="copy: expected"):
        x.__array__(np.float32, copy=False)
    assert repr(Tensor([1.0, 2.0], requires_grad=True)) == "Tensor([1., 2.], dtype=float32, requires_grad=True)"
    assert f"{x}" == repr(x)


def test_the_array_of_a_tensor_that_requires_grad_is_read_only():
    x = Tensor(np.ones(2), requires_grad=True)
    with pytest.raises(ValueError, match="read-only"):
        x.numpy()[0] = 2
    assert np.shares_memory(x.numpy(), x._data)
    x.detach().numpy()[0] = 2
    assert x.tolist() == [2.0, 1.0]


@pytest.mark.parametrize("kind", [Tensor, Parameter])
def test_leaves_can_be_copied_and_pickled(kind):
    x = kind(np.arange(3.0), requires_grad=True)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert type(twin) is kind
        assert twin.requires_grad
        assert twin.tolist() == x.tolist()
        assert not np.shares_memory(twin.numpy(), x.numpy())
    pair = copy.deepcopy([x, x])
    assert pair[0] is pair[1]
    with pytest.raises(RuntimeError, match="copy: expected a leaf"):
        copy.deepcopy(Tensor([1.0], requires_grad=True) * 2)


def test_a_shallow_copy_shares_storage_and_version():
    x = Tensor(np.arange(3.0))
    twin = copy.copy(x)
    twin.zero_()
    assert x.tolist() == [0.0, 0.0, 0.0]
    assert x.version == 1


def test_writes_in_place_change_the_array_and_count():
    array = np.zeros((2, 3))
    x = Tensor(array)
    x[0] = 1
    x[:, Tensor([1, 2])] = Tensor([[5.0, 6.0]])
    x[Tensor(array) == 6] = 7.0
    assert array.tolist() == [[1, 5, 7], [0, 5, 7]]
    assert x.version == 3
    assert x.fill_(2) is x
    x.add_(np.ones(3), alpha=2).mul_(Tensor([1.0, 2.0, 3.0]))
    assert array.tolist() == [[4, 8, 12]] * 2
    x.copy_(np.ones((2, 3), np.float32))
    x.copy_(3)
    assert (array == 3).all()
    x.data = np.full((2, 3), 4.0)
    assert (array == 4).all()
    x.zero_()
    assert x.version == 10


def test_writes_of_the_wrong_shape_or_kind_change_nothing():
    x = Tensor(np.zeros((2, 3), np.float32))
    for value in (np.ones(3), np.ones((3, 2)), np.ones((1, 3))):
        with pytest.raises(ValueError, match=r"copy_: expected shape \(2, 3\)"):
            x.copy_(value)
        with pytest.raises(ValueError, match=r"data: expected shape \(2, 3\)"):
            x.data = value
    with pytest.raises(TypeError, match="copy_: expected values that fit float32"):
        x.copy_(np.ones((2, 3), complex))
    with pytest.raises(TypeError, match="copy_: expected values that fit int64"):
        Tensor([1, 2]).copy_(np.array([0.5, 1.5]))
    assert (x.numpy() == 0).all()
    assert x.version == 0


def test_writes_that_would_corrupt_gradients_are_refused():
    leaf = Tensor(np.ones(2), requires_grad=True)
    made = leaf * 2
    for method in ("zero_", "fill_", "copy_", "add_", "mul_"):
        arguments = () if method == "zero_" else (1,)
        with pytest.raises(RuntimeError, match=f"{'fill_' if method == 'zero_' else method}: expected no_grad"):
            getattr(leaf, method)(*arguments)
        with pytest.raises(RuntimeError, match="no recorded operation"), no_grad():
            getattr(made, method)(*arguments)
    with pytest.raises(RuntimeError, match="setitem: expected no_grad"):
        leaf[0] = 1
    with pytest.raises(RuntimeError, match="writes are not recorded"):
        Tensor(np.ones(2)).add_(made)
    with no_grad():
        leaf[0] = 5
        leaf.add_(made)
    assert leaf.tolist() == [7.0, 3.0]
    leaf.data = [0.0, 0.0]
    assert leaf.version == 3
    with pytest.raises(RuntimeError, match="requires_grad_: expected a leaf"):
        made.requires_grad_()
    assert leaf.requires_grad_(False).zero_().tolist() == [0.0, 0.0]
