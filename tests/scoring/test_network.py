"""Models that are scored: every kind of layer first, models without lengths, of tokens, of Keras's names."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.scoring import ScoringError, score_batches
from tests.scoring.series_tables import long_table, ragged


def collect(batches) -> pa.Table:
    """All batches as one table."""
    return pa.Table.from_batches(list(batches))


NETWORKS = {
    "convolution": lambda: nn.Sequential(nn.Conv1d(3, 8, 3, padding=1), nn.LSTM(8, 4), nn.LastStep(), nn.Linear(4, 1)),
    "layer with states": lambda: nn.GRU(3, 4, num_layers=2),
    "transformer": lambda: nn.Sequential(
        nn.Linear(3, 8), nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 1), nn.MeanPool(), nn.Linear(8, 2)
    ),
    "wrapped": lambda: nn.Sequential(nn.Residual(nn.LSTM(3, 3)), nn.MaxPool(), nn.Linear(3, 4), nn.Softmax(-1)),
    "standardized": lambda: nn.Sequential(nn.Standardize([0.0] * 3, [2.0] * 3), nn.MinGRU(3, 4), nn.Linear(4, 1)),
    "tagger": lambda: nn.Tagger(nn.LSTM(3, 4, bidirectional=True), 8, 3),
    "double": lambda: nn.Sequential(nn.RNN(3, 4), nn.LastStep(), nn.Linear(4, 1)).double(),
    "without lengths": lambda: WithoutLengths(),
}


class WithoutLengths(nn.Module):
    """A model of a user's that takes whole rows, and gives one number each."""

    def __init__(self):
        self.fc, self.lstm = nn.Linear(4, 1), nn.LSTM(3, 4)

    def forward(self, x):
        return self.fc(self.lstm(x)[0][:, -1])[:, 0]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_network_gives_the_bits_of_one_call_per_series(name):
    fs.manual_seed(0)
    model, series = NETWORKS[name](), ragged([3, 9, 1, 3, 20])
    out = collect(score_batches(model, long_table(series), batch_size=3))
    assert model.training
    model.eval()
    for row, one in enumerate(series):
        with fs.no_grad():
            found = model(one[None].astype(next(model.parameters()).dtype))
        found = (found[0] if isinstance(found, tuple) else found).numpy()
        want = found[0, -1] if found.ndim == 3 else found.reshape(-1)
        assert [out[name][row].as_py() for name in out.column_names[1:]] == want.tolist()
    if name != "without lengths":
        with pytest.raises(ScoringError, match="expected 3 feature columns .*found 2: a, b"):
            collect(score_batches(model, long_table(ragged([3], 2))))


def test_tokens():
    fs.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 8), nn.LSTM(8, 3), nn.LastStep(), nn.Linear(3, 1)).eval()
    table = pa.table({"unique_id": ["p", "q"], "tokens": [[1, 2, 3], [4, 0]]})
    out = collect(score_batches(model, table))["prediction"].to_pylist()
    with fs.no_grad():
        assert out == [model(np.array([row])).numpy()[0, 0] for row in ([1, 2, 3], [4, 0])]
    for wrong, message in (([1.5], "whole numbers"), ([5.0], r"0\.\.4")):
        table = pa.table({"unique_id": ["p"], "tokens": [wrong]})
        with pytest.raises(ScoringError, match=f"row 1: the model refused the series: .*{message}"):
            collect(score_batches(model, table))


def test_models_of_keras_names():
    fs.manual_seed(0)
    from fastseq import layers, models

    series = ragged([3, 9, 1])
    model = models.Sequential([layers.Input((None, 3)), layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)])
    out = collect(score_batches(model, long_table(series)))
    for row, one in enumerate(series):
        want = model(one[None]).numpy()[0]
        assert [out[name][row].as_py() for name in ("prediction_0", "prediction_1")] == want.tolist()
    tokens = models.Sequential([layers.Input((None,)), layers.Embedding(5, 4), layers.GRU(3), layers.Dense(1)])
    out = collect(score_batches(tokens, pa.table({"unique_id": [1], "t": [[1, 4]]})))
    assert out["prediction"].to_pylist() == tokens(np.array([[1, 4]])).numpy()[0].tolist()
    with pytest.raises(ScoringError, match="model: expected one with weights, found one that was saved before"):
        collect(score_batches(models.Sequential([layers.LSTM(4)]), long_table(series)))
