"""Names that PyTorch's listings use beside layers: the device, and functions that are methods of tensors, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastseq.autograd import no_grad, ops
from fastseq.autograd.tensor import Tensor

#: PyTorch's other name of it.
inference_mode = no_grad
#: Shapes are tuples.
Size = tuple


class cuda:
    """What listings ask before they choose a device."""

    @staticmethod
    def is_available() -> bool:
        """Return False: there is no code for GPUs here."""
        return False

    @staticmethod
    def device_count() -> int:
        """Return 0."""
        return 0

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """Do nothing: there is no GPU."""

    manual_seed = manual_seed_all


class backends:
    """What listings set or ask beside ``cuda``; nothing comes of it."""

    class cudnn:
        """Settings of a GPU's library."""

        deterministic, benchmark, enabled = True, False, False

    class mps:
        """The GPUs of Apple's computers."""

        is_available = staticmethod(cuda.is_available)


def function_of(name: str) -> Any:
    """Return the function that calls the method of its first argument, which may be an array.

    Parameters
    ----------
    name
        The method of Tensor.
    """

    def function(input: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(input if isinstance(input, Tensor) else Tensor(input), name)(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Return ``input.{name}(...)``: {getattr(Tensor, name).__doc__}"
    return function


def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Return tensors one behind the other along an axis.

    Parameters
    ----------
    tensors
        Tensors or arrays.
    dim
        The axis.
    """
    return ops.concatenate(list(tensors), dim)


concat = concatenate = cat


def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Return tensors of one shape along a new axis.

    Parameters
    ----------
    tensors
        Tensors or arrays.
    dim
        Where the new axis is.
    """
    return ops.stack(list(tensors), dim)


def hstack(tensors: Sequence[Any]) -> Tensor:
    """Return tensors side by side: along the second axis, vectors along the first.

    Parameters
    ----------
    tensors
        Tensors or arrays.
    """
    parts = list(tensors)
    return ops.concatenate(parts, 0 if np.ndim(parts[0]) == 1 else 1)


def vstack(tensors: Sequence[Any]) -> Tensor:
    """Return tensors one below the other: along the first axis, vectors as rows.

    Parameters
    ----------
    tensors
        Tensors or arrays.
    """
    return ops.concatenate([ops.unsqueeze(one, 0) if np.ndim(one) == 1 else one for one in tensors], 0)


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """Return ``input`` where the condition holds, else ``other``; the places where it holds if there is neither.

    Parameters
    ----------
    condition
        Bools.
    input, other
        Tensors, arrays or numbers.
    """
    if input is None and other is None:
        return ops.nonzero(condition, as_tuple=True)
    return ops.where(condition, input, other)


def is_tensor(obj: Any) -> bool:
    """Return whether something is a Tensor.

    Parameters
    ----------
    obj
        Anything.
    """
    return isinstance(obj, Tensor)
