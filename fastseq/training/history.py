"""What a training run leaves behind: one number per epoch and name."""

from __future__ import annotations

from collections.abc import Mapping


class History:
    """The course of a training run.

    Attributes
    ----------
    history : dict of str to list of float
        ``loss``, ``val_loss``, each metric and ``val_`` metric, ``lr`` and ``seconds``, one entry per epoch.
    epoch : list of int
        The epochs' numbers, from 0.
    interrupted : bool
        Whether Ctrl-C ended the run.
    stopped : str
        Why a callback ended the run; empty if none did.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.interrupted = False
        self.stopped = ""

    def append(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Add one epoch.

        Parameters
        ----------
        epoch
            Its number.
        logs
            Name to number.
        """
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))

    def __repr__(self) -> str:
        """Show the last epoch's numbers."""
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.history.items() if values)
        return f"History({len(self.epoch)} epochs{': ' + last if last else ''})"
