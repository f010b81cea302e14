"""Tasks of one launch meet nowhere, however many there are: any order gives the bits of one thread."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.jit import kernels
from tests.task_order import TaskOrder

KINDS = {
    "LSTM": lambda: nn.LSTM(1, 3, bidirectional=True),
    "GRU": lambda: nn.GRU(3, 1, num_layers=2),
    "RNN": lambda: nn.RNN(5, 40),
    "Conv1d": lambda: nn.Conv1d(3, 5, 3, padding="same"),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(3, 3, 5, dropout=0.0),
    "MLP": lambda: nn.MLP(3, 140, 17),
}
RARE = {
    "GRU before": lambda: nn.GRU(3, 2, reset_after=False),
    "projected": lambda: nn.LSTM(2, 3, proj_size=1, bidirectional=True),
    "LayerNormLSTM": lambda: nn.LayerNormLSTM(1, 1, num_layers=2),
    "PeepholeLSTM": lambda: nn.PeepholeLSTM(2, 1),
    "MinGRU": lambda: nn.MinGRU(1, 2),
}


@pytest.mark.parametrize("kind", [*KINDS, *(pytest.param(kind, marks=pytest.mark.slow) for kind in RARE)])
def test_any_order_of_any_number_of_tasks(kind, rng, shards, monkeypatch):
    layer = (KINDS | RARE)[kind]()
    features = getattr(layer, "input_size", 3)
    x, lengths = rng.standard_normal((9, 7, features)).astype(np.float32), rng.integers(0, 8, 9)

    def run() -> list[bytes]:
        leaf = fs.Tensor(x, requires_grad=True)
        layer.zero_grad()
        out = layer(leaf, lengths=lengths)
        out = out[0] if isinstance(out, tuple) else out
        (out * out).sum().backward()
        return [value.numpy().tobytes() for value in (out, leaf.grad, *(p.grad for p in layer.parameters()))]

    shards(1)
    want = run()
    for count in (2, 5, 16, 64):
        shards(count)
        tasks = TaskOrder(count)
        with monkeypatch.context() as patch:
            patch.setattr(kernels, "launch", tasks)
            assert run() == want
        assert tasks.most > 1
