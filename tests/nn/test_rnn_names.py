"""Packing and padding under PyTorch's names: the layers' own lengths in another dress."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
    unpad_sequence,
)

LENGTHS = [2, 5, 1, 4]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("batch_first", [True, False])
def test_packed_rows_give_what_lengths_give(kind, batch_first, rng):
    x = rng.standard_normal((4, 6, 3)).astype(np.float32)
    x[np.arange(6) >= np.array(LENGTHS)[:, None]] = np.nan
    fs.manual_seed(0)
    layer = getattr(nn, kind)(3, 4, 2, bidirectional=True, batch_first=batch_first)
    given = x if batch_first else x.transpose(1, 0, 2)
    expected, states = layer(given, lengths=np.array(LENGTHS))
    packed = pack_padded_sequence(fs.tensor(given), fs.tensor(LENGTHS), batch_first=batch_first, enforce_sorted=False)
    out, found = layer(packed)
    assert isinstance(out, PackedSequence)
    padded, lengths = pad_packed_sequence(out, batch_first=batch_first, total_length=6)
    assert np.array_equal(padded, expected) and lengths.tolist() == LENGTHS
    for one, other in zip(np.atleast_1d(states), np.atleast_1d(found), strict=True):
        assert np.array_equal(one, other)
    short, _ = pad_packed_sequence(out, batch_first=True, padding_value=-1.0)
    assert short.shape == (4, 5, 8) and (short.numpy()[2, 1:] == -1).all()


def test_gradients_go_through(rng):
    x = fs.tensor(rng.standard_normal((2, 4, 3)), requires_grad=True)
    layer = nn.LSTM(3, 2, dtype=np.float64)
    out, _ = pad_packed_sequence(layer(pack_padded_sequence(x, [4, 2], batch_first=True))[0], batch_first=True)
    out.sum().backward()
    gradient = x.grad.numpy().copy()
    x.grad = None
    layer(x, lengths=np.array([4, 2]))[0].sum().backward()
    assert np.array_equal(gradient, x.grad.numpy()) and not gradient[1, 2:].any() and gradient[1, :2].any()


def test_padding():
    rows = [fs.ones(2, 3), np.full((4, 3), 2, np.float32), fs.tensor(np.zeros((0, 3), np.float32))]
    found = pad_sequence(rows, batch_first=True, padding_value=9.0).numpy()
    assert found.shape == (3, 4, 3) and found[:, :, 0].tolist() == [[1, 1, 9, 9], [2] * 4, [9] * 4]
    assert np.array_equal(pad_sequence(rows), pad_sequence(rows, batch_first=True).transpose(0, 1).numpy() % 9)
    packed = pack_sequence(rows[:2], enforce_sorted=False)
    assert packed.lengths.tolist() == [2, 4] and packed.padded.shape == (2, 4, 3)


def test_pytorchs_view_of_packed_rows():
    rows = [fs.tensor([4, 5]), fs.tensor([6]), fs.tensor([1, 2, 3])]
    packed = pack_sequence(rows, enforce_sorted=False)
    data, sizes, order, places = packed
    assert data.tolist() == [1, 4, 6, 2, 5, 3] and sizes.tolist() == [3, 2, 1]
    assert order.tolist() == [2, 0, 1] and places.tolist() == [1, 2, 0]
    ordered = pack_sequence([rows[2], *rows[:2]])
    assert ordered.data.tolist() == data.tolist() and ordered.sorted_indices is None is ordered.unsorted_indices
    for back in (unpack_sequence(packed), unpad_sequence(pad_sequence(rows), [2, 1, 3])):
        assert [row.tolist() for row in back] == [row.tolist() for row in rows]
    assert pad_sequence(rows, True, -1, "left").tolist() == [[-1, 4, 5], [-1, -1, 6], [1, 2, 3]]
    assert packed.to(np.float64).padded.dtype == packed.double().data.dtype == np.float64
    assert packed.long().data.tolist() == packed.cpu()[0].tolist() == data.tolist()


def test_packed_rows_from_their_parts(rng):
    rows = [rng.standard_normal((n, 3)) for n in (2, 5, 1, 5, 4)]
    packed = pack_sequence(rows, enforce_sorted=False)
    leaf = fs.Tensor(packed.data.numpy().copy(), requires_grad=True)
    twice = PackedSequence(leaf * 2, packed.batch_sizes, packed.sorted_indices)  # what dropout of packed rows does
    assert twice.lengths.tolist() == [2, 5, 1, 5, 4] and np.array_equal(twice.padded, packed.padded.numpy() * 2)
    assert twice.unsorted_indices.tolist() == packed.unsorted_indices.tolist()
    replaced = packed._replace(data=leaf * 2)
    assert np.array_equal(replaced.padded, twice.padded)
    layer = nn.LSTM(3, 2, dtype=np.float64)
    (layer(twice)[0].data ** 2).sum().backward()
    through, leaf.grad = leaf.grad.numpy().copy(), None
    x = fs.Tensor(packed.padded.numpy() * 2, requires_grad=True)
    (layer(x, lengths=packed.lengths)[0] ** 2).sum().backward()
    np.testing.assert_allclose(through, 2 * PackedSequence.of_rows(x.grad, packed.lengths, False).data.numpy())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: pack_padded_sequence(x[:0], [], True), ValueError, "input: expected at least one row"),
        (lambda x: PackedSequence(x[0], [2, 3]), ValueError, r"batch_sizes: expected decreasing .* add up to 4"),
        (lambda x: PackedSequence(x[0], [2, 1]), ValueError, r"batch_sizes: expected decreasing .* got \[2, 1\]"),
        (lambda x: PackedSequence(x[0]), TypeError, "batch_sizes: expected integers"),
        (lambda x: PackedSequence(x[0], [2, 2], [0, 2]), ValueError, r"sorted_indices: expected the numbers 0..1"),
        (lambda x: unpack_sequence(x), TypeError, "packed_sequences: expected a PackedSequence"),
        (lambda x: unpad_sequence(x, [1, 5], True), ValueError, "lengths: expected 0 <= length <= 4"),
        (lambda x: pad_sequence(5), TypeError, "sequences: expected arrays"),
        (lambda x: pad_sequence([x[0]], padding_side="top"), ValueError, "padding_side: expected one of"),
        (lambda x: pack_padded_sequence(x, [2, 4], True), ValueError, "lengths: expected rows in decreasing order"),
        (lambda x: pack_padded_sequence(x, [4, 0], True), ValueError, "lengths: expected at least 1 step in each row"),
        (lambda x: pack_padded_sequence(x, [5, 4], True), ValueError, "lengths: expected"),
        (lambda x: pack_padded_sequence(x, [4.0, 2.0], True), TypeError, "lengths: expected"),
        (lambda x: pad_packed_sequence(x), TypeError, "sequence: expected a PackedSequence"),
        (lambda x: pad_sequence([]), ValueError, "sequences: expected at least one, got none"),
        (lambda x: pad_sequence([x[0], x[0, :, :2]]), ValueError, r"sequences\[1\]: expected shape \(T, 3,\)"),
    ],
)
def test_what_does_not_fit_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(fs.zeros(2, 4, 3))
