"""Adam and AdamW.

At step t, for gradient g, weights p and the moments m and v (Kingma and Ba, 2015, algorithm 1; amsgrad: Reddi et al.,
2018, in PyTorch's form)::

    g = g + weight_decay * p                    (Adam)
    p = p * (1 - lr * weight_decay)             (AdamW: Loshchilov and Hutter, 2019, algorithm 2)
    m = m + (1 - beta1) * (g - m)
    v = beta2 * v + (1 - beta2) * g * g
    u = v                                       (amsgrad: u = max(u, v))
    p = p - lr / (1 - beta1**t) * m / (sqrt(u) / sqrt(1 - beta2**t) + eps)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.jit import Real, Reals, kernel
from fastseq.optim.flat import FlatBuffer, Stretch
from fastseq.optim.optimizer import Optimizer


@kernel
def adam_plain(
    p: Reals,
    g: Reals,
    m: Reals,
    v: Reals,
    rate: Real,
    unroot: Real,
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
        p[i] = weight - rate * (mean / (np.sqrt(square) * unroot + eps))


@kernel
def adam_amsgrad(
    p: Reals,
    g: Reals,
    m: Reals,
    v: Reals,
    u: Reals,
    rate: Real,
    unroot: Real,
    eps: Real,
    fresh1: Real,
    beta2: Real,
    fresh2: Real,
    l2: Real,
    shrink: Real,
    sign: Real,
) -> None:
    """Step with the running maximum ``u`` of ``v``; all arrays but ``g`` are written."""
    for i in range(p.size):
        weight = p[i] * shrink
        gradient = sign * g[i] + l2 * weight
        mean = m[i] + fresh1 * (gradient - m[i])
        square = beta2 * v[i] + fresh2 * gradient * gradient
        largest = u[i] if u[i] > square else square
        m[i] = mean
        v[i] = square
        u[i] = largest
        p[i] = weight - rate * (mean / (np.sqrt(largest) * unroot + eps))


def check_moments(group: Mapping[str, Any]) -> None:
    """Raise unless the options that all optimisers with two averages share are valid.

    Parameters
    ----------
    group
        ``lr``, ``betas``, ``weight_decay`` and ``maximize``, among others.
    """
    checks.real("lr", group["lr"], 0.0)
    if not isinstance(group["betas"], (tuple, list)) or len(group["betas"]) != 2:
        raise checks.kind_error("betas", "two numbers", group["betas"])
    for i, beta in enumerate(group["betas"]):
        checks.real(f"betas[{i}]", beta, 0.0, 1.0, open_maximum=True)
    checks.real("weight_decay", group["weight_decay"], 0.0)
    checks.boolean("maximize", group["maximize"])


class Adam(Optimizer):
    """Adam with PyTorch's semantics.

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
    amsgrad
        Divide by the largest second moment so far.
    maximize
        Climb instead of descend.
    decoupled_weight_decay
        Take the decay off the weights, as AdamW does, instead of adding it to the gradient.
    """

    state_names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        check_moments(group)
        checks.real("eps", group["eps"], 0.0)
        checks.boolean("amsgrad", group["amsgrad"])
        checks.boolean("decoupled_weight_decay", group["decoupled_weight_decay"])

    def _update(self, group: Mapping[str, Any], buffer: FlatBuffer, stretch: Stretch) -> None:
        beta1, beta2 = group["betas"]
        part, step = stretch.part, stretch.step
        lr, decay = group["lr"], group["weight_decay"]
        decoupled = self._decoupled or group["decoupled_weight_decay"]
        # Scalars are computed in double precision and rounded once, as PyTorch does.
        scalars = (
            lr / (1.0 - beta1**step),
            1.0 / math.sqrt(1.0 - beta2**step),
            group["eps"],
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            0.0 if decoupled else decay,
            1.0 - lr * decay if decoupled else 1.0,
            -1.0 if group["maximize"] else 1.0,
        )
        arrays = [buffer.data[part], buffer.grad[part]]
        names = self.state_names if group["amsgrad"] else self.state_names[:2]
        arrays += [buffer.state(name)[part] for name in names]
        step_kernel = adam_amsgrad if group["amsgrad"] else adam_plain
        step_kernel(*arrays, *map(buffer.dtype.type, scalars))


class AdamW(Adam):
    """Adam with decoupled weight decay, PyTorch's semantics.

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
        Share of the weights taken off per unit of learning rate, >= 0.
    amsgrad
        Divide by the largest second moment so far.
    maximize
        Climb instead of descend.
    """

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)
