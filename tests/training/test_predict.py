"""predict: order, raggedness, independence of the batch size."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn


def rows(rng, count=40, features=2):
    return [rng.standard_normal((int(n), features)).astype(np.float32) for n in rng.integers(1, 12, count)]


@pytest.fixture
def last():
    fs.manual_seed(0)
    return nn.Sequential(nn.LSTM(2, 8, bidirectional=True), nn.LastStep(bidirectional=True), nn.Linear(16, 3))


@pytest.fixture
def each():
    fs.manual_seed(0)
    return nn.Sequential(nn.LSTM(2, 8), nn.Dropout(0.5), nn.Linear(8, 3))


def test_rows_come_back_in_order_with_the_same_bits_for_any_batch_size(rng, last):
    x = rows(rng)
    one_by_one = np.concatenate([fs.predict(last, [row]) for row in x])
    for batch_size in (1, 7, 40, 256):
        assert np.array_equal(fs.predict(last, x, batch_size=batch_size), one_by_one)


def test_outputs_per_step(rng, each):
    x = rows(rng)
    lengths = np.array([len(row) for row in x])
    found = fs.predict(each, x, batch_size=7)
    assert isinstance(found, list) and [len(f) for f in found] == lengths.tolist()
    for row, out in zip(x, found, strict=True):
        assert np.array_equal(fs.predict(each, row[None])[0], out)
    data = np.full((40, 13, 2), np.nan, np.float32)
    for target, row in zip(data, x, strict=True):
        target[: len(row)] = row
    array = fs.predict(each, data, lengths=lengths, batch_size=7)
    assert array.shape == (40, 13, 3)
    for row, out, length in zip(array, found, lengths, strict=True):
        assert np.array_equal(row[:length], out) and (row[length:] == 0).all()


def test_as_many_outputs_as_steps_are_no_outputs_per_step(rng):
    fs.manual_seed(0)
    model = nn.Sequential(nn.LSTM(2, 4), nn.LastStep(), nn.Linear(4, 11))
    x = [rng.standard_normal((n, 2)) for n in (11, 3, 11)]
    assert fs.predict(model, x).shape == (3, 11)


def test_rows_of_one_length(rng, each):
    x = [rng.standard_normal((5, 2)).astype(np.float32) for _ in range(3)]
    found = fs.predict(each, x)
    assert found.shape == (3, 5, 3)
    padded = np.concatenate([np.stack(x), np.full((3, 4, 2), np.inf)], axis=1)
    whole = fs.predict(each, padded, lengths=[5, 5, 5])
    assert whole.shape == (3, 9, 3) and np.array_equal(whole[:, :5], found) and (whole[:, 5:] == 0).all()


def test_the_model_is_left_as_it_was(rng, each):
    each.train()
    each[0].training = False
    first = fs.predict(each, rows(rng))
    assert each.training and not each[0].training and each[1].training
    assert all(p.grad is None for p in each.parameters())
    assert isinstance(first, list)


def test_models_that_are_no_sequential(rng):
    lstm = nn.LSTM(2, 4)
    x = rows(rng)
    assert [f.shape for f in fs.predict(lstm, x)] == [(len(row), 4) for row in x]
    assert fs.predict(nn.Identity(), np.ones((2, 3, 4))).shape == (2, 3, 4)


def test_empty_rows(each, last):
    x = [np.zeros((0, 2)), np.ones((3, 2))]
    assert [f.shape for f in fs.predict(each, x)] == [(0, 3), (3, 3)]
    assert fs.predict(last, x).shape == (2, 3)
    assert fs.predict(last, [np.zeros((0, 2))]).shape == (1, 3)


def test_arguments_are_checked(each):
    with pytest.raises(ValueError, match="x: expected finite numbers, got nan in row 1, step 0, feature 1"):
        fs.predict(each, [np.ones((2, 2)), np.array([[0, np.nan]])])
    with pytest.raises(ValueError, match="batch_size"):
        fs.predict(each, np.ones((2, 2, 2)), batch_size=0)
    with pytest.raises(TypeError, match="model"):
        fs.predict(3, np.ones((2, 2, 2)))

    class Broken(nn.Module):
        def forward(self, x, lengths=None):
            return self.result

    model = Broken()
    for result, message in (
        (3, "a module that returns a Tensor"),
        (np.ones(5), r"an output of shape \(B, ...\) with B = 2"),
    ):
        model.result = result
        with pytest.raises((TypeError, ValueError), match=message):
            fs.predict(model, np.ones((2, 2, 2)))
