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
        jit,
        nn,
        optim,
        persistence,
        scoring,
        streaming,
        training,
    )
    from fastseq.autograd.mode import enable_grad, is_grad_enabled, no_grad
    from fastseq.autograd.tensor import Tensor
    from fastseq.jit import get_num_threads, set_num_threads
    from fastseq.nn.init import manual_seed
    from fastseq.persistence import load, load_state, save, save_state
    from fastseq.streaming import Stream, StreamPool
    from fastseq.training import fit, predict

__version__ = "0.1.0"

_NAMES = {
    "Stream": "fastseq.streaming",
    "StreamPool": "fastseq.streaming",
    "Tensor": "fastseq.autograd.tensor",
    "enable_grad": "fastseq.autograd.mode",
    "fit": "fastseq.training",
    "get_num_threads": "fastseq.jit",
    "is_grad_enabled": "fastseq.autograd.mode",
    "load": "fastseq.persistence",
    "load_state": "fastseq.persistence",
    "manual_seed": "fastseq.nn.init",
    "no_grad": "fastseq.autograd.mode",
    "predict": "fastseq.training",
    "save": "fastseq.persistence",
    "save_state": "fastseq.persistence",
    "set_num_threads": "fastseq.jit",
}
_SUBMODULES = (
    "autograd",
    "batch",
    "cli",
    "datasets",
    "forecasting",
    "jit",
    "nn",
    "optim",
    "persistence",
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
    "cli",
    "datasets",
    "enable_grad",
    "fit",
    "forecasting",
    "get_num_threads",
    "is_grad_enabled",
    "jit",
    "load",
    "load_state",
    "manual_seed",
    "nn",
    "no_grad",
    "optim",
    "persistence",
    "predict",
    "save",
    "save_state",
    "scoring",
    "set_num_threads",
    "streaming",
    "training",
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
