"""Models for the tests of `fastseq.interop`: one per thing that a file must keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastseq import nn

#: Recurrent layers by name, with the options that choose their equations; all of those that there are.
CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("LSTM", {}),
    "lstm_relu": ("LSTM", {"activation": "relu"}),
    "peephole": ("PeepholeLSTM", {}),
    "gru": ("GRU", {}),
    "gru_before": ("GRU", {"reset_after": False}),
    "rnn": ("RNN", {}),
    "rnn_relu": ("RNN", {"nonlinearity": "relu"}),
}


def has(name: str) -> bool:
    """Whether this fastseq has the layer with these options."""
    kind, options = CELLS[name]
    try:
        getattr(nn, kind)(1, 1, **options)
    except (AttributeError, TypeError):
        return False
    return True


THERE = [name for name in CELLS if has(name)]


def recurrent(name: str, *sizes: int, **options: Any) -> nn.Module:
    """A recurrent layer by its name here."""
    kind, own = CELLS[name]
    return getattr(nn, kind)(*sizes, **own, **options)


def drawn(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with weights that are not near zero, in evaluation mode."""
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.data = (0.5 * rng.standard_normal(parameter.shape)).astype(parameter.dtype)
    return model.eval()


def encoder() -> nn.Module:
    """Two encoder layers with a norm behind them."""
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12), 2, nn.LayerNorm(8))


#: Models of rows (B, T, 3), beside single recurrent layers.
SEQUENCES: dict[str, Callable[[], nn.Module]] = {
    "steps": lambda: nn.Sequential(nn.LSTM(3, 5, 2), nn.Dropout(0.5), nn.LayerNorm(5), nn.Linear(5, 2)),
    "last": lambda: nn.Sequential(
        nn.Standardize([1.0, 2, 3], [1.0, 2, 4]), nn.LSTM(3, 5), nn.LastStep(), nn.Linear(5, 2)
    ),
    "last of both": lambda: nn.Sequential(nn.LSTM(3, 5, bidirectional=True), nn.LastStep(True), nn.Linear(10, 2)),
    "mean": lambda: nn.Sequential(nn.LSTM(3, 5), nn.MeanPool(), nn.Linear(5, 2), nn.Softmax()),
    "max": lambda: nn.Sequential(nn.LSTM(3, 5), nn.MaxPool(), nn.Linear(5, 2, bias=False), nn.LogSoftmax()),
    "activations": lambda: nn.Sequential(
        nn.LSTM(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.GELU(), nn.SiLU(), nn.ELU(0.5), nn.LeakyReLU(0.3),
        nn.Softplus(2.0), nn.Tanh(), nn.Sigmoid(), nn.GELU("tanh"), nn.Rescale([2.0, 3, 4, 5], [1.0, 0, 1, 2]),
    ),
    "attention": lambda: nn.Sequential(nn.Linear(3, 8), nn.MultiheadAttention(8, 2), nn.LayerNorm(8)),
    "causal": lambda: nn.Sequential(
        nn.Linear(3, 8), nn.MultiheadAttention(8, 4, bias=False, causal=True), nn.Linear(8, 1)
    ),
    "residual": lambda: nn.Sequential(nn.Linear(3, 4), nn.Residual(nn.LSTM(4, 4)), nn.MLP(4, [6], 2)),
    "encoder": lambda: nn.Sequential(nn.Linear(3, 8), encoder(), nn.MeanPool(), nn.Linear(8, 2)),
    "encoder before": lambda: nn.Sequential(
        nn.Linear(3, 8), nn.TransformerEncoderLayer(8, 2, 12, activation="gelu", norm_first=True, causal=True)
    ),
}  # fmt: skip


def rows(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Features in float32."""
    return rng.standard_normal(shape).astype(np.float32)


def outputs(model: nn.Module, x: np.ndarray, lengths: Any = None) -> list[np.ndarray]:
    """What a model returns, flat: the output, then the final states."""
    found = model(x, lengths=lengths) if model.uses_lengths else model(x)
    flat = [found]
    while any(isinstance(one, tuple) for one in flat):
        flat = [inner for one in flat for inner in (one if isinstance(one, tuple) else (one,))]
    return [one.numpy() for one in flat if one is not None]
