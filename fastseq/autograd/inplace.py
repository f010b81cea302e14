"""Writes into a tensor's storage: never recorded, always counted, refused where they would corrupt a gradient."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.generator import generator as package_generator
from fastseq.autograd.mode import mode, no_grad

T = TypeVar("T", bound="InPlace")


def plain_index(index: Any) -> Any:
    """Return an index with arrays in place of Tensors and lists.

    Parameters
    ----------
    index
        What stood between the brackets.

    Returns
    -------
    object
        What NumPy takes as an index.
    """
    if isinstance(index, tuple):
        return tuple(plain_index(part) for part in index)
    if isinstance(index, InPlace):
        return index._data
    return np.asarray(index, dtype=None if len(index) else np.intp) if isinstance(index, list) else index


def _writing(name: str) -> Any:
    """Return the method that writes what another one returns."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._may_write(f"{name}_", next((one for one in args if isinstance(one, InPlace) and one.requires_grad), None))
        with no_grad():
            self._write(..., getattr(self, name)(*args, **kwargs), f"{name}_")
        return self

    method.__name__, method.__doc__ = f"{name}_", f"Write what ``{name}`` returns into the tensor; return it."
    return method


class InPlace:
    """Base of Tensor: the methods that write. Each needs a tensor that no recorded operation made.

    A leaf that requires grad is written to under ``no_grad`` only, as in PyTorch. Every write raises ``version``.
    """

    __slots__ = ()

    _data: NDArray[Any]
    _node: Any
    _version: list[int]
    requires_grad: bool

    def _write(self, index: Any, value: Any, method: str) -> None:
        """Copy ``value`` into ``self[index]`` and count the write, whatever the mode."""
        array = value._data if isinstance(value, InPlace) else np.asarray(value)
        if not np.can_cast(array.dtype, self._data.dtype, "same_kind") and array.ndim:
            raise TypeError(f"{method}: expected values that fit {self._data.dtype}, got {array.dtype}")
        target = self._data[index]
        if index is Ellipsis and array.shape not in (self._data.shape, ()):
            raise checks.value_error(method, f"shape {self._data.shape}", array)
        if array.ndim and isinstance(target, np.ndarray):
            np.broadcast_to(array, target.shape)
        self._data[index] = array
        self._version[0] += 1

    def _may_write(self, method: str, value: Any = None) -> None:
        if self._node is not None:
            raise RuntimeError(
                f"{method}: expected a tensor that no recorded operation made, got one on the tape; detach() or clone"
            )
        if mode.enabled:
            if self.requires_grad:
                raise RuntimeError(f"{method}: expected no_grad() around a write to a leaf that requires grad")
            if isinstance(value, InPlace) and value.requires_grad:
                raise RuntimeError(
                    f"{method}: expected a value that does not require grad (writes are not recorded); detach() it, "
                    "or build the result with where, cat or stack"
                )

    def __setitem__(self, index: Any, value: Any) -> None:
        self._may_write("setitem", value)
        self._data[plain_index(index)] = value._data if isinstance(value, InPlace) else value
        self._version[0] += 1

    def copy_(self: T, value: Any) -> T:
        """Copy values of the same shape (or one number) in.

        Parameters
        ----------
        value
            Tensor, ndarray or number.

        Returns
        -------
        Tensor
            Itself.

        Raises
        ------
        RuntimeError
            If the tensor is on the tape, or is a leaf that requires grad outside ``no_grad``.
        ValueError
            If the shape differs.
        """
        self._may_write("copy_", value)
        self._write(..., value, "copy_")
        return self

    def fill_(self: T, value: Any) -> T:
        """Set all elements to one number.

        Parameters
        ----------
        value
            The number.

        Returns
        -------
        Tensor
            Itself.
        """
        self._may_write("fill_", value)
        self._data.fill(value._data.item() if isinstance(value, InPlace) else value)
        self._version[0] += 1
        return self

    def zero_(self: T) -> T:
        """Set all elements to zero.

        Returns
        -------
        Tensor
            Itself.
        """
        return self.fill_(0)

    def add_(self: T, other: Any, alpha: float = 1) -> T:
        """Add ``alpha * other`` in place.

        Parameters
        ----------
        other
            Tensor, ndarray or number that broadcasts to this shape.
        alpha
            The factor.

        Returns
        -------
        Tensor
            Itself.
        """
        self._may_write("add_", other)
        term = other._data if isinstance(other, InPlace) else other
        self._data += term if alpha == 1 else alpha * term
        self._version[0] += 1
        return self

    def mul_(self: T, other: Any) -> T:
        """Multiply in place.

        Parameters
        ----------
        other
            Tensor, ndarray or number that broadcasts to this shape.

        Returns
        -------
        Tensor
            Itself.
        """
        self._may_write("mul_", other)
        self._data *= other._data if isinstance(other, InPlace) else other
        self._version[0] += 1
        return self

    sub_, div_, pow_, neg_, abs_, lerp_ = map(_writing, ("sub", "div", "pow", "neg", "abs", "lerp"))
    exp_, log_, sqrt_, tanh_ = map(_writing, ("exp", "log", "sqrt", "tanh"))
    sigmoid_, relu_, round_, floor_ = map(_writing, ("sigmoid", "relu", "round", "floor"))
    clamp_, clip_, clamp_min_, clamp_max_ = map(_writing, ("clamp", "clip", "clamp_min", "clamp_max"))
    masked_fill_, scatter_, scatter_add_ = map(_writing, ("masked_fill", "scatter", "scatter_add"))

    def _draw(self: T, method: str, draw: Any, rng: Any) -> T:
        self._may_write(method)
        self._write(..., draw(package_generator() if rng is None else rng).astype(self._data.dtype), method)
        return self

    def uniform_(self: T, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> T:
        """Fill with draws from U[low, high); PyTorch calls the bounds from and to."""
        return self._draw("uniform_", lambda rng: rng.uniform(low, high, self._data.shape), generator)

    def normal_(self: T, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> T:
        """Fill with draws from N(mean, std**2)."""
        return self._draw("normal_", lambda rng: rng.normal(mean, std, self._data.shape), generator)

    def bernoulli_(self: T, p: float = 0.5, *, generator: Any = None) -> T:
        """Fill with ones, each with probability p, and zeros."""
        return self._draw("bernoulli_", lambda rng: rng.random(self._data.shape) < p, generator)
