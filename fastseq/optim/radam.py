"""RAdam: Adam that adapts only once the second moment can be trusted.

At step t, for gradient g, weights p and the moments m and v (Liu et al., 2020, algorithm 2, in PyTorch's form)::

    g = g + weight_decay * p                    (coupled)
    p = p * (1 - lr * weight_decay)             (decoupled)
    m = m + (1 - beta1) * (g - m)
    v = beta2 * v + (1 - beta2) * g * g
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    p = p - lr * m / (1 - beta1**t) * (r * sqrt(1 - beta2**t) / (sqrt(v) + eps)   if rho > 5 else   1)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.jit import Flag, Real, Reals, kernel
from fastseq.optim.adam import check_moments
from fastseq.optim.flat import FlatBuffer, Stretch
from fastseq.optim.optimizer import Optimizer


@kernel
def radam(
    p: Reals,
    g: Reals,
    m: Reals,
    v: Reals,
    rate: Real,
    eps: Real,
    fresh1: Real,
    beta2: Real,
    fresh2: Real,
    l2: Real,
    shrink: Real,
    sign: Real,
    adapts: Flag,
) -> None:
    """Step; ``p``, ``m`` and ``v`` are written, all scalars have the arrays' dtype."""
    for i in range(p.size):
        weight = p[i] * shrink
        gradient = sign * g[i] + l2 * weight
        mean = m[i] + fresh1 * (gradient - m[i])
        square = beta2 * v[i] + fresh2 * gradient * gradient
        m[i] = mean
        v[i] = square
        direction = mean / (np.sqrt(square) + eps) if adapts else mean
        p[i] = weight - rate * direction


class RAdam(Optimizer):
    """RAdam with PyTorch's semantics.

    Parameters
    ----------
    params
        Parameters, or dicts of parameter groups.
    lr
        Learning rate, >= 0.
    betas
        Decay of the first and second moment, each 0 <= beta < 1.
    eps
        Added to the denominator, >= 0.
    weight_decay
        L2 penalty, or share of the weights if decoupled, >= 0.
    decoupled_weight_decay
        Take the weights' share off them, as AdamW does, instead of adding a penalty to the gradient.
    maximize
        Climb instead of descend.
    """

    state_names = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        check_moments(group)
        checks.real("eps", group["eps"], 0.0)
        checks.boolean("decoupled_weight_decay", group["decoupled_weight_decay"])

    def _update(self, group: Mapping[str, Any], buffer: FlatBuffer, stretch: Stretch) -> None:
        beta1, beta2 = group["betas"]
        lr, decay, part, step = group["lr"], group["weight_decay"], stretch.part, stretch.step
        decoupled = group["decoupled_weight_decay"]
        unbias = 1.0 - beta2**step
        longest = 2.0 / (1.0 - beta2) - 1.0
        length = longest - 2.0 * step * beta2**step / unbias
        rate = lr / (1.0 - beta1**step)
        if length > 5.0:
            ratio = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length)
            rate *= math.sqrt(ratio) * math.sqrt(unbias)
        scalars = (
            rate,
            group["eps"],
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            0.0 if decoupled else decay,
            1.0 - lr * decay if decoupled else 1.0,
            -1.0 if group["maximize"] else 1.0,
        )
        arrays = (buffer.data[part], buffer.grad[part], *(buffer.state(name)[part] for name in self.state_names))
        radam(*arrays, *map(buffer.dtype.type, scalars), length > 5.0)
