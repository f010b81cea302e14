"""Callbacks that watch a number: stopping, saving and lowering the learning rate by it."""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.training.run import Callback, Logs

#: What numbers that are better the larger they are have in their names.
_RISING = re.compile(r"acc(uracy)?$|auc|precision|recall|f1|r2|cosine_similarity")


class _Monitor(Callback):
    """Watches one number of the logs and knows when it gets better."""

    def __init__(self, monitor: str, mode: str, min_delta: float, verbose: int) -> None:
        self.monitor = monitor
        self.verbose = checks.integer("verbose", int(verbose), 0, 2)
        checks.choice("mode", mode, ("auto", "min", "max"))
        rises = mode == "max" or (mode == "auto" and _RISING.search(monitor.lower()) is not None)
        self._sign = -1.0 if rises else 1.0
        self.min_delta = checks.real("min_delta", min_delta, 0.0)
        self.best = math.inf * self._sign

    def _value(self, logs: Logs) -> float:
        if self.monitor not in logs:
            hint = "; give validation data" if self.monitor.startswith("val_") else ""
            raise checks.value_error("monitor", f"one of {', '.join(logs)}{hint}", self.monitor)
        return float(logs[self.monitor])

    def _say(self, text: str) -> None:
        if self.verbose:
            print(text)

    def _improves(self, value: float, than: float | None = None) -> bool:
        """Return whether a value is better than another, or than the best; a NaN never is."""
        return self._sign * value < self._sign * (self.best if than is None else than) - self.min_delta

    def on_train_begin(self) -> None:
        self.best = math.inf * self._sign


class EarlyStopping(_Monitor):
    """Stop when a number has not become better for some epochs.

    Parameters
    ----------
    monitor
        Which number.
    min_delta
        By how much it must get better to count.
    patience
        How many epochs without improvement are allowed.
    mode
        ``"min"``, ``"max"``, or ``"auto"``: rising for accuracies, falling for the rest.
    restore_best_weights
        Whether the model gets the weights of the best epoch back at the end, however the run ended.
    verbose
        Whether to print when the run stops, 0 or 1.
    baseline
        What must be reached to count as an improvement, or None.
    start_from_epoch
        How many epochs pass before the number is watched.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        restore_best_weights: bool = True,
        *,
        verbose: int = 0,
        baseline: float | None = None,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta, verbose)
        self.baseline = None if baseline is None else checks.real("baseline", baseline)
        self.start_from_epoch = checks.integer("start_from_epoch", start_from_epoch, 0)
        self.patience = checks.integer("patience", patience, minimum=0)
        self.restore_best_weights = checks.boolean("restore_best_weights", restore_best_weights)
        self.wait = 0
        self.best_epoch = -1
        self._weights: dict[str, NDArray[Any]] = {}

    def on_train_begin(self) -> None:
        """Start anew."""
        super().on_train_begin()
        self.wait, self.best_epoch, self._weights = 0, -1, {}

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare, keep the weights if they are the best, stop if patience is at its end.

        Parameters
        ----------
        epoch
            Its number.
        logs
            The epoch's numbers.
        """
        value = self._value(logs)
        if epoch < self.start_from_epoch:
            return
        if self._improves(value):
            self.best, self.best_epoch = value, epoch
            reached = self.baseline is None or self._improves(value, self.baseline)
            self.wait = 0 if reached else self.wait + 1
            if self.restore_best_weights:
                self._weights = {name: t._data.copy() for name, t in self.run.model.state_dict().items()}
            return
        self.wait += 1
        if self.wait >= max(self.patience, 1):
            reason = f"{self.monitor} has not improved since epoch {self.best_epoch + 1}"
            self._say(f"stopped after epoch {epoch + 1}: {reason}")
            self.run.stop(reason)

    def on_train_end(self) -> None:
        """Give the model its best weights back."""
        if self._weights:
            self.run.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return counters and the best weights."""
        weights = {f"weights.{name}": values for name, values in self._weights.items()}
        return {"best": self.best, "best_epoch": self.best_epoch, "wait": self.wait, **weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up counters and best weights.

        Parameters
        ----------
        state
            From ``state_dict``.
        """
        self.best, self.best_epoch, self.wait = float(state["best"]), int(state["best_epoch"]), int(state["wait"])
        names = [name for name in state if name.startswith("weights.")]
        self._weights = {name.removeprefix("weights."): state[name] for name in names}
        own = {name: t._data.shape for name, t in self.run.model.state_dict().items()} if names else {}
        found = {name: np.shape(values) for name, values in self._weights.items()}
        if found != own:
            raise checks.value_error("weights", f"the shapes {own}", found)


