"""Losses that compare element by element: squares, absolute values, Huber's mixture, binary cross entropy.

Each is one node of the tape. All take ``reduction`` and ``lengths``; with ``lengths`` what stands past a row's end,
NaN included, counts neither in the value nor in the mean's denominator, and gets gradient 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd import elementary
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor
from fastseq.nn.functional_activations import softplus_array
from fastseq.nn.functional_reduction import (
    REDUCTIONS,
    Array,
    Operand,
    Slope,
    broadcasts_to,
    floating,
    padding_of,
    reduced,
)


def _compare(
    input: Any,
    target: Any,
    reduction: str,
    lengths: Any,
    loss: Callable[[Array, Array], tuple[Array, Slope, Slope]],
    saved: tuple[Any, ...] = (),
) -> Tensor:
    """Check, compare, mask and reduce; ``loss`` gives the values and, from an upstream gradient, both slopes."""
    checks.choice("reduction", reduction, REDUCTIONS)
    x, t = floating("input", input), array(target)
    if t.shape != x.shape:
        raise checks.value_error("target", f"shape {x.shape}, as the input's (nothing is broadcast)", t)
    padding = padding_of(lengths, x.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        values, to_input, to_target = loss(x, t if t.dtype == x.dtype else t.astype(x.dtype))
        operands = (Operand(input, x.shape, to_input), Operand(target, t.shape, to_target))
        return reduced(values, operands, reduction, padding, saved)


def _opposed(values: Array, slope: Slope) -> tuple[Array, Slope, Slope]:
    """A loss of the difference alone: the target's slope is the input's, negated."""
    return values, slope, lambda g: -slope(g)


def mse_loss(input: Any, target: Any, reduction: str = "mean", *, lengths: Any = None) -> Tensor:
    """Return the squared differences, reduced.

    Parameters
    ----------
    input
        Predictions, any shape; (B, T, ...) with ``lengths``.
    target
        The same shape; converted to the input's dtype.
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

    def loss(x: Array, t: Array) -> tuple[Array, Slope, Slope]:
        difference = x - t
        return _opposed(difference * difference, lambda g: difference * (2 * g))

    return _compare(input, target, reduction, lengths, loss)


