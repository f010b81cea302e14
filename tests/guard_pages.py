"""Arrays that end right before, or begin right behind, a page that nobody may touch.

Run as a program, it sends recurrent layers of many sizes through forward, backward and streaming with everything that a
kernel gets in such arrays, and prints how many passes it made: one element too far and the process is gone.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import mmap
import sys
from typing import Any

import numpy as np

PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


def guarded(shape: Any, dtype: Any = np.float64, at_end: bool = True) -> np.ndarray:
    """Return an array of NaN (for floats) whose end, or whose start, touches a forbidden page; both sides have one."""
    dtype = np.dtype(dtype)
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    size = int(np.prod(shape)) * dtype.itemsize
    inner = max(1, -(-size // PAGE)) * PAGE
    memory = mmap.mmap(-1, inner + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (start, start + PAGE + inner):
        if _libc.mprotect(page, PAGE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = PAGE + (inner - size if at_end else 0)
    array = np.frombuffer(memory, np.uint8, size, offset).view(dtype).reshape(shape)
    if dtype.kind == "f":
        array[...] = np.nan
    return array


class GuardedNumpy:
    """NumPy whose fresh arrays are guarded."""

    def __init__(self, at_end: bool) -> None:
        self.at_end = at_end

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any = np.float64) -> np.ndarray:
        return guarded(shape, dtype, self.at_end)

    def zeros(self, shape: Any, dtype: Any = np.float64) -> np.ndarray:
        array = guarded(shape, dtype, self.at_end)
        array[...] = 0
        return array

    def zeros_like(self, other: np.ndarray) -> np.ndarray:
        return self.zeros(other.shape, other.dtype)

    def empty_like(self, other: np.ndarray) -> np.ndarray:
        return self.empty(other.shape, other.dtype)

    def copied(self, array: np.ndarray) -> np.ndarray:
        found = guarded(array.shape, array.dtype, self.at_end)
        found[...] = array
        return found


def passes(at_end: bool, kinds: dict[str, list[tuple[int, int]]], dtype: Any) -> int:
    """Run layers of kinds and (F, H) with every array that a kernel gets guarded; return the number of passes."""
    import fastseq as fs
    from fastseq import buffers, nn
    from fastseq.autograd import recurrent
    from fastseq.sequence import workspace

    own = GuardedNumpy(at_end)
    buffers.scratch, buffers.aligned, recurrent.np = own.empty, own.empty, own
    buffers.empty, buffers.zeros = own.empty, own.zeros
    plan_batch = workspace.plan_batch

    def guarded_plan(*arguments: Any) -> Any:
        plan = plan_batch(*arguments)
        return plan._replace(numbers=own.copied(plan.numbers))

    make_node = recurrent.make_node

    def guarded_node(inputs: Any, outputs: Any, back: Any, **options: Any) -> Any:
        def guarded_back(grads: Any) -> Any:
            return back(tuple(None if grad is None else own.copied(grad) for grad in grads))

        return make_node(inputs, outputs, guarded_back, **options)

    workspace.plan_batch, recurrent.make_node = guarded_plan, guarded_node
    rng, done = np.random.default_rng(0), 0
    sizes = [(kind, inputs, units) for kind, own_sizes in kinds.items() for inputs, units in own_sizes]
    for (kind, inputs, units), batch in itertools.product(sizes, (1, 7)):
        name, _, option = kind.partition(" ")
        options = {"bias": bool(batch % 2)} | json.loads(option or "{}")
        layer = getattr(nn, name)(inputs, units, num_layers=2, bidirectional=True, dtype=dtype, **options)
        for parameter in layer.parameters():
            parameter._data = own.copied(parameter._data)
        steps = 4
        x = own.copied(rng.standard_normal((batch, steps, inputs)).astype(dtype))
        count = 1 + len(layer.cell.spec.memories)
        wide = [layer.output_size, *[units] * (count - 1)]
        states = [own.copied(rng.standard_normal((4, batch, size)).astype(dtype)) for size in wide]
        for lengths in (None, rng.integers(0, steps + 1, batch)):
            leaf = fs.Tensor(x, requires_grad=True)
            hx = [fs.Tensor(s, requires_grad=True) for s in states]
            out, last = layer(leaf, tuple(hx) if count > 1 else hx[0], lengths=lengths)
            outputs = [out, *(last if count > 1 else [last])]
            sum(value.sum() for value in outputs).backward()
            for tensor in (*outputs, *(t.grad for t in (leaf, *hx, *layer.parameters()))):
                assert np.isfinite(tensor.numpy()).all()
            done += 1
        with fs.no_grad():
            layer(x)
    return done


if __name__ == "__main__":
    if sys.argv[1] == "--overrun":
        print(ctypes.c_double.from_address(guarded(3).ctypes.data + 24).value)
    print(passes(sys.argv[1] == "end", json.loads(sys.argv[2]), sys.argv[3]))
