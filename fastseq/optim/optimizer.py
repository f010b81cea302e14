"""The base of all optimisers, and the flat buffers that parameters and gradients live in.

Each parameter group keeps one array of values, one of gradients and one per state quantity (for each dtype it holds).
A parameter's storage becomes a view of the first and its gradient is accumulated into a view of the second, so that a
step is a single pass over memory. Parameters start at multiples of 64 bytes; what lies between them is never read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks

ALIGNMENT = 64  # bytes: a cache line and the widest vector


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

    def state(self, name: str) -> NDArray:
        """Return the flat array of a state quantity, zero when first asked for.

        Parameters
        ----------
        name
            The quantity.
        """
        if name not in self.states:
            self.states[name] = self.zeros()
        return self.states[name]

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

    def runs(self) -> Iterator[tuple[slice, int, range]]:
        """Yield (slice of the flat arrays, steps taken before, positions) of adjacent parameters with a gradient."""
        first = 0
        count = len(self.parameters)
        while first < count:
            if self.parameters[first].grad is None:
                first += 1
                continue
            last = first + 1
            while last < count and self.parameters[last].grad is not None and self.steps[last] == self.steps[first]:
                last += 1
            yield slice(self.starts[first], self.stops[last - 1]), self.steps[first], range(first, last)
            first = last

    def relaid(self) -> list[FlatBuffer]:
        """Return buffers for the parameters' present shapes and dtypes, with the states carried over."""
        fresh = flatten(self.parameters)
        home = {id(p): (buffer, i) for buffer in fresh for i, p in enumerate(buffer.parameters)}
        for i, parameter in enumerate(self.parameters):
            buffer, position = home[id(parameter)]
            buffer.steps[position] = self.steps[i]
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


