"""Keras 3's layers: its names, arguments, defaults, masks and weight layouts over the modules of ``fastseq.nn``."""

from __future__ import annotations

from typing import Any

from fastseq.layers import constraints, initializers, regularizers
from fastseq.layers.activation_layers import ELU, LeakyReLU, PReLU, ReLU, Softmax
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
from fastseq.layers.batch_normalization import BatchNormalization
from fastseq.layers.cells import GRU, LSTM, SimpleRNN
from fastseq.layers.dot_attention import AdditiveAttention, Attention, Dot
from fastseq.layers.functions import (
    Identity,
    Lambda,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from fastseq.layers.inputs import Input, InputLayer
from fastseq.layers.layer import Layer
from fastseq.layers.merging import (
    Add,
    Average,
    Concatenate,
    Flatten,
    Maximum,
    Minimum,
    Multiply,
    RepeatVector,
    Reshape,
    Subtract,
)
from fastseq.layers.noise import GaussianDropout, GaussianNoise
from fastseq.layers.reshaping import Cropping1D, Permute, UpSampling1D, ZeroPadding1D
from fastseq.layers.rnn import RNN, StackedRNNCells
from fastseq.layers.single_steps import GRUCell, LSTMCell, SimpleRNNCell
from fastseq.layers.steps import Conv1D, GlobalAveragePooling1D, GlobalMaxPooling1D
from fastseq.layers.window_pooling import AveragePooling1D, MaxPooling1D
from fastseq.layers.wrappers import Bidirectional, TimeDistributed, Wrapper

#: Keras's second names.
AvgPool1D, MaxPool1D = AveragePooling1D, MaxPooling1D
GlobalAvgPool1D, GlobalMaxPool1D = GlobalAveragePooling1D, GlobalMaxPooling1D
Convolution1D = Conv1D

__all__ = [
    "Activation",
    "Add",
    "AdditiveAttention",
    "Attention",
    "Average",
    "AveragePooling1D",
    "AvgPool1D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Convolution1D",
    "Cropping1D",
    "Dense",
    "Dot",
    "Dropout",
    "ELU",
    "Embedding",
    "Flatten",
    "GRU",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAvgPool1D",
    "GlobalMaxPool1D",
    "GlobalMaxPooling1D",
    "Identity",
    "Input",
    "InputLayer",
    "LSTM",
    "LSTMCell",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPool1D",
    "MaxPooling1D",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "PReLU",
    "Permute",
    "RNN",
    "ReLU",
    "RepeatVector",
    "Reshape",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "SpatialDropout1D",
    "StackedRNNCells",
    "Subtract",
    "TimeDistributed",
    "UpSampling1D",
    "Wrapper",
    "ZeroPadding1D",
    "add",
    "average",
    "concatenate",
    "constraints",
    "dot",
    "initializers",
    "maximum",
    "minimum",
    "multiply",
    "regularizers",
    "subtract",
]


def __getattr__(name: str) -> Any:
    """Say which of Keras's layers there are."""
    raise AttributeError(f"fastseq.layers has no attribute {name!r}; it has {', '.join(__all__)}")