def l1_loss(input: Any, target: Any, reduction: str = "mean", *, lengths: Any = None) -> Tensor:
    """Return the absolute differences, reduced; the gradient at 0 is 0.

    Parameters
    ----------
    input
        Predictions, any shape; (B, T, ...) with ``lengths``.
    target
        The same shape; converted to the input's dtype.
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

    def loss(x: Array, t: Array) -> tuple[Array, Slope, Slope]:
        difference = x - t
        return _opposed(np.abs(difference), lambda g: np.sign(difference) * g)

    return _compare(input, target, reduction, lengths, loss)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, *, lengths: Any = None) -> Tensor:
    """Return half the square of differences up to delta, and delta * (|difference| - delta / 2) beyond, reduced.

    Parameters
    ----------
    input
        Predictions, any shape; (B, T, ...) with ``lengths``.
    target
        The same shape; converted to the input's dtype.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    delta
        Where the square ends, > 0.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    Tensor
        A scalar, or with ``"none"`` the input's shape (0 at padding). The mean of no element is NaN.

    Raises
    ------
    ValueError
        If the shapes differ, or delta is not above 0.

    Notes
    -----
    Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.
    """
    bend = checks.real("delta", delta, 0.0, open_minimum=True)

    def loss(x: Array, t: Array) -> tuple[Array, Slope, Slope]:
        difference = x - t
        size = np.abs(difference)
        near = np.minimum(size, bend)
        # near * (size - near / 2) is both branches at once.
        return _opposed(near * (size - 0.5 * near), lambda g: np.clip(difference, -bend, bend) * g)

    return _compare(input, target, reduction, lengths, loss)


def smooth_l1_loss(
    input: Any, target: Any, reduction: str = "mean", beta: float = 1.0, *, lengths: Any = None
) -> Tensor:
    """Return the Huber loss divided by its bend; with beta 0 the absolute differences.

    Parameters
    ----------
    input
        Predictions, any shape; (B, T, ...) with ``lengths``.
    target
        The same shape; converted to the input's dtype.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    beta
        Where the square ends, >= 0.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    Tensor
        A scalar, or with ``"none"`` the input's shape (0 at padding). The mean of no element is NaN.

    Raises
    ------
    ValueError
        If the shapes differ, or beta is negative.
    """
    bend = checks.real("beta", beta, 0.0)
    if bend == 0.0:
        return l1_loss(input, target, reduction, lengths=lengths)

    def loss(x: Array, t: Array) -> tuple[Array, Slope, Slope]:
        difference = x - t
        size = np.abs(difference)
        near = np.minimum(size, bend)
        return _opposed(
            near * (size - 0.5 * near) / bend, lambda g: np.clip(difference, -bend, bend) * (g * (1 / bend))
        )

    return _compare(input, target, reduction, lengths, loss)


def _factor(argument: str, value: Any, like: Array) -> Any:
    """Return a weight as an array of the input's dtype that broadcasts to it, or 1 for None."""
    if value is None:
        return 1
    found = array(value)
    if not broadcasts_to(found.shape, like.shape):
        raise checks.value_error(argument, f"a shape that broadcasts to {like.shape}", found)
    return found.astype(like.dtype, copy=False)


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", *, lengths: Any = None
) -> Tensor:
    """Return -(t * log p + (1 - t) * log(1 - p)) for probabilities p, reduced.

    Parameters
    ----------
    input
        Probabilities, any shape; (B, T, ...) with ``lengths``. From logits, `binary_cross_entropy_with_logits` is
        exact where probabilities round to 0 or 1.
    target
        Probabilities of the positive class, the same shape; bools and integers will do.
    weight
        A factor per element, broadcast; the mean still divides by the number of elements.
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
        If the shapes do not fit, or an input that counts is not in 0..1.

    Notes
    -----
    As in PyTorch, logarithms below -100 count as -100, and the gradient divides by p * (1 - p) or 1e-12.
    """
    x = floating("input", input)
    outside = (x < 0) | (x > 1)
    padding = padding_of(lengths, x.shape)
    if (outside if padding is None else outside[~padding]).any():
        raise checks.value_error("input", "probabilities in 0..1", "others")

    def loss(x: Array, t: Array) -> tuple[Array, Slope, Slope]:
        factor = _factor("weight", weight, x)
        with np.errstate(divide="ignore"):
            of_one = np.maximum(elementary.log(x), -100)
            of_zero = np.maximum(elementary.log1p(-x), -100)

        def to_input(g: Any) -> Array:
            return g * factor * ((x - t) / np.maximum(x * (1 - x), 1e-12))

        def to_target(g: Any) -> Array:
            return g * factor * (of_zero - of_one)

        return -factor * (t * of_one + (1 - t) * of_zero), to_input, to_target

    return _compare(input, target, reduction, lengths, loss, (input, target))


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
    *,
    lengths: Any = None,
) -> Tensor:
    """Return -(t * log s + (1 - t) * log(1 - s)) with s = sigmoid(input), reduced, exact for large logits.

    Parameters
    ----------
    input
        Logits, any shape; (B, T, ...) with ``lengths``.
    target
        Probabilities of the positive class, the same shape; bools and integers will do.
    weight
        A factor per element, broadcast; the mean still divides by the number of elements.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    pos_weight
        A factor on the positive term, broadcast.
    lengths
        Valid steps per row, integers (B,); None means all.

    Returns
    -------
    Tensor
        A scalar, or with ``"none"`` the input's shape (0 at padding). The mean of no element is NaN.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """

    def loss(x: Array, t: Array) -> tuple[Array, Slope, Slope]:
        factor, positive = _factor("weight", weight, x), _factor("pos_weight", pos_weight, x)
        # With l = softplus(-x) = -log s: the loss is (1 - t) * (x + l) + positive * t * l.
        missed = softplus_array(-x)
        share = 1 + (positive - 1) * t

        def to_input(g: Any) -> Array:
            return g * factor * (1 - t - share * elementary.sigmoid(-x))

        def to_target(g: Any) -> Array:
            return g * factor * ((positive - 1) * missed - x)

        return factor * ((1 - t) * x + share * missed), to_input, to_target

    return _compare(input, target, reduction, lengths, loss, (input, target))
