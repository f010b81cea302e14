"""Vectors along an axis: their length made one, and the cosine between two."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Return vectors along an axis divided by their p-norm.

    Parameters
    ----------
    input
        Any shape.
    p
        The order of the norm.
    dim
        The axis.
    eps
        The least number to divide by.
    """
    return ops.div(input, ops.clip(ops.norm(input, p, dim, True), eps))


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosine of the angle between vectors along an axis.

    Parameters
    ----------
    x1, x2
        Shapes that broadcast.
    dim
        The axis.
    eps
        The least length to divide by.
    """
    shape = np.broadcast_shapes(array(x1).shape, array(x2).shape)
    one, other = ops.broadcast_to(x1, shape), ops.broadcast_to(x2, shape)
    lengths = (ops.clip(ops.norm(x, 2, dim), eps) for x in (one, other))
    return ops.div(ops.sum(ops.mul(one, other), dim), ops.mul(*lengths))
