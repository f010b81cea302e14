"""Functions that layers are made of, with PyTorch's names and arguments.

All take Tensors or ndarrays and give Tensors; each is one node of the tape.
"""

from __future__ import annotations

from fastseq.autograd.ops import log_softmax, one_hot, pad, relu, sigmoid, softmax, tanh
from fastseq.autograd.ops_embedding import embedding
from fastseq.autograd.ops_linear import affine as linear
from fastseq.autograd.ops_norm import layer_norm
from fastseq.nn.ctc import ctc_loss
from fastseq.nn.functional_activations import dropout, elu, gelu, leaky_relu, logsigmoid, prelu, silu, softplus
from fastseq.nn.functional_attention import scaled_dot_product_attention
from fastseq.nn.functional_classes import cross_entropy, nll_loss
from fastseq.nn.functional_likelihoods import gaussian_nll_loss, kl_div, poisson_nll_loss, quantile_loss
from fastseq.nn.functional_losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    huber_loss,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from fastseq.nn.functional_vectors import cosine_similarity, normalize

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "elu",
    "gaussian_nll_loss",
    "gelu",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "poisson_nll_loss",
    "prelu",
    "quantile_loss",
    "relu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
    "embedding",
    "layer_norm",
    "scaled_dot_product_attention",
]
