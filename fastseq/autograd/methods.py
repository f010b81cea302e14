"""The operations of Tensor as operators and methods; each calls the function of the same name in ``ops``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastseq import checks

if TYPE_CHECKING:
    from fastseq.autograd.tensor import Tensor

ops: Any = None  # fastseq.autograd.ops; set by tensor.py, which ops itself is built on


class TensorMethods:
    """Base of Tensor: everything that is also a function of ``fastseq.autograd.ops``, documented there."""

    __slots__ = ()

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.div(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.neg(self)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index)

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return ops.compare(np.equal, self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return ops.compare(np.not_equal, self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ops.compare(np.less, self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.compare(np.less_equal, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.compare(np.greater, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.compare(np.greater_equal, self, other)

    __hash__ = object.__hash__  # == compares elements, so identity stays the key

    def __and__(self, other: Any) -> Tensor:
        return ops.compare(np.bitwise_and, self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Tensor:
        return ops.compare(np.bitwise_or, self, other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> Tensor:
        return ops.compare(np.bitwise_xor, self, other)

    __rxor__ = __xor__

    def __invert__(self) -> Tensor:
        return ops.compare(np.bitwise_xor, self, True if self.dtype == bool else -1)  # type: ignore[attr-defined]

    def abs(self) -> Tensor:
        """Return the absolute value."""
        return ops.abs(self)

    def square(self) -> Tensor:
        """Return the square."""
        return ops.square(self)

    def exp(self) -> Tensor:
        """Return e**x."""
        return ops.exp(self)

    def expm1(self) -> Tensor:
        """Return e**x - 1."""
        return ops.expm1(self)

    def log(self) -> Tensor:
        """Return the natural logarithm."""
        return ops.log(self)

    def log1p(self) -> Tensor:
        """Return log(1 + x)."""
        return ops.log1p(self)

    def sqrt(self) -> Tensor:
        """Return the square root."""
        return ops.sqrt(self)

    def sin(self) -> Tensor:
        """Return the sine."""
        return ops.sin(self)

    def cos(self) -> Tensor:
        """Return the cosine."""
        return ops.cos(self)

    def tanh(self) -> Tensor:
        """Return the hyperbolic tangent."""
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """Return 1 / (1 + exp(-x))."""
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        """Return max(x, 0)."""
        return ops.relu(self)

    def erf(self) -> Tensor:
        """Return the error function."""
        return ops.erf(self)

    def clone(self) -> Tensor:
        """Return a copy that the gradient passes through."""
        return ops.clone(self)

    def maximum(self, other: Any) -> Tensor:
        """Return the larger of two operands, elementwise."""
        return ops.maximum(self, other)

    def minimum(self, other: Any) -> Tensor:
        """Return the smaller of two operands, elementwise."""
        return ops.minimum(self, other)

    def matmul(self, other: Any) -> Tensor:
        """Return the matrix product."""
        return ops.matmul(self, other)

    def pow(self, exponent: Any) -> Tensor:
        """Return the elements raised to a power."""
        return ops.pow(self, exponent)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """Return the elements limited to min..max."""
        return ops.clip(self, min, max)

    clamp = clip

    def where(self, condition: Any, other: Any) -> Tensor:
        """Return the elements where the condition holds, else those of ``other``."""
        return ops.where(condition, self, other)

    def masked_fill(self, mask: Any, value: float) -> Tensor:
        """Return the elements with one number where the mask is True."""
        return ops.masked_fill(self, mask, value)

    def sum(
        self,
        axis: Any = None,
        keepdims: bool = False,
        *,
        dim: Any = None,
        keepdim: bool | None = None,
        dtype: Any = None,
    ) -> Tensor:
        """Return the sum over axes, of the elements in a dtype."""
        x = self if dtype is None else ops.cast(self, dtype)
        return ops.sum(x, axis, keepdims, dim=dim, keepdim=keepdim)

    def mean(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
        """Return the mean over axes."""
        return ops.mean(self, axis, keepdims, dim=dim, keepdim=keepdim)

    def amax(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
        """Return the largest value over axes; ties share the gradient."""
        return ops.max(self, axis, keepdims, dim=dim, keepdim=keepdim)

    def amin(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
        """Return the smallest value over axes; ties share the gradient."""
        return ops.min(self, axis, keepdims, dim=dim, keepdim=keepdim)

    def max(self, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False) -> Any:
        """Return the largest value; values and indices along ``dim``; values only over NumPy's ``axis``."""
        return self._extreme(dim, keepdim, axis, keepdims, True)

    def min(self, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False) -> Any:
        """Return the smallest value; values and indices along ``dim``; values only over NumPy's ``axis``."""
        return self._extreme(dim, keepdim, axis, keepdims, False)

    def _extreme(self, dim: Any, keepdim: bool, axis: Any, keepdims: bool, largest: bool) -> Any:
        if dim is None:
            return (ops.max if largest else ops.min)(self, axis, keepdims)
        if hasattr(dim, "dtype"):  # torch.max(input, other)
            return (ops.maximum if largest else ops.minimum)(self, dim)
        return ops.extreme(self, dim, keepdim, largest)

    def logsumexp(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None
    ) -> Tensor:
        """Return log(sum(exp(x))) over axes."""
        return ops.logsumexp(self, axis, keepdims, dim=dim, keepdim=keepdim)

    def argmax(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None
    ) -> Tensor:
        """Return the place of the largest value."""
        return ops.argmax(self, axis, keepdims, dim=dim, keepdim=keepdim)

    def argmin(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None
    ) -> Tensor:
        """Return the place of the smallest value."""
        return ops.argmin(self, axis, keepdims, dim=dim, keepdim=keepdim)

    def var(
        self,
        axis: Any = None,
        unbiased: bool | None = None,
        keepdims: bool = False,
        *,
        correction: float = 1,
        dim: Any = None,
        keepdim: bool | None = None,
    ) -> Tensor:
        """Return the variance over axes, the count less ``correction`` in the denominator."""
        correction = correction if unbiased is None else int(unbiased)
        return ops.var(self, axis, keepdims, correction, dim=dim, keepdim=keepdim)

    def std(
        self,
        axis: Any = None,
        unbiased: bool | None = None,
        keepdims: bool = False,
        *,
        correction: float = 1,
        dim: Any = None,
        keepdim: bool | None = None,
    ) -> Tensor:
        """Return the standard deviation over axes, the count less ``correction`` in the denominator."""
        correction = correction if unbiased is None else int(unbiased)
        return ops.std(self, axis, keepdims, correction, dim=dim, keepdim=keepdim)

    def any(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
        """Return whether any element is not 0."""
        return ops.any(self, axis, keepdims, dim=dim, keepdim=keepdim)

    def all(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
        """Return whether all elements are not 0."""
        return ops.all(self, axis, keepdims, dim=dim, keepdim=keepdim)

    def softmax(self, axis: Any = None, *, dim: Any = None, dtype: Any = None) -> Tensor:
        """Return exp(x) / sum exp(x) along an axis."""
        return ops.softmax(self, axis, dim=dim, dtype=dtype)

    def log_softmax(self, axis: Any = None, *, dim: Any = None, dtype: Any = None) -> Tensor:
        """Return the logarithm of softmax along an axis."""
        return ops.log_softmax(self, axis, dim=dim, dtype=dtype)

    def cumsum(self, axis: Any = None, *, dim: Any = None) -> Tensor:
        """Return the running sum along an axis."""
        return ops.cumsum(self, axis, dim=dim)

    def squeeze(self, axis: Any = None, *, dim: Any = None) -> Tensor:
        """Return the tensor without axes of length 1."""
        return ops.squeeze(self, axis, dim=dim)

    def unsqueeze(self, axis: Any = None, *, dim: Any = None) -> Tensor:
        """Return the tensor with an axis of length 1 put in."""
        return ops.unsqueeze(self, axis, dim=dim)

    def flip(self, *axes: Any, dims: Any = None, axis: Any = None, dim: Any = None) -> Tensor:
        """Return the tensor with the order along axes reversed."""
        given = axes[0] if len(axes) == 1 else axes or axis
        return ops.flip(self, given, dim=dim if dims is None else dims)

    def unbind(self, axis: Any = None, *, dim: Any = None) -> tuple[Tensor, ...]:
        """Return the slices along an axis, as views."""
        return ops.unbind(self, axis, dim=dim)

    def split(self, size: Any, axis: Any = None, *, dim: Any = None) -> tuple[Tensor, ...]:
        """Return pieces along an axis, as views."""
        return ops.split(self, size, axis, dim=dim)

    def reshape(self, *shape: Any) -> Tensor:
        """Return the elements in another shape."""
        return ops.reshape(self, *shape)

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Return the tensor with a run of axes merged into one."""
        return ops.flatten(self, start_dim, end_dim)

    def permute(self, *axes: Any) -> Tensor:
        """Return the tensor with its axes in another order."""
        return ops.permute(self, *axes)

    def transpose(self, *axes: Any) -> Tensor:
        """Return the tensor with two axes swapped (two integers), all reversed (none), or in the order given."""
        return ops.transpose(self, *axes)

    def swapaxes(self, axis0: int, axis1: int) -> Tensor:
        """Return the tensor with two axes swapped."""
        return ops.swapaxes(self, axis0, axis1)

    def broadcast_to(self, *shape: Any) -> Tensor:
        """Return the tensor repeated along axes, as a read-only view."""
        return ops.broadcast_to(self, *shape)

    @property
    def T(self) -> Tensor:
        """The tensor with all axes reversed."""
        return ops.transpose(self)

    @property
    def mT(self) -> Tensor:
        """The tensor with its last two axes swapped."""
        return ops.swapaxes(self, -1, -2)

    def to(
        self, *args: Any, dtype: Any = None, device: Any = None, non_blocking: Any = None, copy: Any = False
    ) -> Tensor:
        """Return the tensor in another dtype, or itself for ``"cpu"``; the gradient comes back in its own dtype.

        Positional arguments are a device, a dtype, both, or a tensor whose dtype is wanted.
        """
        for one in (*args, device):
            if hasattr(one, "_data"):
                dtype = one.dtype
            elif not (one is None or one is True or one is False or checks.is_device("device", one)):
                dtype = one
        found = cast("Tensor", self) if dtype is None else ops.cast(self, dtype)
        return ops.clone(found) if copy and found is self else found

    def astype(self, dtype: Any) -> Tensor:
        """Return the tensor in another dtype, NumPy's name of it."""
        return ops.cast(self, dtype)

    def float(self) -> Tensor:
        """Return the tensor as float32."""
        return ops.cast(self, np.float32)

    def double(self) -> Tensor:
        """Return the tensor as float64."""
        return ops.cast(self, np.float64)

    def long(self) -> Tensor:
        """Return the tensor as int64."""
        return ops.cast(self, np.int64)

    def cpu(self) -> Tensor:
        """Return the tensor: it is on the CPU."""
        return cast("Tensor", self)

    def contiguous(self) -> Tensor:
        """Return the tensor: where the order in memory matters, it is put right."""
        return cast("Tensor", self)
