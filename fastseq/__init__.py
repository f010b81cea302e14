"""fastseq: recurrent networks for sequences on the CPU, compiled by Numba.

Names and submodules are loaded when first used, so that ``import fastseq`` costs nothing.
"""

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
    )
    from fastseq.autograd.mode import enable_grad, is_grad_enabled, no_grad
    from fastseq.autograd.tensor import Tensor
    from fastseq.creation import ones, rand, randn, tensor, zeros
    from fastseq.jit import get_num_threads, set_num_threads
    from fastseq.layers import Input, constraints, initializers, regularizers
    from fastseq.models import Model, Sequential, losses, metrics, optimizers
    from fastseq.nn.init import manual_seed
    from fastseq.persistence import load, load_state, save, save_state
    from fastseq.streaming import Stream, StreamPool
    from fastseq.torch_names import (
        arange,
        argmax,
        cat,
        cuda,
        device,
        exp,
        from_numpy,
        full,
        inference_mode,
        log,
        matmul,
        ones_like,
        randint,
        randperm,
        relu,
        sigmoid,
        softmax,
        stack,
        tanh,
        where,
        zeros_like,
    )
    from fastseq.training import callbacks, fit, predict

__version__ = "0.1.0"

_NAMES = {
    "Input": "fastseq.layers",
    "Model": "fastseq.models",
    "Sequential": "fastseq.models",
    "Stream": "fastseq.streaming",
    "StreamPool": "fastseq.streaming",
    "Tensor": "fastseq.autograd.tensor",
    "arange": "fastseq.torch_names",
    "argmax": "fastseq.torch_names",
    "callbacks": "fastseq.training",
    "cat": "fastseq.torch_names",
    "constraints": "fastseq.layers",
    "cuda": "fastseq.torch_names",
    "device": "fastseq.torch_names",
    "enable_grad": "fastseq.autograd.mode",
    "exp": "fastseq.torch_names",
    "fit": "fastseq.training",
    "from_numpy": "fastseq.torch_names",
    "full": "fastseq.torch_names",
    "get_num_threads": "fastseq.jit",
    "inference_mode": "fastseq.torch_names",
    "initializers": "fastseq.layers",
    "is_grad_enabled": "fastseq.autograd.mode",
    "load": "fastseq.persistence",
    "load_state": "fastseq.persistence",
    "log": "fastseq.torch_names",
    "losses": "fastseq.models",
    "manual_seed": "fastseq.nn.init",
    "matmul": "fastseq.torch_names",
    "metrics": "fastseq.models",
    "no_grad": "fastseq.autograd.mode",
    "ones": "fastseq.creation",
    "ones_like": "fastseq.torch_names",
    "optimizers": "fastseq.models",
    "predict": "fastseq.training",
    "rand": "fastseq.creation",
    "randint": "fastseq.torch_names",
    "randn": "fastseq.creation",
    "randperm": "fastseq.torch_names",
    "regularizers": "fastseq.layers",
    "relu": "fastseq.torch_names",
    "save": "fastseq.persistence",
    "save_state": "fastseq.persistence",
    "set_num_threads": "fastseq.jit",
    "sigmoid": "fastseq.torch_names",
    "softmax": "fastseq.torch_names",
    "stack": "fastseq.torch_names",
    "tanh": "fastseq.torch_names",
    "tensor": "fastseq.creation",
    "where": "fastseq.torch_names",
    "zeros": "fastseq.creation",
    "zeros_like": "fastseq.torch_names",
}
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
    "utils": ": to_categorical and pad_sequences are in fastseq.models.preprocessing; fit and predict take arrays and "
    "make the batches themselves, there is no DataLoader",
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
)

__all__ = [
    "Input",
    "Model",
    "Sequential",
    "Stream",
    "StreamPool",
    "Tensor",
    "__version__",
    "arange",
    "argmax",
    "autograd",
    "batch",
    "callbacks",
    "cat",
    "cli",
    "constraints",
    "cuda",
    "datasets",
    "device",
    "enable_grad",
    "exp",
    "fit",
    "forecasting",
    "from_numpy",
    "full",
    "get_num_threads",
    "inference_mode",
    "initializers",
    "interop",
    "is_grad_enabled",
    "jit",
    "layers",
    "load",
    "load_state",
    "log",
    "losses",
    "manual_seed",
    "matmul",
    "metrics",
    "models",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "optim",
    "optimizers",
    "persistence",
    "predict",
    "rand",
    "randint",
    "randn",
    "random",
    "randperm",
    "regularizers",
    "relu",
    "save",
    "save_state",
    "scoring",
    "set_num_threads",
    "sigmoid",
    "softmax",
    "stack",
    "streaming",
    "tanh",
    "tensor",
    "training",
    "where",
    "zeros",
    "zeros_like",
]


def __getattr__(name: str) -> Any:
    """Load a public name or submodule on first use."""
    if name in _NAMES:
        value = getattr(import_module(_NAMES[name]), name)
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
