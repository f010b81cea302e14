"""nn.LSTM and bad input: each error names the argument, what was expected and what came."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn

F32, F64 = np.float32, np.float64
X = np.zeros((3, 4, 2), F32)
STATE = np.zeros((1, 3, 5), F32)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.zeros((3, 4), F32), ValueError, r"x: expected shape \(B, T, 2\) or \(T, 2\), got shape \(3, 4\)"),
        (np.zeros((3, 4, 2, 1), F32), ValueError, r"x: expected shape \(B, T, 2\) or \(T, 2\), got .*\(3, 4, 2, 1\)"),
        (np.zeros((3, 4, 3), F32), ValueError, r"x: expected shape \(B, T, 2\) or \(T, 2\), got shape \(3, 4, 3\)"),
        (np.zeros((3, 4, 0), F32), ValueError, r"x: expected shape \(B, T, 2\) or \(T, 2\), got shape \(3, 4, 0\)"),
        (X.astype(F64), TypeError, "x: expected dtype float32 like the weights, got float64; convert with astype"),
        (X.astype(np.float16), TypeError, "x: expected dtype float32.*got float16"),
        (X.astype(np.int64), TypeError, "x: expected dtype float32.*got int64"),
        (X.astype(bool), TypeError, "x: expected dtype float32.*got bool"),
        (X.astype(complex), TypeError, "x: expected dtype float32.*got complex128"),
        (X.astype(object), TypeError, "x: expected dtype float32.*got object"),
        (X.tolist(), TypeError, "x: expected a NumPy array or a Tensor, got list"),
        (None, TypeError, "x: expected a NumPy array or a Tensor, got None"),
        ("abc", TypeError, "x: expected a NumPy array or a Tensor, got 'abc'"),
    ],
)
def test_bad_x(x, error, words):
    with pytest.raises(error, match=words):
        nn.LSTM(2, 5)(x)


def test_bad_x_when_time_comes_first():
    with pytest.raises(ValueError, match=r"x: expected shape \(T, B, 2\) or \(T, 2\), got shape \(3, 4\)"):
        nn.LSTM(2, 5, batch_first=False)(np.zeros((3, 4), F32))


@pytest.mark.parametrize(
    ("lengths", "error", "words"),
    [
        ([4, -1, 2], ValueError, "lengths: expected 0 <= length <= 4, got -1 in row 1"),
        ([4, 3, 5], ValueError, "lengths: expected 0 <= length <= 4, got 5 in row 2"),
        ([4, 3, 2**62], ValueError, "lengths: expected 0 <= length <= 4, got 4611686018427387904 in row 2"),
        (np.array([2**64 - 1, 1, 1], np.uint64), ValueError, "got 18446744073709551615 in row 0"),
        ([4, 3], ValueError, r"lengths: expected integers of shape \(3,\), one per row, got an array of shape \(2,\)"),
        ([4, 3, 2, 1], ValueError, r"lengths: .*got an array of shape \(4,\)"),
        ([[4, 3, 2]], ValueError, r"lengths: .*got an array of shape \(1, 3\)"),
        (4, ValueError, r"lengths: expected integers of shape \(3,\)"),
        ([4.0, 3.0, 2.0], TypeError, r"lengths: expected integers of shape \(3,\), got .*float64"),
        ([4, 2.5, 1], TypeError, "lengths: expected integers .*float64"),
        ([4, np.nan, 1], TypeError, "lengths: expected integers .*float64"),
        ([True, False, True], TypeError, "lengths: expected integers .*bool"),
        (["4", "3", "2"], TypeError, "lengths: expected integers"),
        ([4, None, 2], TypeError, "lengths: expected integers .*object"),
        ([[4], [3, 2], 1], ValueError, "lengths: expected numbers in an array, or in lists of like lengths"),
        (np.ma.array([4, 3, 2], mask=[0, 1, 0]), TypeError, "lengths: expected an array without a mask"),
    ],
)
@pytest.mark.parametrize("kind", ["LSTM", "Conv1d", "AttentionPool", "MaxPool"])
def test_bad_lengths(lengths, error, words, kind):
    layers = {"LSTM": (nn.LSTM, 2, 5), "Conv1d": (nn.Conv1d, 2, 5, 1), "AttentionPool": (nn.AttentionPool, 2)}
    layer, *sizes = layers.get(kind, (nn.MaxPool,))
    with pytest.raises(error, match=words):
        layer(*sizes)(X, lengths=lengths)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64, ">i4", list, tuple, fs.Tensor])
@pytest.mark.parametrize("layer", [nn.LSTM(2, 5), nn.Bidirectional(nn.GRU(2, 5)), nn.Conv1d(2, 5, 3, padding=1)])
def test_lengths_of_any_integers(layer, kind, rng):
    x = rng.standard_normal((3, 4, 2)).astype(F32)
    numbers = [4, 0, 2]
    if kind in (list, tuple):
        given = kind(numbers)
    else:
        given = fs.Tensor(np.array(numbers)) if kind is fs.Tensor else np.array(numbers, kind)
    got, want = layer(x, lengths=given), layer(x, lengths=np.array(numbers))
    got, want = (value[0] if isinstance(value, tuple) else value for value in (got, want))
    np.testing.assert_array_equal(got.numpy(), want.numpy())


@pytest.mark.parametrize(
    ("hx", "error", "words"),
    [
        (STATE, TypeError, r"hx: expected a pair \(h_0, c_0\), got an array of shape \(1, 3, 5\)"),
        ((STATE,), ValueError, r"hx: expected a pair \(h_0, c_0\), got 1 item"),
        ((STATE, STATE, STATE), ValueError, "hx: expected a pair .*got 3 item"),
        ((STATE, None), TypeError, "c_0: expected a NumPy array or a Tensor, got None"),
        ((STATE.tolist(), STATE), TypeError, "h_0: expected a NumPy array or a Tensor, got list"),
        ((STATE[0], STATE), ValueError, r"h_0: expected shape \(1, 3, 5\), got shape \(3, 5\)"),
        ((STATE, STATE[:, :2]), ValueError, r"c_0: expected shape \(1, 3, 5\), got shape \(1, 2, 5\)"),
        ((STATE, np.zeros((2, 3, 5), F32)), ValueError, r"c_0: expected shape \(1, 3, 5\), got shape \(2, 3, 5\)"),
        ((STATE, STATE.astype(F64)), TypeError, "c_0: expected dtype float32 like the weights, got float64"),
        ((STATE.astype(int), STATE), TypeError, "h_0: expected dtype float32 like the weights, got int64"),
    ],
)
def test_bad_states(hx, error, words):
    with pytest.raises(error, match=words):
        nn.LSTM(2, 5)(X, hx)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"input_size": 0, "hidden_size": 1}, ValueError, "input_size: expected an integer >= 1, got 0"),
        ({"input_size": 1, "hidden_size": 0}, ValueError, "hidden_size: expected an integer >= 1, got 0"),
        ({"input_size": 1, "hidden_size": -3}, ValueError, "hidden_size: expected an integer >= 1, got -3"),
        ({"input_size": 1.5, "hidden_size": 1}, TypeError, "input_size: expected an integer, got 1.5"),
        ({"input_size": True, "hidden_size": 1}, TypeError, "input_size: expected an integer, got True"),
        ({"input_size": 1, "hidden_size": 1, "num_layers": 0}, ValueError, "num_layers: expected an integer >= 1"),
        ({"input_size": 1, "hidden_size": 1, "dropout": 1.5}, ValueError, "dropout: expected a finite number >= 0"),
        ({"input_size": 1, "hidden_size": 1, "dropout": np.nan}, ValueError, "dropout: expected a finite number"),
        ({"input_size": 1, "hidden_size": 1, "bias": 1}, TypeError, "bias: expected True or False, got 1"),
        ({"input_size": 1, "hidden_size": 1, "batch_first": "yes"}, TypeError, "batch_first: expected True or False"),
        ({"input_size": 1, "hidden_size": 1, "dtype": np.int32}, TypeError, "dtype: expected float32 or float64"),
        (
            {"input_size": 1, "hidden_size": 1, "dtype": "abc"},
            TypeError,
            "dtype: expected float32 or float64, got 'abc'",
        ),
    ],
)
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        nn.LSTM(**arguments)
