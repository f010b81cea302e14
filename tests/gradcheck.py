"""Gradients against central finite differences in float64, for operations and for layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fastseq.autograd import Tensor, no_grad


def gradcheck(
    function: Callable[..., Any],
    *inputs: Any,
    parameters: Iterable[Tensor] = (),
    eps: float = 1e-6,
    atol: float = 1e-7,
    rtol: float = 1e-5,
    seed: int = 0,
) -> None:
    """Assert that backward gives the derivatives that finite differences find.

    Each floating output is weighted with random numbers (the upstream gradients) and the sum is differentiated, first
    by ``backward`` and then by moving one number at a time by ``eps`` up and down.

    Parameters
    ----------
    function
        Called with the inputs; returns a Tensor or a (nested) tuple or list of Tensors (None is left out). A Module
        brings its parameters itself.
    *inputs
        float64 ndarrays are checked; anything else (lengths, indices, None, numbers) is passed as it is.
    parameters
        Further float64 leaves to check, for a function that is not a Module.
    eps
        How far to move.
    atol, rtol
        What the difference may be.
    seed
        Of the upstream gradients.
    """
    arguments = [
        Tensor(x.copy(), requires_grad=True) if isinstance(x, np.ndarray) and x.dtype == np.float64 else x
        for x in inputs
    ]
    leaves = {f"input {k}": x for k, x in enumerate(arguments) if isinstance(x, Tensor)}
    named = getattr(function, "named_parameters", None)
    leaves.update(named() if named else ())
    leaves.update((f"parameter {k}", p) for k, p in enumerate(parameters))
    for name, leaf in leaves.items():
        assert leaf.dtype == np.float64, f"{name}: finite differences need float64, got {leaf.dtype}"
        leaf.grad = None

    outputs = list(tensors(function(*arguments)))
    assert outputs, "the function returned no tensor of a floating dtype"
    random = np.random.default_rng(seed)
    upstream = [random.standard_normal(out.shape) for out in outputs]
    total = sum((out * g).sum() for out, g in zip(outputs, upstream, strict=True))
    total.backward()

    def value() -> float:
        with no_grad():
            moved = tensors(function(*arguments))
            return float(sum(np.sum(out.numpy() * g) for out, g in zip(moved, upstream, strict=True)))

    for name, leaf in leaves.items():
        assert leaf.grad is not None or leaf.numel() == 0, f"{name}: no gradient arrived"
        found = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
        assert found.shape == leaf.shape
        assert found.dtype == leaf.dtype
        expected = differences(value, leaf, eps)
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=name)


def differences(value: Callable[[], float], leaf: Tensor, eps: float) -> np.ndarray:
    """Return the central differences of ``value()`` with respect to every number in ``leaf``."""
    slopes = np.zeros(leaf.shape)
    storage = leaf._data
    for place in np.ndindex(storage.shape):
        former = storage[place]
        results = []
        for moved in (former + eps, former - eps):
            storage[place] = moved
            leaf._version[0] += 1
            results.append(value())
        storage[place] = former
        leaf._version[0] += 1
        slopes[place] = (results[0] - results[1]) / (2 * eps)
    return slopes


def tensors(result: Any) -> Iterable[Tensor]:
    """Yield the floating tensors of a (nested) result, in order."""
    if isinstance(result, Tensor):
        if result.dtype.kind == "f":
            yield result
    elif isinstance(result, (tuple, list)):
        for part in result:
            yield from tensors(part)
