"""Tensor: an ndarray that remembers how it was computed.

The array itself is never wrapped or copied: ``Tensor(array)`` shares the caller's memory, and all operations call
NumPy (or fastseq's kernels) on the arrays directly. Names, meaning and promotion follow PyTorch,
the dtypes are NumPy's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.conversion import as_array
from fastseq.autograd.inplace import InPlace
from fastseq.autograd.methods import TensorMethods
from fastseq.autograd.methods_composed import ComposedMethods
from fastseq.autograd.methods_selecting import SelectingMethods
from fastseq.autograd.mode import enable_grad, is_grad_enabled, mode, no_grad
from fastseq.autograd.tape import Node, next_number, run_backward

__all__ = ["Tensor", "enable_grad", "is_grad_enabled", "make_node", "no_grad", "record", "wrap"]

_accumulating = threading.Lock()  # threads may run backward passes that share leaves


def _renew_lock() -> None:
    """Give a forked child a lock of its own: the parent's may have been held at the fork."""
    global _accumulating
    _accumulating = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Tensor(TensorMethods, SelectingMethods, ComposedMethods, InPlace):
    """A NumPy array with a place on the tape.

    Parameters
    ----------
    array
        An ndarray of float32, float64, integers or bool is shared, not copied. Python floats and lists of them
        become float32, ints become int64. float16, complex and other dtypes are refused.
    requires_grad
        Whether ``backward`` should leave a gradient in ``grad``. Floating dtypes only.
    dtype
        Convert to this dtype.

    Attributes
    ----------
    requires_grad : bool
        Whether a gradient flows to or through this tensor.
    grad : Tensor or None
        The accumulated gradient of a leaf, with its shape and dtype.

    Raises
    ------
    TypeError
        If the dtype is not supported, or a gradient is asked for integers or bools.

    Notes
    -----
    float32 with float64 arrays gives float64; integers and bools take the dtype of floating-point operands, and give
    float32 in functions such as ``mean`` and ``/``. Python and NumPy *scalars* are weak, so ``tensor * 0.5`` and
    ``tensor * np.float64(0.5)`` keep the tensor's dtype.
    Writes made to the caller's own ndarray cannot be seen by the tape; use the in-place methods.
    A tensor can be pickled and deep-copied when it is a leaf; its gradient does not travel.
    """

    __slots__ = ("_data", "requires_grad", "grad", "_node", "_index", "_version", "_grad_buffer", "__weakref__")
    __array_ufunc__ = None  # ndarray + Tensor asks Tensor; np.exp(tensor) is an error, not a lost gradient

    _data: NDArray[Any]
    requires_grad: bool
    grad: Tensor | None
    _node: Node | None
    _index: int
    _version: list[int]
    _grad_buffer: NDArray[Any] | None

    def __init__(self, array: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        checks.boolean("requires_grad", requires_grad)
        data = as_array("array", array._data if isinstance(array, Tensor) else array, dtype)
        if requires_grad and data.dtype.kind != "f":
            raise TypeError(f"requires_grad: expected a float32 or float64 array, got {data.dtype}")
        self._data = data
        self.requires_grad = bool(requires_grad)
        self.grad = None
        self._node = None
        self._index = 0
        shares = isinstance(array, Tensor) and data is array._data
        self._version = array._version if shares else [0]
        self._grad_buffer = None

    # ---- what it is -------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype of the elements."""
        return self._data.dtype

    @property
    def version(self) -> int:
        """How often the storage was written to in place; detached tensors and views share the count."""
        return self._version[0]

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self._node is None

    def dim(self) -> int:
        """Return the number of axes."""
        return self._data.ndim

    def numel(self) -> int:
        """Return the number of elements."""
        return self._data.size

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the length of one axis.

        Parameters
        ----------
        dim
            The axis; None for the whole shape.

        Returns
        -------
        tuple of int, or int
        """
        return self._data.shape if dim is None else self._data.shape[dim]

    # ---- the values -------------------------------------------------------------------------------------------

    @property
    def data(self) -> Tensor:
        """The same storage and version without the tape; assigning copies values in and counts as a write."""
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        self._write(..., value, "data")

    def detach(self) -> Tensor:
        """Return a tensor that shares storage and version, and no gradient.

        Returns
        -------
        Tensor
            Not requiring grad.
        """
        out = wrap(self._data)
        out._version = self._version
        return out

    def numpy(self) -> NDArray[Any]:
        """Return the ndarray itself; a read-only view where the tensor requires grad.

        Returns
        -------
        ndarray
            Shares memory. Read-only for tensors that require grad, since the tape and packed weights could not
            see a write: use ``data``, ``copy_`` or a copy.
        """
        if not self.requires_grad:
            return self._data
        view = self._data.view()
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """Return the only element as a Python number.

        Returns
        -------
        float, int or bool

        Raises
        ------
        ValueError
            Unless there is exactly one element.
        """
        if self._data.size != 1:
            raise checks.value_error("item", "a tensor of one element", self._data)
        return self._data.item()

    def tolist(self) -> Any:
        """Return the values as (nested) Python lists.

        Returns
        -------
        list, or a number for a tensor without axes
        """
        return self._data.tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the values for ``np.asarray``; shared unless a dtype or copy asks otherwise."""
        array = self.numpy()
        if dtype is not None and np.dtype(dtype) != array.dtype:
            if copy is False:
                raise ValueError(f"copy: expected True or None for a conversion to {dtype}, got False")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __len__(self) -> int:
        return len(self._data)

    def __bool__(self) -> bool:
        return bool(self._data)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self._data.__index__()

    def __format__(self, form: str) -> str:
        return format(self.item(), form) if form and self._data.size == 1 else format(repr(self), form)

    def __repr__(self) -> str:
        text = np.array2string(self._data, separator=", ", prefix="Tensor(")
        dtype = f", dtype={self._data.dtype}"
        mark = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({text}{dtype}{mark})"

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.unbind(0))

    __hash__ = object.__hash__  # == compares elements, so identity stays the key

    # ---- copies -----------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        if self._node is not None:
            raise RuntimeError("copy: expected a leaf tensor, got the result of an operation; detach() it first")
        return {"data": self._data, "requires_grad": self.requires_grad, "rest": getattr(self, "__dict__", {})}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._data = state["data"]
        self.requires_grad = state["requires_grad"]
        self.grad = self._node = self._grad_buffer = None
        self._index = 0
        self._version = [0]
        for name, value in state["rest"].items():
            setattr(self, name, value)

    def __copy__(self) -> Tensor:
        out = type(self).__new__(type(self))
        out.__setstate__(self.__getstate__())
        out._version = self._version
        return out

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch the leaf's ``requires_grad``.

        Parameters
        ----------
        requires_grad
            The new value.

        Returns
        -------
        Tensor
            Itself.
        """
        if self._node is not None:
            raise RuntimeError("requires_grad_: expected a leaf tensor, got the result of an operation")
        if requires_grad and self._data.dtype.kind != "f":
            raise TypeError(f"requires_grad_: expected a float32 or float64 tensor, got {self._data.dtype}")
        self.requires_grad = bool(requires_grad)
        return self

    # ---- gradients --------------------------------------------------------------------------------------------

    def backward(self, gradient: Any = None) -> None:
        """Add the derivative of this tensor to ``grad`` of every leaf it was computed from, and free the graph.

        Parameters
        ----------
        gradient
            The gradient of some scalar with respect to this tensor, same shape; None means 1 and needs a tensor
            of one element.

        Raises
        ------
        RuntimeError
            If nothing requires grad, the graph was freed by an earlier call, or a saved array was changed in place.
        ValueError
            If the gradient's shape differs, or is missing for a tensor of several elements.
        """
        if not self.requires_grad:
            raise RuntimeError("backward: expected a tensor that requires grad, got one that does not")
        data = self._data
        if gradient is None:
            if data.size != 1:
                raise checks.value_error("gradient", f"an array of shape {data.shape} (not a scalar)", None)
            array = np.ones(data.shape, data.dtype)
        else:
            array = gradient._data if isinstance(gradient, Tensor) else np.asarray(gradient)
            if array.shape != data.shape:
                raise checks.value_error("gradient", f"shape {data.shape}", array)
            if array.dtype.kind not in "fiu":
                raise checks.kind_error("gradient", "real numbers", array)
            array = array.astype(data.dtype, copy=not array.flags.aligned)
        if self._node is None:
            self._accumulate(array)
        else:
            run_backward(self._node, self._index, array)

    def _accumulate(self, gradient: NDArray[Any], fresh: bool = False) -> None:
        """Add ``gradient`` to ``grad``; the first one is copied, into ``_grad_buffer`` where there is one.

        A ``fresh`` one, which nobody else holds, is kept where there is no buffer.
        """
        data = self._data
        if gradient.shape != data.shape:
            raise checks.value_error("gradient", f"shape {data.shape}", gradient)
        with _accumulating:
            if self.grad is not None:
                self.grad._data += gradient
                return
            buffer = self._grad_buffer
            if buffer is None:
                buffer = gradient if fresh and gradient.dtype == data.dtype else np.array(gradient, data.dtype)
            else:
                buffer[...] = gradient
            self.grad = wrap(buffer)


_new = Tensor.__new__


def wrap(data: NDArray[Any]) -> Tensor:
    """Return a plain tensor over ``data``: no checks, no gradient.

    Parameters
    ----------
    data
        An ndarray of a supported dtype, or the NumPy scalar that a reduction gave.

    Returns
    -------
    Tensor
        Shares memory with ``data``.
    """
    out = _new(Tensor)
    out._data = data if isinstance(data, np.ndarray) else np.asarray(data)
    out.requires_grad = False
    out.grad = out._node = out._grad_buffer = None
    out._index = 0
    out._version = [0]
    return out


def record(
    data: NDArray[Any],
    inputs: Sequence[Any],
    pullbacks: Sequence[Callable[[NDArray[Any]], NDArray[Any]] | None],
    saved: Sequence[Any] = (),
    saves_output: bool = False,
) -> Tensor:
    """Return the result of an operation with one output, and put it on the tape if any input requires grad.

    Parameters
    ----------
    data
        The result.
    inputs
        What it was computed from; anything that is not a Tensor counts as a constant.
    pullbacks
        One per input: maps the gradient of the output to that of the input (its shape and dtype). None passes
        it on unchanged. They must not write to what they are given, and may return it or views of it.
    saved
        The inputs whose values the pullbacks read: ``backward`` refuses to run if one was written to since.
    saves_output
        The same for the result.

    Returns
    -------
    Tensor
    """
    out = _new(Tensor)
    out._data = data if isinstance(data, np.ndarray) else np.asarray(data)
    out.grad = out._grad_buffer = None
    out._index = 0
    out._version = version = [0]
    if mode.enabled:
        edges = []
        for tensor, pullback in zip(inputs, pullbacks):  # noqa: B905 - hot, and the lengths are ours
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                edges.append((tensor._node or tensor, tensor._index, pullback))
        if edges:
            node = Node()
            node.number = next_number()
            node.edges = edges
            node.backward = None
            node.outputs = 0
            guards = [(t._version, t._version[0]) for t in saved if isinstance(t, Tensor)] if saved else []
            if saves_output:
                guards.append((version, 0))
            node.guards = guards
            out._node = node
            out.requires_grad = True
            return out
    out._node = None
    out.requires_grad = False
    return out


def make_node(
    inputs: tuple[Any, ...],
    outputs: tuple[NDArray[Any], ...],
    backward: Callable[[tuple[NDArray[Any] | None, ...]], tuple[NDArray[Any] | None, ...]],
    *,
    saves: bool = True,
    fresh: bool = False,
) -> tuple[Tensor, ...]:
    """Return the results of a fused operation, as one node of the tape if any input requires grad.

    Parameters
    ----------
    inputs
        What it was computed from; anything that is not a Tensor (an ndarray, None) counts as a constant.
    outputs
        The resulting arrays. Those of a floating dtype take part in the gradient.
    backward
        Maps one gradient per output (None where none arrived) to one per input (None for no gradient). Gradients
        arrive with the outputs' shapes and dtypes, but may be read-only, strided or shared: never write to them.
        Called at most once. Let the closure hold arrays, not output tensors.
    saves
        Whether ``backward`` reads the values of the inputs: it then refuses to run if one was written to since.
    fresh
        Whether the arrays that ``backward`` returns are new, writable, distinct and held by nobody else.

    Returns
    -------
    tuple of Tensor
        One per output, plain tensors if grad mode is off or no input requires grad.
    """
    results = tuple(wrap(data) for data in outputs)
    if mode.enabled:
        edges = []
        guards = []
        for position, tensor in enumerate(inputs):
            if isinstance(tensor, Tensor):
                if saves:
                    guards.append((tensor._version, tensor._version[0]))
                if tensor.requires_grad:
                    edges.append((tensor._node or tensor, tensor._index, position))
        if edges:
            node = Node()
            node.number = next_number()
            node.edges = edges
            node.backward = backward
            node.outputs = len(results)
            node.guards = guards
            node.fresh = fresh
            for index, result in enumerate(results):
                if result._data.dtype.kind == "f":
                    result._node = node
                    result._index = index
                    result.requires_grad = True
    return results


# The operations need Tensor and Tensor's methods need the operations: the circle is closed here, at its end.
from fastseq.autograd import methods, ops  # noqa: E402

methods.ops = ops
