"""One module per peer: how it does each kind of task, from the same weights and data.

An adapter names the distributions it needs (``PACKAGES``) and, per kind of task, its ways of doing it (``WAYS``: a
label for the tables and a function from task and problem to `Run`). What it imports, it imports in those functions.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module, metadata
from types import ModuleType
from typing import NamedTuple

import numpy as np

from benchmarks.peers.tasks import Problem, Task

Results = dict[str, np.ndarray]


class Run(NamedTuple):
    """A task made ready.

    ``results`` is called once, before any clock starts, and returns what is compared: outputs, gradients or losses by
    name, in PyTorch's layouts. ``call(*arguments)`` is what is timed.
    """

    call: Callable[..., object]
    results: Callable[[], Results]
    arguments: tuple[object, ...] = ()


MODULES = {
    "fastseq": "fastseq_layers",
    "torch": "torch_eager",
    "onnxruntime": "onnx_runtime",
    "jax": "jax_scan",
    "keras": "keras_tensorflow",
    "numpy": "numpy_loop",
}


def adapter(peer: str) -> ModuleType:
    """Return a peer's module; it imports nothing of the peer yet."""
    return import_module(f"benchmarks.peers.adapters.{MODULES[peer]}")


def ways(peer: str, task: Task) -> dict[str, Callable[[Task, Problem], Run]]:
    """Return a peer's ways of doing a task, by label; none where it has none."""
    return adapter(peer).WAYS.get(task.way, {})


def versions(peer: str) -> dict[str, str] | None:
    """Return the versions of a peer's distributions, or None where one is not installed."""
    try:
        return {name: metadata.version(name) for name in adapter(peer).PACKAGES}
    except metadata.PackageNotFoundError:
        return None
