"""What is made small: a loss by name or function, fitted to the model's output and to rows of unequal length."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import no_grad
from fastseq.autograd.tensor import Tensor
from fastseq.nn import Module, functional
from fastseq.training.rows import Rows, Targets

Array = NDArray[Any]

LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "l1": functional.l1_loss,
    "huber": functional.huber_loss,
    "cross_entropy": functional.cross_entropy,
    "bce": functional.binary_cross_entropy_with_logits,
}


class Objective:
    """A loss with what it needs to know.

    Parameters
    ----------
    loss
        A name, or a function of (prediction, target) that returns a scalar Tensor; if it takes ``lengths`` it gets
        them, else it gets the valid steps only, (N, ...).
    """

    def __init__(self, loss: str | Callable[..., Tensor]) -> None:
        self.named = isinstance(loss, str)
        if isinstance(loss, str):
            self.function = LOSSES[checks.choice("loss", loss, LOSSES)]
        elif callable(loss):
            self.function = loss
        else:
            raise checks.kind_error("loss", f"one of {', '.join(LOSSES)} or a function of (prediction, target)", loss)
        #: Classes stay integers; a function of the user's gets what it was given.
        self.keeps_integers = not self.named or loss == "cross_entropy"
        self._options: dict[str, Any] = {"axis": -1} if loss == "cross_entropy" else {}
        self._takes_lengths = self.named or _takes_lengths(loss)
        #: The class whose targets do not count in the mean, if there is one.
        self.ignored: int | None = -100 if loss == "cross_entropy" else None
        if getattr(loss, "reduction", None) == "mean":
            self.ignored = getattr(loss, "ignore_index", None)

    def __call__(self, prediction: Tensor, target: Array, lengths: NDArray[np.int64] | None) -> Tensor:
        """Return the loss of one batch; ``lengths`` is given where there is one target per step of ragged rows."""
        if lengths is None:
            found = self.function(prediction, target, **self._options)
        elif self._takes_lengths:
            found = self.function(prediction, target, lengths=lengths, **self._options)
        else:
            valid = np.arange(prediction.shape[1]) < lengths[:, None]
            found = self.function(prediction[valid], target[valid])
        if not isinstance(found, Tensor) or found._data.size != 1:
            raise checks.kind_error("loss", "a function that returns a Tensor of one number", found)
        return found

    def aligned(self, argument: str, prediction: Tensor, target: Array) -> Array:
        """Return the target in the prediction's shape where the two differ by an axis of length 1 at the end.

        Parameters
        ----------
        argument
            The name to use in messages.
        prediction
            The model's output.
        target
            The batch's targets.

        Raises
        ------
        ValueError
            If they do not fit: nothing is ever broadcast.
        """
        shape = tuple(prediction.shape)
        if target.shape == shape or target.dtype.kind != "f":
            return target
        if target.shape == (*shape, 1) or (*target.shape, 1) == shape:
            return target.reshape(shape)
        if not self.named:
            return target
        classes = " (or integer classes)" if self._options else ""
        raise checks.value_error(
            argument, f"shape {_rows_of(shape)}, as the model's output{classes}", f"shape {_rows_of(target.shape)}"
        )


def _rows_of(shape: tuple[int, ...]) -> str:
    """Return a shape for a message, whatever the number of rows."""
    return f"({', '.join(map(str, ('B', *shape[1:])))}{',' if len(shape) == 1 else ''})"


def _takes_lengths(function: Any) -> bool:
    if isinstance(function, Module):
        return function.uses_lengths
    try:
        return "lengths" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # built-in functions without a signature
        return False


def run(model: Module, data: Array, lengths: NDArray[np.int64] | None) -> Tensor:
    """Return a model's output for one batch, without its state if it returns one.

    Parameters
    ----------
    model
        The model.
    data
        (b, t, F).
    lengths
        Valid steps per row, passed on where rows are ragged; None means all.

    Returns
    -------
    Tensor
        The output.
    """
    found = model(data) if lengths is None else model(data, lengths=lengths)
    if isinstance(found, tuple):
        found = found[0]
    if isinstance(found, np.ndarray):
        found = Tensor(found)
    if not isinstance(found, Tensor):
        raise checks.kind_error("model", "a module that returns a Tensor", found)
    if not found.shape or found.shape[0] != len(data):
        raise checks.value_error("model", f"an output of shape (B, ...) with B = {len(data)}", f"shape {found.shape}")
    return found


def check_model(model: Any, rows: Rows) -> None:
    """Raise unless this is a model for these rows.

    Parameters
    ----------
    model
        What was given as a model.
    rows
        The data.
    """
    if not isinstance(model, Module):
        raise checks.kind_error("model", "a fastseq.nn.Module", model)
    if rows.ragged and not model.uses_lengths:
        raise TypeError(
            "model: expected a forward that takes lengths, since rows have unequal lengths, got "
            f"{type(model).__name__}, whose does not: add lengths=None to it and pass it on to the layers that use it"
        )


def model_dtype(model: Any) -> np.dtype:
    """Return the dtype that a model computes in: its parameters', else its buffers', else float32.

    Parameters
    ----------
    model
        The model.
    """
    if isinstance(model, Module):
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor._data.dtype.kind == "f":
                return tensor._data.dtype
    return np.dtype(np.float32)


def gives_one_per_step(model: Module, rows: Rows) -> bool:
    """Say whether a model's output has an axis of steps, by trying two rows of different lengths.

    Parameters
    ----------
    model
        The model.
    rows
        Rows of unequal lengths.

    Returns
    -------
    bool
        Whether the output's second axis follows the batch's steps.
    """
    longest, shortest = int(rows.lengths.argmax()), int(np.where(rows.lengths > 0, rows.lengths, rows.steps).argmin())
    found = []
    with evaluating(model):
        for row in (longest, shortest):
            data, lengths = rows.take(np.array([row]))
            found.append((run(model, data, lengths if rows.ragged else None).shape, data.shape[1]))
    follows = all(len(shape) > 1 and shape[1] == steps for shape, steps in found)
    if found[0][1] == found[1][1]:  # one length only: the rank has to tell
        return follows and len(found[0][0]) > 2
    return follows


@contextmanager
def evaluating(model: Module) -> Any:
    """Switch a model to evaluation without recording, and every module back to its own mode afterwards.

    Parameters
    ----------
    model
        The model.
    """
    before = modes(model)
    model.eval()
    try:
        with no_grad():
            yield model
    finally:
        restore_modes(before)


def modes(model: Module) -> list[tuple[Module, bool]]:
    """Return each module with its mode.

    Parameters
    ----------
    model
        The model.
    """
    return [(module, module.training) for module in model.modules()]


def restore_modes(before: list[tuple[Module, bool]]) -> None:
    """Give modules their modes back.

    Parameters
    ----------
    before
        What ``modes`` returned.
    """
    for module, training in before:
        module.__dict__["training"] = training


def lengths_for_loss(targets: Targets, rows: Rows, lengths: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return what the loss has to know about a batch's lengths; None where every entry of the target counts.

    Parameters
    ----------
    targets
        The targets.
    rows
        The data.
    lengths
        Of the batch.
    """
    return lengths if targets.per_step and rows.ragged else None
