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
from fastseq.autograd.ops_arrange import (
    chunk,
    expand,
    meshgrid,
    movedim,
    one_hot,
    pad,
    repeat,
    roll,
    tile,
    tril,
    triu,
    unflatten,
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
from fastseq.autograd.ops_order import argsort, extreme, median, sort, topk, unique
from fastseq.autograd.ops_products import einsum, norm, outer, prod
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
from fastseq.autograd.ops_rounding import ceil, floor, floor_divide, remainder, round, sign, trunc
from fastseq.autograd.ops_select import (
    diag,
    diagonal,
    gather,
    index_select,
    masked_select,
    narrow,
    nonzero,
    repeat_interleave,
    scatter,
    scatter_add,
    select,
    take,
    take_along_dim,
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
    "abs", "add", "affine", "all", "amax", "amin", "any", "argmax", "argmin", "argsort", "broadcast_to", "cast",
    "cat", "ceil", "chunk", "clamp", "clip", "clone", "compare", "concatenate", "cos", "cumsum", "diag", "diagonal",
    "div", "einsum", "erf", "exp", "expand", "expm1", "extreme", "flatten", "flip", "floor", "floor_divide", "gather",
    "getitem", "index_select", "log", "log1p", "log_softmax", "logsumexp", "masked_fill", "masked_select", "matmul",
    "max", "maximum", "mean", "median", "meshgrid", "min", "minimum", "movedim", "mul", "narrow", "neg", "nonzero",
    "norm", "one_hot", "outer", "pad", "permute", "pow", "prod", "relu", "remainder", "repeat", "repeat_interleave",
    "reshape", "roll", "round", "scatter", "scatter_add", "select", "sigmoid", "sign", "sin", "softmax", "sort",
    "split", "sqrt", "square", "squeeze", "stack", "std", "sub", "sum", "swapaxes", "take", "take_along_dim", "tanh",
    "tile", "topk", "transpose", "tril", "triu", "trunc", "unbind", "unflatten", "unique", "unsqueeze", "var",
    "where",
]  # fmt: skip
