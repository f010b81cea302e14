"""Checkpoints: everything a run needs to go on exactly where it stopped, in one file of arrays and JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastseq import checks
from fastseq.nn import Module
from fastseq.nn.init import generator
from fastseq.optim import Optimizer
from fastseq.persistence import ModelFileError, read_arrays, write_arrays
from fastseq.persistence.values import Packer
from fastseq.training.run import Callback, Logs, Run

FORMAT = 1
#: What values raise that are not what fit wrote: a checksum tells damage, not meaning.
_UNFIT = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


class Saved(NamedTuple):
    """What ``load_checkpoint`` hands back besides the weights: epochs done, and whatever else was kept."""

    epoch: int
    extra: dict[str, Any]


def save_checkpoint(
    path: str | os.PathLike[str],
    model: Module,
    optimizer: Optimizer,
    *,
    rng: np.random.Generator | None = None,
    epoch: int = 0,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write weights, optimiser, random state and progress to one file, atomically.

    Parameters
    ----------
    path
        Where to.
    model
        Any Module.
    optimizer
        Its optimiser.
    rng
        The Generator in use; None for the package's.
    epoch
        How many epochs are done.
    extra
        More to keep: JSON values and arrays by name.

    Raises
    ------
    TypeError
        If ``extra`` holds something else.
    OSError
        If the file cannot be written; the former one is untouched then.
    """
    packer = Packer()
    state = optimizer.state_dict()
    document = {
        "kind": "checkpoint",
        "format": FORMAT,
        "epoch": checks.integer("epoch", epoch, minimum=0),
        "model": packer.pack({name: t._data for name, t in model.state_dict().items()}),
        "optimizer": {"type": type(optimizer).__name__, "state": packer.pack(state)},
        "rng": packer.pack((rng or generator()).bit_generator.state),
        "extra": packer.pack(dict(extra or {})),
    }
    write_arrays(path, packer.arrays, document)


def load_checkpoint(
    path: str | os.PathLike[str],
    model: Module,
    optimizer: Optimizer,
    *,
    rng: np.random.Generator | None = None,
) -> Saved:
    """Bring model, optimiser and random state back to where a checkpoint was written.

    Parameters
    ----------
    path
        A file of ``save_checkpoint``.
    model
        A model of the same shape.
    optimizer
        An optimiser of the same kind over its parameters.
    rng
        The Generator to set; None for the package's.

    Returns
    -------
    Saved
        ``epoch`` and ``extra``.

    Raises
    ------
    ModelFileError
        If the file is damaged, of another kind, or does not fit.
    """
    return _take_up(path, *_read(path), model, optimizer, rng or generator())


def _take_up(
    path: str | os.PathLike[str],
    document: dict[str, Any],
    values: dict[str, Any],
    model: Module,
    optimizer: Optimizer,
    rng: np.random.Generator,
) -> Saved:
    """Bring model, optimiser and random state to what a file holds; change none of them if one does not fit."""
    kind = document["optimizer"]["type"]
    if kind != type(optimizer).__name__:
        raise ModelFileError(path, f"a checkpoint of {type(optimizer).__name__}", f"one of {kind}"[:100])
    before = {name: t._data.copy() for name, t in model.state_dict().items()}
    try:
        _check_random_state(values["rng"], rng)
        model.load_state_dict(values["model"])
        optimizer.load_state_dict(values["optimizer"])
    except _UNFIT as error:
        model.load_state_dict(before)
        raise ModelFileError(path, "a checkpoint of this model and optimiser", f"{error}"[:500]) from error
    rng.bit_generator.state = values["rng"]
    return Saved(document["epoch"], values["extra"])


def _check_random_state(state: Any, rng: np.random.Generator) -> None:
    """Raise what setting a generator's state would raise, without setting it."""
    type(rng.bit_generator)(0).state = state


