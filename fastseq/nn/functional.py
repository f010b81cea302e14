"""Functions that layers are made of, with PyTorch's names and arguments.

All take Tensors or ndarrays and give Tensors; each is one node of the tape.
"""

from __future__ import annotations

from fastseq.autograd.ops import log_softmax, relu, sigmoid, softmax, tanh
from fastseq.autograd.ops_linear import affine as linear
from fastseq.nn.functional_activations import dropout, elu, gelu, leaky_relu, silu, softplus

__all__ = [
    "dropout",
    "elu",
    "gelu",
    "leaky_relu",
    "linear",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]
