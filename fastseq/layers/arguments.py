"""What layers are given in Keras's forms: a shape to build for, arguments of a call by place or by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastseq.layers.layer import Layer


def whole(build: Callable[..., None]) -> Callable[..., None]:
    """Return a class's ``build`` that does all that building takes, whoever calls it: once, draw weights, name them.

    Parameters
    ----------
    build
        What the class wrote.
    """

    @functools.wraps(build)
    def building(self: Layer, *shapes: Any, **named: Any) -> None:
        if self._building:  # a subclass's build calls that of its base
            build(self, *shapes, **named)
        elif not self.built:
            given = tuple(inspect.signature(build).bind(self, *shapes, **named).args[1:])
            self._building = True
            try:
                build(self, *given)
            finally:
                self._building = False
            self._built_from = given
            self.built = True
            self.settle()

    return building


def placed(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call with the first by place, and ``mask``, ``training`` and what follows by name.

    Parameters
    ----------
    layer
        Whose ``call`` says what stands where.
    args, kwargs
        The arguments.

    Raises
    ------
    TypeError
        If one is given twice.
    """
    if len(args) == 1:
        return args, kwargs
    names, named = list(inspect.signature(layer.call).parameters), dict(kwargs)
    if not args and names and names[0] in named:
        return (named.pop(names[0]),), named
    by_name = [place for place, name in enumerate(names[: len(args)]) if name in ("mask", "training")]
    first = min(by_name, default=len(args))
    for name, value in zip(names[first:], args[first:], strict=False):
        if name in named:
            raise TypeError(f"{layer.name}: expected {name} once, got it by place and by name")
        named[name] = value
    return args[:first], named


def input_shape(options: dict[str, Any]) -> tuple[int | None, ...] | None:
    """Take the shape that a Sequential's first layer may be given out of its options; with rows.

    Parameters
    ----------
    options
        The constructor's further arguments.
    """
    whole = options.pop("batch_input_shape", None)
    rest = options.pop("input_shape", None)
    if whole is not None:
        return tuple(whole)
    if rest is None:
        return None
    return (None, *((rest,) if isinstance(rest, int) else rest))


def zeros(shape: Any, size: int, dtype: Any) -> Any:
    """Return zeros of a shape, or of each in a list.

    Parameters
    ----------
    shape
        Sizes; None for what is not known.
    size
        What to put there.
    dtype
        float32 or float64.
    """
    if isinstance(shape, list):
        return [zeros(one, size, dtype) for one in shape]
    return np.zeros([size if n is None else n for n in shape], dtype)
