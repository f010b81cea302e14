"""Differentiable operations on arrays: the place to import them from.

Every function takes Tensors, ndarrays or numbers and gives a Tensor; most are methods of Tensor too.
"""

from __future__ import annotations

from fastseq.autograd.ops_arithmetic import (
    add,
    clip,
    compare,
    div,
    masked_fill,
    maximum,
    minimum,
    mul,
    pow,
    sub,
    where,
)
from fastseq.autograd.ops_elementwise import (
    abs,
    cast,
    clone,
    cos,
    erf,
    exp,
    expm1,
    log,
    log1p,
    neg,
    relu,
    sigmoid,
    sin,
    sqrt,
    square,
    tanh,
)
from fastseq.autograd.ops_linear import affine, matmul
from fastseq.autograd.ops_reduce import (
    all,
    any,
    argmax,
    argmin,
    cumsum,
    max,
    mean,
    min,
    std,
    sum,
    var,
)
from fastseq.autograd.ops_shape import (
    broadcast_to,
    concatenate,
    flatten,
    flip,
    getitem,
    permute,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
    unbind,
    unsqueeze,
)
from fastseq.autograd.ops_softmax import log_softmax, logsumexp, softmax

cat = concatenate
clamp = clip
amax = max
amin = min

__all__ = [
    "abs", "add", "affine", "all", "amax", "amin", "any", "argmax", "argmin", "broadcast_to", "cast", "cat", "clamp",
    "clip", "clone", "compare", "concatenate", "cos", "cumsum", "div", "erf", "exp", "expm1", "flatten", "flip",
    "getitem", "log", "log1p", "log_softmax", "logsumexp", "masked_fill", "matmul", "max", "maximum", "mean", "min",
    "minimum", "mul", "neg", "permute", "pow", "relu", "reshape", "sigmoid", "sin", "softmax", "split",
    "sqrt", "square", "squeeze", "stack", "std", "sub", "sum", "swapaxes", "tanh", "transpose", "unbind", "unsqueeze",
    "var", "where",
]  # fmt: skip
