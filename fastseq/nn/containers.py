"""Modules that hold other modules: Sequential, ModuleList, ModuleDict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from fastseq import checks
from fastseq.nn.conv import Conv1d
from fastseq.nn.module import Module
from fastseq.nn.window_pooling import WindowPool

S = TypeVar("S", bound="_Indexed")


class _Indexed(Module):
    """Submodules in order; names are positions unless given."""

    def _at(self, index: int) -> str:
        names = list(self._modules)
        position = checks.integer("index", index)
        if not -len(names) <= position < len(names):
            raise IndexError(f"index: expected -{len(names)} <= index < {len(names)}, got {position}")
        return names[position]

    def _replace(self, modules: Iterable[Module]) -> None:
        """Take these modules, in order, named by position."""
        taken = list(modules)
        for module in taken:
            if not isinstance(module, Module):
                raise checks.kind_error("module", "a Module", module)
        self._modules.clear()
        for position, module in enumerate(taken):
            self.add_module(str(position), module)

    def __len__(self) -> int:
        """Return the number of modules."""
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        """Iterate over the modules in order."""
        return self.children()

    def __contains__(self, module: object) -> bool:
        """Say whether this very module is inside."""
        return any(inner is module for inner in self.children())

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self: S, index: slice) -> S: ...

    def __getitem__(self, index: int | slice) -> Module:
        """Return one module, or a container of the same kind over a slice."""
        if isinstance(index, slice):
            part = type(self)()
            for name in list(self._modules)[index]:
                part.add_module(name if not name.isdigit() else str(len(part)), self._modules[name])
            return part
        module = self._modules[self._at(index)]
        assert module is not None
        return module

    def __setitem__(self, index: int, module: Module) -> None:
        """Replace one module."""
        if not isinstance(module, Module):
            raise checks.kind_error("module", "a Module", module)
        self.add_module(self._at(index), module)

    def __delitem__(self, index: int | slice) -> None:
        """Remove one module or a slice of them; those named by position move up."""
        for name in list(self._modules)[index] if isinstance(index, slice) else [self._at(index)]:
            del self._modules[name]
        if all(name.isdigit() for name in self._modules):
            self._replace(list(self.children()))

    def append(self: S, module: Module) -> S:
        """Add a module at the end; return the container.

        Parameters
        ----------
        module
            The Module.
        """
        if not isinstance(module, Module):
            raise checks.kind_error("module", "a Module", module)
        self.add_module(str(len(self)), module)
        return self

    def extend(self: S, modules: Iterable[Module]) -> S:
        """Add modules at the end; return the container.

        Parameters
        ----------
        modules
            The Modules.
        """
        for module in modules:
            self.append(module)
        return self

    def insert(self: S, index: int, module: Module) -> S:
        """Put a module before position ``index``; all are then named by position.

        Parameters
        ----------
        index
            Position.
        module
            The Module.
        """
        modules = list(self.children())
        modules.insert(checks.integer("index", index), module)
        self._replace(modules)
        return self

    def pop(self, index: int = -1) -> Module:
        """Remove a module and return it; those named by position move up.

        Parameters
        ----------
        index
            Position; the last if not given.
        """
        module = self[index]
        del self[index]
        return module

    def __add__(self: S, modules: Iterable[Module]) -> S:
        """Return a container with the modules of both, named by position."""
        both = type(self)()
        return both.extend(self).extend(modules)

    def __iadd__(self: S, modules: Iterable[Module]) -> S:
        """Add modules at the end."""
        return self.extend(modules)


class Sequential(_Indexed):
    """Modules one after the other.

    ``lengths`` goes to the modules that use them, behind a Conv1d or a pool over windows as they are there; of a module
    that returns a tuple (out, state), only ``out`` goes on.

    Parameters
    ----------
    *layers
        Modules, or one mapping from names to Modules.
    """

    def __init__(self, *layers: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            for name, module in layers[0].items():
                if not isinstance(module, Module):
                    raise checks.kind_error(f"layers[{name!r}]", "a Module", module)
                self.add_module(name, module)
            return
        for position, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise checks.kind_error(f"layers[{position}]", "a Module", layer)
            self.add_module(str(position), layer)

    def forward(self, x: Any, lengths: Any = None) -> Any:
        """Apply the modules in order.

        Parameters
        ----------
        x
            What the first module takes, usually (B, T, F).
        lengths
            Valid steps per row, integers (B,); None means all.

        Returns
        -------
        Tensor
            What the last module returns, without its state.
        """
        for module in self._modules.values():
            if module is not None:
                x = module(x, lengths=lengths) if module.uses_lengths else module(x)
                if isinstance(x, tuple):
                    x = x[0]
                if lengths is not None and isinstance(module, (Sequential, Conv1d, WindowPool)):
                    lengths = module.output_lengths(lengths)
        return x

    def output_lengths(self, lengths: Any) -> Any:
        """Return how many steps rows of these lengths have in the end.

        Parameters
        ----------
        lengths
            Integers (B,).

        Returns
        -------
        array
            Integers (B,); other than the given ones after a layer that changes the number of steps.
        """
        for module in self.children():
            if isinstance(module, (Sequential, Conv1d, WindowPool)):
                lengths = module.output_lengths(lengths)
        return lengths


class ModuleList(_Indexed):
    """A list of modules that are registered with their owner.

    Parameters
    ----------
    modules
        Modules, in order.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)


class ModuleDict(Module):
    """A dictionary of modules that are registered with their owner.

    Parameters
    ----------
    modules
        Mapping from names to Modules, or pairs.
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        super().__init__()
        self.update(modules)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules.

        Parameters
        ----------
        modules
            Mapping from names to Modules, or pairs.
        """
        for name, module in modules.items() if isinstance(modules, Mapping) else modules:
            self[name] = module

    def __getitem__(self, name: str) -> Module:
        """Return a module by name."""
        module = self._modules[name]
        assert module is not None
        return module

    def __setitem__(self, name: str, module: Module) -> None:
        """Add or replace a module."""
        if not isinstance(module, Module):
            raise checks.kind_error("module", "a Module", module)
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        """Remove a module."""
        del self._modules[name]

    def pop(self, name: str) -> Module:
        """Remove a module and return it.

        Parameters
        ----------
        name
            Its name.
        """
        module = self[name]
        del self[name]
        return module

    def clear(self) -> None:
        """Remove all modules."""
        self._modules.clear()

    def __len__(self) -> int:
        """Return the number of modules."""
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._modules)

    def __contains__(self, name: object) -> bool:
        """Say whether a name is inside."""
        return name in self._modules

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """Return the modules."""
        return list(self.children())

    def items(self) -> Iterable[tuple[str, Module]]:
        """Return pairs of name and module."""
        return list(self.named_children())
