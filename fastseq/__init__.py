"""fastseq: recurrent networks for sequences on the CPU, compiled by Numba.

Names and submodules are loaded when first used, so that ``import fastseq`` costs nothing.
"""

# ruff: noqa: F401 - what stands under TYPE_CHECKING is for type checkers; __all__ is put together below
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastseq import (
        autograd,
        batch,
        cli,
        datasets,
        forecasting,
        interop,
        jit,
        layers,
        models,
        nn,
        optim,
        persistence,
        random,
        scoring,
        streaming,
        training,
        utils,
    )
    from fastseq.autograd.device import device
    from fastseq.autograd.generator import Generator, manual_seed
    from fastseq.autograd.mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
    from fastseq.autograd.ops import einsum, meshgrid
    from fastseq.autograd.tensor import Tensor
    from fastseq.creation import (
        BoolTensor,
        DoubleTensor,
        FloatTensor,
        IntTensor,
        LongTensor,
        arange,
        as_tensor,
        empty,
        empty_like,
        eye,
        from_numpy,
        full,
        full_like,
        inf,
        linspace,
        nan,
        ones,
        ones_like,
        pi,
        tensor,
        zeros,
        zeros_like,
    )
    from fastseq.drawing import bernoulli, multinomial, normal, rand, rand_like, randint, randn, randn_like, randperm
    from fastseq.jit import get_num_threads, set_num_threads
    from fastseq.layers import Input, constraints, initializers, regularizers
    from fastseq.models import Model, Sequential, losses, metrics, optimizers
    from fastseq.persistence import load, load_state, save, save_state
    from fastseq.streaming import Stream, StreamPool
    from fastseq.torch_names import (
        Size,
        backends,
        cat,
        concat,
        concatenate,
        cuda,
        hstack,
        inference_mode,
        is_tensor,
        stack,
        vstack,
        where,
    )
    from fastseq.training import callbacks, fit, predict

__version__ = "0.1.0"

#: What each module gives to the package.
_GIVES = {
    "fastseq.autograd.device": "device",
    "fastseq.autograd.generator": "Generator manual_seed",
    "fastseq.autograd.mode": "enable_grad is_grad_enabled no_grad set_grad_enabled",
    "fastseq.autograd.ops": "einsum meshgrid",
    "fastseq.autograd.tensor": "Tensor",
    "fastseq.creation": "BoolTensor DoubleTensor FloatTensor IntTensor LongTensor arange as_tensor empty empty_like "
    "eye from_numpy full full_like inf linspace nan ones ones_like pi tensor zeros zeros_like",
    "fastseq.drawing": "bernoulli multinomial normal rand rand_like randint randn randn_like randperm",
    "fastseq.jit": "get_num_threads set_num_threads",
    "fastseq.layers": "Input constraints initializers regularizers",
    "fastseq.models": "Model Sequential losses metrics optimizers",
    "fastseq.persistence": "load load_state save save_state",
    "fastseq.streaming": "Stream StreamPool",
    "fastseq.torch_names": "Size backends cat concat concatenate cuda hstack inference_mode is_tensor stack vstack "
    "where",
    "fastseq.training": "callbacks fit predict",
}
_NAMES = {name: module for module, names in _GIVES.items() for name in names.split()}
#: Functions that call the method of the same name: ``fastseq.exp(x)`` is ``x.exp()``.
_METHODS = [
    "abs", "add", "all", "allclose", "amax", "amin", "any", "argmax", "argmin", "argsort", "bincount", "bmm",
    "broadcast_to", "ceil", "chunk", "clamp", "clamp_max", "clamp_min", "clip", "clone", "cos", "count_nonzero",
    "cumsum", "detach", "diag", "diagonal", "div", "dot", "eq", "equal", "erf", "exp", "expm1", "flatten", "flip",
    "floor", "floor_divide", "gather", "ge", "gt", "index_select", "isfinite", "isinf", "isnan", "le", "lerp", "log",
    "log10", "log1p", "log2", "log_softmax", "logical_and", "logical_not", "logical_or", "logical_xor", "logsumexp",
    "lt", "masked_fill", "masked_select", "matmul", "max", "maximum", "mean", "median", "min", "minimum", "mm",
    "movedim", "mul", "mv", "narrow", "ne", "neg", "nonzero", "norm", "numel", "outer", "permute", "pow", "prod",
    "reciprocal", "relu", "remainder", "repeat_interleave", "reshape", "roll", "round", "rsqrt", "scatter",
    "scatter_add", "select", "sigmoid", "sign", "sin", "softmax", "sort", "split", "sqrt", "square", "squeeze", "std",
    "sub", "sum", "swapaxes", "t", "take", "take_along_dim", "tanh", "tile", "topk", "transpose", "tril", "triu",
    "trunc", "unbind", "unflatten", "unique", "unsqueeze", "var",
]  # fmt: skip
#: PyTorch's names of dtypes, and NumPy's.
_DTYPES = {
    "bool": "bool_",
    "double": "float64",
    "float": "float32",
    "float32": "float32",
    "float64": "float64",
    "int": "int32",
    "int32": "int32",
    "int64": "int64",
    "long": "int64",
}
#: Where to look for what PyTorch or Keras have under a name that fastseq has not.
_ELSEWHERE = {
    "compile": ": there is nothing to compile, kernels are compiled when first used",
    "keras": ": layers, models, optimizers, losses, metrics and callbacks are in fastseq itself",
    "onnx": ": models are exported by fastseq.interop.to_onnx",
}
_SUBMODULES = (
    "autograd",
    "batch",
    "cli",
    "datasets",
    "forecasting",
    "interop",
    "jit",
    "layers",
    "models",
    "nn",
    "optim",
    "persistence",
    "random",
    "scoring",
    "streaming",
    "training",
    "utils",
)

__all__ = ["__version__", *_SUBMODULES, *_NAMES, *_METHODS]


def __getattr__(name: str) -> Any:
    """Load a public name or submodule on first use."""
    if name in _NAMES:
        value = getattr(import_module(_NAMES[name]), name)
    elif name in _METHODS:
        value = import_module("fastseq.torch_names").function_of(name)
    elif name in _SUBMODULES:
        value = import_module(f"fastseq.{name}")
    elif name in _DTYPES:
        value = getattr(import_module("numpy"), _DTYPES[name])
    else:
        raise AttributeError(f"module 'fastseq' has no attribute {name!r}{_ELSEWHERE.get(name, '')}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
