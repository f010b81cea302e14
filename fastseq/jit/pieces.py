"""Pieces: functions that are compiled into kernels, and never by themselves.

Numba would optimise each function and make machine code of it before it is linked into its callers, which then do all
of it again, level by level. A piece is only translated to LLVM's language; the kernel that it ends up in is optimised
once, as a whole. That takes a third of the time, and gives the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering
from numba.extending import register_jitable

from fastseq import checks

FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False, "fastmath": False}

_names: set[str] = set()


class _UnfinishedLibrary(JITCodeLibrary):
    """LLVM code that waits to be linked into a kernel."""

    def _optimize_final_module(self) -> None:
        """Leave it to the kernel."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _PieceLowering(NativeLowering):
    """Numba's lowering without the executable at its end."""

    _name = "piece_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _UnfinishedLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        flags, state.flags = state.flags, state.flags.copy()
        state.flags.no_compile = True
        super().run_pass(state)
        state.flags = flags
        # Callers look a function up by the object that would be called from Python; nobody calls this one.
        key = object().__sizeof__
        state.targetctx.insert_user_function(key, state["cr"].fndesc, [state.library])
        state["cr"] = state["cr"]._replace(cfunc=key)
        return True


class _PieceCompiler(CompilerBase):
    """Numba's usual passes up to lowering, and ours for that."""

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [(_PieceLowering if one is NativeLowering else one, why) for one, why in passes.passes]
        passes.finalize()
        return [passes]


PIECE: dict[str, Any] = {
    **FLAGS, "pipeline_class": _PieceCompiler, "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
}  # fmt: skip
"""Numba's options for functions that are compiled into kernels."""


def named(function: Callable[..., Any], label: str) -> None:
    """Give a function that a factory made a name of its own.

    The names of compiled symbols consist of module, qualified name, argument types and a number that differs from
    process to process. Kernels from the cache bring their symbols along, and the linker takes the first of a name:
    two functions of one name and type would be swapped.
    """
    place = f"{function.__module__}.{function.__qualname__}"
    if "<locals>" in function.__qualname__ or label:
        function.__name__ = "_".join(filter(None, (function.__name__, label)))
        function.__qualname__ = place = f"{function.__qualname__.split('.')[0]}_{function.__name__}"
        place = f"{function.__module__}.{place}"
    if place in _names:
        raise checks.value_error("label", f"one that tells this {place} from others", label)
    _names.add(place)


def piece(
    function: Callable[..., Any] | None = None, *, label: str = "", constants: bool = False, inline: bool = False
) -> Any:
    """Compile a function for use inside kernels.

    Parameters
    ----------
    function
        Plain function in Numba's subset.
    label
        Tells those apart that one factory makes.
    constants
        Whether it is compiled once more for every argument that is a constant, and for every value of it.
    inline
        Whether it always becomes a part of its callers; else that is up to the compiler.
    """
    if function is None:
        return lambda later: piece(later, label=label, constants=constants, inline=inline)
    named(function, label)
    dispatcher = numba.njit(**PIECE, forceinline=inline)(function)
    if not constants:
        resolve = dispatcher.get_call_template
        dispatcher.get_call_template = lambda args, kws: resolve([types.unliteral(one) for one in args], kws)
    return dispatcher


def shared(function: Callable[..., Any]) -> Any:
    """Let a small plain function be used both from Python and inside kernels."""
    return register_jitable(**PIECE)(function)
