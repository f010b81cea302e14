"""Padding and buckets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastseq.batch import bucket, pad, unpad


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.sampled_from([(), (1,), (2, 3)]))
def test_unpad_undoes_pad(lengths, rest):
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((n, *rest)).astype(np.float32) for n in lengths]
    batch = pad(rows)
    assert batch.data.shape == (len(rows), max(lengths), *rest) and batch.data.dtype == np.float32
    assert batch.lengths.tolist() == lengths and batch.lengths.dtype == np.int64
    if batch.data.ndim > 1:
        assert all(np.array_equal(a, b) for a, b in zip(unpad(*batch), rows, strict=True))
    past = np.arange(batch.data.shape[1]) >= batch.lengths[:, None]
    assert (batch.data[past] == 0).all()


def test_pad_options():
    batch = pad([[1, 2], [3]], steps=4, dtype=np.float64)
    assert batch.data.tolist() == [[1, 2, 0, 0], [3, 0, 0, 0]] and batch.data.dtype == np.float64
    assert pad([np.zeros(2, np.int64), np.zeros(1, np.float32)]).data.dtype == np.float64


def test_pad_checks_its_rows():
    with pytest.raises(ValueError, match="sequences: expected at least one"):
        pad([])
    with pytest.raises(ValueError, match=r"sequences\[1\]: expected shape \(T, 2\)"):
        pad([np.zeros((3, 2)), np.zeros((3, 1))])
    with pytest.raises(TypeError, match=r"sequences\[0\]: expected an array of numbers"):
        pad([["a"]])
    with pytest.raises(ValueError, match="steps: expected an integer >= 3"):
        pad([np.zeros(3)], steps=2)
    with pytest.raises(ValueError, match="data"):
        unpad(np.zeros(3), [1])
    with pytest.raises(ValueError, match="lengths"):
        unpad(np.zeros((2, 3)), [1, 4])


@given(st.lists(st.integers(0, 50), max_size=300), st.integers(1, 40), st.none() | st.integers(0, 100))
def test_every_row_is_in_one_batch(lengths, batch_size, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    batches = bucket(np.array(lengths, np.int64), batch_size, rng)
    assert sorted(np.concatenate([*batches, np.empty(0, int)]).tolist()) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert all(0 < len(batch) <= batch_size for batch in batches)
    assert sum(len(batch) < batch_size for batch in batches) <= 1


def test_buckets_need_little_padding_and_change_every_epoch():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 200, 3000)

    def padded(batches):
        return sum(lengths[b].max() * len(b) for b in batches) / lengths.sum()

    first, second = bucket(lengths, 32, rng), bucket(lengths, 32, rng)
    assert padded(first) < 1.1
    assert padded([np.arange(i, min(i + 32, 3000)) for i in range(0, 3000, 32)]) > 1.8
    assert {tuple(sorted(b)) for b in first} != {tuple(sorted(b)) for b in second}
    means = [lengths[b].mean() for b in first]
    assert np.abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.3  # not sorted over the epoch


def test_without_a_generator_the_order_is_longest_first_and_stable():
    assert [b.tolist() for b in bucket(np.array([2, 5, 5, 1]), 3)] == [[1, 2, 0], [3]]
