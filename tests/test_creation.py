"""New tensors with PyTorch's names, and random ones with Keras's."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs


def test_shapes_values_and_dtypes():
    assert np.array_equal(fs.zeros(2, 3), np.zeros((2, 3))) and fs.zeros(2, 3).dtype == np.float32
    assert (
        np.array_equal(fs.ones((2, 3), dtype=np.int64), np.ones((2, 3))) and fs.ones(1, dtype="float64").dtype == "f8"
    )
    assert fs.randn(4, 2).shape == fs.rand((4, 2)).shape == fs.random.normal((4, 2)).shape == (4, 2)
    assert fs.zeros().shape == () and fs.randn(0, 3).shape == (0, 3)
    assert fs.randn(3, requires_grad=True).requires_grad


def test_tensor_copies_its_data():
    data = np.arange(3.0)
    made = fs.tensor(data)
    data[0] = 9
    assert made.tolist() == [0, 1, 2] and made.dtype == np.float64
    assert fs.tensor([[1.0, 2.0]]).dtype == np.float32 and fs.tensor([1, 2]).dtype == np.int64
    assert fs.tensor([1, 2], dtype=np.float32).dtype == np.float32 and fs.tensor(3.5).item() == 3.5
    leaf = fs.tensor([1.0, 2.0], requires_grad=True)
    twin = fs.tensor(leaf)
    twin[0] = 5.0
    assert leaf.tolist() == [1, 2] and not twin.requires_grad


def test_seeds():
    fs.manual_seed(3)
    first = [fs.randn(5), fs.rand(5), fs.random.normal(5), fs.random.uniform((5,))]
    fs.random.set_seed(3)
    again = [fs.randn(5), fs.rand(5), fs.random.normal(5), fs.random.uniform((5,))]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.array_equal(fs.random.normal((4,), seed=1), fs.random.normal((4,), seed=1))


def test_distributions():
    fs.manual_seed(0)
    normal, uniform = np.asarray(fs.random.normal((20000,), 3.0, 2.0)), np.asarray(fs.random.uniform((20000,), -1, 3))
    assert abs(normal.mean() - 3) < 0.05 and abs(normal.std() - 2) < 0.05
    assert -1 <= uniform.min() < -0.99 and 2.99 < uniform.max() < 3
    assert abs(np.asarray(fs.randn(20000)).std() - 1) < 0.03 and 0 <= np.asarray(fs.rand(99)).min()
    whole = fs.random.uniform((500,), 0, 10, dtype="int32")
    assert whole.dtype == np.int32 and set(whole.tolist()) == set(range(10))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fs.randn(2, -1), ValueError, "size: expected an integer >= 0"),
        (lambda: fs.randn(2.5), TypeError, "size: expected an integer"),
        (lambda: fs.randn(2, dtype=np.int64), TypeError, "dtype: expected float32 or float64"),
        (lambda: fs.random.normal((2,), stddev=-1), ValueError, "stddev: expected"),
        (lambda: fs.random.uniform((2,), 3, 1), ValueError, "maxval: expected a number greater"),
        (lambda: fs.tensor(["a"]), TypeError, "array"),
    ],
)
def test_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
