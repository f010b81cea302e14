"""State that recurrent layers carry from one call of a model to the next: training in windows of long sequences.

Truncated back-propagation through time (Williams and Peng, 1990): the forward pass goes on from where the window
before ended, the backward pass ends at the window's first step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.nn import Module
from fastseq.nn.recurrent import Recurrent
from fastseq.training.objective import evaluating, run
from fastseq.training.rows import Rows


class CarriedState:
    """Lets a model's recurrent layers go on, at each call, from where the call before ended.

    As a context manager: inside the ``with`` block every recurrent layer that is called without an initial state
    starts from its last final state, detached from the tape, instead of from zeros. Rows must keep their places from
    call to call.

    Parameters
    ----------
    model
        The model, or a single recurrent layer.

    Raises
    ------
    ValueError
        If a layer reads its rows from the end, too: what is to come cannot be carried.

    Examples
    --------
    >>> with CarriedState(model) as carried:  # doctest: +SKIP
    ...     for rows in batches:
    ...         carried.reset()
    ...         for start in range(0, rows.shape[1], 50):
    ...             loss = loss_of(model(rows[:, start : start + 50]))
    ...             loss.backward()
    ...             ...
    """

    def __init__(self, model: Module) -> None:
        if not isinstance(model, Module):
            raise checks.kind_error("model", "a fastseq.nn.Module", model)
        self.model = model
        self._layers = [module for module in model.modules() if isinstance(module, Recurrent)]
        if not self._layers:
            raise checks.value_error("model", "at least one recurrent layer, whose state to carry", "none")
        for layer in self._layers:
            if layer.bidirectional:
                raise checks.value_error(
                    "model", "recurrent layers of one direction, to carry their state", f"a bidirectional {layer!r}"
                )
        # A layer that is called twice within one call of the model has two states.
        self._states: dict[tuple[int, int], Any] = {}
        self._calls: dict[int, int] = {}

    def reset(self) -> None:
        """Forget the state: the next call is the beginning of new sequences."""
        self._states, self._calls = {}, {}

    def __enter__(self) -> CarriedState:
        """Begin, with no state."""
        self.reset()
        for layer in self._layers:
            layer.__dict__["forward"] = self._carrying(layer)
        whole = self.model.forward

        def forward(*arguments: Any, **options: Any) -> Any:
            self._calls = {}
            return whole(*arguments, **options)

        self.model.__dict__["forward"] = forward
        return self

    def __exit__(self, *error: Any) -> None:
        """Let the layers start from zeros again."""
        for module in (*self._layers, self.model):
            module.__dict__.pop("forward", None)

    def _carrying(self, layer: Recurrent) -> Callable[..., Any]:
        plain = layer.forward

        def forward(x: Any, hx: Any = None, lengths: Any = None) -> Any:
            number = self._calls.get(id(layer), 0)
            self._calls[id(layer)] = number + 1
            place = id(layer), number
            out, state = plain(x, self._states.get(place) if hx is None else hx, lengths=lengths)
            self._states[place] = _detached(state)
            return out, state

        return forward


def _detached(state: Any) -> Any:
    if isinstance(state, (tuple, list)):
        return tuple(_detached(part) for part in state)
    return state.detach() if isinstance(state, Tensor) else state


def check_windows(model: Module, rows: Rows, window: int) -> None:
    """Raise unless a model says the same of sequences in windows as of whole ones.

    Parameters
    ----------
    model
        The model.
    rows
        Data to try it on.
    window
        K, steps at a time.
    """
    carried = CarriedState(model)
    data, _ = rows.take(np.array([rows.lengths.argmax()]))
    data = data[:, : 2 * window + 1]
    if data.shape[1] <= window:
        return
    with evaluating(model):
        whole = run(model, data, None)._data
        with carried:
            parts = [run(model, data[:, k : k + window], None)._data for k in range(0, data.shape[1], window)]
    fits = whole.ndim > 1 and sum(part.shape[1] if part.ndim > 1 else 0 for part in parts) == whole.shape[1]
    if not fits or whole.shape[1] != data.shape[1]:
        raise checks.value_error(
            "model", "one output per step, to train in windows of steps (tbptt)", f"shape {whole.shape}"
        )
    found = np.concatenate(parts, axis=1)
    scale = np.abs(whole).max(initial=0.0, where=np.isfinite(whole))
    if not np.allclose(found, whole, rtol=0, atol=1e-4 * max(float(scale), 1e-6), equal_nan=True):
        raise checks.value_error(
            "model",
            "layers over time whose state can be carried from window to window (recurrent, one direction)",
            "outputs in windows that differ from those in one piece",
        )
