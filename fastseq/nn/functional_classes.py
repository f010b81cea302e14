"""Losses over classes: cross entropy from logits, negative log likelihood from log probabilities.

Each is one node of the tape. Rows that do not count (``ignore_index``, steps past ``lengths``) are left out before
anything is computed, so that nothing in them, NaN included, reaches value or gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import elementary
from fastseq.autograd.operands import array, axis_of
from fastseq.autograd.ops_softmax import log_softmax_arrays
from fastseq.autograd.tensor import Tensor, record
from fastseq.nn.functional_reduction import REDUCTIONS, padding_of

Array = NDArray[Any]


class Layout(NamedTuple):
    """Where classes and predictions stand: N predictions of C classes, M of which count."""

    axis: int
    places: tuple[int, ...]  # the input's shape without the axis of classes
    classes: int
    keep: NDArray[np.bool_] | None  # (N,) which count; None for all

    def rows(self, x: Array) -> Array:
        """Return an array of the input's shape as (M, C)."""
        last = x if self.axis == len(self.places) else np.moveaxis(x, self.axis, -1)
        flat = last.reshape(math.prod(self.places), self.classes)
        return flat if self.keep is None else flat[self.keep]

    def spread(self, x: Array) -> Array:
        """Return rows (M, C) in the input's shape, zeros where nothing counts."""
        if self.keep is not None:
            flat = np.zeros((self.keep.size, self.classes), x.dtype)
            flat[self.keep] = x
            x = flat
        x = x.reshape(*self.places, self.classes)
        return x if self.axis == len(self.places) else np.moveaxis(x, -1, self.axis)

    def scales(self, g: Array, reduction: str, count: Any, total: int, dtype: np.dtype[Any]) -> Array:
        """Return the upstream gradient of each counted prediction (M,)."""
        if reduction == "none":
            flat = g.reshape(-1)
            return flat if self.keep is None else flat[self.keep]
        return np.full(total, g / count if reduction == "mean" else g, dtype)

    def reduce(self, values: Array, reduction: str, count: Any) -> Array:
        """Return per-prediction losses (M,) reduced; zeros are put back where nothing counts."""
        if reduction == "none":
            if self.keep is not None:
                flat = np.zeros(self.keep.size, values.dtype)
                flat[self.keep] = values
                values = flat
            return values.reshape(self.places)
        return np.sum(values) if reduction == "sum" else np.sum(values) / count


def _layout(x: Array, axis: int | None, lengths: Any) -> Layout:
    if x.dtype.kind != "f":
        raise checks.kind_error("input", "float32 or float64", x)
    if x.ndim == 0:
        raise checks.value_error("input", "an axis of classes", x)
    if axis is None:
        axis = -1 if lengths is not None or x.ndim == 1 else 1
    along = axis_of(axis, x.ndim)
    places = x.shape[:along] + x.shape[along + 1 :]
    padding = padding_of(lengths, places)
    keep = None
    if padding is not None:
        counts = np.ones(places, bool)
        counts[padding] = False
        keep = counts.reshape(-1)
    return Layout(along, places, x.shape[along], keep)


def _indices(layout: Layout, target: Array, ignore_index: int) -> tuple[Layout, NDArray[np.intp]]:
    """Return the layout without ignored predictions, and the classes (M,) of those that count."""
    flat = target.reshape(-1)
    keep = flat != ignore_index
    if layout.keep is not None:
        keep &= layout.keep
    if keep.all():
        layout = layout._replace(keep=None)
        picks = flat.astype(np.intp)
    else:
        layout = layout._replace(keep=keep)
        picks = flat[keep].astype(np.intp)
    if picks.size:
        for bound in (int(picks.min()), int(picks.max())):
            if not 0 <= bound < layout.classes:
                raise checks.value_error("target", f"classes in 0..{layout.classes - 1}", bound)
    return layout, picks


def _check_target(target: Array, layout: Layout, also: str = "") -> None:
    if target.dtype.kind not in "iu":
        raise checks.kind_error("target", f"integer classes of shape {layout.places}{also}", target)
    if target.shape != layout.places:
        hint = f" (the input's classes are on axis {layout.axis}; say axis=... if that is wrong)"
        raise checks.value_error("target", f"shape {layout.places}{hint}", target)


