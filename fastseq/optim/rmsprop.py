"""RMSprop.

For gradient g, weights p and the averages v and a (Tieleman and Hinton, lecture 6e, 2012; centered: Graves,
"Generating sequences with recurrent neural networks", 2013, section 4.2; both in PyTorch's form, where ``eps`` stands
outside the root)::

    g = g + weight_decay * p
    v = alpha * v + (1 - alpha) * g * g
    a = a + (1 - alpha) * (g - a)               (centered; else a = 0)
    b = momentum * b + g / (sqrt(v - a * a) + eps)
    p = p - lr * b
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
def rmsprop_plain(
    p: Reals,
    g: Reals,
    v: Reals,
    b: Reals,
    lr: Real,
    alpha: Real,
    fresh: Real,
    eps: Real,
    inside: Real,
    l2: Real,
    sign: Real,
    keep: Real,
) -> None:
    """Step; ``p``, ``v`` and, unless it is empty, the velocity ``b`` are written; scalars have the arrays' dtype."""
    for i in range(p.size):
        gradient = sign * g[i] + l2 * p[i]
        square = alpha * v[i] + fresh * gradient * gradient
        v[i] = square
        direction = gradient / (np.sqrt(square + inside) + eps)
        if b.size:
            direction = keep * b[i] + direction
            b[i] = direction
        p[i] -= lr * direction


@kernel
def rmsprop_centered(
    p: Reals,
    g: Reals,
    v: Reals,
    b: Reals,
    a: Reals,
    lr: Real,
    alpha: Real,
    fresh: Real,
    eps: Real,
    inside: Real,
    l2: Real,
    sign: Real,
    keep: Real,
) -> None:
    """Step by the variance; ``p``, ``v``, ``a`` and, unless it is empty, ``b`` are written."""
    for i in range(p.size):
        gradient = sign * g[i] + l2 * p[i]
        square = alpha * v[i] + fresh * gradient * gradient
        mean = a[i] + fresh * (gradient - a[i])
        v[i] = square
        a[i] = mean
        direction = gradient / (np.sqrt(square - mean * mean + inside) + eps)
        if b.size:
            direction = keep * b[i] + direction
            b[i] = direction
        p[i] -= lr * direction


class RMSprop(Optimizer):
    """RMSprop with PyTorch's semantics.

    Parameters
    ----------
    params
        Parameters, or dicts of parameter groups.
    lr
        Learning rate, >= 0.
    alpha
        Share of the averages that is kept, >= 0.
    eps
        Added to the denominator, >= 0.
    weight_decay
        L2 penalty, >= 0.
    momentum
        Share of the velocity that is kept, >= 0.
    centered
        Divide by the gradients' standard deviation instead of their root mean square. As in PyTorch, a variance that
        rounding made negative (a gradient that has not changed for long) gives NaN.
    maximize
        Climb instead of descend.
    """

    state_names = ("square_avg", "momentum_buffer", "grad_avg")
    #: Whether eps is added under the root, as Keras does, instead of outside of it.
    _inside_root = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        for name in ("lr", "alpha", "eps", "weight_decay", "momentum"):
            checks.real(name, group[name], 0.0)
        checks.boolean("centered", group["centered"])
        checks.boolean("maximize", group["maximize"])

    def _update(self, group: Mapping[str, Any], buffer: FlatBuffer, stretch: Stretch) -> None:
        part, alpha, momentum = stretch.part, group["alpha"], group["momentum"]
        arrays = [buffer.data[part], buffer.grad[part], buffer.state("square_avg")[part]]
        arrays.append(buffer.state("momentum_buffer")[part] if momentum else np.empty(0, buffer.dtype))
        if group["centered"]:
            arrays.append(buffer.state("grad_avg")[part])
        scalars = (
            group["lr"],
            alpha,
            1.0 - alpha,
            0.0 if self._inside_root else group["eps"],
            group["eps"] if self._inside_root else 0.0,
            group["weight_decay"],
            -1.0 if group["maximize"] else 1.0,
            momentum,
        )
        step_kernel = rmsprop_centered if group["centered"] else rmsprop_plain
        step_kernel(*arrays, *map(buffer.dtype.type, scalars))
