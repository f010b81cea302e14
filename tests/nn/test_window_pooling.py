"""MaxPool1d and AvgPool1d: windows by hand, finite differences, lengths, padding, and torch."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq import nn
from fastseq.autograd import Tensor
from tests.gradcheck import gradcheck

LENGTHS = np.array([7, 3, 0, 1, 6])

KINDS = [
    (nn.MaxPool1d, {"kernel_size": 2}),
    (nn.MaxPool1d, {"kernel_size": 3, "stride": 1, "padding": 1}),
    (nn.MaxPool1d, {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    (nn.MaxPool1d, {"kernel_size": 3, "stride": 1, "dilation": 2, "padding": 1}),
    (nn.MaxPool1d, {"kernel_size": 3, "padding": "same"}),
    (nn.MaxPool1d, {"kernel_size": 1, "stride": 3, "padding": "same"}),
    (nn.AvgPool1d, {"kernel_size": 2}),
    (nn.AvgPool1d, {"kernel_size": 3, "stride": 2, "padding": 1}),
    (nn.AvgPool1d, {"kernel_size": 4, "stride": 3, "padding": 2, "ceil_mode": True}),
    (nn.AvgPool1d, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}),
    (nn.AvgPool1d, {"kernel_size": 3, "stride": 2, "padding": "same", "count_include_pad": False}),
    (nn.AvgPool1d, {"kernel_size": 3, "stride": 2, "padding": "same"}),
]
each_kind = pytest.mark.parametrize(("kind", "options"), KINDS)


def by_hand(layer, row: np.ndarray) -> np.ndarray:
    """One row (T, C) without padding, window by window, after PyTorch's and TensorFlow's descriptions."""
    steps, size, stride = len(row), layer.kernel_size, layer.stride
    span = layer.dilation * (size - 1) + 1
    if steps == 0:
        return np.zeros((0, row.shape[1]))
    if layer.padding == "same":
        count = (steps + stride - 1) // stride
        missing = max((count - 1) * stride + span - steps, 0)
        before, behind = missing // 2, missing - missing // 2
    else:
        before = behind = layer.padding
        count = 0
        while count * stride + span <= steps + 2 * before:
            count += 1
        if layer.ceil_mode and count * stride < steps + before and (count - 1) * stride + span < steps + 2 * before:
            count += 1
    out = np.zeros((count, row.shape[1]))
    for w in range(count):
        places = [w * stride - before + k * layer.dilation for k in range(size)]
        inside = [p for p in places if 0 <= p < steps]
        among = [p for p in places if p < steps + behind]
        for c in range(row.shape[1]):
            values = [float(row[p, c]) for p in inside]
            if isinstance(layer, nn.MaxPool1d):
                out[w, c] = max(values)
            else:
                out[w, c] = sum(values) / (len(among) if layer.count_include_pad else len(values))
    return out


def batch() -> np.ndarray:
    """Distinct numbers (5, 7, 2), some below zero."""
    return np.random.default_rng(3).permutation(70).reshape(5, 7, 2) / 7.0 - 5


@each_kind
def test_rows_by_hand(kind, options):
    layer, x = kind(**options), batch()
    out, whole = layer(x, lengths=LENGTHS).numpy(), layer(x).numpy()
    counts = layer.output_lengths(LENGTHS)
    for b, length in enumerate(LENGTHS):
        wanted = by_hand(layer, x[b, :length])
        assert counts[b] == len(wanted)
        np.testing.assert_allclose(out[b, : counts[b]], wanted, rtol=1e-14)
        assert (out[b, counts[b] :] == 0).all()
        np.testing.assert_allclose(whole[b], by_hand(layer, x[b]), rtol=1e-14)
        np.testing.assert_array_equal(layer(x[b]).numpy(), whole[b])
        np.testing.assert_array_equal(layer(x[b], lengths=length).numpy(), out[b])


@each_kind
def test_gradients(kind, options):
    gradcheck(kind(**options), batch())
    gradcheck(kind(**options), batch(), LENGTHS)


@each_kind
def test_padding_and_neighbours_change_no_bit(kind, options):
    layer, clean = kind(**options), batch().astype(np.float32)
    valid = np.arange(7) < LENGTHS[:, None]
    dirty = np.where(valid[..., None], clean, np.float32(np.nan))
    found = []
    for x in (clean, dirty):
        leaf = Tensor(x.copy(), requires_grad=True)
        out = layer(leaf, lengths=LENGTHS)
        out.backward(np.arange(out.numel(), dtype=np.float32).reshape(out.shape))
        found.append((out.numpy(), leaf.grad.numpy()))
    assert np.array_equal(found[0][0], found[1][0]) and np.array_equal(found[0][1], found[1][1])
    assert (found[0][1][~valid] == 0).all()
    alone = layer(clean[4:, :6]).numpy()[0]
    assert np.array_equal(found[0][0][4, : len(alone)], alone)


def test_indices_are_steps_and_the_earliest_wins():
    x = np.array([[[1.0], [3.0], [3.0], [-np.inf], [-np.inf], [2.0], [np.nan]]])
    leaf = Tensor(x, requires_grad=True)
    out, steps = nn.MaxPool1d(3, 2, 1, return_indices=True)(leaf)
    np.testing.assert_array_equal(out.numpy()[0, :, 0], [3, 3, 2, np.nan])
    assert steps.numpy()[0, :, 0].tolist() == [1, 1, 5, 6]
    out[:, :3].sum().backward()
    assert leaf.grad.numpy()[0, :, 0].tolist() == [0, 2, 0, 0, 0, 1, 0]
    nothing, at = nn.MaxPool1d(2, return_indices=True)(np.full((1, 4, 1), -np.inf))
    assert np.isneginf(nothing.numpy()).all() and at.numpy()[0, :, 0].tolist() == [0, 2]


def test_lengths_go_on_behind_it():
    model = nn.Sequential(nn.Conv1d(2, 3, 2), nn.MaxPool1d(2), nn.LSTM(3, 4), nn.LastStep())
    x = batch().astype(np.float32)
    found = model(x, lengths=LENGTHS).numpy()
    assert model.output_lengths(LENGTHS).tolist() == [3, 1, 0, 0, 2]
    np.testing.assert_array_equal(found[4], model(x[4:, :6]).numpy()[0])
    np.testing.assert_array_equal(found[2], 0)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="padding: expected at most half of kernel_size = 3, got 2"):
        nn.MaxPool1d(3, padding=2)
    with pytest.raises(ValueError, match="x: expected at least 4 steps, got 3"):
        nn.AvgPool1d(4)(np.zeros((2, 3, 1), np.float32))
    with pytest.raises(TypeError, match="x: expected float32 or float64"):
        nn.AvgPool1d(2)(np.zeros((2, 3, 1), np.int64))
    with pytest.raises(ValueError, match="x: expected shape"):
        nn.MaxPool1d(2)(np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="kernel_size"):
        nn.MaxPool1d(0)
    assert nn.MaxPool1d(2)(np.zeros((0, 4, 3), np.float32)).shape == (0, 2, 3)
    assert nn.AvgPool1d(2)(np.zeros((2, 0, 3), np.float32)).shape == (2, 0, 3)


@pytest.mark.parametrize(("kind", "options"), [one for one in KINDS if one[1].get("padding") != "same"])
def test_torch_agrees(kind, options):
    torch = pytest.importorskip("torch")
    x = batch()
    one, other = Tensor(x.copy(), requires_grad=True), torch.tensor(x.copy(), requires_grad=True)
    out = kind(**options)(one)
    wanted = getattr(torch.nn, kind.__name__)(**options)(other.transpose(1, 2)).transpose(1, 2)
    np.testing.assert_allclose(out.numpy(), wanted.detach(), rtol=1e-12)
    (out**2).sum().backward()
    (wanted**2).sum().backward()
    np.testing.assert_allclose(one.grad, other.grad, rtol=1e-12)
    if kind is nn.MaxPool1d:
        _, steps = kind(**options, return_indices=True)(x)
        module = torch.nn.MaxPool1d(**options, return_indices=True)
        assert np.array_equal(steps.numpy(), module(torch.tensor(x).transpose(1, 2))[1].transpose(1, 2))
