"""Methods of Tensor that follow from others: comparisons and arithmetic by name, dtypes, new tensors of like kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastseq import checks
from fastseq.autograd import methods
from fastseq.autograd.device import CPU, device

if TYPE_CHECKING:
    from fastseq.autograd.tensor import Tensor


class ComposedMethods:
    """Base of Tensor: PyTorch's methods that need no function of their own."""

    __slots__ = ()

    def __mod__(self, other: Any) -> Tensor:
        return methods.ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return methods.ops.remainder(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return methods.ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return methods.ops.floor_divide(other, self)

    # ---- what it is -------------------------------------------------------------------------------------------

    @property
    def device(self) -> device:
        """The CPU."""
        return CPU

    @property
    def is_cuda(self) -> Any:
        """False."""
        return False

    def is_floating_point(self) -> Any:
        """Return whether the dtype is float32 or float64."""
        return self._own().dtype.kind == "f"

    def is_contiguous(self) -> Any:
        """Return whether the elements stand in memory in their order."""
        return self._own()._data.flags.c_contiguous

    def nelement(self) -> Any:
        """Return the number of elements."""
        return self._own().numel()

    def _own(self) -> Tensor:
        return cast("Tensor", self)

    # ---- arithmetic -------------------------------------------------------------------------------------------

    def add(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """Return self + alpha * other."""
        return methods.ops.add(self, other if alpha == 1 else methods.ops.mul(other, alpha))

    def sub(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """Return self - alpha * other."""
        return methods.ops.sub(self, other if alpha == 1 else methods.ops.mul(other, alpha))

    def mul(self, other: Any) -> Tensor:
        """Return self * other."""
        return methods.ops.mul(self, other)

    def div(self, other: Any, *, rounding_mode: Any = None) -> Tensor:
        """Return self / other, rounded ``"floor"`` or ``"trunc"``."""
        if rounding_mode is None:
            return methods.ops.div(self, other)
        if checks.choice("rounding_mode", rounding_mode, ("floor", "trunc")) == "floor":
            return methods.ops.floor_divide(self, other)
        return methods.ops.trunc(methods.ops.div(self, other)).to(np.result_type(self._own()._data, np.asarray(other)))

    def floor_divide(self, other: Any) -> Tensor:
        """Return the floor of self / other, without gradient."""
        return methods.ops.floor_divide(self, other)

    def neg(self) -> Tensor:
        """Return -x."""
        return methods.ops.neg(self)

    def reciprocal(self) -> Tensor:
        """Return 1 / x."""
        return methods.ops.div(1, self)

    def rsqrt(self) -> Tensor:
        """Return 1 / sqrt(x)."""
        return methods.ops.div(1, methods.ops.sqrt(self))

    def log2(self) -> Tensor:
        """Return the logarithm to the base 2."""
        return methods.ops.div(methods.ops.log(self), float(np.log(2)))

    def log10(self) -> Tensor:
        """Return the logarithm to the base 10."""
        return methods.ops.div(methods.ops.log(self), float(np.log(10)))

    def clamp_min(self, min: Any) -> Tensor:
        """Return the elements, at least ``min``."""
        return methods.ops.clip(self, min)

    def clamp_max(self, max: Any) -> Tensor:
        """Return the elements, at most ``max``."""
        return methods.ops.clip(self, None, max)

    def lerp(self, end: Any, weight: Any) -> Tensor:
        """Return self + weight * (end - self)."""
        return methods.ops.add(self, methods.ops.mul(methods.ops.sub(end, self), weight))

    def mm(self, other: Any) -> Tensor:
        """Return the matrix product."""
        return methods.ops.matmul(self, other)

    bmm = mv = dot = mm

    # ---- comparisons ------------------------------------------------------------------------------------------

    def eq(self, other: Any) -> Tensor:
        """Return self == other."""
        return methods.ops.compare(np.equal, self, other)

    def ne(self, other: Any) -> Tensor:
        """Return self != other."""
        return methods.ops.compare(np.not_equal, self, other)

    def lt(self, other: Any) -> Tensor:
        """Return self < other."""
        return methods.ops.compare(np.less, self, other)

    def le(self, other: Any) -> Tensor:
        """Return self <= other."""
        return methods.ops.compare(np.less_equal, self, other)

    def gt(self, other: Any) -> Tensor:
        """Return self > other."""
        return methods.ops.compare(np.greater, self, other)

    def ge(self, other: Any) -> Tensor:
        """Return self >= other."""
        return methods.ops.compare(np.greater_equal, self, other)

    def logical_and(self, other: Any) -> Tensor:
        """Return whether both are not 0."""
        return methods.ops.compare(np.logical_and, self, other)

    def logical_or(self, other: Any) -> Tensor:
        """Return whether one is not 0."""
        return methods.ops.compare(np.logical_or, self, other)

    def logical_xor(self, other: Any) -> Tensor:
        """Return whether one alone is not 0."""
        return methods.ops.compare(np.logical_xor, self, other)

    def logical_not(self) -> Tensor:
        """Return whether elements are 0."""
        return self.eq(0)

    def isnan(self) -> Tensor:
        """Return whether elements are NaN."""
        return methods.ops.compare(np.not_equal, self, self)

    def isinf(self) -> Tensor:
        """Return whether elements are infinite."""
        return methods.ops.compare(np.equal, methods.ops.abs(self), np.inf)

    def isfinite(self) -> Tensor:
        """Return whether elements are neither infinite nor NaN."""
        return methods.ops.compare(np.less, methods.ops.abs(self), np.inf)

    def equal(self, other: Any) -> Any:
        """Return whether shape and all elements are the same."""
        return np.array_equal(self._own()._data, methods.ops.clone(other)._data)

    def allclose(self, other: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: Any = False) -> Any:
        """Return whether no element is further off than ``atol + rtol * abs(other)``."""
        return np.allclose(self._own()._data, methods.ops.clone(other)._data, rtol, atol, equal_nan)

    def count_nonzero(self, dim: Any = None) -> Tensor:
        """Return how many elements over axes are not 0."""
        return methods.ops.sum(self.ne(0), dim)

    def bincount(self, weights: Any = None, minlength: Any = 0) -> Tensor:
        """Return how often (or with what weight) each of 0, 1, ... occurs, of integers (N,)."""
        shares = None if weights is None else np.asarray(weights)
        return methods.ops.clone(np.bincount(self._own()._data, shares, minlength))

    # ---- shapes -----------------------------------------------------------------------------------------------

    def t(self) -> Tensor:
        """Return the matrix with its axes swapped."""
        if self._own().ndim > 2:
            raise checks.value_error("t", "at most two axes", self._own()._data)
        return methods.ops.transpose(self)

    def view_as(self, other: Any) -> Tensor:
        """Return the elements in another tensor's shape."""
        return methods.ops.reshape(self, other.shape)

    reshape_as = view_as

    def expand_as(self, other: Any) -> Tensor:
        """Return the tensor repeated to another's shape, as a read-only view."""
        return methods.ops.expand(self, other.shape)

    def swapdims(self, dim0: Any, dim1: Any) -> Tensor:
        """Return the tensor with two axes swapped."""
        return methods.ops.swapaxes(self, dim0, dim1)

    # ---- dtypes and new tensors -------------------------------------------------------------------------------

    def type(self, dtype: Any) -> Tensor:
        """Return the tensor in another dtype."""
        own = getattr(dtype, "dtype", None)  # LongTensor's, and the like
        return methods.ops.cast(self, own if isinstance(own, np.dtype) else dtype)

    def type_as(self, other: Any) -> Tensor:
        """Return the tensor in another one's dtype."""
        return methods.ops.cast(self, other.dtype)

    def new_full(self, size: Any, fill_value: Any, dtype: Any = None, device: Any = None) -> Tensor:
        """Return one number everywhere, in this dtype unless another is given."""
        sizes = tuple(size) if isinstance(size, (tuple, list)) else (size,)
        return methods.ops.clone(np.full(sizes, fill_value, self._own().dtype if dtype is None else dtype))

    def new_zeros(self, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
        """Return zeros, in this dtype unless another is given."""
        return self.new_full(size[0] if len(size) == 1 else size, 0, dtype)

    def new_ones(self, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
        """Return ones, in this dtype unless another is given."""
        return self.new_full(size[0] if len(size) == 1 else size, 1, dtype)

    new_empty = new_zeros

    def new_tensor(self, data: Any, dtype: Any = None, device: Any = None) -> Tensor:
        """Return a copy of data, in this dtype unless another is given."""
        return methods.ops.clone(np.array(data, self._own().dtype if dtype is None else dtype))

    def bool(self) -> Tensor:
        """Return whether elements are not 0."""
        return methods.ops.cast(self, np.bool_)

    def int(self) -> Tensor:
        """Return the tensor as int32."""
        return methods.ops.cast(self, np.int32)
