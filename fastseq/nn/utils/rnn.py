"""Sequences of unequal length the way PyTorch's listings write them. Named after ``torch.nn.utils.rnn``.

fastseq's layers take a padded batch and ``lengths``, and never compute what stands past them: packing saves nothing
here. A `PackedSequence` holds that pair and shows PyTorch's view of it, so that listings which pack and unpack run as
they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.nn.packed import PackedSequence

__all__ = [
    "PackedSequence", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence", "pad_sequence", "unpack_sequence",
    "unpad_sequence",
]  # fmt: skip


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
        If there is no row, a length is out of range, or rows are in another order although ``enforce_sorted`` is set.
    """
    x = input if isinstance(input, Tensor) else Tensor(np.asarray(input))
    if x.ndim < 2:
        raise checks.value_error("input", "two axes or more, steps and rows first", x._data)
    x = x if checks.boolean("batch_first", batch_first) else ops.transpose(x, 0, 1)
    if not x.shape[0]:
        raise checks.value_error("input", "at least one row", x._data)
    found = checks.lengths("lengths", np.asarray(getattr(lengths, "_data", lengths)), *x.shape[:2])
    if found.min() < 1:
        raise checks.value_error("lengths", "at least 1 step in each row (layers themselves take 0)", f"{found.min()}")
    if checks.boolean("enforce_sorted", enforce_sorted) and (np.diff(found) > 0).any():
        raise checks.value_error("lengths", "rows in decreasing order of length, or enforce_sorted=False", f"{found}")
    longest = int(found.max())
    return PackedSequence.of_rows(x if longest == x.shape[1] else x[:, :longest], found, enforce_sorted)


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
    x, lengths = sequence.padded, sequence.lengths
    steps = x.shape[1] if total_length is None else checks.integer("total_length", total_length, x.shape[1])
    if steps > x.shape[1]:
        x = ops.concatenate([x, np.zeros((x.shape[0], steps - x.shape[1], *x.shape[2:]), x.dtype)], 1)
    valid = (np.arange(steps) < lengths[:, None]).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
    if not valid.all():
        x = ops.where(valid, x, x.dtype.type(padding_value))
    return x if batch_first else ops.transpose(x, 0, 1), Tensor(lengths)


def pad_sequence(
    sequences: Iterable[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Return sequences of unequal length (T_i, ...) in one tensor (T, B, ...), or (B, T, ...) with ``batch_first``.

    Parameters
    ----------
    sequences
        Arrays or Tensors.
    batch_first
        Whether rows come first.
    padding_value
        What stands past their ends.
    padding_side
        ``"right"``; or ``"left"``, and the ends stand in line.
    """
    left = checks.choice("padding_side", padding_side, ("left", "right")) == "left"
    if not isinstance(sequences, Iterable) or isinstance(sequences, (str, bytes)):
        raise checks.kind_error("sequences", "arrays or Tensors one after the other", sequences)
    rows = [one if isinstance(one, Tensor) else Tensor(np.asarray(one)) for one in sequences]
    if not rows:
        raise checks.value_error("sequences", "at least one", "none")
    for k, row in enumerate(rows):
        if row.ndim < 1 or row.shape[1:] != rows[0].shape[1:]:
            raise checks.value_error(f"sequences[{k}]", f"shape (T, {str(rows[0].shape[1:])[1:]}", row._data)
    longest, step = max(len(row) for row in rows), -1 if left else 1
    filled = [
        row
        if len(row) == longest
        else ops.concatenate([row, np.full((longest - len(row), *row.shape[1:]), padding_value, row.dtype)][::step], 0)
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


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """Return the sequences (T_i, ...) that `pad_sequence` was given.

    Parameters
    ----------
    padded_sequences
        (T, B, ...), or (B, T, ...) with ``batch_first``.
    lengths
        Steps of each, integers (B,).
    batch_first
        Whether rows come first.
    """
    x = padded_sequences if isinstance(padded_sequences, Tensor) else Tensor(np.asarray(padded_sequences))
    if x.ndim < 2:
        raise checks.value_error("padded_sequences", "two axes or more, steps and rows first", x._data)
    x = x if checks.boolean("batch_first", batch_first) else ops.transpose(x, 0, 1)
    found = checks.lengths("lengths", np.asarray(getattr(lengths, "_data", lengths)), *x.shape[:2])
    return [x[row, :count] for row, count in enumerate(found.tolist())]


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Return the sequences (T_i, ...) that `pack_sequence` was given.

    Parameters
    ----------
    packed_sequences
        Packed rows.
    """
    if not isinstance(packed_sequences, PackedSequence):
        raise checks.kind_error("packed_sequences", "a PackedSequence", packed_sequences)
    return unpad_sequence(packed_sequences.padded, packed_sequences.lengths, batch_first=True)
