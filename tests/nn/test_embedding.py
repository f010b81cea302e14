"""Embedding: the rows themselves, gradients that add up, padding, and torch."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.autograd import Tensor
from tests.gradcheck import gradcheck

INDICES = np.array([[0, 3, 3], [2, 3, 0]])
LENGTHS = np.array([3, 1])


def layer(rows: int = 4, width: int = 3, dtype=np.float64, **options) -> nn.Embedding:
    made = nn.Embedding(rows, width, **options, dtype=dtype)
    made.weight.data = np.arange(rows * width).reshape(rows, width) + 1.0
    return made


def test_the_rows_and_their_gradients_by_hand():
    table = layer(width=2)
    out = table(INDICES)
    assert out.numpy()[0].tolist() == [[1, 2], [7, 8], [7, 8]]
    out.backward(np.arange(12.0).reshape(2, 3, 2))
    assert table.weight.grad.tolist() == [[0 + 10, 1 + 11], [0, 0], [6, 7], [2 + 4 + 8, 3 + 5 + 9]]


@pytest.mark.parametrize("width", [1, 5, 8, 16, 21])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gradients(width, lengths):
    gradcheck(layer(width=width), INDICES, lengths)


def test_the_padding_row_starts_as_zeros_and_gets_no_gradient():
    for index in (3, -1):
        table = nn.Embedding(4, 3, padding_idx=index)
        assert table.padding_idx == 3 and not table.weight.numpy()[3].any()
        table(INDICES).sum().backward()
        assert table.weight.grad.numpy()[:, 0].tolist() == [2, 0, 1, 0]


def test_what_stands_past_a_length_is_not_looked_at():
    table = layer()
    wild = INDICES.copy()
    wild[1, 1:] = [-7, 99]
    out = table(wild, lengths=LENGTHS)
    assert not out.numpy()[1, 1:].any()
    np.testing.assert_array_equal(out.numpy()[0], table(INDICES).numpy()[0])
    out.sum().backward()
    assert table.weight.grad.numpy()[:, 0].tolist() == [1, 0, 1, 2]


def test_frequencies_divide_gradients():
    table = layer(scale_grad_by_freq=True)
    table(INDICES).sum().backward()
    assert table.weight.grad.numpy()[:, 0].tolist() == [1, 0, 1, 1]


def test_long_rows_are_shortened_in_place():
    table = layer(width=2, max_norm=2.0)
    before = table.weight.version
    table([0, 3])
    assert table.weight.version > before
    norms = np.linalg.norm(table.weight.numpy(), axis=1)
    np.testing.assert_allclose(norms, [2, 5, np.sqrt(61), 2], rtol=1e-6)


def test_the_largest_entry_is_a_norm_too():
    table = layer(width=2, max_norm=2.0, norm_type=np.inf)
    table([0, 3])
    np.testing.assert_allclose(np.abs(table.weight.numpy()).max(axis=1), [2, 4, 6, 2], rtol=1e-6)
    again = nn.Embedding.from_config(table.config())
    assert again.norm_type == np.inf and table.config()["norm_type"] == "inf"  # JSON has no infinity


def test_any_kind_of_integers_and_empty_input():
    table = layer()
    for kind in (np.int8, np.uint16, np.int32, np.int64):
        np.testing.assert_array_equal(table(INDICES.astype(kind)).numpy(), table(Tensor(INDICES)).numpy())
    assert table(2).shape == (3,)
    assert table(np.zeros((0, 5), int)).shape == (0, 5, 3)
    assert table([]).shape == (0, 3)
    empty = table(np.zeros((2, 0), int), lengths=[0, 0])
    empty.sum().backward()
    assert empty.shape == (2, 0, 3) and not table.weight.grad.numpy().any()


def test_a_given_table():
    table = nn.Embedding.from_pretrained(np.eye(3, dtype=np.float64))
    assert not table.weight.requires_grad and table(1).tolist() == [0, 1, 0]
    assert nn.Embedding.from_pretrained(np.eye(3), freeze=False).weight.requires_grad
    assert repr(table).startswith("Embedding(num_embeddings=3, embedding_dim=3")


def test_bad_input_is_named():
    table = layer()
    for bad in (4, -1, [[0, 4]]):
        with pytest.raises(ValueError, match=r"input: expected indices in 0..3, got (4|-1) at"):
            table(bad)
    for bad in ([0.5], np.array([True]), np.zeros((2, 2), np.float32)):
        with pytest.raises(TypeError, match="input: expected integers"):
            table(bad)
    with pytest.raises(ValueError, match=r"input: expected shape \(B, T, ...\)"):
        table([1, 2], lengths=[1, 1])
    with pytest.raises(ValueError, match="lengths: expected 0 <= length <= 3"):
        table(INDICES, lengths=[4, 1])
    with pytest.raises(ValueError, match="padding_idx"):
        nn.Embedding(3, 2, padding_idx=3)
    for bad in ((0, 2), (2, 0)):
        with pytest.raises(ValueError, match="expected an integer >= 1"):
            nn.Embedding(*bad)
    with pytest.raises(ValueError, match="max_norm"):
        nn.Embedding(3, 2, max_norm=0.0)
    with pytest.raises(ValueError, match="norm_type: expected a finite number > 0"):
        nn.Embedding(3, 2, norm_type=0.0)
    with pytest.raises(ValueError, match="sparse: expected False"):
        nn.Embedding(3, 2, sparse=True)


def test_it_starts_a_model_of_sequences():
    fs.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 4), nn.LSTM(4, 3), nn.LastStep())
    out = model(np.array([[1, 2, 4], [3, -1, -1]]), lengths=[3, 1])
    alone = model(np.array([[3]]))
    assert out.numpy()[1].tobytes() == alone.numpy()[0].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_torch(dtype, rng):
    torch = pytest.importorskip("torch")
    tolerance = 1e-5 if dtype == "float32" else 1e-10
    for _ in range(100):
        rows, width = int(rng.integers(1, 30)), int(rng.integers(1, 40))
        options = {
            "padding_idx": [None, int(rng.integers(-rows, rows))][rng.integers(2)],
            "max_norm": [None, 1.5][rng.integers(2)],
            "norm_type": [1.0, 2.0, 3.0, np.inf][rng.integers(4)],
            "scale_grad_by_freq": bool(rng.integers(2)),
        }
        theirs = torch.nn.Embedding(rows, width, **options, dtype=getattr(torch, dtype))
        ours = nn.Embedding(rows, width, **options, dtype=dtype)
        ours.load_state_dict(theirs.state_dict())
        x = rng.integers(0, rows, rng.integers(1, 9, rng.integers(1, 4)))
        upstream = rng.standard_normal((*x.shape, width)).astype(dtype)
        out, expected = ours(x), theirs(torch.from_numpy(x))
        out.backward(upstream)
        expected.backward(torch.from_numpy(upstream))
        np.testing.assert_allclose(out.numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(
            ours.weight.grad.numpy(), theirs.weight.grad.numpy(), rtol=tolerance, atol=10 * tolerance
        )