class Optimizer:
    """Base class: parameter groups, their flat buffers, and the state that goes into a checkpoint.

    Parameters
    ----------
    params
        Leaf tensors, or dicts with ``"params"`` and options of their own.
    defaults
        Options of groups that do not set them.

    Notes
    -----
    Gradients are accumulated into the flat buffer: a gradient that is to outlive the next ``backward`` must be copied.
    """

    #: Names of the per-parameter state arrays, as PyTorch calls them.
    state_names: tuple[str, ...] = ()

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        if hasattr(params, "_data") or isinstance(params, (str, bytes, Mapping)):
            raise checks.kind_error("params", "an iterable of parameters or of dicts", params)
        self.defaults = dict(defaults)
        self.param_groups: list[dict[str, Any]] = []
        self._buffers: list[list[FlatBuffer]] = []
        self._check({"params": [], **self.defaults})
        groups = list(params)
        if not groups:
            raise checks.value_error("params", "at least one parameter", "none")
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own.

        Parameters
        ----------
        param_group
            A dict with ``"params"`` (one tensor or an iterable of tensors) and any of the optimiser's options.
        """
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise checks.kind_error("param_group", 'a dict with "params"', param_group)
        given = param_group["params"]
        parameters = [given] if hasattr(given, "_data") else list(given)
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for parameter in parameters:
            if not all(hasattr(parameter, name) for name in ("_data", "_version", "_grad_buffer", "requires_grad")):
                raise checks.kind_error("params", "tensors", parameter)
            if parameter._node is not None:
                raise checks.value_error("params", "leaf tensors", "the result of an operation")
            if parameter._data.dtype not in checks.FLOATS:
                raise TypeError(f"params: expected float32 or float64, got {parameter._data.dtype}")
            if id(parameter) in known:
                raise checks.value_error("params", "each parameter once", "one that came before")
            known.add(id(parameter))
        if not parameters:
            raise checks.value_error("params", "at least one parameter", "none")
        unknown = [name for name in param_group if name != "params" and name not in self.defaults]
        if unknown:
            raise checks.value_error("param_group", f"options among {', '.join(self.defaults)}", str(unknown[0]))
        group = {**self.defaults, **param_group, "params": parameters}
        self._check(group)
        self.param_groups.append(group)
        self._buffers.append(flatten(parameters))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients.

        Parameters
        ----------
        set_to_none
            False writes zeros instead, and so lets momentum and weight decay act on parameters without a gradient.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad._data[...] = 0

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient.

        Parameters
        ----------
        closure
            Called first, if given; it computes loss and gradients.

        Returns
        -------
        Any
            What ``closure`` returned, or None.
        """
        loss = None if closure is None else closure()
        for number, group in enumerate(self.param_groups):
            if not all(buffer.fits() for buffer in self._buffers[number]):
                self._buffers[number] = [fresh for buffer in self._buffers[number] for fresh in buffer.relaid()]
            for buffer in self._buffers[number]:
                buffer.adopt()
                for part, before, positions in buffer.runs():
                    self._update(group, buffer, part, before + 1)
                    for position in positions:
                        buffer.steps[position] = before + 1
                        buffer.parameters[position]._version[0] += 1
        return loss

    def _check(self, group: Mapping[str, Any]) -> None:
        """Raise unless the group's options are valid."""

    def _update(self, group: Mapping[str, Any], buffer: FlatBuffer, part: slice, step: int) -> None:
        """Update one run of parameters; ``step`` counts from 1."""
        raise TypeError(f"{type(self).__name__}: expected a class with an _update method, got one without")

    def state_dict(self) -> dict[str, Any]:
        """Return options and state in PyTorch's form.

        Returns
        -------
        dict
            ``"state"``: parameter number to its step count and arrays (copies);
            ``"param_groups"``: the options, ``"params"`` being parameter numbers.
        """
        state: dict[int, dict[str, Any]] = {}
        groups = []
        number = 0
        for group, buffers in zip(self.param_groups, self._buffers, strict=True):
            home = {id(p): (buffer, i) for buffer in buffers for i, p in enumerate(buffer.parameters)}
            numbers = []
            for parameter in group["params"]:
                buffer, i = home[id(parameter)]
                if buffer.steps[i]:
                    state[number] = {"step": buffer.steps[i]} | {
                        name: buffer.views_of(flat, i).copy() for name, flat in buffer.states.items()
                    }
                numbers.append(number)
                number += 1
            groups.append({name: value for name, value in group.items() if name != "params"} | {"params": numbers})
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over options and state; change nothing if anything does not fit.

        Parameters
        ----------
        state_dict
            From ``state_dict`` of an optimiser of this kind (or PyTorch's of the same name) over like parameters.

        Raises
        ------
        ValueError
            If the groups, a shape or an option does not fit.
        """
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            raise checks.kind_error("state_dict", 'a dict with "state" and "param_groups"', state_dict)
        given = state_dict["param_groups"]
        expected = [len(group["params"]) for group in self.param_groups]
        found = [len(group["params"]) for group in given]
        if expected != found:
            raise checks.value_error("state_dict", f"groups of {expected} parameters", f"groups of {found}")
        options = [{name: group[name] for name in self.defaults if name in group} for group in given]
        for group, new in zip(self.param_groups, options, strict=True):
            self._check({**group, **new})
        numbers = [number for group in given for number in group["params"]]
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        entries = {}
        for number, parameter in zip(numbers, parameters, strict=True):
            if number in state_dict["state"]:
                entries[id(parameter)] = self._entry(number, state_dict["state"][number], parameter._data.shape)
        for group, new, buffers in zip(self.param_groups, options, self._buffers, strict=True):
            group.update(new)
            for buffer in buffers:
                buffer.states = {}
                buffer.steps = [0] * len(buffer.parameters)
                for i, parameter in enumerate(buffer.parameters):
                    step, arrays = entries.get(id(parameter), (0, {}))
                    buffer.steps[i] = step
                    for name, values in arrays.items():
                        buffer.views_of(buffer.state(name), i)[...] = values

    def _entry(self, number: Any, entry: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[int, dict[str, NDArray]]:
        """Return (step count, arrays) of one parameter of a state dict, checked."""
        arrays = {}
        for name in self.state_names:
            if entry.get(name) is None:
                continue
            values = np.asarray(entry[name])
            if values.shape != shape or values.dtype.kind != "f":
                raise checks.value_error(f"state_dict['state'][{number}][{name!r}]", f"floats of shape {shape}", values)
            arrays[name] = values
        step = int(entry.get("step", 1 if arrays else 0))
        return checks.integer(f"state_dict['state'][{number}]['step']", step, minimum=0), arrays

    def __repr__(self) -> str:
        """List the groups' options."""
        lines = [
            f"  group {i}: {sum(p._data.size for p in group['params'])} numbers, "
            + ", ".join(f"{name}={value}" for name, value in group.items() if name != "params")
            for i, group in enumerate(self.param_groups)
        ]
        return f"{type(self).__name__}(\n" + "\n".join(lines) + "\n)"
