"""Losses that score a predicted distribution: Gaussian, Poisson, quantiles, divergence between distributions.

Each is one node of the tape. All take ``reduction`` and ``lengths``; with ``lengths`` what stands past a row's end,
NaN included, counts neither in the value nor in the mean's denominator, and gets gradient 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd import elementary
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor
from fastseq.nn.functional_reduction import (
    REDUCTIONS,
    Array,
    Operand,
    broadcasts_to,
    floating,
    padding_of,
    reduced,
)


def _as_input(argument: str, value: Any, like: Array) -> Array:
    """Return an operand in the dtype of the input, or raise unless it has the input's shape."""
    found = array(value)
    if found.shape != like.shape:
        raise checks.value_error(argument, f"shape {like.shape}, as the input's (nothing is broadcast)", found)
    return found.astype(like.dtype, copy=False)


def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
    *,
    lengths: Any = None,
) -> Tensor:
    """Return (log var + (input - target)**2 / var) / 2, reduced: normal distributions with predicted variances.

    Parameters
    ----------
    input
        Predicted means, any shape; (B, T, ...) with ``lengths``.
    target
        The same shape, or one that broadcasts to it; converted to the input's dtype.
    var
        Predicted variances, >= 0: the input's shape; or with 1 instead of one axis, or without the last, for variances
        that several elements share; or a number.
    full
        Whether to add log(2 pi) / 2.
    eps
        Variances below it count as it, > 0; their gradient passes as if they had that value.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    Tensor
        A scalar, or with ``"none"`` the input's shape (0 at padding). The mean of no element is NaN.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a variance that counts is negative.

    Notes
    -----
    Nix and Weigend, "Estimating the mean and variance of the target probability distribution", 1994.
    """
    checks.choice("reduction", reduction, REDUCTIONS)
    least = checks.real("eps", eps, 0.0, open_minimum=True)
    constant = 0.5 * math.log(2 * math.pi) if checks.boolean("full", full) else 0.0
    x, t = floating("input", input), array(target)
    if t.shape != x.shape and not broadcasts_to(t.shape, x.shape):
        raise checks.value_error("target", f"shape {x.shape}, as the input's, or one that broadcasts to it", t)
    own, t = t.shape, t.astype(x.dtype, copy=False)
    given = array(var)
    if given.shape == x.shape or given.ndim == 0:
        view = given.shape
    elif given.shape == x.shape[:-1]:
        view = (*x.shape[:-1], 1)
    elif given.ndim == x.ndim and [n for n, whole in zip(given.shape, x.shape, strict=True) if n != whole] == [1]:
        view = given.shape
    else:
        shapes = f"shape {x.shape}, that with 1 instead of one axis, or {x.shape[:-1]}"
        raise checks.value_error("var", shapes, given)
    padding = padding_of(lengths, x.shape)
    v = given.reshape(view).astype(x.dtype, copy=False)
    negative = np.broadcast_to(v < 0, x.shape)
    if (negative if padding is None else negative[~padding]).any():
        raise checks.value_error("var", "variances >= 0", "negative ones")
    v = np.maximum(v, least)
    with np.errstate(all="ignore"):
        difference = x - t
        values = 0.5 * (elementary.log(v) + difference * difference / v) + constant
        operands = (
            Operand(input, x.shape, lambda g: difference / v * g),
            Operand(target, own, lambda g: -difference / v * g),
            Operand(var, view, lambda g: 0.5 * (1 - difference * difference / v) / v * g),
        )
        return reduced(values, operands, reduction, padding)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
    *,
    lengths: Any = None,
) -> Tensor:
    """Return rate - target * log(rate), reduced: counts with predicted rates.

    Parameters
    ----------
    input
        Logarithms of the rates, or the rates; any shape; (B, T, ...) with ``lengths``.
    target
        Counts, the same shape; converted to the input's dtype.
    log_input
        Whether the input holds logarithms.
    full
        Whether to add Stirling's approximation of log(target!) where target > 1.
    eps
        Added to rates before their logarithm is taken, > 0.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    Tensor
        A scalar, or with ``"none"`` the input's shape (0 at padding). The mean of no element is NaN.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    checks.choice("reduction", reduction, REDUCTIONS)
    small = checks.real("eps", eps, 0.0, open_minimum=True)
    logarithms, stirling = checks.boolean("log_input", log_input), checks.boolean("full", full)
    x = floating("input", input)
    t = _as_input("target", target, x)
    padding = padding_of(lengths, x.shape)
    with np.errstate(all="ignore"):
        rate = elementary.exp(x) if logarithms else x
        logs = x if logarithms else elementary.log(x + small)
        values = rate - t * logs
        if stirling:
            large = np.where(t > 1, t, 1)
            values += np.where(t > 1, large * elementary.log(large) - large + 0.5 * np.log(2 * math.pi * large), 0)

        def to_target(g: Any) -> Array:
            slope = -logs
            if stirling:
                slope = slope + np.where(t > 1, elementary.log(large) + 0.5 / large, 0)
            return slope * g

        def to_input(g: Any) -> Array:
            return (rate - t if logarithms else 1 - t / (x + small)) * g

        operands = (Operand(input, x.shape, to_input), Operand(target, x.shape, to_target))
        return reduced(values, operands, reduction, padding, (input, target))


def kl_div(
    input: Any, target: Any, reduction: str = "mean", log_target: bool = False, *, lengths: Any = None
) -> Tensor:
    """Return target * (log target - input), reduced: how far distributions are from predicted ones.

    Parameters
    ----------
    input
        Log probabilities, any shape; (B, T, ...) with ``lengths``.
    target
        Probabilities of the same shape, or their logarithms.
    reduction
        ``"mean"`` over all elements, classes included; ``"batchmean"``, the sum divided by the number of rows, which
        is what the mathematics means for (B, C); ``"sum"`` or ``"none"``.
    log_target
        Whether the target holds logarithms.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    Tensor
        A scalar, or with ``"none"`` the input's shape (0 at padding). The mean of no element is NaN.

    Raises
    ------
    ValueError
        If the shapes differ.

    Notes
    -----
    A target of 0 contributes 0. Kullback and Leibler, "On information and sufficiency", 1951.
    """
    checks.choice("reduction", reduction, (*REDUCTIONS, "batchmean"))
    x = floating("input", input)
    t = _as_input("target", target, x)
    padding = padding_of(lengths, x.shape)
    with np.errstate(all="ignore"):
        share = elementary.exp(t) if checks.boolean("log_target", log_target) else t
        logs = t if log_target else elementary.log(t)
        nothing = (share == 0) & ~np.isnan(x)
        values = np.where(nothing, 0, share * (logs - x))

        def to_target(g: Any) -> Array:
            slope = logs - x + 1
            return (np.where(nothing, 0, share * slope) if log_target else slope) * g

        operands = (Operand(input, x.shape, lambda g: -share * g), Operand(target, x.shape, to_target))
        return reduced(values, operands, reduction, padding, (input, target))


def quantile_loss(
    input: Any, target: Any, quantiles: float | Sequence[float], reduction: str = "mean", *, lengths: Any = None
) -> Tensor:
    """Return q * e where e = target - input is positive and (q - 1) * e where it is not, reduced (pinball loss).

    Parameters
    ----------
    input
        Predicted quantiles (..., Q), one per entry of ``quantiles``; (B, T, Q) with ``lengths``. Any shape if
        ``quantiles`` is a number.
    target
        The input's shape without its last axis, or with 1 there; the input's shape if ``quantiles`` is a number.
    quantiles
        Numbers between 0 and 1, or one of them.
    reduction
        ``"mean"`` over all elements, quantiles included, ``"sum"`` or ``"none"``.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    Tensor
        A scalar, or with ``"none"`` the input's shape (0 at padding). The mean of no element is NaN.

    Raises
    ------
    ValueError
        If a quantile is not between 0 and 1, or the shapes do not fit.

    Notes
    -----
    The gradient where input and target are equal is 0. Koenker and Bassett, "Regression Quantiles", 1978.
    """
    checks.choice("reduction", reduction, REDUCTIONS)
    wanted = quantiles_of(quantiles)
    x, t = floating("input", input), array(target)
    if isinstance(wanted, float):
        t = _as_input("target", target, x)
        view, steps = x.shape, x.shape
    else:
        if x.ndim == 0 or x.shape[-1] != len(wanted):
            raise checks.value_error("input", f"shape (..., {len(wanted)}), one per quantile", x)
        view, steps = (*x.shape[:-1], 1), x.shape[:-1]
        if t.shape not in (view, steps):
            raise checks.value_error("target", f"shape {steps}, the input's without the axis of quantiles", t)
        t = t.reshape(view).astype(x.dtype, copy=False)
    q = np.array(wanted, x.dtype)
    padding = padding_of(lengths, steps)
    with np.errstate(invalid="ignore", over="ignore"):
        error = t - x
        values = np.maximum(q * error, (q - 1) * error)

        def to_target(g: Any) -> Array:
            side = np.sign(error)  # NaN stays NaN
            return (0.5 * side + (q - 0.5) * np.abs(side)) * g

        operands = (Operand(input, x.shape, lambda g: -to_target(g)), Operand(target, view, to_target))
        return reduced(values, operands, reduction, padding)


def quantiles_of(quantiles: float | Sequence[float]) -> float | tuple[float, ...]:
    """Return quantiles as a number or a tuple of numbers, or raise unless all are between 0 and 1.

    Parameters
    ----------
    quantiles
        A number or several.

    Returns
    -------
    float, or tuple of float
    """
    if isinstance(quantiles, (int, float, np.floating)):
        return checks.real("quantiles", quantiles, 0.0, 1.0, open_minimum=True, open_maximum=True)
    given = quantiles.tolist() if isinstance(quantiles, (np.ndarray, Tensor)) else quantiles
    if not isinstance(given, (tuple, list)):
        raise checks.kind_error("quantiles", "a number or numbers between 0 and 1", quantiles)
    if not given:
        raise checks.value_error("quantiles", "at least one number between 0 and 1", "none")
    return tuple(
        checks.real(f"quantiles[{i}]", q, 0.0, 1.0, open_minimum=True, open_maximum=True) for i, q in enumerate(given)
    )
