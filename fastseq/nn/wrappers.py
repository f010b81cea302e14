"""Layers around layers: a residual, both directions, and dropout of recurrent weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.ops_tokens import reverse_rows
from fastseq.autograd.tensor import Tensor
from fastseq.nn import functional
from fastseq.nn.containers import Sequential
from fastseq.nn.module import Module
from fastseq.nn.tokens import row_lengths


def _called(layer: Module, x: Any, lengths: Any) -> tuple[Tensor, Any]:
    """Return a layer's output and its state (None if it returns none)."""
    found = layer(x, lengths=lengths) if layer.uses_lengths else layer(x)
    return found if isinstance(found, tuple) else (found, None)


def _layer(name: str, layer: Any) -> Module:
    if not isinstance(layer, Module):
        raise checks.kind_error(name, "a Module", layer)
    return layer


class Residual(Module):
    """Return x + layer(x).

    Parameters
    ----------
    layer
        A module whose output has its input's shape; of one that returns a tuple (out, state), ``out`` is added and the
        state is returned too.
    """

    _parts = ("layer",)

    layer: Module

    def __init__(self, layer: Module) -> None:
        super().__init__()
        self.layer = _layer("layer", layer)

    def forward(self, x: Any, lengths: Any = None) -> Any:
        """Return the sum.

        Parameters
        ----------
        x
            What the layer takes.
        lengths
            Valid steps per row, integers (B,), for a layer that uses them: what stands past them gives zeros.

        Returns
        -------
        Tensor, or a tuple of that and the layer's state
            Of x's shape.

        Raises
        ------
        ValueError
            If the layer's output has another shape.
        """
        out, state = _called(self.layer, x, lengths)
        data = array(x)
        if out.shape != data.shape:
            raise checks.value_error("layer", f"one whose output has the input's shape {data.shape}", f"{out.shape}")
        valid = row_lengths("lengths", lengths, *data.shape[:2]) if data.ndim == 3 else None
        if valid is not None:
            x = ops.where((np.arange(data.shape[1]) < valid[:, None])[:, :, None], x, data.dtype.type(0))
        total = ops.add(x, out)
        return total if state is None else (total, state)


def _fresh(layer: Module) -> Module:
    """Return a layer of the same kind with weights of its own."""
    if type(layer) is Sequential:
        return Sequential({name: _fresh(child) for name, child in layer.named_children()})
    if layer._config and not layer._parts:
        return type(layer).from_config(layer.config())
    return copy.deepcopy(layer)


class Bidirectional(Module):
    """Run a layer over each row from its first step to its last, and another one from its last valid step to its first.

    Parameters
    ----------
    layer
        A module that takes (B, T, F) and looks back only: an LSTM in one direction, a causal Conv1d, a Sequential of
        such.
    reverse
        The module for the other direction; by default one of the same kind with weights of its own.
    merge
        How the two outputs are put together: ``"concat"``, ``"sum"``, ``"mul"`` or ``"ave"`` (their mean), as in Keras.
    """

    _config = ("merge",)
    _parts = ("layer", "reverse")

    layer: Module
    reverse: Module

    def __init__(self, layer: Module, reverse: Module | None = None, merge: str = "concat") -> None:
        super().__init__()
        self.layer = _layer("layer", layer)
        self.reverse = _fresh(layer) if reverse is None else _layer("reverse", reverse)
        self.merge = checks.choice("merge", merge, ("concat", "sum", "mul", "ave"))

    def forward(self, x: Any, lengths: Any = None) -> Any:
        """Return both directions' outputs, put together step by step.

        Parameters
        ----------
        x
            (B, T, F)
        lengths
            Valid steps per row, integers (B,): rows are turned round within them; what stands past them is not read
            and gives zeros.

        Returns
        -------
        Tensor, or a tuple of that and the two states
            (B, T, 2 * H), or (B, T, H) if the outputs are not concatenated.

        Raises
        ------
        ValueError
            If a shape or a length does not fit.
        """
        data = array(x)
        if data.ndim != 3:
            raise checks.value_error("x", "shape (B, T, F)", data)
        valid = checks.lengths("lengths", lengths, *data.shape[:2])
        given = None if lengths is None else valid
        ahead, state = _called(self.layer, x, given)
        back, reverse_state = _called(self.reverse, reverse_rows(x, valid), given)
        if ahead.shape[:2] != data.shape[:2] or back.shape[:2] != data.shape[:2]:
            raise checks.value_error("layer", f"outputs for {data.shape[1]} steps", f"{ahead.shape} and {back.shape}")
        back = reverse_rows(back, valid)
        if self.merge == "concat":
            out = ops.concatenate([ahead, back], 2)
        elif self.merge == "mul":
            out = ahead * back
        else:
            out = ahead + back if self.merge == "sum" else (ahead + back) * 0.5
        return out if state is None and reverse_state is None else (out, (state, reverse_state))


class WeightDrop(Module):
    """In training, drop entries of a layer's weights anew in every call: recurrent dropout for LSTM and its kin.

    Parameters
    ----------
    layer
        The module; its parameters keep their names.
    p
        The probability of dropping an entry; the others are divided by 1 - p.
    weights
        Names of the layer's parameters to drop from; by default all that begin with ``weight_hh``.

    Notes
    -----
    Merity et al., "Regularizing and Optimizing LSTM Language Models", 2018: DropConnect on the hidden-to-hidden
    matrices (Wan et al., 2013). The mask is drawn once per call and holds for all steps and rows, so that the fused
    layer runs at full speed; a mask on h itself (Gal & Ghahramani, 2016) differs from row to row and would not fit
    into packed weights. One thread at a time may train with it.
    """

    _config = ("p", "weights")
    _parts = ("layer",)

    layer: Module

    def __init__(self, layer: Module, p: float = 0.5, weights: Sequence[str] | None = None) -> None:
        super().__init__()
        self.layer = _layer("layer", layer)
        self.p = checks.real("p", p, 0.0, 1.0)
        names = [name for name, value in layer._parameters.items() if value is not None]
        if weights is None:
            self.weights = [name for name in names if name.startswith("weight_hh")]
            if not self.weights:
                raise checks.value_error("weights", f"names among {', '.join(names) or 'none'}", "none of weight_hh*")
        else:
            if isinstance(weights, str) or not isinstance(weights, (tuple, list)):
                raise checks.kind_error("weights", "a list of names", weights)
            self.weights = [checks.choice("weights", name, names) for name in weights]

    def forward(self, x: Any, hx: Any = None, lengths: Any = None) -> Any:
        """Return what the layer returns.

        Parameters
        ----------
        x
            What the layer takes.
        hx
            Initial states, for a layer that takes them; None gives it none.
        lengths
            Valid steps per row, integers (B,), for a layer that uses them.

        Returns
        -------
        object
            The layer's result.

        Raises
        ------
        TypeError, ValueError
            As the layer raises them.
        """
        options = {} if hx is None else {"hx": hx}
        if self.layer.uses_lengths:
            options["lengths"] = lengths
        if not self.training or self.p == 0:
            return self.layer(x, **options)
        registry: dict[str, Any] = self.layer._parameters
        kept = {name: registry[name] for name in self.weights}
        try:
            for name, parameter in kept.items():
                registry[name] = functional.dropout(parameter, self.p, True)
            return self.layer(x, **options)
        finally:
            registry.update(kept)
