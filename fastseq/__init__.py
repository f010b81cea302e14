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
    from fastseq.layers import initializers, regularizers
    from fastseq.models import losses, metrics, optimizers
    from fastseq.nn.init import manual_seed
    from fastseq.persistence import load, load_state, save, save_state
    from fastseq.streaming import Stream, StreamPool
    from fastseq.training import callbacks, fit, predict

__version__ = "0.1.0"

_NAMES = {
    "Stream": "fastseq.streaming",
    "StreamPool": "fastseq.streaming",
    "Tensor": "fastseq.autograd.tensor",
    "callbacks": "fastseq.training",
    "enable_grad": "fastseq.autograd.mode",
    "fit": "fastseq.training",
    "get_num_threads": "fastseq.jit",
    "initializers": "fastseq.layers",
    "is_grad_enabled": "fastseq.autograd.mode",
    "load": "fastseq.persistence",
    "load_state": "fastseq.persistence",
    "losses": "fastseq.models",
    "manual_seed": "fastseq.nn.init",
    "metrics": "fastseq.models",
    "no_grad": "fastseq.autograd.mode",
    "ones": "fastseq.creation",
    "optimizers": "fastseq.models",
    "predict": "fastseq.training",
    "rand": "fastseq.creation",
    "randn": "fastseq.creation",
    "regularizers": "fastseq.layers",
    "save": "fastseq.persistence",
    "save_state": "fastseq.persistence",
    "set_num_threads": "fastseq.jit",
    "tensor": "fastseq.creation",
    "zeros": "fastseq.creation",
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
    "Stream",
    "StreamPool",
    "Tensor",
    "__version__",
    "autograd",
    "batch",
    "callbacks",
    "cli",
    "datasets",
    "enable_grad",
    "fit",
    "forecasting",
    "get_num_threads",
    "initializers",
    "interop",
    "is_grad_enabled",
    "jit",
    "layers",
    "load",
    "load_state",
    "losses",
    "manual_seed",
    "metrics",
    "models",
    "nn",
    "no_grad",
    "ones",
    "optim",
    "optimizers",
    "persistence",
    "predict",
    "rand",
    "randn",
    "random",
    "regularizers",
    "save",
    "save_state",
    "scoring",
    "set_num_threads",
    "streaming",
    "tensor",
    "training",
    "zeros",
]


def __getattr__(name: str) -> Any:
    """Load a public name or submodule on first use."""
    if name in _NAMES:
        value = getattr(import_module(_NAMES[name]), name)
    elif name in _SUBMODULES:
        value = import_module(f"fastseq.{name}")
    else:
        raise AttributeError(f"module 'fastseq' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
