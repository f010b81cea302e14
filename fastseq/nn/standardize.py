"""Layers with fixed numbers: to zero mean and unit deviation, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init
from fastseq.nn.module import Module

A = TypeVar("A", bound="_Affine")


class _Affine(Module):
    """Two buffers (F,), applied per feature; step by step the same as over a whole sequence."""

    _names = ("mean", "std")

    def __init__(self, first: Any, second: Any, dtype: DTypeLike) -> None:
        super().__init__()
        self.dtype = checks.float_dtype("dtype", dtype)
        one, other = (_vector(name, value) for name, value in zip(self._names, (first, second), strict=True))
        if one.shape != other.shape:
            raise checks.value_error(self._names[1], f"shape {one.shape}, like {self._names[0]}", other)
        self.features = one.size
        for name, values in zip(self._names, (one, other), strict=True):
            self.register_buffer(name, values.astype(self.dtype))

    @classmethod
    def from_config(cls: type[A], config: Mapping[str, Any]) -> A:
        """Build a layer of the size that ``config`` names, its numbers to be filled in.

        Parameters
        ----------
        config
            ``{"features": F}``.

        Returns
        -------
        Module
            With ones for both arrays.
        """
        if set(config) != {"features"}:
            raise checks.value_error("config", "features", ", ".join(map(str, config)))
        features = checks.integer("features", config["features"], minimum=1, maximum=2**31)
        init.expect_room(2 * features)
        ones = np.broadcast_to(np.float32(1), (features,))
        return cls(ones, ones)  # type: ignore[call-arg]

    def config(self) -> dict[str, Any]:
        """Return the number of features; the numbers themselves are in ``state_dict``."""
        return {"features": self.features}

    def _input(self, x: Any) -> Any:
        """Return a Tensor, or an ndarray in the layer's dtype, whose last axis fits."""
        if not isinstance(x, (Tensor, np.ndarray)):
            raise checks.kind_error("x", "a Tensor or an ndarray", x)
        if len(x.shape) == 0 or (self.features != 1 and x.shape[-1] != self.features):
            raise checks.value_error("x", f"shape (..., {self.features})", f"shape {tuple(x.shape)}")
        if x.dtype.kind not in "fiub":
            raise checks.kind_error("x", "real numbers", x)
        return x if isinstance(x, Tensor) else x.astype(self.dtype, copy=False)


class Standardize(_Affine):
    """Subtract a mean and divide by a deviation, per feature: ``y = (x - mean) / std``.

    Parameters
    ----------
    mean, std
        (F,) or numbers; std > 0. Kept as buffers: saved with the model, not learned.
    dtype
        float32 or float64.
    """

    _names = ("mean", "std")

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Any, std: Any, *, dtype: DTypeLike = np.float32) -> None:
        super().__init__(mean, std, dtype)
        if not (self.std._data > 0).all():
            raise checks.value_error("std", f"numbers > 0 in {self.dtype}", f"{self.std._data.min()}")

    @classmethod
    def fit(cls, x: Any, lengths: Any = None, *, dtype: DTypeLike = np.float32) -> Standardize:
        """Return the layer that brings these data to mean 0 and deviation 1.

        Parameters
        ----------
        x
            (B, T, F), (N, F), or a list of sequences (T_i, F).
        lengths
            Valid steps per row of (B, T, F); None means all.
        dtype
            float32 or float64.

        Returns
        -------
        Standardize
            Features that do not vary are only shifted.
        """
        mean, std = _moments(x, lengths)
        return cls(mean, std, dtype=dtype)

    def forward(self, x: Any) -> Tensor:
        """Return ``(x - mean) / std``.

        Parameters
        ----------
        x
            (..., F).

        Returns
        -------
        Tensor
            The same shape.

        Raises
        ------
        ValueError
            If the shape does not fit.
        """
        return (self._input(x) - self.mean) / self.std


class Rescale(_Affine):
    """Multiply and shift, per feature: ``y = x * scale + shift``. The way back from ``Standardize``.

    Parameters
    ----------
    scale, shift
        (F,) or numbers. Kept as buffers: saved with the model, not learned.
    dtype
        float32 or float64.
    """

    _names = ("scale", "shift")

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Any, shift: Any, *, dtype: DTypeLike = np.float32) -> None:
        super().__init__(scale, shift, dtype)

    @classmethod
    def fit(cls, y: Any, lengths: Any = None, *, dtype: DTypeLike = np.float32) -> Rescale:
        """Return the layer that brings mean 0 and deviation 1 to the mean and deviation of these data.

        Parameters
        ----------
        y
            (B, T, F), (N, F), or a list of sequences (T_i, F).
        lengths
            Valid steps per row of (B, T, F); None means all.
        dtype
            float32 or float64.

        Returns
        -------
        Rescale
            With the deviation as scale, the mean as shift.
        """
        mean, std = _moments(y, lengths)
        return cls(std, mean, dtype=dtype)

    def forward(self, x: Any) -> Tensor:
        """Return ``x * scale + shift``.

        Parameters
        ----------
        x
            (..., F).

        Returns
        -------
        Tensor
            The same shape.

        Raises
        ------
        ValueError
            If the shape does not fit.
        """
        return self._input(x) * self.scale + self.shift


def _vector(name: str, value: Any) -> NDArray[Any]:
    """Return numbers (F,), finite."""
    found = value._data if isinstance(value, Tensor) else np.asarray(value)
    if found.dtype.kind not in "fiu":
        raise checks.kind_error(name, "numbers", found)
    if found.ndim > 1 or found.size == 0:
        raise checks.value_error(name, "shape (F,)", found)
    if not np.isfinite(found).all():
        raise checks.value_error(name, "finite numbers", "infinity or NaN")
    return found.reshape(-1)


def _moments(x: Any, lengths: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation per feature over all valid steps, in double precision."""
    if isinstance(x, Sequence):
        parts = [np.asarray(row) for row in x]
    else:
        whole = x._data if isinstance(x, Tensor) else np.asarray(x)
        if whole.ndim == 3:
            valid = checks.lengths("lengths", lengths, whole.shape[0], whole.shape[1])
            parts = [whole.reshape(-1, whole.shape[2])] if lengths is None else _cut(whole, valid)
        else:
            parts = [whole]
    if not parts or any(part.ndim != 2 or part.shape[1] != parts[0].shape[1] for part in parts):
        raise checks.value_error("x", "(B, T, F), (N, F) or a list of (T_i, F)", "another shape")
    rows = np.concatenate(parts).astype(np.float64)
    if len(rows) == 0:
        raise checks.value_error("x", "at least one valid step", "none")
    if not np.isfinite(rows).all():
        step, feature = np.argwhere(~np.isfinite(rows))[0]
        raise checks.value_error(
            "x", "finite numbers", f"{rows[step, feature]} at valid step {step}, feature {feature}"
        )
    mean, std = rows.mean(axis=0), rows.std(axis=0)
    # A feature that is constant but for rounding is only shifted.
    return mean, np.where(std > 1e-12 * np.abs(mean), std, 1.0)


def _cut(whole: NDArray[Any], valid: NDArray[np.int64]) -> list[NDArray[Any]]:
    return [row[:n] for row, n in zip(whole, valid, strict=True)]
