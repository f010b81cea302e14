"""Keras's names of activation functions, and the modules of ``fastseq.nn`` behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastseq import checks, nn
from fastseq.autograd.tensor import Tensor
from fastseq.layers.flow import Flow, flow

_MODULES: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softmax": nn.Softmax,
    "log_softmax": nn.LogSoftmax,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),  # Keras's slope
    "softplus": nn.Softplus,
}
#: Activations whose input the losses over classes want instead of their output.
_FROM_LOGITS = ("softmax", "sigmoid")


def name_of(argument: str, given: Any) -> Any:
    """Return an activation's name, checked; a function of the user's as it is; ``"linear"`` for None.

    Parameters
    ----------
    argument
        The name to use in messages.
    given
        A name, a function of a Tensor, or None.
    """
    if given is None:
        return "linear"
    if isinstance(given, str):
        return checks.choice(argument, given, _MODULES)
    if not callable(given):
        raise checks.kind_error(argument, f"one of {', '.join(_MODULES)}, or a function of a Tensor", given)
    return given


def module_of(activation: Any) -> nn.Module | None:
    """Return the module of an activation; None for a function of the user's.

    Parameters
    ----------
    activation
        From ``name_of``.
    """
    return _MODULES[activation]() if isinstance(activation, str) else None


def apply(activation: Any, x: Tensor) -> Tensor:
    """Return the activation of x, which remembers x where the losses over classes ask for it.

    Parameters
    ----------
    activation
        From ``name_of``; or None, as a user may set it.
    x
        Any shape.
    """
    if activation is None:
        return x
    module = module_of(activation)
    found = activation(x) if module is None else module(x)
    return flow(found, logits=x) if activation in _FROM_LOGITS else found


def logits_of(x: Any) -> Tensor | None:
    """Return what a softmax or sigmoid was given to make x, if that is known.

    Parameters
    ----------
    x
        A layer's output.
    """
    return x.logits if isinstance(x, Flow) else None
