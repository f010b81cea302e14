"""Parameter and Module: who owns the weights, under which names, and how they come and go.

Names, shapes and behaviour are PyTorch's: attributes that are Parameters, Modules or registered buffers are found by
``parameters``, ``modules`` and ``state_dict`` under their dotted attribute names.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init

M = TypeVar("M", bound="Module")


class Parameter(Tensor):
    """A Tensor that a Module learns: it requires a gradient and registers itself when set as an attribute.

    Parameters
    ----------
    data
        The values, float32 or float64; an ndarray is not copied.
    requires_grad
        False freezes it.
    dtype
        float32 or float64, to convert ``data`` to.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, dtype: DTypeLike | None = None) -> None:
        super().__init__(data._data if isinstance(data, Tensor) else data, requires_grad, dtype)
        init.account(self._data.size)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        """Copy values and gradient into storage of their own, out of any optimiser's flat buffer."""
        twin = type(self)(self._data.copy(), self.requires_grad)
        if self.grad is not None:
            twin.grad = Tensor(self.grad._data.copy())
        memo[id(self)] = twin
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as values only."""
        return type(self), (self._data.copy(), self.requires_grad)


class LoadResult(NamedTuple):
    """What ``load_state_dict(strict=False)`` left out: names of the module not given, names given but unknown."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base class of all layers and models.

    Subclasses write ``forward``. ``uses_lengths`` says whether ``forward`` takes ``lengths=`` (row lengths, integers
    (B,)); it follows from the signature unless a class sets it. ``_config`` names the attributes that are the
    constructor's arguments, so that a model can be written to a file as plain JSON.
    """

    uses_lengths: ClassVar[bool] = False
    _config: ClassVar[tuple[str, ...]] = ()

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read from ``forward``'s signature whether the class takes lengths."""
        super().__init_subclass__(**kwargs)
        forward = cls.__dict__.get("forward")
        if forward is not None and "uses_lengths" not in cls.__dict__:
            cls.uses_lengths = "lengths" in inspect.signature(forward).parameters

    def __new__(cls: type[M], *args: Any, **kwargs: Any) -> M:
        """Make the registries before ``__init__``, so that no subclass can forget them."""
        self = super().__new__(cls)
        state = self.__dict__
        state["training"] = True
        state["_parameters"] = {}
        state["_buffers"] = {}
        state["_modules"] = {}
        state["_transient"] = set()
        return self

    def __init__(self) -> None:
        """Do nothing; here so that subclasses may call ``super().__init__()``."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's output; every subclass that is called writes its own."""
        raise TypeError(f"{type(self).__name__}: expected a class with a forward method, got one without")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return ``forward(*args, **kwargs)``."""
        return self.forward(*args, **kwargs)

    # -- attributes ---------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        """Register Parameters, Modules and values of registered buffers; set anything else as usual."""
        if isinstance(value, Parameter):
            if name not in self._parameters:
                self._forget(name)
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if name not in self._modules:
                self._forget(name)
            self.add_module(name, value)
        elif value is None and name in self._parameters:
            self._parameters[name] = None
        elif value is None and name in self._modules:
            self._modules[name] = None
        elif name in self._parameters:
            raise checks.kind_error(name, "a Parameter or None (the name belongs to a parameter)", value)
        elif name in self._modules:
            raise checks.kind_error(name, "a Module or None (the name belongs to a submodule)", value)
        elif name in self._buffers:
            self._buffers[name] = _as_buffer(name, value)
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        """Look up parameters, buffers and submodules; called only where usual lookup found nothing."""
        for registry in ("_parameters", "_modules", "_buffers"):
            entries = self.__dict__.get(registry)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        """Remove a parameter, buffer, submodule or plain attribute."""
        if not self._forget(name):
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        """List registered names too."""
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _forget(self, name: str) -> bool:
        """Take ``name`` out of every registry and out of the plain attributes; say whether a registry had it."""
        found = False
        for registry in (self._parameters, self._buffers, self._modules):
            if name in registry:
                del registry[name]
                found = True
        self._transient.discard(name)
        if not found and name in self.__dict__ and name not in ("training",):
            del self.__dict__[name]
            return True
        return found

    def _check_name(self, name: str, registry: Mapping[str, Any]) -> None:
        if not isinstance(name, str):
            raise checks.kind_error("name", "a string", name)
        if not name or "." in name:
            raise checks.value_error("name", "a non-empty name without dots", name)
        if name not in registry and (name in self.__dict__ or hasattr(type(self), name)):
            raise checks.value_error("name", "a name that is not in use", name)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Add a parameter under ``name``.

        Parameters
        ----------
        name
            Attribute name, without dots.
        parameter
            The Parameter, or None for one that is absent (a bias switched off).
        """
        if parameter is not None and not isinstance(parameter, Parameter):
            raise checks.kind_error("parameter", "a Parameter or None", parameter)
        self._check_name(name, self._parameters)
        self._parameters[name] = parameter

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Add an array that is part of the state but not learned.

        Parameters
        ----------
        name
            Attribute name, without dots.
        tensor
            Tensor, array or None.
        persistent
            Whether ``state_dict`` includes it.
        """
        self._check_name(name, self._buffers)
        buffer = self._buffers[name] = _as_buffer(name, tensor)
        if buffer is not None:
            init.account(buffer._data.size)
        if checks.boolean("persistent", persistent):
            self._transient.discard(name)
        else:
            self._transient.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under ``name``.

        Parameters
        ----------
        name
            Attribute name, without dots.
        module
            The Module or None.
        """
        if module is not None and not isinstance(module, Module):
            raise checks.kind_error("module", "a Module or None", module)
        self._check_name(name, self._modules)
        if module is not None and any(inner is self for inner in module.modules()):
            raise checks.value_error("module", "a module that does not contain its new owner", type(module).__name__)
        self._modules[name] = module

    # -- what is inside -----------------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """Yield (dotted name, module) for this module and all below it, parents first.

        Parameters
        ----------
        prefix
            Put before every name.
        remove_duplicate
            Whether a module that is used twice comes once.
        """
        yield from _walk(self, prefix, set() if remove_duplicate else None)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield (name, module) for the direct submodules."""
        for name, module in self._modules.items():
            if module is not None:
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield the direct submodules."""
        for _, module in self.named_children():
            yield module

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield (dotted name, parameter).

        Parameters
        ----------
        prefix
            Put before every name.
        recurse
            Whether to include submodules.
        remove_duplicate
            Whether a parameter that is used twice comes once.
        """
        yield from self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, each once.

        Parameters
        ----------
        recurse
            Whether to include submodules.
        """
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield (dotted name, buffer).

        Parameters
        ----------
        prefix
            Put before every name.
        recurse
            Whether to include submodules.
        remove_duplicate
            Whether a buffer that is used twice comes once.
        """
        yield from self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers, each once.

        Parameters
        ----------
        recurse
            Whether to include submodules.
        """
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def _named(self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = self.named_modules(prefix, remove_duplicate) if recurse else iter([(prefix, self)])
        for path, module in owners:
            for name, value in getattr(module, registry).items():
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield f"{path}.{name}" if path else name, value

    def num_parameters(self, trainable_only: bool = False) -> int:
        """Return how many numbers the parameters hold.

        Parameters
        ----------
        trainable_only
            Whether to leave out frozen parameters.
        """
        return sum(p._data.size for p in self.parameters() if p.requires_grad or not trainable_only)

    # -- modes --------------------------------------------------------------------------------------------------

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Call ``function(module)`` for every submodule, children first, then for this one.

        Parameters
        ----------
        function
            What to call.

        Returns
        -------
        Module
            This module.
        """
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def train(self: M, mode: bool = True) -> M:
        """Switch this module and all below it to training (or, with False, to evaluation).

        Parameters
        ----------
        mode
            True for training.

        Returns
        -------
        Module
            This module.
        """
        checks.boolean("mode", mode)
        for module in self.modules():
            module.__dict__["training"] = bool(mode)
        return self

    def eval(self: M) -> M:
        """Switch this module and all below it to evaluation; return it."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients.

        Parameters
        ----------
        set_to_none
            False writes zeros instead.
        """
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad._data[...] = 0

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Freeze (False) or unfreeze all parameters; return this module.

        Parameters
        ----------
        requires_grad
            Whether they are to be learned.
        """
        checks.boolean("requires_grad", requires_grad)
        for parameter in self.parameters():
            parameter.requires_grad = bool(requires_grad)
        return self

    def to(self: M, dtype: DTypeLike) -> M:
        """Convert parameters and floating-point buffers to a dtype, in place.

        Parameters
        ----------
        dtype
            float32 or float64.

        Returns
        -------
        Module
            This module.
        """
        wanted = checks.float_dtype("dtype", dtype)
        for module in self.modules():
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None and tensor._data.dtype.kind == "f" and tensor._data.dtype != wanted:
                    _convert(tensor, wanted)
            if "dtype" in module.__dict__:
                module.__dict__["dtype"] = wanted
        return self

    def float(self: M) -> M:
        """Convert parameters and buffers to float32; return this module."""
        return self.to(np.float32)

    def double(self: M) -> M:
        """Convert parameters and buffers to float64; return this module."""
        return self.to(np.float64)

    # -- state --------------------------------------------------------------------------------------------------

    def state_dict(self, prefix: str = "") -> OrderedDict[str, Tensor]:
        """Return all parameters and persistent buffers by dotted name.

        Parameters
        ----------
        prefix
            Put before every name as it is.

        Returns
        -------
        OrderedDict of str to Tensor
            Detached tensors that share the module's storage: copy them to keep them.
        """
        state: OrderedDict[str, Tensor] = OrderedDict()
        for path, module in self.named_modules(remove_duplicate=False):
            start = prefix + (f"{path}." if path else "")
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    state[start + name] = parameter.detach()
            for name, buffer in module._buffers.items():
                if buffer is not None and name not in module._transient:
                    state[start + name] = buffer.detach()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values into parameters and buffers by name; copy nothing if anything is wrong.

        Parameters
        ----------
        state_dict
            Name to Tensor, ndarray or whatever ``numpy.asarray`` takes, PyTorch's tensors included.
        strict
            Whether missing and unknown names are errors.

        Returns
        -------
        LoadResult
            ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        TypeError
            If ``state_dict`` is not a mapping.
        ValueError
            With every missing name, unknown name, wrong shape and wrong dtype.
        """
        if not isinstance(state_dict, Mapping):
            raise checks.kind_error("state_dict", "a mapping from names to arrays", state_dict)
        own = self.state_dict()
        missing = [name for name in own if name not in state_dict]
        unexpected = [str(name) for name in state_dict if name not in own]
        problems: list[str] = []
        if strict:
            problems += [f"{name}: expected shape {tuple(own[name].shape)}, got nothing" for name in missing]
            problems += [f"{name}: expected no such name, got one" for name in unexpected]
        arrays: dict[str, NDArray] = {}
        for name, target in own.items():
            if name in state_dict:
                try:
                    arrays[name] = _incoming(name, state_dict[name], target._data)
                except (TypeError, ValueError) as error:
                    problems.append(str(error))
        if problems:
            raise ValueError(f"state_dict does not fit {type(self).__name__}:\n    " + "\n    ".join(problems))
        for name, values in arrays.items():
            own[name]._data[...] = values
            own[name]._version[0] += 1
        return LoadResult(missing, unexpected)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain JSON values.

        Returns
        -------
        dict
            One entry per name in the class attribute ``_config``. Where the name is that of a parameter, the value
            says whether the module has it.
        """
        return {
            name: self._parameters[name] is not None if name in self._parameters else _plain(getattr(self, name))
            for name in self._config
        }

    @classmethod
    def from_config(cls: type[M], config: Mapping[str, Any]) -> M:
        """Build a module from what ``config`` returned.

        Parameters
        ----------
        config
            The constructor's arguments.

        Returns
        -------
        Module
            With fresh weights.
        """
        return cls(**config)

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of the module's repr."""
        return ", ".join(f"{name}={value!r}" for name, value in self.config().items())

    def __repr__(self) -> str:
        """Draw the tree of submodules as PyTorch does."""
        lines = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self.named_children()]
        extra = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({extra})"
        return f"{type(self).__name__}(\n  " + "\n  ".join([*([extra] if extra else []), *lines]) + "\n)"


