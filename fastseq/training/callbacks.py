"""Callbacks with Keras's names: what happens between epochs besides learning."""

from __future__ import annotations

import csv
import inspect
import math
import os
from collections.abc import Callable, Mapping
from typing import IO, Any

from fastseq import checks
from fastseq.training.monitors import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from fastseq.training.run import Callback, Logs

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]


class LearningRateScheduler(Callback):
    """Set the learning rate before each epoch.

    Parameters
    ----------
    schedule
        Function of (epoch from 0, present learning rate), or of the epoch, that returns the new one.
    verbose
        Whether to print the learning rate, 0 or 1.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        self.verbose = checks.integer("verbose", int(verbose), 0, 2)
        if not callable(schedule):
            raise checks.kind_error("schedule", "a function of (epoch, lr)", schedule)
        self.schedule = schedule
        try:
            inspect.signature(schedule).bind(0, 0.0)
            self._wants_rate = True
        except (TypeError, ValueError):
            self._wants_rate = False

    def on_epoch_begin(self, epoch: int) -> None:
        """Set the learning rate.

        Parameters
        ----------
        epoch
            Its number.
        """
        arguments = (epoch, self.run.lr) if self._wants_rate else (epoch,)
        self.run.set_lr(checks.real("schedule", self.schedule(*arguments), 0.0))
        if self.verbose:
            print(f"epoch {epoch + 1}: learning rate {self.run.lr:.4g}")


class LambdaCallback(Callback):
    """Call functions; those of Keras's names, with Keras's arguments.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end
        Functions of (epoch, logs), or None.
    on_train_begin, on_train_end
        Functions of (logs), or None.
    on_train_batch_end
        A function of (batch, logs), the loss in the logs, or None.
    **others
        Functions for more of Keras's methods, ``on_train_batch_begin`` and so on, which a model's ``fit`` calls.
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **others: Any,
    ) -> None:
        self.__dict__.update({name: value for name, value in others.items() if value is not None})
        self.functions = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_end": on_train_batch_end,
        }
        for name, function in self.functions.items():
            if function is not None and not callable(function):
                raise checks.kind_error(name, "a function or None", function)

    def _call(self, name: str, *arguments: Any) -> None:
        function = self.functions[name]
        if function is not None:
            function(*arguments)

    def on_train_begin(self) -> None:
        """Call the function of this name."""
        self._call("on_train_begin", {})

    def on_train_end(self) -> None:
        """Call the function of this name."""
        self._call("on_train_end", {})

    def on_epoch_begin(self, epoch: int) -> None:
        """Call the function of this name, see `Callback.on_epoch_begin`."""
        self._call("on_epoch_begin", epoch, {})

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Call the function of this name, see `Callback.on_epoch_end`."""
        self._call("on_epoch_end", epoch, dict(logs))

    def on_train_batch_end(self, batch: int, loss: float) -> None:
        """Call the function of this name, see `Callback.on_train_batch_end`."""
        self._call("on_train_batch_end", batch, {"loss": loss})


class CSVLogger(Callback):
    """Write each epoch's numbers as a line of a CSV file.

    Parameters
    ----------
    filename
        Where to.
    separator
        Between columns.
    append
        Whether to go on in a file that is there.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        self.path = os.fspath(filename)
        self.separator = separator
        self.append = checks.boolean("append", append)
        self._file: IO[str] | None = None
        self._writer: Any = None
        self._size: int | None = None  # of the file after the last line, for a checkpoint

    def on_train_begin(self) -> None:
        """Open the file, without the lines that a killed run wrote after its last checkpoint."""
        if self.append and self._size is not None and os.path.exists(self.path):
            os.truncate(self.path, min(self._size, os.path.getsize(self.path)))
        self._has_header = self.append and os.path.exists(self.path) and os.path.getsize(self.path) > 0
        self._file = open(self.path, "a" if self.append else "w", newline="", encoding="utf-8")  # noqa: SIM115
        self._writer = csv.writer(self._file, delimiter=self.separator)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write a line.

        Parameters
        ----------
        epoch
            Its number.
        logs
            The epoch's numbers.
        """
        if self._file is None:
            return
        if not self._has_header:
            self._writer.writerow(["epoch", *logs])
            self._has_header = True
        self._writer.writerow([epoch, *logs.values()])
        self._file.flush()
        self._size = os.fstat(self._file.fileno()).st_size

    def state_dict(self) -> dict[str, Any]:
        """Say that lines have been written, and how many bytes of them."""
        return {"has_lines": True, "size": self._size}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in the file.

        Parameters
        ----------
        state
            From ``state_dict``.
        """
        self.append = bool(state["has_lines"])
        size = state.get("size")  # checkpoints of before say nothing of it
        self._size = None if size is None else checks.integer("size", size, minimum=0)

    def on_train_end(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class TerminateOnNaN(Callback):
    """Stop as soon as a batch's loss is not finite."""

    def on_train_batch_end(self, batch: int, loss: float) -> None:
        """Look at the loss.

        Parameters
        ----------
        batch
            Its number in the epoch.
        loss
            Its loss.
        """
        if not math.isfinite(loss):
            self.run.stop(f"the loss of batch {batch + 1} is {loss}")
