"""Callbacks of the user's, written for Keras: they are called with the arguments and at the times that Keras has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fastseq.training import Callback, LambdaCallback, Run


class Adapted(Callback):
    """Calls a callback of the user's: with ``logs`` where its methods take them, and around batches and validation.

    Parameters
    ----------
    inner
        The callback.
    model
        Its ``model``.
    params
        Its ``params``.
    """

    def __init__(self, inner: Callback, model: Any, params: Mapping[str, Any]) -> None:
        self.inner: Any = inner
        for name, value in (("model", model), ("params", dict(params))):
            setter = getattr(inner, f"set_{name}", None)
            setattr(inner, name, value) if setter is None else setter(value)

    @classmethod
    def to(cls, callback: Callback, model: Any, params: Mapping[str, Any]) -> Callback:
        """Return a callback of fastseq's as it is, one of the user's adapted.

        Parameters
        ----------
        callback
            The callback.
        model, params
            See the class.
        """
        adapted = cls(callback, model, params)
        own = type(callback).__module__.partition(".")[0] == "fastseq" and not isinstance(callback, LambdaCallback)
        return callback if own else adapted

    @property
    def run(self) -> Run:  # type: ignore[override]
        """The training run."""
        found: Run = self.inner.run
        return found

    @run.setter
    def run(self, value: Run) -> None:
        self.inner.run = value

    def call(self, name: str, *given: Any, logs: Callable[[], Any] | None = None) -> None:
        """Call a method if there is one, with its logs if it takes them.

        Parameters
        ----------
        name
            The method.
        *given
            Its first arguments.
        logs
            Makes the logs; by default empty ones.
        """
        method = getattr(self.inner, name, None)
        if method is not None:
            more = _places(method) > len(given)
            method(*given, *([{} if logs is None else logs()] if more else []))

    def on_train_begin(self) -> None:
        """Is called before the first epoch."""
        self.call("on_train_begin")

    def on_train_end(self) -> None:
        """Is called after the last epoch."""
        self.call("on_train_end", logs=lambda: _last(self.run))

    def on_epoch_begin(self, epoch: int) -> None:
        """Is called before each epoch, see `Callback.on_epoch_begin`."""
        self.call("on_epoch_begin", epoch)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Is called after each epoch, see `Callback.on_epoch_end`."""
        self.call("on_epoch_end", epoch, logs=lambda: dict(logs))

    def batch_begin(self, batch: int) -> None:
        """Is called before each batch.

        Parameters
        ----------
        batch
            Its number in the epoch, from 0.
        """
        self.call("on_batch_begin", batch)
        self.call("on_train_batch_begin", batch)

    def batch_end(self, batch: int, loss: float, logs: Callable[[], dict[str, float]]) -> None:
        """Is called after each batch.

        Parameters
        ----------
        batch
            Its number in the epoch, from 0.
        loss
            Its loss: what a second argument gets, unless it is called ``logs``.
        logs
            Makes the epoch's numbers so far.
        """
        self.call("on_batch_end", batch, logs=logs)
        wants_logs = "logs" in inspect.signature(self.inner.on_train_batch_end).parameters
        self.call("on_train_batch_end", batch, logs=logs if wants_logs else lambda: loss)

    def on_optimizer_step(self) -> None:
        """Is called after each step of the optimiser."""
        self.inner.on_optimizer_step()

    def state_dict(self) -> dict[str, Any]:
        """Return what the callback's own returns."""
        found: dict[str, Any] = self.inner.state_dict()
        return found

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give it to the callback's own.

        Parameters
        ----------
        state
            Numbers and arrays by name.
        """
        self.inner.load_state_dict(state)


def _places(method: Any) -> int:
    """Return how many arguments by place a method takes."""
    kinds = [parameter.kind for parameter in inspect.signature(method).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return 9
    return sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)


def _last(run: Run) -> dict[str, float]:
    return {name: values[-1] for name, values in run.history.history.items() if values}
