"""LayerNorm: every step brought to mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.ops_norm import layer_norm
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init
from fastseq.nn.module import Module, Parameter
from fastseq.nn.tokens import row_lengths, tokens_of


class LayerNorm(Module):
    """Return (x - mean) / sqrt(var + eps) * weight + bias, with mean and variance over the last axes.

    Parameters
    ----------
    normalized_shape
        The sizes of the last axes, which are normalised together: an integer or several.
    eps
        Added to the variance.
    elementwise_affine
        Whether there is a weight, and a bias.
    bias
        Whether there is a bias beside the weight.
    dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter or None
        Of shape normalized_shape, ones at first.
    bias : Parameter or None
        Of shape normalized_shape, zeros at first.

    Notes
    -----
    Ba et al., "Layer Normalization", 2016. The variance is the mean square, as in PyTorch. A step's bits depend on
    that step alone.
    """

    _config = ("normalized_shape", "eps", "elementwise_affine", "bias", "dtype")

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        given = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        shape = self.normalized_shape = tuple(checks.integer("normalized_shape", n, 1) for n in given)
        if not shape:
            raise checks.value_error("normalized_shape", "at least one size", "none")
        size = checks.product_fits("normalized_shape", *shape)
        self.eps = checks.real("eps", eps, 0.0)
        self.elementwise_affine = checks.boolean("elementwise_affine", elementwise_affine)
        wanted = checks.boolean("bias", bias) and self.elementwise_affine
        self.dtype = checks.float_dtype("dtype", dtype)
        init.expect_room(size if self.elementwise_affine else 0)
        self.register_parameter("weight", Parameter(np.ones(shape, self.dtype)) if self.elementwise_affine else None)
        self.register_parameter("bias", Parameter(np.zeros(shape, self.dtype)) if wanted else None)

    def reset_parameters(self) -> None:
        """Set the weight to ones and the bias to zeros."""
        for parameter, value in ((self.weight, 1.0), (self.bias, 0.0)):
            if parameter is not None:
                init.constant_(parameter, value)

    def forward(self, input: Any, lengths: Any = None) -> Tensor:
        """Return the normalised steps.

        Parameters
        ----------
        input
            (..., *normalized_shape). Converted to the layer's dtype.
        lengths
            Valid steps per row of an input (B, T, *normalized_shape), integers (B,): what stands past them is not read
            and gives zeros. Without an axis of steps they mean nothing.

        Returns
        -------
        Tensor
            Of the input's shape.

        Raises
        ------
        ValueError
            If the last axes differ from normalized_shape.
        """
        data = array(input)
        shape = self.normalized_shape
        leading = data.ndim - len(shape)
        if leading < 0 or data.shape[leading:] != shape:
            raise checks.value_error("input", f"shape (..., {', '.join(map(str, shape))})", data)
        if data.dtype != self.dtype:
            input = ops.cast(input, self.dtype)
        valid = row_lengths("lengths", lengths, *data.shape[:2]) if leading >= 2 else None
        if valid is None:
            return layer_norm(input, shape, self.weight, self.bias, self.eps)
        tokens = tokens_of(ops.reshape(input, (*data.shape[:2], -1)), valid)
        inner = ops.reshape(tokens.values, (-1, *data.shape[2:]))
        found = ops.reshape(layer_norm(inner, shape, self.weight, self.bias, self.eps), tokens.values.shape)
        return ops.reshape(tokens.padded(found), data.shape)