def _class_weight(weight: Any, layout: Layout, dtype: np.dtype[Any]) -> Array | None:
    if weight is None:
        return None
    found = array(weight)
    if found.shape != (layout.classes,):
        raise checks.value_error("weight", f"shape ({layout.classes},), one per class", found)
    return found.astype(dtype, copy=False)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    axis: int | None = None,
    lengths: Any = None,
) -> Tensor:
    """Return the negative logarithm of softmax(input) at the target class, reduced.

    Parameters
    ----------
    input
        Logits: (C,), (B, C), (B, C, T, ...) as in PyTorch, or any shape with ``axis``.
    target
        Integer classes, the input's shape without the axis of classes; or probabilities of the input's shape.
    weight
        A factor per class (C,). The mean divides by the sum of the targets' factors (not with probabilities).
    ignore_index
        Predictions with this target do not count. Probabilities allow none >= 0.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    label_smoothing
        How much of the target is spread evenly over all classes, in 0..1.
    axis
        Where the classes are. Unless given: axis 1, PyTorch's; with ``lengths``, or for (C,), the last.
        Outputs of recurrent layers (B, T, C) take ``axis=-1``.
    lengths
        Valid steps per row, integers (B,), for targets (B, T, ...); None means all.

    Returns
    -------
    Tensor
        A scalar, or with ``"none"`` the target's shape (0 where nothing counts). The mean of nothing is NaN.

    Raises
    ------
    TypeError
        If the target is neither integer nor probabilities.
    ValueError
        If the shapes do not fit, or a class that counts does not exist.

    Notes
    -----
    Label smoothing: Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7.
    """
    checks.choice("reduction", reduction, REDUCTIONS)
    smooth = checks.real("label_smoothing", label_smoothing, 0.0, 1.0)
    x, t = array(input), array(target)
    layout = _layout(x, axis, lengths)
    factors = _class_weight(weight, layout, x.dtype)
    if t.dtype.kind == "f" and t.shape == x.shape:
        if ignore_index >= 0:
            raise checks.value_error("ignore_index", "none >= 0 where targets are probabilities", ignore_index)
        return _soft_cross_entropy(input, target, layout, factors, reduction, smooth)
    _check_target(t, layout, f" or probabilities of shape {x.shape}")
    layout, picks = _indices(layout, t, ignore_index)
    logarithms = log_softmax_arrays(layout.rows(x), 1)
    every = np.arange(picks.size)
    own = np.ones(picks.size, x.dtype) if factors is None else factors[picks]
    even = smooth / layout.classes if layout.classes else 0.0
    values = -(1 - smooth) * own * logarithms[every, picks]
    if smooth:
        values -= even * (logarithms if factors is None else logarithms * factors).sum(axis=1)
    count = np.sum(own)
    with np.errstate(invalid="ignore", divide="ignore"):
        out = layout.reduce(values, reduction, count)

    def pull(g: Array) -> Array:
        scale = layout.scales(g, reduction, count, picks.size, x.dtype)
        row = scale * own * (1 - smooth)
        d_rows = elementary.exp(logarithms)
        if smooth:
            all_factors = layout.classes if factors is None else factors.sum()
            d_rows *= (row + scale * (even * all_factors))[:, None]
            d_rows -= (scale * even)[:, None] * (1 if factors is None else factors)
        else:
            d_rows *= row[:, None]
        d_rows[every, picks] -= row
        return layout.spread(d_rows)

    return record(out, (input,), (pull,))


def _soft_cross_entropy(
    input: Any, target: Any, layout: Layout, factors: Array | None, reduction: str, smooth: float
) -> Tensor:
    """Cross entropy with probabilities as the target; the mean divides by the number of predictions."""
    x, t = array(input), array(target)
    logarithms = log_softmax_arrays(layout.rows(x), 1)
    wanted = layout.rows(t).astype(x.dtype, copy=False)
    if smooth:
        wanted = wanted * (1 - smooth) + smooth / layout.classes
    if factors is not None:
        wanted = wanted * factors
    total = len(logarithms)
    with np.errstate(invalid="ignore", divide="ignore"):
        out = layout.reduce(-np.sum(wanted * logarithms, axis=1), reduction, np.float32(total))

    def scale(g: Array) -> Array:
        return layout.scales(g, reduction, total, total, x.dtype)[:, None]

    def to_input(g: Array) -> Array:
        slope = elementary.exp(logarithms) * wanted.sum(axis=1, keepdims=True) - wanted
        return layout.spread(slope * scale(g))

    def to_target(g: Array) -> Array:
        slope = logarithms if factors is None else logarithms * factors
        return layout.spread(slope * (scale(g) * (smooth - 1))).astype(t.dtype, copy=False)

    pullbacks: tuple[Callable[[Array], Array], ...] = (to_input, to_target)
    return record(out, (input, target), pullbacks, (target,))


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    *,
    axis: int | None = None,
    lengths: Any = None,
) -> Tensor:
    """Return minus the log probability at the target class, reduced.

    Parameters
    ----------
    input
        Log probabilities: (C,), (B, C), (B, C, T, ...) as in PyTorch, or any shape with ``axis``.
    target
        Integer classes, the input's shape without the axis of classes.
    weight
        A factor per class (C,). The mean divides by the sum of the targets' factors.
    ignore_index
        Predictions with this target do not count.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    axis
        Where the classes are. Unless given: axis 1, PyTorch's; with ``lengths``, or for (C,), the last.
    lengths
        Valid steps per row, integers (B,), for targets (B, T, ...); None means all.

    Returns
    -------
    Tensor
        A scalar, or with ``"none"`` the target's shape (0 where nothing counts). The mean of nothing is NaN.

    Raises
    ------
    TypeError
        If the target is not of integers.
    ValueError
        If the shapes do not fit, or a class that counts does not exist.
    """
    checks.choice("reduction", reduction, REDUCTIONS)
    x, t = array(input), array(target)
    layout = _layout(x, axis, lengths)
    factors = _class_weight(weight, layout, x.dtype)
    _check_target(t, layout)
    layout, picks = _indices(layout, t, ignore_index)
    every = np.arange(picks.size)
    own = np.ones(picks.size, x.dtype) if factors is None else factors[picks]
    count = np.sum(own)
    with np.errstate(invalid="ignore", divide="ignore"):
        out = layout.reduce(-own * layout.rows(x)[every, picks], reduction, count)

    def pull(g: Array) -> Array:
        d_rows = np.zeros((picks.size, layout.classes), x.dtype)
        d_rows[every, picks] = -own * layout.scales(g, reduction, count, picks.size, x.dtype)
        return layout.spread(d_rows)

    return record(out, (input,), (pull,))
