"""Parameter: a tensor that is learned."""

from __future__ import annotations

from typing import Any

from numpy.typing import DTypeLike

from fastseq.autograd.tensor import Tensor
from fastseq.nn import init


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
