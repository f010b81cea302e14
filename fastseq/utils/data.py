"""Rows in batches for a training loop of one's own. Named after ``torch.utils.data``.

``fastseq.fit`` and ``predict`` need none of it: they take arrays or lists of rows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.generator import generator as package_generator
from fastseq.autograd.tensor import Tensor

__all__ = ["DataLoader", "Dataset", "IterableDataset", "Subset", "TensorDataset", "default_collate", "random_split"]


class Dataset:
    """Base class of rows by number: subclasses write ``__getitem__`` and ``__len__``."""

    def __class_getitem__(cls, item: Any) -> type[Dataset]:
        """Return the class itself: ``Dataset[int]`` says something to type checkers only."""
        return cls

    def __getitem__(self, index: Any) -> Any:
        raise TypeError(f"{type(self).__name__}: expected a class with a __getitem__ method, got one without")


class IterableDataset(Dataset):
    """Base class of rows one after the other: subclasses write ``__iter__``."""

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(f"{type(self).__name__}: expected a class with an __iter__ method, got one without")


class TensorDataset(Dataset):
    """Rows of several tensors: item k is the tuple of their k-th rows.

    Parameters
    ----------
    *tensors
        Tensors or arrays of as many rows.
    """

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise checks.value_error("tensors", "at least one", "none")
        self.tensors = tuple(one if isinstance(one, Tensor) else Tensor(one) for one in tensors)
        for one in self.tensors:
            if not one.ndim or len(one) != len(self.tensors[0]):
                raise checks.value_error("tensors", "tensors of as many rows as the first", one._data)

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(one[index] for one in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset):
    """Some rows of a data set.

    Parameters
    ----------
    dataset
        The rows.
    indices
        Which ones.
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[int(self.indices[index])]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset]:
    """Return a data set's rows in parts, drawn at random.

    Parameters
    ----------
    dataset
        The rows.
    lengths
        How many in each part; or shares that add up to 1.
    generator
        None for the package's.
    """
    count = len(dataset)
    sizes: list[Any] = list(lengths)
    if math.isclose(sum(sizes), 1) and sum(sizes) <= 1 + 1e-9 and count != 1:
        sizes = [math.floor(count * checks.real("lengths", share, 0.0, 1.0)) for share in sizes]
        for k in range(count - sum(sizes)):
            sizes[k % len(sizes)] += 1
    sizes = [checks.integer("lengths", size, 0) for size in sizes]
    if sum(sizes) != count:
        raise checks.value_error("lengths", f"numbers that add up to {count}", str(sizes))
    order = (package_generator() if generator is None else generator).permutation(count).tolist()
    return [
        Subset(dataset, order[end - size : end]) for size, end in zip(sizes, itertools.accumulate(sizes), strict=True)
    ]


def default_collate(batch: Sequence[Any]) -> Any:
    """Return rows as a batch: tensors stacked, numbers as a tensor, dicts and tuples entry by entry.

    Parameters
    ----------
    batch
        The rows, all of one kind. Python floats become float64, as in PyTorch; texts stay a list.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return ops.stack(list(batch))
    if isinstance(first, (np.ndarray, np.generic)):
        return Tensor(np.stack(list(batch)))
    if isinstance(first, (bool, int, float)):
        return Tensor(np.array(batch))
    if isinstance(first, str):
        return list(batch)
    if isinstance(first, Mapping):
        return {name: default_collate([row[name] for row in batch]) for name in first}
    if isinstance(first, (tuple, list)):
        if any(len(row) != len(first) for row in batch):
            raise checks.value_error("batch", f"rows of {len(first)} entries each", "others")
        parts = [default_collate(part) for part in zip(*batch, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else parts
    raise checks.kind_error("batch", "tensors, arrays, numbers, texts, dicts or tuples of such", first)


class DataLoader:
    """Batches of a data set, once through at each ``for``.

    Parameters
    ----------
    dataset
        Rows: anything with ``[k]`` and ``len``, or an IterableDataset.
    batch_size
        Rows in a batch; None gives rows as they are.
    shuffle
        Whether rows come in random order.
    sampler
        The numbers of the rows, in their order, instead.
    batch_sampler
        Lists of numbers of rows, one for each batch, instead.
    num_workers
        Nothing comes of it: rows are read where the loop runs.
    collate_fn
        What makes a batch of a list of rows; `default_collate` if None.
    pin_memory
        Nothing comes of it.
    drop_last
        Whether a last batch with fewer rows is left out.
    timeout, worker_init_fn
        Nothing comes of them.
    generator
        What draws the order; None for the package's.
    prefetch_factor, persistent_workers
        Nothing comes of them.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        *,
        generator: Any = None,
        prefetch_factor: Any = None,
        persistent_workers: bool = False,
    ) -> None:
        self.dataset = dataset
        self.batch_size = None if batch_size is None else checks.integer("batch_size", batch_size, 1)
        self.shuffle = False if shuffle is None else checks.boolean("shuffle", shuffle)
        self.sampler, self.batch_sampler = sampler, batch_sampler
        self.collate_fn = collate_fn
        self.drop_last = checks.boolean("drop_last", drop_last)
        self.generator = generator
        if self.shuffle and (sampler is not None or batch_sampler is not None):
            raise checks.value_error("shuffle", "False where a sampler gives the order", shuffle)
        if batch_sampler is not None and (batch_size != 1 or sampler is not None or drop_last):
            raise checks.value_error("batch_sampler", "no batch_size, sampler or drop_last beside it", "one")
        if isinstance(dataset, IterableDataset) and (self.shuffle or sampler is not None or batch_sampler is not None):
            raise checks.value_error("dataset", "rows by number, to choose their order", "an IterableDataset")

    def _order(self) -> Iterable[int]:
        if self.sampler is not None:
            return self.sampler
        if self.shuffle:
            return (package_generator() if self.generator is None else self.generator).permutation(len(self.dataset))
        return range(len(self.dataset))

    def _rows(self) -> Iterator[list[Any]]:
        """Give lists of rows, one for each batch."""
        if self.batch_sampler is not None:
            for numbers in self.batch_sampler:
                yield [self.dataset[int(k)] for k in numbers]
            return
        if isinstance(self.dataset, IterableDataset):
            rows: Iterator[Any] = iter(self.dataset)
        else:
            rows = (self.dataset[int(k)] for k in self._order())
        size = self.batch_size or 1
        while batch := list(itertools.islice(rows, size)):
            if len(batch) == size or not self.drop_last:
                yield batch

    def __iter__(self) -> Iterator[Any]:
        if self.batch_size is None and self.batch_sampler is None:
            for (row,) in self._rows():
                yield row if self.collate_fn is None else self.collate_fn(row)
            return
        collate = self.collate_fn or default_collate
        for batch in self._rows():
            yield collate(batch)

    def __len__(self) -> int:
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]
        count = len(self.dataset if self.sampler is None else self.sampler)  # type: ignore[arg-type]
        size = self.batch_size or 1
        return count // size if self.drop_last else -(-count // size)
