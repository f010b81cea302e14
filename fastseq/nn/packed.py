"""PackedSequence: PyTorch's view of a padded batch with lengths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor

Integers = NDArray[np.int64]


class PackedSequence:
    """Rows of unequal length without padding, for a recurrent layer, which returns its outputs in the same form.

    Shape letters: B rows, T steps of the longest, M valid steps of all rows.

    Parameters
    ----------
    data
        The valid steps (M, ...): the first step of all rows, longest row first, then the second, and so on.
    batch_sizes
        How many rows have each step, integers (T,).
    sorted_indices
        Which row is the longest, the next, ..., integers (B,); None if rows are in that order already.
    unsorted_indices
        The place of each row in that order (B,); follows from ``sorted_indices`` if None.

    Notes
    -----
    A tuple of these four in PyTorch, and unpacked like one here. What is not asked for is not computed: rows that go
    through layers stay padded.
    """

    __slots__ = ("_data", "_sizes", "_padded", "_lengths", "sorted_indices", "unsorted_indices")

    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None

    def __init__(
        self, data: Any, batch_sizes: Any = None, sorted_indices: Any = None, unsorted_indices: Any = None
    ) -> None:
        steps = data if isinstance(data, Tensor) else Tensor(np.asarray(data))
        sizes = _integers("batch_sizes", batch_sizes)
        wrong = not sizes.size or (np.diff(sizes) > 0).any() or sizes[-1] < 1
        if wrong or steps.ndim < 1 or sizes.sum() != len(steps):
            expected = f"decreasing integers > 0 that add up to {len(steps) if steps.ndim else 'the steps in data'}"
            raise checks.value_error("batch_sizes", expected, f"{sizes.tolist()[:9]}")
        order = None
        for name, given in (("unsorted_indices", unsorted_indices), ("sorted_indices", sorted_indices)):
            if given is None:
                continue
            found = _integers(name, given)
            if not np.array_equal(np.sort(found), np.arange(sizes[0])):
                raise checks.value_error(name, f"the numbers 0..{sizes[0] - 1} in some order", f"{found.tolist()[:9]}")
            order = found if name == "sorted_indices" else np.argsort(found)
        self._data: Tensor | None = steps
        self._sizes: Integers = sizes
        self._padded: Tensor | None = None
        self._set_order(order)
        longest_first = np.sum(np.arange(sizes[0])[:, None] < sizes, axis=1)
        self._lengths: Integers = longest_first[self._ranks()]

    @classmethod
    def of_rows(cls, padded: Tensor, lengths: Integers, ordered: bool) -> PackedSequence:
        """Return the view of a padded batch.

        Parameters
        ----------
        padded
            (B, T, ...), rows in their own order.
        lengths
            Valid steps of each row (B,), at least 1.
        ordered
            Whether rows are known to come longest first: then there are no indices.
        """
        made = cls.__new__(cls)
        made._data, made._padded, made._lengths = None, padded, lengths
        made._set_order(None if ordered else np.argsort(-lengths, kind="stable"))
        made._sizes = np.sum(np.arange(padded.shape[1])[:, None] < lengths, axis=1)
        return made

    def _set_order(self, order: Integers | None) -> None:
        self.sorted_indices = None if order is None else Tensor(order.astype(np.int64))
        self.unsorted_indices = None if order is None else Tensor(np.argsort(order).astype(np.int64))

    def _ranks(self) -> Integers:
        """Return each row's place among rows sorted by length."""
        found = self.unsorted_indices
        return np.arange(self._sizes[0]) if found is None else found._data

    def _places(self) -> Integers:
        """Return where each row's steps stand in ``data``, (B, T); of padding, where the first row's first does."""
        starts = np.cumsum(self._sizes) - self._sizes
        valid = np.arange(len(starts)) < self._lengths[:, None]
        return np.where(valid, starts + self._ranks()[:, None], 0)

    @property
    def data(self) -> Tensor:
        """The valid steps (M, ...), step after step, of each the longest row first."""
        if self._data is None:
            padded: Any = self._padded
            valid = np.arange(padded.shape[1]) < self._lengths[:, None]
            source = np.empty(int(self._sizes.sum()), np.int64)
            source[self._places()[valid]] = np.flatnonzero(valid)
            self._data = ops.reshape(padded, (-1, *padded.shape[2:]))[source]
        return self._data

    @property
    def batch_sizes(self) -> Tensor:
        """How many rows have each step, (T,)."""
        return Tensor(self._sizes)

    @property
    def padded(self) -> Tensor:
        """The rows (B, T, ...) in their own order."""
        if self._padded is None:
            data: Any = self._data
            rows, places = data[self._places()], np.arange(len(self._sizes)) < self._lengths[:, None]
            valid = places.reshape(*places.shape, *(1,) * (data.ndim - 1))
            self._padded = rows if valid.all() else ops.where(valid, rows, data.dtype.type(0))
        return self._padded

    @property
    def lengths(self) -> Integers:
        """The valid steps of each row (B,)."""
        return self._lengths

    def __iter__(self) -> Iterator[Any]:
        """Give PyTorch's four parts."""
        return iter((self.data, self.batch_sizes, self.sorted_indices, self.unsorted_indices))

    def __getitem__(self, index: int) -> Any:
        return tuple(self)[index]

    def __repr__(self) -> str:
        return f"PackedSequence(shape={tuple(self.padded.shape)}, lengths={self._lengths.tolist()})"

    def _replace(self, **parts: Any) -> PackedSequence:
        """Return a PackedSequence with other parts, as a named tuple does."""
        names = "data", "batch_sizes", "sorted_indices", "unsorted_indices"
        return PackedSequence(**{**dict(zip(names, self, strict=True)), **parts})

    def to(self, dtype: Any) -> PackedSequence:
        """Return the rows in another dtype.

        Parameters
        ----------
        dtype
            A dtype that tensors have, or ``"cpu"``.
        """
        return PackedSequence.of_rows(self.padded.to(dtype), self._lengths, self.sorted_indices is None)

    def cpu(self) -> PackedSequence:
        """Return the same rows."""
        return self

    def float(self) -> PackedSequence:
        """Return the rows in float32."""
        return self.to(np.float32)

    def double(self) -> PackedSequence:
        """Return the rows in float64."""
        return self.to(np.float64)

    def long(self) -> PackedSequence:
        """Return the rows in int64."""
        return self.to(np.int64)

    def through(self, layer: Any, hx: Any) -> tuple[PackedSequence, Any]:
        """Return a recurrent layer's outputs for these rows, and its final states.

        Parameters
        ----------
        layer
            The layer.
        hx
            Its initial states, or None.
        """
        x = self.padded if layer.batch_first else ops.transpose(self.padded, 0, 1)
        out, last = layer.forward(x, hx, lengths=self._lengths)
        rows = out if layer.batch_first else ops.transpose(out, 0, 1)
        return PackedSequence.of_rows(rows, self._lengths, self.sorted_indices is None), last


def _integers(name: str, value: Any) -> Integers:
    found = np.asarray(getattr(value, "_data", value))
    if found.dtype.kind not in "iu" or found.ndim != 1:
        raise checks.kind_error(name, "integers along one axis", found)
    return found.astype(np.int64)
