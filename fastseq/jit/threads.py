"""How a kernel shares tasks among threads, and how many there are.

There is one parallel loop in the whole package, `_spread`, and it is compiled once: it calls a function by its address.
A kernel hands it a *task*, a piece of which each call does one share of the work::

    share(launcher, count, task, (weights, x, out))         task(i, weights, x, out) for i in 0 .. count - 1

``launcher`` is the address of two numbers, that loop's address and how many threads it may use, or 0: then the calls
follow one another right there. So a kernel is compiled once, not once for each way to run it, and all ways run the same
machine code.

Which way is taken never changes a bit of a result (see `fastseq.sequence`), so the choice is free: in order for work
too small to share, in a forked child (the parent's worker threads do not exist there), where the threading layer
cannot be entered twice, while another thread is in it, and while others need the cores (see `fastseq.jit.crowding`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastseq import checks
from fastseq.jit.cache import compiled
from fastseq.jit.crowding import Crowding

SHARED_WORK = 1_500_000
"""Floating-point operations below which a launch on several threads costs more than it saves."""

I32, I64, BYTES = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
TASK = ir.FunctionType(I32, [BYTES, I64])
"""What a task looks like to the loop: its packed arguments and its number; the result says nothing."""


@intrinsic
def _call_task(typing_context, task, block, index):
    """Call the task at an address."""

    def codegen(context, builder, signature, arguments):
        task, block, index = arguments
        builder.call(builder.inttoptr(task, TASK.as_pointer()), [builder.inttoptr(block, BYTES), index])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def _use_threads(typing_context, count):
    """Set how many threads the parallel loops of this Python thread take.

    As ``numba.set_num_threads`` does, which takes two locks each time, and a tenth of a short kernel's time.
    """

    def codegen(context, builder, signature, arguments):
        form = ir.FunctionType(ir.VoidType(), [I32])
        function = cgutils.get_or_insert_function(builder.module, form, "set_num_threads")
        builder.call(function, [builder.trunc(arguments[0], I32)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _spread(task: int, block: int, count: int, workers: int) -> None:
    _use_threads(workers)
    for index in prange(count):
        _call_task(task, block, index)


@intrinsic
def share(typing_context, launcher, count, task, arguments):
    """Call ``task(i, *arguments)`` for i in 0 .. count - 1, on several threads if ``launcher`` is not 0.

    ``task`` is a piece that returns nothing and raises nothing; ``arguments`` is a tuple of numbers, pointers and
    tuples of them, handed over by value: nothing in it may own memory.
    """
    plain = types.unliteral(arguments)
    call = task.get_call_type(typing_context, (types.int64, *plain.types), {})

    def codegen(context, builder, signature, values):
        launcher, count, _, packed = values
        function = task.dispatcher.overloads[tuple(call.args)]
        context.active_code_library.add_linking_library(function.library)
        parts = cgutils.unpack_tuple(builder, packed)
        block = cgutils.alloca_once(builder, ir.LiteralStructType([part.type for part in parts]))
        for number, part in enumerate(parts):
            builder.store(part, cgutils.gep_inbounds(builder, block, 0, number))
        entry = _entry(context, builder.module, function.fndesc, block.type, builder.function.name)
        flat = builder.bitcast(block, BYTES)
        several = builder.icmp_signed("!=", launcher, ir.Constant(I64, 0))
        with builder.if_else(several) as (on_threads, in_order):
            with on_threads:
                loop = ir.FunctionType(ir.VoidType(), [I64, I64, I64, I64]).as_pointer()
                given = builder.inttoptr(launcher, I64.as_pointer())
                at, workers = builder.load(given), builder.load(builder.gep(given, [ir.Constant(I64, 1)]))
                address, where = builder.ptrtoint(entry, I64), builder.ptrtoint(flat, I64)
                builder.call(builder.inttoptr(at, loop), [address, where, count, workers])
            with in_order, cgutils.for_range(builder, count) as loop:
                builder.call(entry, [flat, loop.index])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, task, plain), codegen


def _entry(context: Any, module: Any, fndesc: Any, block: Any, owner: str) -> Any:
    """Return the function of type `TASK` that unpacks its arguments and calls a compiled piece."""
    entry = ir.Function(module, TASK, module.get_unique_name(f"{owner}.task"))
    entry.linkage = "internal"
    entry.attributes.add("noinline")  # one body, however many places call it
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    packed = builder.bitcast(entry.args[0], block)
    count = len(block.pointee.elements)
    parts = [builder.load(cgutils.gep_inbounds(builder, packed, 0, number)) for number in range(count)]
    callee = context.declare_function(module, fndesc)
    context.call_conv.call_function(builder, callee, fndesc.restype, fndesc.argtypes, [entry.args[1], *parts])
    builder.ret(ir.Constant(I32, 0))
    return entry


class _Threads:
    """How many threads kernels use, and whether using them is safe right now."""

    def __init__(self) -> None:
        self.count = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        self._numbers = np.array([0, self.count])
        self.forked = False
        self.crowding = Crowding()
        self._used = self._reentrant = False
        self._launcher = int(self._numbers.ctypes.data)
        self._loop: Any = None
        self._door = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        self.forked = self.forked or self._used
        self._door = threading.Lock()

    def use(self, count: int) -> None:
        """Let kernels use ``count`` threads."""
        self.count = self._numbers[1] = count

    def launcher(self) -> int:
        """Return what `share` wants to share among threads."""
        if self._loop is None:
            numba.set_num_threads(self.count)  # the threads, and the names that the loop is linked to
            signature = (types.int64,) * 4
            overload = compiled(_spread, signature, "fastseq.jit.threads.spread", parallel=True).overloads[signature]
            self._loop = overload  # keeps the code alive
            self._numbers[0] = overload.library.get_pointer_to_function(overload.fndesc.llvm_cfunc_wrapper_name)
        return self._launcher

    def run(self, function: Callable[..., Any], work: float, arguments: tuple[Any, ...]) -> Any:
        """Call a compiled kernel with the loop's address as its last argument, or 0 where threads are no good now."""
        begin = perf_counter()
        if self.crowding.alone(begin):
            return function(*arguments, 0)
        if self._reentrant and not self.forked:
            result = function(*arguments, self._launcher)
            self.crowding.note(id(function), work, begin, perf_counter())
            return result
        if self.forked or not self._door.acquire(blocking=False):
            return function(*arguments, 0)
        try:
            result = function(*arguments, self.launcher())
            self._used = True
            self._reentrant = numba.threading_layer() in ("omp", "tbb")
            return result
        finally:
            self._door.release()


threads = _Threads()


def set_num_threads(count: int) -> None:
    """Set how many threads kernels use.

    Parameters
    ----------
    count
        From 1 to the number that Numba started with (``NUMBA_NUM_THREADS``, by default the number of cores).

    Raises
    ------
    TypeError, ValueError
        If it is not an integer in that range.
    """
    threads.crowding.forget()
    threads.use(checks.integer("count", count, 1, int(numba.config.NUMBA_NUM_THREADS)))  # type: ignore[attr-defined]


def get_num_threads() -> int:
    """Return how many threads kernels use."""
    return threads.count