def _walk(module: Module, prefix: str, seen: set[int] | None) -> Iterator[tuple[str, Module]]:
    if seen is not None:
        if id(module) in seen:
            return
        seen.add(id(module))
    yield prefix, module
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, f"{prefix}.{name}" if prefix else name, seen)


def _as_buffer(name: str, value: Any) -> Tensor | None:
    if value is None or (isinstance(value, Tensor) and not value.requires_grad):
        return value
    return Tensor(value._data if isinstance(value, Tensor) else value)


def _convert(tensor: Tensor, dtype: np.dtype) -> None:
    """Give a tensor storage of another dtype; an optimiser's flat buffer takes it up again at its next step."""
    tensor._data = tensor._data.astype(dtype)
    tensor._version[0] += 1
    tensor._grad_buffer = None
    if tensor.grad is not None:
        tensor.grad = Tensor(tensor.grad._data.astype(dtype))


def _incoming(name: str, value: Any, target: NDArray) -> NDArray:
    """Return a state dict's value as an ndarray that can be copied into ``target``."""
    if isinstance(value, Tensor):
        found = value._data
    else:
        foreign = value.detach() if callable(getattr(value, "detach", None)) else value
        found = np.asarray(foreign)
    if found.shape != target.shape:
        raise ValueError(f"{name}: expected shape {target.shape}, got {found.shape}")
    if not np.can_cast(found.dtype, target.dtype, "same_kind") or (found.dtype.kind == "b") != (
        target.dtype.kind == "b"
    ):
        raise TypeError(f"{name}: expected dtype {target.dtype}, got {found.dtype}")
    return found


def _plain(value: Any) -> Any:
    """Return a constructor argument as a JSON value."""
    if isinstance(value, (np.dtype, type)):
        return np.dtype(value).name
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
