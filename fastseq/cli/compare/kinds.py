"""The models of the comparison, one line each, and the size at which a model has a given number of weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastseq import checks, nn
from fastseq.autograd import Tensor
from fastseq.cli.compare.tasks import Task

HEADS = 4
ENCODERS = 2
_LARGEST = 1 << 16


class Window(nn.Module):
    """All steps of a row beside each other: what a layer without a sense of time is given.

    Parameters
    ----------
    steps
        T: shorter rows are followed by zeros.
    """

    _config = ("steps",)
    uses_lengths = True

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = checks.integer("steps", steps, 1)

    def forward(self, x: Any, lengths: Any = None) -> Tensor:
        """Return one vector per row.

        Parameters
        ----------
        x
            (B, t, F) with t at most T.
        lengths
            Valid steps per row, integers (B,); None means all t.

        Returns
        -------
        Tensor
            (B, T * F)
        """
        data = x._data if isinstance(x, Tensor) else x
        rows, steps, features = data.shape
        valid = np.full(rows, steps) if lengths is None else np.asarray(lengths)
        whole = np.zeros((rows, self.steps, features), data.dtype)
        shown = np.arange(steps) < valid[:, None]
        whole[:, :steps][shown] = data[shown]
        return Tensor(whole.reshape(rows, self.steps * features))


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Attributes
    ----------
    name
        What the table calls it.
    layers
        Makes the layers from a row's steps to the task's outputs; told the task, a size and the weights wanted.
    causal
        Whether it looks back only, so that it can answer after every step.
    """

    name: str
    layers: Callable[[Task, int, int], list[nn.Module]]
    causal: bool

    def build(self, task: Task, size: int, budget: int) -> nn.Sequential:
        """Return a fresh model.

        Parameters
        ----------
        task
            What it is for.
        size
            Hidden units.
        budget
            Weights wanted; kinds with two sizes choose the second by it.
        """
        before, after = task.scaling
        return nn.Sequential(*before, *self.layers(task, size, budget), *after)

    def size(self, task: Task, budget: int) -> int:
        """Return the size whose number of weights is nearest to what is wanted.

        Parameters
        ----------
        task
            What the model is for.
        budget
            Weights wanted.

        Raises
        ------
        ValueError
            If even the smallest model has more than one and a half times as many.
        """

        def weights(size: int) -> int:
            return sum(layer.num_parameters() for layer in self.layers(task, size, budget))

        low, high = 1, 2
        while weights(high) < budget and high < _LARGEST:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if weights(middle) < budget else (low, middle)
        best = min((low, high), key=lambda size: abs(weights(size) - budget))
        if weights(best) > 1.5 * budget:
            raise checks.value_error("--budget", f"at least {weights(1)} weights for {self.name}", budget)
        return best


def _mlp(task: Task, size: int, budget: int) -> list[nn.Module]:
    return [Window(task.steps), nn.MLP(task.steps * task.features, size, task.outputs)]


def _recurrent(
    layer: Callable[..., nn.Module], *, both: bool = False, stacked: int = 1
) -> Callable[[Task, int, int], list[nn.Module]]:
    def layers(task: Task, size: int, budget: int) -> list[nn.Module]:
        recurrent = layer(task.features, size, stacked, bidirectional=both)
        return [recurrent, task.pool(both), nn.Linear(size * (1 + both), task.outputs)]

    return layers


def _transformer(task: Task, size: int, budget: int) -> list[nn.Module]:
    # An encoder layer has 4 E^2 weights in attention and 2 E size in its dense layers: about 8 E^2 at size = 2 E.
    width = HEADS * max(1, round((budget / (8 * ENCODERS)) ** 0.5 / HEADS))
    encoder = nn.TransformerEncoderLayer(width, HEADS, size, 0.0, norm_first=True, causal=task.streams)
    return [
        nn.Linear(task.features, width),
        nn.SinusoidalPositions(width),
        nn.TransformerEncoder(encoder, ENCODERS, nn.LayerNorm(width)),
        task.pool(False),
        nn.Linear(width, task.outputs),
    ]


KINDS = (
    Kind("MLP", _mlp, causal=False),
    Kind("RNN", _recurrent(nn.RNN), causal=True),
    Kind("GRU", _recurrent(nn.GRU), causal=True),
    Kind("LSTM", _recurrent(nn.LSTM), causal=True),
    Kind("BiLSTM", _recurrent(nn.LSTM, both=True), causal=False),
    Kind("minGRU", _recurrent(nn.MinGRU, stacked=2), causal=True),  # a single one would not see how steps interact
    Kind("Transformer", _transformer, causal=True),
)


def chosen(names: str | None) -> list[Kind]:
    """Return kinds by name, or all.

    Parameters
    ----------
    names
        Separated by commas, upper or lower case; None for all.

    Raises
    ------
    ValueError
        If there is no kind of a name.
    """
    if names is None:
        return list(KINDS)
    known = {kind.name.lower(): kind for kind in KINDS}
    wanted = [name.strip().lower() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            raise checks.value_error("--models", f"some of {', '.join(kind.name for kind in KINDS)}", name)
    return [known[name] for name in wanted]
