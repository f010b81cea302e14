"""The base of all optimisers: parameter groups, steps over their flat buffers, and state dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.optim.flat import FlatBuffer, Stretch, flatten

#: What schedules keep in a parameter group, as in PyTorch.
SCHEDULED = ("initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum")


class _Entry(NamedTuple):
    """What a state dict says of one parameter."""

    step: int
    arrays: dict[str, NDArray]
    scalars: dict[str, float]


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
    #: Names of the states that are one number per parameter, with what they are at the start.
    scalar_names: ClassVar[Mapping[str, float]] = {}
    #: Whether ``step`` has to be given a closure.
    needs_closure: ClassVar[bool] = False

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
        unknown = [name for name in param_group if name not in ("params", *self.defaults, *SCHEDULED)]
        if unknown:
            raise checks.value_error("param_group", f"options among {', '.join(self.defaults)}", str(unknown[0]))
        group = {**self.defaults, **param_group, "params": parameters}
        self._checked(group)
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
            if not all([buffer.at_home() for buffer in self._buffers[number]]):
                if not all([buffer.fits() for buffer in self._buffers[number]]):
                    self._buffers[number] = [fresh for buffer in self._buffers[number] for fresh in buffer.relaid()]
                for buffer in self._buffers[number]:
                    buffer.adopt()
            for buffer in self._buffers[number]:
                for stretch in buffer.stretches():
                    self._update(group, buffer, stretch)
                    for position in stretch.positions:
                        buffer.steps[position] = stretch.step
                        buffer.parameters[position]._version[0] += 1
        return loss

    def _checked(self, group: Mapping[str, Any]) -> None:
        """Raise unless the group's options, and what a schedule left in it, are valid."""
        self._check(group)
        for name in SCHEDULED:
            if name in group:
                checks.real(name, group[name], 0.0)

    def _check(self, group: Mapping[str, Any]) -> None:
        """Raise unless the group's options are valid."""

    def _start(self, name: str, group: Mapping[str, Any]) -> float:
        """Return what a state array of the group holds before the first step."""
        return 0.0

    def _update(self, group: Mapping[str, Any], buffer: FlatBuffer, stretch: Stretch) -> None:
        """Update the parameters of one stretch."""
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
                    scalars = {name: values[i] for name, values in buffer.scalars.items()}
                    arrays = {name: buffer.views_of(flat, i).copy() for name, flat in buffer.states.items()}
                    state[number] = {"step": buffer.steps[i]} | scalars | arrays
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
        known = (*self.defaults, *SCHEDULED)
        options = [{name: group[name] for name in known if name in group} for group in given]
        for group, new in zip(self.param_groups, options, strict=True):
            self._checked({**group, **new})
        numbers = [number for group in given for number in group["params"]]
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        entries = {}
        for number, parameter in zip(numbers, parameters, strict=True):
            if number in state_dict["state"]:
                entries[id(parameter)] = self._entry(number, state_dict["state"][number], parameter._data.shape)
        nothing = _Entry(0, {}, dict(self.scalar_names))
        for group, new, buffers in zip(self.param_groups, options, self._buffers, strict=True):
            group.update(new)
            for buffer in buffers:
                buffer.states, buffer.scalars = {}, {}
                for i, parameter in enumerate(buffer.parameters):
                    entry = entries.get(id(parameter), nothing)
                    buffer.steps[i] = entry.step
                    for name, number in entry.scalars.items():
                        buffer.scalar(name, number)[i] = number
                    for name, values in entry.arrays.items():
                        buffer.views_of(buffer.state(name, self._start(name, group)), i)[...] = values

    def _entry(self, number: Any, entry: Mapping[str, Any], shape: tuple[int, ...]) -> _Entry:
        """Return what a state dict says of one parameter, checked."""
        arrays = {}
        for name in self.state_names:
            if entry.get(name) is None:
                continue
            values = np.asarray(entry[name])
            if values.shape != shape or values.dtype.kind != "f":
                raise checks.value_error(f"state_dict['state'][{number}][{name!r}]", f"floats of shape {shape}", values)
            arrays[name] = values
        scalars = {
            name: checks.real(f"state_dict['state'][{number}][{name!r}]", float(entry.get(name, start)))
            for name, start in self.scalar_names.items()
        }
        step = int(entry.get("step", 1 if arrays else 0))
        checks.integer(f"state_dict['state'][{number}]['step']", step, minimum=0)
        return _Entry(step, arrays, scalars)

    def __repr__(self) -> str:
        """List the groups' options."""
        lines = [
            f"  group {i}: {sum(p._data.size for p in group['params'])} numbers, "
            + ", ".join(f"{name}={value}" for name, value in group.items() if name != "params")
            for i, group in enumerate(self.param_groups)
        ]
        return f"{type(self).__name__}(\n" + "\n".join(lines) + "\n)"
