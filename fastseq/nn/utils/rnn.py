"""Sequences of unequal length the way PyTorch's listings write them. Named after ``torch.nn.utils.rnn``.

fastseq's layers take a padded batch and ``lengths``, and never compute what stands past them: packing saves nothing
here. A `PackedSequence` is that pair under PyTorch's name, so that listings which pack and unpack run as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor

__all__ = ["PackedSequence", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence", "pad_sequence"]


class PackedSequence(NamedTuple):
    """Rows with their lengths, for a recurrent layer, which returns its outputs in the same form.

    Parameters
    ----------
    padded
        Tensor (B, T, F), rows in their own order.
    lengths
        Valid steps of each row (B,).
    """

    padded: Tensor
    lengths: NDArray[np.int64]

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
        out, last = layer.forward(x, hx, lengths=self.lengths)
        return PackedSequence(out if layer.batch_first else ops.transpose(out, 0, 1), self.lengths), last


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Return a padded batch with its lengths in one.

    Parameters
    ----------
    input
        (T, B, F), or (B, T, F) with ``batch_first``: PyTorch's default, unlike that of fastseq's layers.
    lengths
        Valid steps of each row, integers (B,), at least 1.
    batch_first
        Whether rows come first.
    enforce_sorted
        Whether rows must come longest first.

    Raises
    ------
    ValueError
        If a length is out of range, or rows are in another order although ``enforce_sorted`` is set.
    """
    x = input if isinstance(input, Tensor) else Tensor(np.asarray(input))
    if x.ndim < 2:
        raise checks.value_error("input", "two axes or more, steps and rows first", x._data)
    x = x if checks.boolean("batch_first", batch_first) else ops.transpose(x, 0, 1)
    found = checks.lengths("lengths", np.asarray(getattr(lengths, "_data", lengths)), *x.shape[:2])
    if len(found) and found.min() < 1:
        raise checks.value_error("lengths", "at least 1 step in each row (layers themselves take 0)", f"{found.min()}")
    if checks.boolean("enforce_sorted", enforce_sorted) and (np.diff(found) > 0).any():
        raise checks.value_error("lengths", "rows in decreasing order of length, or enforce_sorted=False", f"{found}")
    longest = int(found.max(initial=0))
    return PackedSequence(x if longest == x.shape[1] else x[:, :longest], found)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return what `pack_padded_sequence` was given, or a layer's outputs for it, and the lengths (B,).

    Parameters
    ----------
    sequence
        Packed rows.
    batch_first
        Whether rows come first.
    padding_value
        What stands past the lengths.
    total_length
        T of the result; None for the longest length.
    """
    if not isinstance(sequence, PackedSequence):
        raise checks.kind_error("sequence", "a PackedSequence", sequence)
    x, lengths = sequence
    steps = x.shape[1] if total_length is None else checks.integer("total_length", total_length, x.shape[1])
    if steps > x.shape[1]:
        x = ops.concatenate([x, np.zeros((x.shape[0], steps - x.shape[1], *x.shape[2:]), x.dtype)], 1)
    valid = (np.arange(steps) < lengths[:, None]).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
    if not valid.all():
        x = ops.where(valid, x, x.dtype.type(padding_value))
    return x if batch_first else ops.transpose(x, 0, 1), Tensor(lengths)


def pad_sequence(sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0) -> Tensor:
    """Return sequences of unequal length (T_i, ...) in one tensor (T, B, ...), or (B, T, ...) with ``batch_first``.

    Parameters
    ----------
    sequences
        Arrays or Tensors.
    batch_first
        Whether rows come first.
    padding_value
        What stands past their ends.
    """
    rows = [one if isinstance(one, Tensor) else Tensor(np.asarray(one)) for one in sequences]
    if not rows:
        raise checks.value_error("sequences", "at least one", "none")
    for k, row in enumerate(rows):
        if row.ndim < 1 or row.shape[1:] != rows[0].shape[1:]:
            raise checks.value_error(f"sequences[{k}]", f"shape (T, {str(rows[0].shape[1:])[1:]}", row._data)
    longest = max(len(row) for row in rows)
    filled = [
        row
        if len(row) == longest
        else ops.concatenate([row, np.full((longest - len(row), *row.shape[1:]), padding_value, row.dtype)], 0)
        for row in rows
    ]
    return ops.stack(filled, 0 if checks.boolean("batch_first", batch_first) else 1)


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Return sequences of unequal length (T_i, ...) packed.

    Parameters
    ----------
    sequences
        Arrays or Tensors.
    enforce_sorted
        Whether they must come longest first.
    """
    lengths = [len(sequence) for sequence in sequences]
    return pack_padded_sequence(pad_sequence(sequences, batch_first=True), lengths, True, enforce_sorted)