class Checkpoint(Callback):
    """Write a checkpoint after epochs, for ``fit(..., resume_from=path)``.

    Parameters
    ----------
    path
        Where to; replaced atomically each time.
    every
        After how many epochs.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        self.path = os.fspath(path)
        self.every = checks.integer("every", every, minimum=1)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the file, if this is an epoch to do so.

        Parameters
        ----------
        epoch
            Its number.
        logs
            The epoch's numbers.
        """
        run = self.run
        if (epoch + 1) % self.every and epoch + 1 < run.epochs and not run.stopping:
            return
        extra = {
            "start": run.start_state,
            "history": run.history.history,
            "epochs": run.history.epoch,
            "stopped": run.history.stopped if run.stopping else "",
            "averages": None if run.averages is None else run.averages.state_dict(),
            "callbacks": [[type(callback).__name__, callback.state_dict()] for callback in run.callbacks],
        }
        save_checkpoint(self.path, run.model, run.optimizer, rng=run.rng, epoch=epoch + 1, extra=extra)


def resume(run: Run, path: str | os.PathLike[str]) -> int:
    """Bring a run that has not begun to where a checkpoint was written.

    Parameters
    ----------
    run
        The run.
    path
        A file of ``Checkpoint``.

    Returns
    -------
    int
        The epoch to go on with.
    """
    document, values = _read(path)
    extra = values["extra"]
    try:
        names = [name for name, _ in extra["callbacks"]]
        own = [type(callback).__name__ for callback in run.callbacks]
        if names != own:
            raise ModelFileError(path, f"a run with the callbacks {own}", f"{names}"[:300])
        averages: Any = extra.get("averages")  # files of before averages say nothing of them
        if (averages is None) != (run.averages is None):
            kinds = ["a run that averages weights", "one that does not"]
            raise ModelFileError(path, *(kinds[::-1] if averages is None else kinds))
        _check_random_state(extra["start"], run.rng)
        history = {name: [_number(value) for value in numbers] for name, numbers in extra["history"].items()}
        epochs = [checks.integer("epochs", number, minimum=0) for number in extra["epochs"]]
        if not isinstance(extra["stopped"], str):
            raise checks.kind_error("stopped", "a reason", extra["stopped"])
        for callback, (_, state) in zip(run.callbacks, extra["callbacks"], strict=True):
            callback.run = run
            callback.load_state_dict(state)
        if run.averages is not None:
            run.averages.load_state_dict(averages)
        _take_up(path, document, values, run.model, run.optimizer, run.rng)
    except _UNFIT as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(path, "a checkpoint that fit wrote", f"{type(error).__name__}: {error}"[:300]) from error
    run.start_state = extra["start"]
    run.history.history, run.history.epoch = history, epochs
    if extra["stopped"]:
        run.stop(extra["stopped"])
    return int(document["epoch"])


def _number(value: Any) -> float:
    """Return a number of a history, NaN and infinities among them."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise checks.kind_error("history", "numbers", value)
    return value


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    arrays, document = read_arrays(path)
    if document is None or document.get("kind") != "checkpoint":
        raise ModelFileError(path, "a checkpoint", "another kind of file")
    if type(document.get("format")) is not int or not 1 <= document["format"] <= FORMAT:
        raise ModelFileError(
            path, f"a checkpoint of format {FORMAT} or older", f"format {document.get('format')!r}"[:100]
        )
    packer = Packer(arrays)
    try:
        checks.integer("epoch", document["epoch"], minimum=0)
        values = {name: packer.unpack(document[name]) for name in ("model", "rng", "extra")}
        values["optimizer"] = packer.unpack(document["optimizer"]["state"])
        if not all(isinstance(found, dict) for found in values.values()) or not isinstance(
            document["optimizer"]["type"], str
        ):
            raise ValueError("parts that are no mappings")
    except (*_UNFIT, RecursionError) as error:
        raise ModelFileError(path, "a whole checkpoint", f"{type(error).__name__}: {error}"[:300]) from error
    return document, values
