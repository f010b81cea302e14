"""What a module is made of: parameters, buffers and submodules under their attribute names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init
from fastseq.nn.parameter import Parameter

if TYPE_CHECKING:
    from fastseq.nn.module import Module

R = TypeVar("R", bound="Registry")


class Registry:
    """Keeps what is set as an attribute, and walks over it in order. The lower half of Module."""

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]

    def __new__(cls: type[R], *args: Any, **kwargs: Any) -> R:
        """Make the registries before ``__init__``, so that no subclass can forget them."""
        self = super().__new__(cls)
        state = self.__dict__
        state["training"] = True
        state["_parameters"] = {}
        state["_buffers"] = {}
        state["_modules"] = {}
        state["_transient"] = set()
        return self

    # -- attributes ---------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        """Register Parameters, Modules and values of registered buffers; set anything else as usual."""
        if isinstance(value, Parameter):
            if name not in self._parameters:
                self._forget(name)
            self.register_parameter(name, value)
        elif isinstance(value, Registry):
            if name not in self._modules:
                self._forget(name)
            self.add_module(name, cast("Module", value))
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
        if module is not None and not isinstance(module, Registry):
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
        found: dict[int, Parameter] = {}
        _gather(self, recurse, found, set())
        yield from found.values()

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

    def get_submodule(self, target: str) -> Module:
        """Return the module with a dotted name; this one for "".

        Parameters
        ----------
        target
            The name.

        Raises
        ------
        AttributeError
            If there is none.
        """
        found: Any = self
        for name in target.split(".") if target else ():
            if found._modules.get(name) is None:
                raise AttributeError(f"{type(found).__name__} has no submodule {name!r}")
            found = found._modules[name]
        return found

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter with a dotted name.

        Parameters
        ----------
        target
            The name.

        Raises
        ------
        AttributeError
            If there is none.
        """
        return self._get("_parameters", "parameter", target)

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer with a dotted name.

        Parameters
        ----------
        target
            The name.

        Raises
        ------
        AttributeError
            If there is none.
        """
        return self._get("_buffers", "buffer", target)

    def _get(self, registry: str, what: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        found = getattr(owner, registry).get(name)
        if found is None:
            raise AttributeError(f"{type(owner).__name__} has no {what} {name!r}")
        return found

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


def _walk(module: Any, prefix: str, seen: set[int] | None) -> Iterator[tuple[str, Module]]:
    if seen is not None:
        if id(module) in seen:
            return
        seen.add(id(module))
    yield prefix, module
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, f"{prefix}.{name}" if prefix else name, seen)


def _gather(module: Any, recurse: bool, found: dict[int, Any], seen: set[int]) -> None:
    """Put the parameters into ``found`` by identity: without names, since every training step asks for them."""
    seen.add(id(module))
    for parameter in module._parameters.values():
        if parameter is not None:
            found[id(parameter)] = parameter
    if recurse:
        for child in module._modules.values():
            if child is not None and id(child) not in seen:
                _gather(child, True, found, seen)


def _as_buffer(name: str, value: Any) -> Tensor | None:
    if value is None or (isinstance(value, Tensor) and not value.requires_grad):
        return value
    return Tensor(value._data if isinstance(value, Tensor) else value)
