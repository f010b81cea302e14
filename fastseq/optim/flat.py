"""The flat buffers that parameters, their gradients and the optimisers' states live in.

Each parameter group keeps one array of values, one of gradients and one per state quantity (for each dtype it holds).
A parameter's storage becomes a view of the first and its gradient is accumulated into a view of the second, so that a
step is a single pass over memory. Parameters start at multiples of 64 bytes; what lies between them is never read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import checks

ALIGNMENT = 64  # bytes: a cache line and the widest vector


class Stretch(NamedTuple):
    """Adjacent parameters of a buffer that take the same step."""

    part: slice  #: of the flat arrays
    step: int  #: its number, from 1
    positions: range  #: of the parameters in the buffer


class FlatBuffer:
    """Values, gradients and states of some parameters of one dtype, each in one aligned array.

    Parameters
    ----------
    parameters
        Leaf tensors of one dtype; their storage is moved.
    """

    def __init__(self, parameters: list[Any]) -> None:
        self.parameters = parameters
        self.dtype = parameters[0]._data.dtype
        unit = ALIGNMENT // self.dtype.itemsize
        self.starts = []
        end = 0
        for parameter in parameters:
            self.starts.append(end)
            end += -(-parameter._data.size // unit) * unit
        self.stops = [*self.starts[1:], end]
        self.size = end
        self.data = self.zeros()
        self.grad = self.zeros()
        self.states: dict[str, NDArray] = {}
        self.scalars: dict[str, list[float]] = {}
        self.steps = [0] * len(parameters)
        self.data_views = self.views(self.data)
        self.grad_views = self.views(self.grad)
        self.adopt()

    def zeros(self) -> NDArray:
        """Return an aligned array of zeros with this layout."""
        nbytes = self.size * self.dtype.itemsize
        raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
        shift = -raw.ctypes.data % ALIGNMENT
        return raw[shift : shift + nbytes].view(self.dtype)

    def views(self, flat: NDArray) -> list[NDArray]:
        """Return one view per parameter, in its shape."""
        return [
            flat[start : start + parameter._data.size].reshape(parameter._data.shape)
            for parameter, start in zip(self.parameters, self.starts, strict=True)
        ]

    def state(self, name: str, start: float = 0.0) -> NDArray:
        """Return the flat array of a state quantity.

        Parameters
        ----------
        name
            The quantity.
        start
            What it holds when it is first asked for.
        """
        if name not in self.states:
            self.states[name] = self.zeros()
            self.states[name][...] = start
        return self.states[name]

    def scalar(self, name: str, start: float) -> list[float]:
        """Return a state quantity of which each parameter has one number.

        Parameters
        ----------
        name
            The quantity.
        start
            What it is when it is first asked for.
        """
        return self.scalars.setdefault(name, [start] * len(self.parameters))

    def at_home(self) -> bool:
        """Say whether all parameters and gradients live in the buffer and take their next step together."""
        steps = self.steps[0]
        for parameter, data, grad, taken in zip(
            self.parameters, self.data_views, self.grad_views, self.steps, strict=True
        ):
            found = parameter.grad
            if parameter._data is not data or found is None or found._data is not grad or taken != steps:
                return False
        return not self.scalars

    def adopt(self) -> None:
        """Move parameters and gradients that live elsewhere into the buffer; a no-op for those at home."""
        for parameter, data, grad in zip(self.parameters, self.data_views, self.grad_views, strict=True):
            if parameter._data is not data:
                data[...] = parameter._data
                parameter._data = data
                parameter._version[0] += 1
            if parameter._grad_buffer is not grad:
                parameter._grad_buffer = grad
            found = parameter.grad
            if found is not None and found._data is not grad:
                if found._data.shape != grad.shape:
                    raise checks.value_error("grad", f"the parameter's shape {grad.shape}", found._data)
                grad[...] = found._data
                found._data = grad

    def fits(self) -> bool:
        """Say whether the parameters still have the shapes and dtype that the buffer was laid out for."""
        return all(
            parameter._data is view or (parameter._data.dtype == self.dtype and parameter._data.shape == view.shape)
            for parameter, view in zip(self.parameters, self.data_views, strict=True)
        )

    def stretches(self) -> Iterator[Stretch]:
        """Yield the parameters with a gradient, adjacent ones together where their next step is the same."""
        count = len(self.parameters)
        if self.at_home():
            yield Stretch(slice(0, self.stops[-1]), self.steps[0] + 1, range(count))
            return
        first = 0
        while first < count:
            if self.parameters[first].grad is None:
                first += 1
                continue
            last = first + 1
            while last < count and self.parameters[last].grad is not None and self._alike(first, last):
                last += 1
            part = slice(self.starts[first], self.stops[last - 1])
            yield Stretch(part, self.steps[first] + 1, range(first, last))
            first = last

    def _alike(self, one: int, other: int) -> bool:
        if self.steps[one] != self.steps[other]:
            return False
        return all(values[one] == values[other] for values in self.scalars.values())

    def relaid(self) -> list[FlatBuffer]:
        """Return buffers for the parameters' present shapes and dtypes, with the states carried over."""
        fresh = flatten(self.parameters)
        home = {id(p): (buffer, i) for buffer in fresh for i, p in enumerate(buffer.parameters)}
        for i, parameter in enumerate(self.parameters):
            buffer, position = home[id(parameter)]
            buffer.steps[position] = self.steps[i]
            for name, numbers in self.scalars.items():
                buffer.scalar(name, numbers[i])[position] = numbers[i]
            for name, flat in self.states.items():
                old, new = self.views_of(flat, i), buffer.views(buffer.state(name))[position]
                if old.shape != new.shape:
                    raise checks.value_error("parameter", f"the shape it had before, {old.shape}", parameter._data)
                new[...] = old
        return fresh

    def views_of(self, flat: NDArray, position: int) -> NDArray:
        """Return the part of a flat array that belongs to one parameter.

        Parameters
        ----------
        flat
            An array with this layout.
        position
            Which parameter.
        """
        shape = self.data_views[position].shape
        start = self.starts[position]
        return flat[start : start + math.prod(shape)].reshape(shape)


def flatten(parameters: list[Any]) -> list[FlatBuffer]:
    """Move parameters into one flat buffer per dtype.

    Parameters
    ----------
    parameters
        Leaf tensors.

    Returns
    -------
    list of FlatBuffer
        The buffers, in order of first appearance of their dtypes.
    """
    by_dtype: dict[np.dtype, list[Any]] = {}
    for parameter in parameters:
        by_dtype.setdefault(parameter._data.dtype, []).append(parameter)
    return [FlatBuffer(members) for members in by_dtype.values()]
