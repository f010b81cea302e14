"""What ``compile`` says: an optimiser, and for each output a loss, its share and its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.layers.flow import mask_of
from fastseq.models import losses, metrics, optimizers
from fastseq.models.arrays import Batch, listed
from fastseq.nn import Module

Array = NDArray[Any]


def _each(argument: str, value: Any, names: Sequence[str], many: bool = False) -> list[Any]:
    """Return one entry per output of what may be given once for all, in a list, or in a dict."""
    if isinstance(value, dict):
        return listed(argument, value, names, optional=True)
    if not isinstance(value, (list, tuple)):
        return [value] * len(names)
    if len(names) == 1:
        return [value if many else value[0]]
    return listed(argument, value, names)


def _metrics_of(given: tuple[str, Any], names: Sequence[str]) -> list[list[tuple[str, metrics.Function]]]:
    """Return names and functions of the metrics of each output."""
    argument, value = given
    wanted = [None] * len(names) if value is None else _each(argument, value, names, many=True)
    each = [[] if one is None else one if isinstance(one, (list, tuple)) else [one] for one in wanted]
    return [[metrics.get(item) for item in several] for several in each]


class Compiled:
    """The compiled model.

    Parameters
    ----------
    names
        The outputs' names.
    optimizer
        A name or an optimiser.
    loss
        A loss, or one per output.
    loss_weights
        A factor, or one per output.
    metrics_given
        Metrics, or a list of them per output.
    weighted_given
        Metrics that count samples by their weights, likewise.
    """

    def __init__(
        self, names: Sequence[str], optimizer: Any, loss: Any, loss_weights: Any, metrics_given: Any,
        weighted_given: Any = None,
    ) -> None:  # fmt: skip
        self.names = list(names)
        self.optimizer = optimizers.get(optimizer)
        given = [
            one[0] if isinstance(one, (list, tuple)) and len(one) == 1 else one for one in _each("loss", loss, names)
        ]
        self.losses = [None if one is None else losses.get(one) for one in given]
        factors = [1.0] * len(names) if loss_weights is None else _each("loss_weights", loss_weights, names)
        self.factors = [1.0 if one is None else checks.real("loss_weights", one) for one in factors]
        self.given = {"loss": loss, "loss_weights": loss_weights, "metrics": metrics_given}
        if weighted_given is not None:
            self.given["weighted_metrics"] = weighted_given
        plain, weighted = (_metrics_of(given, names) for given in (("metrics", metrics_given),
                                                                   ("weighted_metrics", weighted_given)))  # fmt: skip
        #: For each output names, functions, and whether samples count by their weights.
        self.metrics = [
            [(name, function, False) for name, function in one]
            + [(f"weighted_{name}" if name in dict(one) else name, function, True) for name, function in two]
            for one, two in zip(plain, weighted, strict=True)
        ]

    def require_loss(self) -> None:
        """Raise ValueError unless there is a loss."""
        if all(loss is None for loss in self.losses):
            raise ValueError("loss: expected a loss, given to compile(), got none")

    def loss_of(self, model: Module, outputs: Sequence[Any], batch: Batch) -> tuple[Tensor, list[float]]:
        """Return the whole loss and each output's.

        Parameters
        ----------
        model
            The model, for its regularisers.
        outputs
            What it said.
        batch
            The targets and weights.
        """
        total: Tensor | None = None
        parts: list[float] = []
        for out, y, weights, loss, factor in zip(
            outputs, batch.y, batch.weights, self.losses, self.factors, strict=True
        ):
            if loss is None:
                parts.append(0.0)
                continue
            found = loss(y, out, weights, mask_of(out))
            if found._data.size != 1:
                found = found.mean()
            parts.append(float(found._data.item()))
            share = found if factor == 1.0 else found * factor
            total = share if total is None else total + share
        for penalty in getattr(model, "losses", []):
            total = penalty if total is None else total + penalty
        assert total is not None
        return total, parts

    def config(self) -> dict[str, Any] | None:
        """Return what ``compile`` was given as JSON values; None where that cannot be written down."""

        def plain(value: Any) -> Any:
            if isinstance(value, losses.Loss):
                value = losses.name_of(value)
                return value if value is not None else plain(object)
            if isinstance(value, (list, tuple)):
                return [plain(item) for item in value]
            if isinstance(value, dict):
                return {str(name): plain(item) for name, item in value.items()}
            if value is None or isinstance(value, (str, int, float)):
                return value
            raise TypeError("compile: expected names and numbers")

        if not isinstance(self.optimizer, optimizers.Optimizer):
            return None
        kind = type(self.optimizer).__name__.lower()
        try:
            found = {name: plain(value) for name, value in self.given.items()}
            return {"optimizer": {"class_name": kind, "config": self.optimizer.get_config()}, **found}
        except TypeError:
            return None


class Totals:
    """Losses and metrics of one pass over data.

    Parameters
    ----------
    compiled
        What is counted.
    """

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self.rows = 0
        self.loss = 0.0
        self.parts = np.zeros(len(compiled.names))
        self.pairs: list[list[tuple[Array, Array, Array]]] = [[] for _ in compiled.names]

    def add(self, loss: float, parts: Sequence[float], outputs: Sequence[Any], batch: Batch) -> None:
        """Count one batch.

        Parameters
        ----------
        loss, parts
            The whole loss, and each output's.
        outputs
            What the model said.
        batch
            The targets.
        """
        rows = len(batch)
        self.rows += rows
        self.loss += loss * rows
        self.parts += np.asarray(parts) * rows
        for pairs, wanted, out, y, weights in zip(
            self.pairs, self.compiled.metrics, outputs, batch.y, batch.weights, strict=True
        ):
            if wanted:
                mask = mask_of(out)
                valid = slice(None) if mask is None or out.ndim < 3 else mask
                factors = np.ones(rows) if weights is None else np.asarray(weights)
                if factors.ndim < 2 and not isinstance(valid, slice):
                    factors = np.broadcast_to(factors[:, None], valid.shape)
                pairs.append((y[valid].copy(), out._data[valid].copy(), factors[valid].copy()))

    def logs(self, prefix: str = "") -> dict[str, float]:
        """Return losses and metrics by name, Keras's names.

        Parameters
        ----------
        prefix
            Put before every name.
        """
        compiled, rows = self.compiled, max(self.rows, 1)
        several = len(compiled.names) > 1
        found = {"loss": self.loss / rows}
        if several:
            for name, loss, part in zip(compiled.names, compiled.losses, self.parts, strict=True):
                if loss is not None:
                    found[f"{name}_loss"] = float(part) / rows
        for name, wanted, pairs in zip(compiled.names, compiled.metrics, self.pairs, strict=True):
            if wanted and pairs:
                true, said, weights = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
                for label, function, weighted in wanted:
                    value = function(true, said, weights) if weighted else function(true, said)
                    found[f"{name}_{label}" if several else label] = float(value)
        return {prefix + name: value for name, value in found.items()}
