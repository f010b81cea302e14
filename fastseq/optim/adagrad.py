"""Adagrad.

At step t, for gradient g, weights p and the sum s (Duchi, Hazan and Singer, 2011, in PyTorch's form)::

    g = g + weight_decay * p
    s = s + g * g
    p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.jit import Real, Reals, kernel
from fastseq.optim.flat import FlatBuffer, Stretch
from fastseq.optim.optimizer import Optimizer


@kernel
def adagrad(p: Reals, g: Reals, s: Reals, rate: Real, eps: Real, l2: Real, sign: Real) -> None:
    """Step; ``p`` and the sum of squares ``s`` are written, all scalars have the arrays' dtype."""
    for i in range(p.size):
        gradient = sign * g[i] + l2 * p[i]
        total = s[i] + gradient * gradient
        s[i] = total
        p[i] -= rate * (gradient / (np.sqrt(total) + eps))


class Adagrad(Optimizer):
    """Adagrad with PyTorch's semantics.

    Parameters
    ----------
    params
        Parameters, or dicts of parameter groups.
    lr
        Learning rate, >= 0.
    lr_decay
        How fast the learning rate falls with the number of steps, >= 0.
    weight_decay
        L2 penalty, >= 0.
    initial_accumulator_value
        What the sum of squares starts from, >= 0.
    eps
        Added to the denominator, >= 0.
    maximize
        Climb instead of descend.
    """

    state_names = ("sum",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        for name in ("lr", "lr_decay", "eps", "weight_decay", "initial_accumulator_value"):
            checks.real(name, group[name], 0.0)
        checks.boolean("maximize", group["maximize"])

    def _start(self, name: str, group: Mapping[str, Any]) -> float:
        return group["initial_accumulator_value"]

    def _update(self, group: Mapping[str, Any], buffer: FlatBuffer, stretch: Stretch) -> None:
        part = stretch.part
        total = buffer.state("sum", self._start("sum", group))[part]
        rate = group["lr"] / (1.0 + (stretch.step - 1) * group["lr_decay"])
        scalars = (rate, group["eps"], group["weight_decay"], -1.0 if group["maximize"] else 1.0)
        adagrad(buffer.data[part], buffer.grad[part], total, *map(buffer.dtype.type, scalars))
