"""Layers and models with PyTorch's names, shapes and layouts."""

from __future__ import annotations

from fastseq.nn import functional, init, utils
from fastseq.nn.activations import (
    ELU,
    GELU,
    Identity,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from fastseq.nn.attention import MultiheadAttention
from fastseq.nn.batch_norm import BatchNorm1d
from fastseq.nn.containers import ModuleDict, ModuleList, Sequential
from fastseq.nn.conv import Conv1d
from fastseq.nn.crf import CRF
from fastseq.nn.ctc import CTCLoss
from fastseq.nn.dropout import Dropout, VariationalDropout
from fastseq.nn.embedding import Embedding
from fastseq.nn.flatten import Flatten
from fastseq.nn.gru import GRU
from fastseq.nn.layer_norm_lstm import LayerNormLSTM
from fastseq.nn.linear import Linear
from fastseq.nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from fastseq.nn.losses_likelihood import GaussianNLLLoss, KLDivLoss, PoissonNLLLoss, QuantileLoss
from fastseq.nn.luong import LuongAttention
from fastseq.nn.minimal import MinGRU, MinLSTM
from fastseq.nn.mlp import MLP
from fastseq.nn.module import Module, Parameter
from fastseq.nn.norm import LayerNorm
from fastseq.nn.peephole import PeepholeLSTM
from fastseq.nn.pooling import AttentionPool, LastStep, MaxPool, MeanPool
from fastseq.nn.positions import LearnedPositions, SinusoidalPositions
from fastseq.nn.recurrent import LSTM
from fastseq.nn.recurrent_cells import GRUCell, LSTMCell, RNNCell
from fastseq.nn.rnn import RNN
from fastseq.nn.seq2seq import Seq2Seq
from fastseq.nn.standardize import Rescale, Standardize
from fastseq.nn.tagger import Tagger
from fastseq.nn.transformer import TransformerEncoder, TransformerEncoderLayer
from fastseq.nn.window_pooling import AvgPool1d, MaxPool1d
from fastseq.nn.wrappers import Bidirectional, Residual, WeightDrop

F = functional

__all__ = [
    "CRF",
    "CTCLoss",
    "GaussianNLLLoss",
    "KLDivLoss",
    "LuongAttention",
    "PoissonNLLLoss",
    "QuantileLoss",
    "Seq2Seq",
    "Tagger",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
    "ELU",
    "Embedding",
    "F",
    "GELU",
    "GRU",
    "GRUCell",
    "Identity",
    "LSTM",
    "LSTMCell",
    "LastStep",
    "LayerNorm",
    "LayerNormLSTM",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MaxPool",
    "MeanPool",
    "MinGRU",
    "MinLSTM",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiheadAttention",
    "Parameter",
    "PeepholeLSTM",
    "RNN",
    "RNNCell",
    "ReLU",
    "Rescale",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Standardize",
    "Tanh",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "Dropout",
    "functional",
    "init",
    "utils",
    "AttentionPool",
    "AvgPool1d",
    "BatchNorm1d",
    "Flatten",
    "MaxPool1d",
    "PReLU",
    "Bidirectional",
    "Conv1d",
    "LearnedPositions",
    "MLP",
    "Residual",
    "SinusoidalPositions",
    "VariationalDropout",
    "WeightDrop",
]
