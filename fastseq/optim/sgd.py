"""Stochastic gradient descent with momentum.

For gradient g, weights p and velocity b (Sutskever et al., 2013, in PyTorch's form, where the learning rate
multiplies the velocity)::

    g = g + weight_decay * p
    b = momentum * b + (1 - dampening) * g      (b = g at the first step)
    p = p - lr * (g + momentum * b  if nesterov else  b)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastseq import checks
from fastseq.jit import Flag, Real, Reals, kernel
from fastseq.optim.flat import FlatBuffer, Stretch
from fastseq.optim.optimizer import Optimizer


@kernel
def sgd_plain(p: Reals, g: Reals, lr: Real, l2: Real, sign: Real) -> None:
    """Step without momentum; ``p`` is written, all scalars have the arrays' dtype."""
    for i in range(p.size):
        p[i] -= lr * (sign * g[i] + l2 * p[i])


@kernel
def sgd_momentum(
    p: Reals,
    g: Reals,
    b: Reals,
    lr: Real,
    l2: Real,
    sign: Real,
    keep: Real,
    take: Real,
    momentum: Real,
    nesterov: Flag,
) -> None:
    """Step with momentum; ``p`` and the velocity ``b`` are written, all scalars have the arrays' dtype."""
    for i in range(p.size):
        gradient = sign * g[i] + l2 * p[i]
        velocity = keep * b[i] + take * gradient
        b[i] = velocity
        direction = gradient + momentum * velocity if nesterov else velocity
        p[i] -= lr * direction


class SGD(Optimizer):
    """Stochastic gradient descent with PyTorch's semantics.

    Parameters
    ----------
    params
        Parameters, or dicts of parameter groups.
    lr
        Learning rate, >= 0.
    momentum
        Share of the velocity that is kept, >= 0.
    dampening
        Share of the gradient that is left out of the velocity.
    weight_decay
        L2 penalty, >= 0.
    nesterov
        Nesterov's variant; needs momentum > 0 and dampening 0.
    maximize
        Climb instead of descend.
    """

    state_names = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        checks.real("lr", group["lr"], 0.0)
        momentum = checks.real("momentum", group["momentum"], 0.0)
        dampening = checks.real("dampening", group["dampening"])
        checks.real("weight_decay", group["weight_decay"], 0.0)
        checks.boolean("maximize", group["maximize"])
        if checks.boolean("nesterov", group["nesterov"]) and (momentum == 0 or dampening != 0):
            raise ValueError(
                "nesterov: expected momentum > 0 and dampening 0, "
                f"got momentum={momentum:g} and dampening={dampening:g}"
            )

    def _update(self, group: Mapping[str, Any], buffer: FlatBuffer, stretch: Stretch) -> None:
        real, part = buffer.dtype.type, stretch.part
        p, g = buffer.data[part], buffer.grad[part]
        lr, l2 = real(group["lr"]), real(group["weight_decay"])
        sign = real(-1.0 if group["maximize"] else 1.0)
        momentum = group["momentum"]
        if momentum == 0:
            sgd_plain(p, g, lr, l2, sign)
            return
        keep, take = (0.0, 1.0) if stretch.step == 1 else (momentum, 1.0 - group["dampening"])
        b = buffer.state("momentum_buffer")[part]
        nesterov = bool(group["nesterov"])
        sgd_momentum(p, g, b, lr, l2, sign, real(keep), real(take), real(momentum), nesterov)
