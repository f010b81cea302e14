"""Methods of Tensor that pick, order, repeat and round; each calls the function of the same name in ``ops``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastseq.autograd import methods

if TYPE_CHECKING:
    from fastseq.autograd.ops_order import Picked
    from fastseq.autograd.tensor import Tensor


class SelectingMethods:
    """Base of Tensor: functions of ``fastseq.autograd.ops`` on picking and order, documented there."""

    __slots__ = ()

    def argsort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
        """Return the places of the values in order; equal ones keep theirs, NaN counts as the largest."""
        return methods.ops.argsort(self, dim, descending, stable)

    def ceil(self) -> Tensor:
        """Return the smallest whole number that is not below each element."""
        return methods.ops.ceil(self)

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """Return the tensor cut into at most so many pieces of like length along an axis, as views."""
        return methods.ops.chunk(self, chunks, dim)

    def diag(self, diagonal: int = 0) -> Tensor:
        """Return the square matrix with a vector on its diagonal; of a matrix, its diagonal."""
        return methods.ops.diag(self, diagonal)

    def diagonal(self, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
        """Return the diagonals of two axes, along the last axis."""
        return methods.ops.diagonal(self, offset, dim1, dim2)

    def expand(self, *sizes: Any) -> Tensor:
        """Return the tensor repeated along axes of length 1, as a read-only view."""
        return methods.ops.expand(self, *sizes)

    def floor(self) -> Tensor:
        """Return the largest whole number that is not above each element."""
        return methods.ops.floor(self)

    def gather(self, dim: int, index: Any) -> Tensor:
        """Return the elements at places along an axis, one for each entry of ``index``."""
        return methods.ops.gather(self, dim, index)

    def index_select(self, dim: int, index: Any) -> Tensor:
        """Return slices along an axis, one for each entry of ``index``."""
        return methods.ops.index_select(self, dim, index)

    def masked_select(self, mask: Any) -> Tensor:
        """Return the elements where a mask is True, along one axis."""
        return methods.ops.masked_select(self, mask)

    def median(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """Return the median, the lower one of two; NaN wins."""
        return methods.ops.median(self, dim, keepdim)

    def movedim(self, source: Any, destination: Any) -> Tensor:
        """Return the tensor with axes moved to other places, the others in their order."""
        return methods.ops.movedim(self, source, destination)

    def narrow(self, dim: int, start: int, length: int) -> Tensor:
        """Return a stretch along an axis, as a view."""
        return methods.ops.narrow(self, dim, start, length)

    def nonzero(self, *, as_tuple: bool = False) -> Any:
        """Return the places of the elements that are not 0."""
        return methods.ops.nonzero(self, as_tuple=as_tuple)

    def norm(self, p: Any = "fro", dim: Any = None, keepdim: bool = False) -> Tensor:
        """Return the p-norm over axes; the gradient at 0 is 0."""
        return methods.ops.norm(self, p, dim, keepdim)

    def outer(self, vec2: Any) -> Tensor:
        """Return the products of all pairs of entries of two vectors."""
        return methods.ops.outer(self, vec2)

    def prod(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
        """Return the product over one axis, or of all elements."""
        return methods.ops.prod(self, axis, keepdims, dim=dim, keepdim=keepdim)

    def remainder(self, b: Any) -> Tensor:
        """Return what is left of a when b is taken away as often as it fits, with b's sign: a % b."""
        return methods.ops.remainder(self, b)

    def repeat(self, *repeats: Any) -> Tensor:
        """Return the tensor several times along each axis (PyTorch's meaning, not NumPy's)."""
        return methods.ops.repeat(self, *repeats)

    def repeat_interleave(self, repeats: Any, dim: int | None = None) -> Tensor:
        """Return every slice along an axis several times, one behind the other."""
        return methods.ops.repeat_interleave(self, repeats, dim)

    def roll(self, shifts: Any, dims: Any = None) -> Tensor:
        """Return the tensor moved along axes; what leaves at one end comes in at the other."""
        return methods.ops.roll(self, shifts, dims)

    def round(self, *, decimals: int = 0) -> Tensor:
        """Return the nearest whole number, the even one of two."""
        return methods.ops.round(self, decimals=decimals)

    def scatter(self, dim: int, index: Any, src: Any = None, *, value: Any = None) -> Tensor:
        """Return the tensor with elements of ``src`` at places along an axis."""
        return methods.ops.scatter(self, dim, index, src, value=value)

    def scatter_add(self, dim: int, index: Any, src: Any) -> Tensor:
        """Return the tensor with the elements of ``src`` added at places along an axis."""
        return methods.ops.scatter_add(self, dim, index, src)

    def select(self, dim: int, index: int) -> Tensor:
        """Return one slice along an axis, which is dropped."""
        return methods.ops.select(self, dim, index)

    def sign(self) -> Tensor:
        """Return -1, 0 or 1."""
        return methods.ops.sign(self)

    def sort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> Picked:
        """Return the values in order along an axis, and the places where they stood."""
        return methods.ops.sort(self, dim, descending, stable)

    def take(self, index: Any) -> Tensor:
        """Return the elements at places in the flat tensor."""
        return methods.ops.take(self, index)

    def take_along_dim(self, indices: Any, dim: int | None = None) -> Tensor:
        """Return the elements at places along an axis; all other axes broadcast."""
        return methods.ops.take_along_dim(self, indices, dim)

    def tile(self, *dims: Any) -> Tensor:
        """Return the tensor several times along each axis, the last ones where there are fewer numbers than axes."""
        return methods.ops.tile(self, *dims)

    def topk(self, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Picked:
        """Return the k largest (or smallest) values along an axis, in order, and their places."""
        return methods.ops.topk(self, k, dim, largest, sorted)

    def tril(self, diagonal: int = 0) -> Tensor:
        """Return the lower triangle of the last two axes, zeros elsewhere."""
        return methods.ops.tril(self, diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        """Return the upper triangle of the last two axes, zeros elsewhere."""
        return methods.ops.triu(self, diagonal)

    def trunc(self) -> Tensor:
        """Return each element without what stands behind the point."""
        return methods.ops.trunc(self)

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Tensor:
        """Return the tensor with one axis as several."""
        return methods.ops.unflatten(self, dim, sizes)

    def unique(
        self, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
    ) -> Any:
        """Return the values that occur, each once, in ascending order."""
        return methods.ops.unique(self, sorted, return_inverse, return_counts, dim)
