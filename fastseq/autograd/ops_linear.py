"""Matrix products, and the affine map that layers are made of."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import elementary
from fastseq.autograd.elementary import rows
from fastseq.autograd.operands import array, fit
from fastseq.autograd.tensor import Tensor, record

Array = NDArray[Any]


def matmul(a: Any, b: Any) -> Tensor:
    """Return the matrix product a @ b.

    Parameters
    ----------
    a, b
        Operands of at least one axis. The last two axes are matrices, those before them broadcast; an operand of
        one axis is a row (left) or a column (right), and its axis is dropped from the result.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    x, y = array(a), array(b)
    if x.ndim == 0 or y.ndim == 0 or x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        inner = "at least one axis" if x.ndim == 0 or y.ndim == 0 else f"{x.shape[-1]} rows"
        raise checks.value_error("matmul", f"a right operand with {inner} for a left one of shape {x.shape}", y)

    def to_left(g: Array) -> Array:
        if y.ndim == 1:
            part = g[..., None] * y
        elif x.ndim == 1:
            part = elementary.product(y, g[..., None])[..., 0]
        else:
            part = elementary.product(g, y.swapaxes(-1, -2))
        return fit(part, x.shape, x.dtype)

    def to_right(g: Array) -> Array:
        if x.ndim == 1:
            part = g * x if y.ndim == 1 else x[:, None] * g[..., None, :]
        elif y.ndim == 1:
            part = elementary.product(rows(x).T, g.reshape(-1))
        elif y.ndim == 2:
            # The sum over leading axes is part of one product.
            part = elementary.product(rows(x).T, rows(g))
        else:
            part = elementary.product(x.swapaxes(-1, -2), g)
        return fit(part, y.shape, y.dtype)

    return record(elementary.product(x, y), (a, b), (to_left, to_right), (a, b))


def affine(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """Return input @ weight.T + bias as one node of the tape.

    Parameters
    ----------
    input
        (..., I), any leading axes.
    weight
        (O, I), PyTorch's layout.
    bias
        (O,) or None.

    Returns
    -------
    Tensor
        (..., O)

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    data, w = array(input, "input"), array(weight, "weight")
    if w.ndim != 2:
        raise checks.value_error("weight", "shape (out_features, in_features)", w)
    if data.ndim == 0 or data.shape[-1] != w.shape[1]:
        raise checks.value_error("input", f"shape (..., {w.shape[1]})", data)
    offset = None if bias is None else array(bias, "bias")
    if offset is not None and offset.shape != (w.shape[0],):
        raise checks.value_error("bias", f"shape ({w.shape[0]},)", offset)
    out = elementary.product(data, w.T, offset)

    def to_input(g: Array) -> Array:
        return fit(elementary.product(g, w), data.shape, data.dtype)

    def to_weight(g: Array) -> Array:
        return fit(elementary.product(rows(g).T, rows(data)), w.shape, w.dtype)

    def to_bias(g: Array) -> Array:
        return fit(g, (w.shape[0],), offset.dtype)  # type: ignore[union-attr]

    return record(out, (input, weight, bias), (to_input, to_weight, to_bias), (input, weight))
