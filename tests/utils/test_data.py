"""Data sets and loaders as PyTorch's listings use them."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

import fastseq as torch
from fastseq.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
)


class Windows(Dataset):
    def __init__(self, series, size):
        self.series, self.size = series, size

    def __len__(self):
        return len(self.series) - self.size

    def __getitem__(self, k):
        return self.series[k : k + self.size], self.series[k + self.size]


def test_windows_in_batches():
    loader = DataLoader(Windows(torch.arange(10.0), 3), batch_size=4, num_workers=2, pin_memory=True)
    batches = list(loader)
    assert len(loader) == len(batches) == 2 and [len(x) for x, _ in batches] == [4, 3]
    x, y = batches[0]
    assert x.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]] and y.tolist() == [3, 4, 5, 6]
    assert x.dtype == np.float32 and list(loader)[0][1].tolist() == [3, 4, 5, 6]
    assert (
        len(list(DataLoader(loader.dataset, 4, drop_last=True)))
        == len(DataLoader(loader.dataset, 4, drop_last=True))
        == 1
    )


def test_order():
    rows = TensorDataset(torch.arange(20), np.arange(20.0) * 2)
    drawn = [[batch[0].tolist() for batch in DataLoader(rows, 6, shuffle=True)] for _ in range(2)]
    assert drawn[0] != drawn[1] and all(sorted(sum(one, [])) == list(range(20)) for one in drawn)
    same = [DataLoader(rows, 20, shuffle=True, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    first, second = (next(iter(one))[0].tolist() for one in same)
    assert first == second != list(range(20))
    assert [b[0].tolist() for b in DataLoader(rows, 2, sampler=[3, 1, 2])] == [[3, 1], [2]]
    assert [b[0].tolist() for b in DataLoader(rows, batch_sampler=[[5], [1, 2]])] == [[5], [1, 2]]
    assert [row[1].item() for row in DataLoader(Subset(rows, [4, 2]), batch_size=None)] == [8, 4]


def test_parts():
    rows = list(range(11))
    parts = random_split(rows, [0.8, 0.2], torch.Generator().manual_seed(0))
    assert [len(part) for part in parts] == [9, 2] and sorted([*parts[0], *parts[1]]) == rows
    assert [len(part) for part in random_split(rows, [4, 7])] == [4, 7]
    with pytest.raises(ValueError, match="lengths: expected numbers that add up to 11"):
        random_split(rows, [4, 4])


def test_rows_of_all_kinds():
    Pair = namedtuple("Pair", "x y")
    found = default_collate(
        [{"a": 1, "b": "x", "c": Pair(0.5, np.float32(1))}, {"a": 2, "b": "y", "c": Pair(1.5, np.float32(2))}]
    )
    assert found["a"].dtype == np.int64 and found["b"] == ["x", "y"] and found["c"].x.dtype == np.float64
    assert found["c"].y.tolist() == [1, 2] and isinstance(found["c"], Pair)

    class Stream(IterableDataset):
        def __iter__(self):
            yield from range(5)

    assert [batch.tolist() for batch in DataLoader(Stream(), 2)] == [[0, 1], [2, 3], [4]]
    assert list(DataLoader([[1], [2, 3]], 2, collate_fn=lambda rows: [len(row) for row in rows])) == [[1, 2]]


def test_errors():
    for call, error, message in (
        (lambda: TensorDataset(torch.ones(2), torch.ones(3)), ValueError, "tensors: expected tensors of as many rows"),
        (lambda: DataLoader([1], 0), ValueError, "batch_size: expected an integer >= 1"),
        (lambda: DataLoader([1], shuffle=True, sampler=[0]), ValueError, "shuffle: expected False"),
        (lambda: DataLoader([1], 2, batch_sampler=[[0]]), ValueError, "batch_sampler: expected no batch_size"),
        (lambda: next(iter(DataLoader([object()]))), TypeError, "batch: expected tensors, arrays"),
        (lambda: Dataset()[0], TypeError, "expected a class with a __getitem__"),
        (lambda: next(iter(DataLoader([[1], [1, 2]], 2))), ValueError, "batch: expected rows of 1 entries"),
    ):
        with pytest.raises(error, match=message):
            call()
