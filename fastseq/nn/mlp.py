"""MLP: dense layers with an activation and dropout between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor
from fastseq.nn import functional
from fastseq.nn.containers import ModuleList
from fastseq.nn.linear import Linear
from fastseq.nn.module import Module
from fastseq.nn.tokens import as_tensor, row_lengths, tokens_of

ACTIVATIONS = ("relu", "gelu", "silu", "tanh", "sigmoid", "elu", "leaky_relu", "softplus")


class MLP(Module):
    """A multi-layer perceptron: dense layers, an activation and dropout after each but the last.

    Parameters
    ----------
    in_features
        I.
    hidden_features
        The sizes of the hidden layers, from the first on; a number for one layer, an empty list for none.
    out_features
        O.
    activation
        A function's name in `fastseq.nn.functional`: relu, gelu, silu, tanh, sigmoid, elu, leaky_relu, softplus.
    dropout
        Probability of dropping a hidden unit, while training.
    bias
        Whether the dense layers have biases.
    dtype
        float32 or float64.

    Attributes
    ----------
    layers : ModuleList
        The dense layers (Linear).
    """

    _config = ("in_features", "hidden_features", "out_features", "activation", "dropout", "bias", "dtype")

    def __init__(
        self,
        in_features: int,
        hidden_features: int | Sequence[int],
        out_features: int,
        activation: str = "relu",
        dropout: float = 0.0,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        given = hidden_features if isinstance(hidden_features, (tuple, list)) else (hidden_features,)
        self.in_features = checks.integer("in_features", in_features, 1)
        self.hidden_features = tuple(checks.integer("hidden_features", n, 1) for n in given)
        self.out_features = checks.integer("out_features", out_features, 1)
        self.activation = checks.choice("activation", activation, ACTIVATIONS)
        self.dropout = checks.real("dropout", dropout, 0.0, 1.0)
        self.bias = checks.boolean("bias", bias)
        self.dtype = checks.float_dtype("dtype", dtype)
        sizes = (self.in_features, *self.hidden_features, self.out_features)
        self.layers = ModuleList()
        for inputs, outputs in zip(sizes, sizes[1:], strict=False):
            self.layers.append(Linear(inputs, outputs, self.bias, dtype=self.dtype))

    def forward(self, x: Any, lengths: Any = None) -> Tensor:
        """Return the last layer's sums.

        Parameters
        ----------
        x
            (..., I). Converted to the layer's dtype.
        lengths
            Valid steps per row of x (B, T, I), integers (B,): what stands past them is not read and gives zeros.
            Without an axis of steps they mean nothing.

        Returns
        -------
        Tensor
            (..., O)

        Raises
        ------
        ValueError
            If a shape or a length does not fit.
        """
        if lengths is not None and array(x).ndim == 3:
            rows = as_tensor("x", x, self.in_features, self.dtype)
            valid = row_lengths("lengths", lengths, *rows.shape[:2])
            if valid is not None:
                tokens = tokens_of(rows, valid)
                return tokens.padded(self._apply(tokens.values))
        return self._apply(x)

    def _apply(self, x: Any) -> Tensor:
        function = getattr(functional, self.activation)
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number < last:
                x = functional.dropout(function(x), self.dropout, self.training)
        return x
