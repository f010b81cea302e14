"""Keras 3's layers: its names, arguments, defaults, masks and weight layouts over the modules of ``fastseq.nn``."""

from __future__ import annotations

from typing import Any

from fastseq.layers import constraints, initializers, regularizers
from fastseq.layers.attention import MultiHeadAttention
from fastseq.layers.basic import (
    Activation,
    Dense,
    Dropout,
    Embedding,
    LayerNormalization,
    Masking,
    SpatialDropout1D,
)
from fastseq.layers.cells import GRU, LSTM, SimpleRNN
from fastseq.layers.functions import Identity, Lambda, add, average, concatenate, multiply
from fastseq.layers.inputs import Input, InputLayer
from fastseq.layers.layer import Layer
from fastseq.layers.merging import Add, Average, Concatenate, Flatten, Multiply, RepeatVector, Reshape
from fastseq.layers.rnn import RNN, StackedRNNCells
from fastseq.layers.single_steps import GRUCell, LSTMCell, SimpleRNNCell
from fastseq.layers.steps import Conv1D, GlobalAveragePooling1D, GlobalMaxPooling1D
from fastseq.layers.wrappers import Bidirectional, TimeDistributed, Wrapper

__all__ = [
    "Activation",
    "Add",
    "Average",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRU",
    "GRUCell",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "Identity",
    "Input",
    "InputLayer",
    "LSTM",
    "LSTMCell",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "Masking",
    "MultiHeadAttention",
    "Multiply",
    "RNN",
    "RepeatVector",
    "Reshape",
    "SimpleRNN",
    "SimpleRNNCell",
    "SpatialDropout1D",
    "StackedRNNCells",
    "TimeDistributed",
    "Wrapper",
    "add",
    "average",
    "concatenate",
    "constraints",
    "initializers",
    "multiply",
    "regularizers",
]


def __getattr__(name: str) -> Any:
    """Say which of Keras's layers there are."""
    raise AttributeError(f"fastseq.layers has no attribute {name!r}; it has {', '.join(__all__)}")
