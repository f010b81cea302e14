"""One module per peer: how it does each kind of task, from the same weights and data.

An adapter names the distributions it needs (``PACKAGES``), the cells it has (``CELLS``) and, per kind of task, its
ways of doing it (``WAYS``: a label for the tables and a function from task and problem to `Run`). What it imports, it
imports in those functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    module = adapter(peer)
    return module.WAYS.get(task.way, {}) if task.cell in module.CELLS else {}


def gradients(task: Task, of: Mapping[str, np.ndarray]) -> Results:
    """Name a layer's gradients, which a peer has by PyTorch's names, as they are compared.

    Keras has one bias where the two of PyTorch get the same gradient; a GRU's get different ones.
    """
    found = {"d_weight_ih": of["weight_ih_l0"], "d_bias": of["bias_ih_l0"]}
    if task.cell != "MinGRU":
        found["d_weight_hh"] = of["weight_hh_l0"]
    return found | ({"d_bias_hh": of["bias_hh_l0"]} if task.cell == "GRU" else {})


def versions(peer: str) -> dict[str, str] | None:
    """Return the versions of a peer's distributions, or None where one is not installed."""
    try:
        return {name: metadata.version(name) for name in adapter(peer).PACKAGES}
    except metadata.PackageNotFoundError:
        return None