class ModelCheckpoint(_Monitor):
    """Save the model after epochs.

    Parameters
    ----------
    filepath
        Where to; ``{epoch}`` (from 1) and names of the logs are filled in, as in ``"m-{epoch:02d}-{val_loss:.3f}"``.
    monitor
        Which number decides what is best.
    save_best_only
        Whether to save only when that number has become better.
    save_weights_only
        Save the weights only (``fs.save_state``), for models with classes of your own; else the model (``fs.save``).
    mode
        ``"min"``, ``"max"`` or ``"auto"``.
    verbose
        Whether to print where the model was saved, 0 or 1.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        *,
        verbose: int = 0,
    ) -> None:
        super().__init__(monitor, mode, 0.0, verbose)
        self.path = os.fspath(filepath)
        self.save_best_only = checks.boolean("save_best_only", save_best_only)
        self.save_weights_only = checks.boolean("save_weights_only", save_weights_only)

    def on_train_begin(self) -> None:
        """Start anew, and see whether the model can be saved before it is trained."""
        from fastseq.persistence import check_savable

        super().on_train_begin()
        folder = os.path.dirname(self.path)
        if "{" not in folder and not os.path.isdir(folder or "."):
            raise FileNotFoundError(errno.ENOENT, "filepath: expected an existing folder, got none", folder)
        if not self.save_weights_only:
            check_savable(self.run.model)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save, if this is an epoch to save.

        Parameters
        ----------
        epoch
            Its number.
        logs
            The epoch's numbers.
        """
        from fastseq.persistence import save, save_state

        if self.save_best_only:
            value = self._value(logs)
            if not self._improves(value):
                return
            self.best = value
        try:
            path = self.path.format(epoch=epoch + 1, **logs)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"filepath: expected placeholders among epoch, {', '.join(logs)}, got {self.path!r}"
            ) from error
        (save_state if self.save_weights_only else save)(self.run.model, path)
        self._say(f"epoch {epoch + 1}: saved {path}")

    def state_dict(self) -> dict[str, Any]:
        """Return the best number so far."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the best number so far.

        Parameters
        ----------
        state
            From ``state_dict``.
        """
        self.best = float(state["best"])


class ReduceLROnPlateau(_Monitor):
    """Lower the learning rate when a number has not become better for some epochs.

    Parameters
    ----------
    monitor
        Which number.
    factor
        What the learning rate is multiplied by, 0 < factor < 1.
    patience
        How many epochs without improvement are allowed.
    mode
        ``"min"``, ``"max"`` or ``"auto"``.
    min_delta
        By how much it must get better to count.
    cooldown
        How many epochs to wait after lowering.
    min_lr
        Where lowering ends.
    verbose
        Whether to print when the learning rate is lowered, 0 or 1.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        *,
        verbose: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta, verbose)
        self.factor = checks.real("factor", factor, 0.0, 1.0, open_minimum=True, open_maximum=True)
        self.patience = checks.integer("patience", patience, minimum=0)
        self.cooldown = checks.integer("cooldown", cooldown, minimum=0)
        self.min_lr = checks.real("min_lr", min_lr, 0.0)
        self.wait = self._cooling = 0

    def on_train_begin(self) -> None:
        """Start anew."""
        super().on_train_begin()
        self.wait = self._cooling = 0

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare, and lower the learning rate if patience is at its end.

        Parameters
        ----------
        epoch
            Its number.
        logs
            The epoch's numbers.
        """
        value = self._value(logs)
        if self._cooling:
            self._cooling -= 1
            self.wait = 0
        if self._improves(value):
            self.best, self.wait = value, 0
        elif not self._cooling:
            self.wait += 1
            if self.wait >= self.patience:
                for group in self.run.rated_groups:
                    group["lr"] = min(group["lr"], max(group["lr"] * self.factor, self.min_lr))
                self.wait, self._cooling = 0, self.cooldown
                self._say(f"epoch {epoch + 1}: learning rate {self.run.lr:.4g}")

    def state_dict(self) -> dict[str, Any]:
        """Return the counters."""
        return {"best": self.best, "wait": self.wait, "cooling": self._cooling}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the counters.

        Parameters
        ----------
        state
            From ``state_dict``.
        """
        self.best, self.wait, self._cooling = float(state["best"]), int(state["wait"]), int(state["cooling"])
