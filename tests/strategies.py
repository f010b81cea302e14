"""Hypothesis strategies: ragged batches and layer configurations, small enough for the scalar oracle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st


@dataclass(frozen=True)
class RaggedBatch:
    """Padded rows with their lengths; ``x`` holds NaN past every length, so that reading padding shows."""

    x: np.ndarray
    lengths: np.ndarray

    @property
    def zero_padded(self) -> np.ndarray:
        """The same rows with zeros for padding."""
        return np.where(self.valid[:, :, None], self.x, np.zeros((), self.x.dtype))

    @property
    def valid(self) -> np.ndarray:
        """(B, T) True where a step is valid."""
        return np.arange(self.x.shape[1]) < self.lengths[:, None]

    @property
    def sequences(self) -> list[np.ndarray]:
        """The rows cut to their lengths."""
        return [row[:n] for row, n in zip(self.x, self.lengths, strict=True)]


@st.composite
def ragged_batches(
    draw: st.DrawFn,
    *,
    max_batch: int = 7,
    max_steps: int = 9,
    max_features: int = 5,
    min_length: int = 0,
    dtype: type = np.float32,
) -> RaggedBatch:
    """Batches of 1 to ``max_batch`` rows with lengths from ``min_length`` to T, every T from 1 on, in any order."""
    batch = draw(st.integers(1, max_batch), label="B")
    steps = draw(st.integers(max(1, min_length), max_steps), label="T")
    features = draw(st.integers(1, max_features), label="F")
    lengths = draw(st.lists(st.integers(min_length, steps), min_size=batch, max_size=batch), label="lengths")
    seed = draw(st.integers(0, 2**32 - 1), label="seed")
    x = np.random.default_rng(seed).standard_normal((batch, steps, features)).astype(dtype)
    for row, n in enumerate(lengths):
        x[row, n:] = np.nan
    return RaggedBatch(x, np.array(lengths, dtype=np.int64))


KINDS = {"LSTM": ("LSTM", {}), "GRU": ("GRU", {}), "GRU before": ("GRU", {"reset_after": False}), "RNN": ("RNN", {})}
"""Recurrent layers: their class and options."""


@dataclass(frozen=True)
class LayerShape:
    """What a recurrent layer is built from, besides its input size."""

    hidden_size: int
    num_layers: int
    bidirectional: bool
    bias: bool
    seed: int
    kind: str = "LSTM"

    @property
    def directions(self) -> int:
        """Directions per layer."""
        return 2 if self.bidirectional else 1


@st.composite
def layer_shapes(draw: st.DrawFn, *, max_hidden: int = 20, max_layers: int = 3) -> LayerShape:
    """Hidden sizes on and off every lane multiple, one or several layers, one or two directions, any kind of cell."""
    return LayerShape(
        hidden_size=draw(st.integers(1, max_hidden), label="H"),
        num_layers=draw(st.integers(1, max_layers), label="L"),
        bidirectional=draw(st.booleans(), label="bidirectional"),
        bias=draw(st.booleans(), label="bias"),
        seed=draw(st.integers(0, 2**32 - 1), label="layer seed"),
        kind=draw(st.sampled_from(list(KINDS)), label="kind"),
    )
