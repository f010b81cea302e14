"""NAdam: Adam with Nesterov's momentum.

At step t, for gradient g, weights p and the moments m and v (Dozat, 2016, in PyTorch's form, with a momentum that
grows towards beta1)::

    mu_t = beta1 * (1 - 0.96**(t * momentum_decay) / 2)
    g = g + weight_decay * p                    (coupled)
    p = p * (1 - lr * weight_decay)             (decoupled)
    m = m + (1 - beta1) * (g - m)
    v = beta2 * v + (1 - beta2) * g * g
    d = sqrt(v / (1 - beta2**t)) + eps
    p = p - lr * ((1 - mu_t) / (1 - mu_1 ... mu_t) * g  +  mu_{t+1} / (1 - mu_1 ... mu_{t+1}) * m) / d
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.jit import Real, Reals, kernel
from fastseq.optim.adam import check_moments
from fastseq.optim.flat import FlatBuffer, Stretch
from fastseq.optim.optimizer import Optimizer


@kernel
def nadam(
    p: Reals,
    g: Reals,
    m: Reals,
    v: Reals,
    rate_now: Real,
    rate_mean: Real,
    unbias: Real,
    eps: Real,
    fresh1: Real,
    beta2: Real,
    fresh2: Real,
    l2: Real,
    shrink: Real,
    sign: Real,
) -> None:
    """Step; ``p``, ``m`` and ``v`` are written, all scalars have the arrays' dtype."""
    for i in range(p.size):
        weight = p[i] * shrink
        gradient = sign * g[i] + l2 * weight
        mean = m[i] + fresh1 * (gradient - m[i])
        square = beta2 * v[i] + fresh2 * gradient * gradient
        m[i] = mean
        v[i] = square
        denominator = np.sqrt(square / unbias) + eps
        p[i] = weight - rate_now * gradient / denominator - rate_mean * mean / denominator


class NAdam(Optimizer):
    """NAdam with PyTorch's semantics.

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
    momentum_decay
        How fast the momentum grows towards ``betas[0]``, >= 0.
    decoupled_weight_decay
        Take the weights' share off them, as AdamW does, instead of adding a penalty to the gradient.
    maximize
        Climb instead of descend.

    Notes
    -----
    The product of the momenta is rounded to single precision after each step, as PyTorch's is, whatever the dtype.
    """

    state_names = ("exp_avg", "exp_avg_sq")
    scalar_names = {"mu_product": 1.0}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        check_moments(group)
        checks.real("eps", group["eps"], 0.0)
        checks.real("momentum_decay", group["momentum_decay"], 0.0)
        checks.boolean("decoupled_weight_decay", group["decoupled_weight_decay"])

    def _update(self, group: Mapping[str, Any], buffer: FlatBuffer, stretch: Stretch) -> None:
        beta1, beta2 = group["betas"]
        lr, decay, part, step = group["lr"], group["weight_decay"], stretch.part, stretch.step
        decoupled = group["decoupled_weight_decay"]
        now, after = (beta1 * (1.0 - 0.5 * 0.96 ** (n * group["momentum_decay"])) for n in (step, step + 1))
        products = buffer.scalar("mu_product", 1.0)
        product = float(np.float32(products[stretch.positions[0]]) * np.float32(now))
        for position in stretch.positions:
            products[position] = product
        scalars = (
            lr * (1.0 - now) / (1.0 - product),
            lr * after / (1.0 - product * after),
            1.0 - beta2**step,
            group["eps"],
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            0.0 if decoupled else decay,
            1.0 - lr * decay if decoupled else 1.0,
            -1.0 if group["maximize"] else 1.0,
        )
        arrays = (buffer.data[part], buffer.grad[part], *(buffer.state(name)[part] for name in self.state_names))
        nadam(*arrays, *map(buffer.dtype.type, scalars))
