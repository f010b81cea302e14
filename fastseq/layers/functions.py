"""Lambda and Identity; and the functions that stand for merging layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastseq import checks
from fastseq.layers.dot_attention import Dot
from fastseq.layers.layer import Layer
from fastseq.layers.merging import Add, Average, Concatenate, Maximum, Minimum, Multiply, Subtract


class Lambda(Layer):
    """A function of Tensors as a layer; a model with one cannot be written to a file as a whole.

    Parameters
    ----------
    function
        Of the input, a Tensor or a list of Tensors; and of ``mask`` and ``training`` if it takes them.
    output_shape
        Without an effect: the function is tried on zeros.
    mask
        A mask for the output, or a function of (inputs, mask) that returns one; None to hand on no mask.
    arguments
        Further arguments of the function by name.
    **options
        See `Layer`.
    """

    supports_masking = True

    def __init__(
        self, function: Callable[..., Any], output_shape: Any = None, mask: Any = None, arguments: Any = None,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        if not callable(function):
            raise checks.kind_error("function", "a function of a Tensor", function)
        self.function, self.mask = function, mask
        self.options = dict(arguments or {})
        try:
            taken: Any = inspect.signature(function).parameters
        except ValueError:  # some functions written in C do not tell
            taken = ()
        self._wanted = [name for name in ("mask", "training") if name in taken]

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:  # type: ignore[override]
        """Return the function of the inputs.

        Parameters
        ----------
        inputs
            A Tensor, or a list of Tensors.
        mask
            Which steps count, or None.
        training
            Whether there is noise.
        """
        given = {"mask": mask, "training": training}
        return self.function(inputs, **self.options, **{name: given[name] for name in self._wanted})

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask that the layer was given for its output."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, see `Layer.get_config`."""
        return {**super().get_config(), "function": self.function, "mask": self.mask, "arguments": self.options}


class Identity(Layer):
    """Hands its input on.

    Parameters
    ----------
    **options
        See `Layer`.
    """

    supports_masking = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def call(self, inputs: Any) -> Any:
        """Return the inputs."""
        return inputs


def add(inputs: Any, **options: Any) -> Any:
    """Return ``Add(**options)(inputs)``.

    Parameters
    ----------
    inputs
        Two tensors or more.
    **options
        Of the layer.
    """
    return Add(**options)(inputs)


def multiply(inputs: Any, **options: Any) -> Any:
    """Return ``Multiply(**options)(inputs)``.

    Parameters
    ----------
    inputs
        Two tensors or more.
    **options
        Of the layer.
    """
    return Multiply(**options)(inputs)


def average(inputs: Any, **options: Any) -> Any:
    """Return ``Average(**options)(inputs)``.

    Parameters
    ----------
    inputs
        Two tensors or more.
    **options
        Of the layer.
    """
    return Average(**options)(inputs)


def concatenate(inputs: Any, axis: int = -1, **options: Any) -> Any:
    """Return ``Concatenate(axis, **options)(inputs)``.

    Parameters
    ----------
    inputs
        Two tensors or more.
    axis
        Along which axis.
    **options
        Of the layer.
    """
    return Concatenate(axis, **options)(inputs)


def subtract(inputs: Any, **options: Any) -> Any:
    """Return ``Subtract(**options)(inputs)``.

    Parameters
    ----------
    inputs
        Two tensors.
    **options
        Of the layer.
    """
    return Subtract(**options)(inputs)


def maximum(inputs: Any, **options: Any) -> Any:
    """Return ``Maximum(**options)(inputs)``.

    Parameters
    ----------
    inputs
        Two tensors or more.
    **options
        Of the layer.
    """
    return Maximum(**options)(inputs)


def minimum(inputs: Any, **options: Any) -> Any:
    """Return ``Minimum(**options)(inputs)``.

    Parameters
    ----------
    inputs
        Two tensors or more.
    **options
        Of the layer.
    """
    return Minimum(**options)(inputs)


def dot(inputs: Any, axes: Any = -1, **options: Any) -> Any:
    """Return ``Dot(axes, **options)(inputs)``.

    Parameters
    ----------
    inputs
        Two tensors.
    axes
        The axis of both to sum along, or one for each.
    **options
        Of the layer.
    """
    return Dot(axes, **options)(inputs)
