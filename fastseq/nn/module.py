"""Module: modes, dtypes, state dicts and configuration of everything that owns weights.

Names, shapes and behaviour are PyTorch's: attributes that are Parameters, Modules or registered buffers are found by
``parameters``, ``modules`` and ``state_dict`` under their dotted attribute names.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.nn.parameter import Parameter
from fastseq.nn.registry import Registry

__all__ = ["LoadResult", "Module", "Parameter"]

M = TypeVar("M", bound="Module")


class LoadResult(NamedTuple):
    """What ``load_state_dict(strict=False)`` left out: names of the module not given, names given but unknown."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module(Registry):
    """Base class of all layers and models.

    Subclasses write ``forward``. ``uses_lengths`` says whether ``forward`` takes ``lengths=`` (row lengths, integers
    (B,)); it follows from the signature unless a class sets it. ``_config`` names the attributes that are the
    constructor's arguments, so that a model can be written to a file as plain JSON; ``_parts`` names those among the
    arguments that are Modules themselves (or None).
    """

    uses_lengths: ClassVar[bool] = False
    _config: ClassVar[tuple[str, ...]] = ()
    _parts: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read from ``forward``'s signature whether the class takes lengths."""
        super().__init_subclass__(**kwargs)
        forward = cls.__dict__.get("forward")
        if forward is not None and "uses_lengths" not in cls.__dict__:
            cls.uses_lengths = "lengths" in inspect.signature(forward).parameters

    def __init__(self) -> None:
        """Do nothing; here so that subclasses may call ``super().__init__()``."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's output; every subclass that is called writes its own."""
        raise TypeError(f"{type(self).__name__}: expected a class with a forward method, got one without")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return ``forward(*args, **kwargs)``."""
        return self.forward(*args, **kwargs)

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
            float32 or float64; or ``"cpu"``, where the module is already.

        Returns
        -------
        Module
            This module.
        """
        if checks.is_device("device", dtype):
            return self
        wanted = checks.float_dtype("dtype", dtype)
        for module in self.modules():
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None and tensor._data.dtype.kind == "f" and tensor._data.dtype != wanted:
                    _convert(tensor, wanted)
            if "dtype" in module.__dict__:
                module.__dict__["dtype"] = wanted
        return self

    def cpu(self: M) -> M:
        """Return this module."""
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
