"""Lion: steps of one size, in the direction that an average of the gradients points to.

For gradient g, weights p and the average m (Chen et al., "Symbolic discovery of optimization algorithms", 2023,
algorithm 2)::

    p = p - lr * (sign(beta1 * m + (1 - beta1) * g) + weight_decay * p)
    m = beta2 * m + (1 - beta2) * g
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastseq.jit import Real, Reals, kernel
from fastseq.optim.adam import check_moments
from fastseq.optim.flat import FlatBuffer, Stretch
from fastseq.optim.optimizer import Optimizer


@kernel
def lion(
    p: Reals,
    g: Reals,
    m: Reals,
    lr: Real,
    beta1: Real,
    fresh1: Real,
    beta2: Real,
    fresh2: Real,
    shrink: Real,
    sign: Real,
) -> None:
    """Step; ``p`` and ``m`` are written, all scalars have the arrays' dtype."""
    for i in range(p.size):
        gradient = sign * g[i]
        direction = beta1 * m[i] + fresh1 * gradient
        m[i] = beta2 * m[i] + fresh2 * gradient
        p[i] = p[i] * shrink - lr * np.sign(direction)


class Lion(Optimizer):
    """Lion. A good learning rate is 3 to 10 times smaller than AdamW's, a good weight decay as many times larger.

    Parameters
    ----------
    params
        Parameters, or dicts of parameter groups.
    lr
        Learning rate, >= 0: the size of every weight's step.
    betas
        Decay of the average where the direction is taken, and where it is kept, each 0 <= beta < 1.
    weight_decay
        Share of the weights taken off per unit of learning rate, >= 0.
    maximize
        Climb instead of descend.
    """

    state_names = ("exp_avg",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    def _check(self, group: Mapping[str, Any]) -> None:
        check_moments(group)

    def _update(self, group: Mapping[str, Any], buffer: FlatBuffer, stretch: Stretch) -> None:
        beta1, beta2 = group["betas"]
        lr, part = group["lr"], stretch.part
        scalars = (
            lr,
            beta1,
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            1.0 - lr * group["weight_decay"],
            -1.0 if group["maximize"] else 1.0,
        )
        arrays = (buffer.data[part], buffer.grad[part], buffer.state("exp_avg")[part])
        lion(*arrays, *map(buffer.dtype.type, scalars))
