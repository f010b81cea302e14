"""Linear: a weighted sum of the features plus a bias."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd.operands import array
from fastseq.autograd.ops import affine, cast
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init
from fastseq.nn.module import Module, Parameter


class Linear(Module):
    """Return ``x @ weight.T + bias`` for any leading axes: (B, I), (B, T, I), ...

    Parameters
    ----------
    in_features
        I, at least 1.
    out_features
        O, at least 1.
    bias
        Whether there is one.
    dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter
        (O, I), from U(-1/sqrt(I), 1/sqrt(I)) at first, as in PyTorch.
    bias : Parameter or None
        (O,), from the same distribution.
    """

    _config = ("in_features", "out_features", "bias", "dtype")

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, dtype: DTypeLike = np.float32
    ) -> None:
        super().__init__()
        self.in_features = checks.integer("in_features", in_features, 1)
        self.out_features = checks.integer("out_features", out_features, 1)
        checks.product_fits("in_features", self.in_features, self.out_features)
        self.dtype = checks.float_dtype("dtype", dtype)
        self.weight = Parameter(np.empty((self.out_features, self.in_features), self.dtype))
        wanted = checks.boolean("bias", bias)
        self.register_parameter("bias", Parameter(np.empty(self.out_features, self.dtype)) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Any) -> Tensor:
        """Return the weighted sums.

        Parameters
        ----------
        input
            (..., I). Converted to the layer's dtype.

        Returns
        -------
        Tensor
            (..., O)

        Raises
        ------
        ValueError
            If the last axis is not I long.
        """
        found = array(input)
        if found.ndim == 0 or found.shape[-1] != self.in_features:
            raise checks.value_error("input", f"shape (..., {self.in_features})", found)
        return affine(
            input if found.dtype == self.weight.dtype else cast(input, self.weight.dtype), self.weight, self.bias
        )
