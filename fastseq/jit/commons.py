"""Common functions: compiled once for each element type, and called by all kernels.

A piece becomes a part of every kernel that uses it, and its machine code is made anew each time. That is right for what
is small, or fits its caller better if both are compiled together; a matrix product is neither, and a third of the time
that all kernels take to compile would go into copies of it. Code is linked when it is loaded: the functions that it
names must be there before, or LLVM ends the process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding
from numba import types
from numba.core import cgutils

from fastseq.jit.cache import compiled
from fastseq.jit.pieces import named

_commons: list[Common] = []


class Common:
    """A function that kernels call, in machine code of its own.

    Parameters
    ----------
    function
        Plain function in Numba's subset, which returns nothing and raises nothing.
    signature
        Maps an element type to the types of its arguments: numbers and pointers.
    """

    def __init__(self, function: Callable[..., Any], signature: Callable[[Any], tuple[Any, ...]]) -> None:
        named(function, "")
        self._function, self._signature = function, signature
        self._known: dict[Any, Any] = {}
        _commons.append(self)

    def name(self, real: Any) -> str:
        """Return the name under which compiled code finds it.

        Parameters
        ----------
        real
            ``types.float32`` or ``types.float64``.
        """
        return f"{self._function.__module__}.{self._function.__name__}-{real}"

    def call(self, context: Any, builder: Any, real: Any, arguments: list[Any]) -> None:
        """Emit a call.

        Parameters
        ----------
        context, builder
            Numba's and LLVM's.
        real
            The element type.
        arguments
            Their LLVM values.
        """
        kinds = self._signature(real)
        form = context.call_conv.get_function_type(types.none, kinds)
        function = cgutils.get_or_insert_function(builder.module, form, self.symbol(real))
        context.call_conv.call_function(builder, function, types.none, kinds, arguments)

    def symbol(self, real: Any) -> str:
        """Return its name, under which it is found from now on.

        Parameters
        ----------
        real
            ``types.float32`` or ``types.float64``.
        """
        name = self.name(real)
        if real not in self._known:
            overload = self._compile(real, name)
            self._known[real] = overload  # keeps the code alive
            binding.add_symbol(name, overload.library.get_pointer_to_function(overload.fndesc.llvm_func_name))
        return name

    def _compile(self, real: Any, entry: str) -> Any:
        signature = self._signature(real)
        dispatcher = compiled(self._function, signature, entry, no_cpython_wrapper=True, no_cfunc_wrapper=True)
        return dispatcher.overloads[signature]


def link_commons(code: bytes) -> None:
    """Make the functions that some compiled code names.

    Parameters
    ----------
    code
        With the names of what it calls in it, as object files have them.
    """
    for common in _commons:
        for real in (types.float32, types.float64):
            if common.name(real).encode() in code:
                common.symbol(real)
