"""Products and norms: einsum, outer, prod, norm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.operands import array, one_of
from fastseq.autograd.ops_arithmetic import mul, pow
from fastseq.autograd.ops_elementwise import abs
from fastseq.autograd.ops_linear import matmul
from fastseq.autograd.ops_reduce import max as largest
from fastseq.autograd.ops_reduce import min as smallest
from fastseq.autograd.ops_reduce import reduction, sum
from fastseq.autograd.ops_select import diagonal
from fastseq.autograd.ops_shape import permute, reshape
from fastseq.autograd.tensor import Tensor, record

Array = NDArray[Any]


def outer(input: Any, vec2: Any) -> Tensor:
    """Return the products of all pairs of entries of two vectors.

    Parameters
    ----------
    input, vec2
        (N,) and (M,)

    Returns
    -------
    Tensor
        (N, M)
    """
    for name, value in (("input", input), ("vec2", vec2)):
        if array(value).ndim != 1:
            raise checks.value_error(name, "one axis", array(value))
    return mul(reshape(input, (-1, 1)), vec2)


def prod(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool | None = None) -> Tensor:
    """Return the product over one axis, or of all elements.

    Parameters
    ----------
    x
        Any shape.
    axis
        One integer; None for all.
    keepdims
        Keep the axis with length 1.
    dim, keepdim
        PyTorch's spelling of the same.
    """
    if one_of(axis, dim) is None:
        return prod(reshape(x, -1), 0)
    data = array(x)
    (along,), keep = reduction(axis, keepdims, dim, keepdim, data.ndim)

    def pull(g: Array) -> Array:  # the product of all others, right where some are 0, too
        ones = np.ones_like(data.take([0], along))
        before = np.cumprod(np.concatenate([ones, data], along), along)
        behind = np.flip(np.cumprod(np.concatenate([ones, np.flip(data, along)], along), along), along)
        count = data.shape[along]
        others = before.take(range(count), along) * behind.take(range(1, count + 1), along)
        return (g if keep else np.expand_dims(g, along)) * others

    return record(np.prod(data, axis=along, keepdims=keep), (x,), (pull,), (x,))


def norm(x: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return the p-norm over axes; the gradient at 0 is 0.

    Parameters
    ----------
    x
        Any shape.
    p
        The order, infinite ones included; ``"fro"`` or None for 2.
    dim
        Integer or tuple of integers; None for all.
    keepdim
        Keep the axes with length 1.
    """
    order = 2.0 if p in ("fro", None) else float(p)
    if math.isinf(order):
        return (largest if order > 0 else smallest)(abs(x), dim, keepdim)
    if order == 0:
        return sum((array(x) != 0).astype(array(x).dtype), dim, keepdim)
    if order == 1:
        return sum(abs(x), dim, keepdim)
    if order != 2:
        return pow(sum(pow(abs(x), order), dim, keepdim), 1 / order)
    data = array(x)
    axes, keep = reduction(dim, keepdim, None, None, data.ndim)
    lengths = np.sqrt(np.sum(data * data, axis=axes, keepdims=True))
    out = lengths if keep else lengths.reshape(tuple(n for k, n in enumerate(data.shape) if k not in axes))

    def pull(g: Array) -> Array:
        return data * np.where(lengths == 0, 0, g.reshape(lengths.shape) / lengths)

    return record(out, (x,), (pull,), (x,), True)


def einsum(equation: str, *operands: Any) -> Tensor:
    """Return sums of products of entries, as an equation of letters says: one for each axis.

    Parameters
    ----------
    equation
        For example ``"bij,bjk->bik"``; letters that are not right of the arrow are summed over, without an arrow those
        that come twice. ``...`` stands for axes that broadcast.
    *operands
        Tensors, or one list of them.

    Notes
    -----
    The products are `matmul`'s, two operands at a time from the left.
    """
    found = operands[0] if len(operands) == 1 and isinstance(operands[0], (tuple, list)) else operands
    inputs, output = _letters(equation.replace(" ", ""), [array(one).ndim for one in found])
    left, letters = _without_repeats(found[0], inputs[0])
    for number, (right, more) in enumerate(zip(found[1:], inputs[1:], strict=True), 2):
        right, more = _without_repeats(right, more)
        kept = set(output).union(*inputs[number:])
        left, letters = _pair(left, letters, right, more, kept)
    gone = tuple(k for k, letter in enumerate(letters) if letter not in output)
    left = sum(left, gone) if gone else left
    letters = "".join(letter for letter in letters if letter in output)
    return permute(left, tuple(letters.index(letter) for letter in output)) if output else reshape(left, ())


def _letters(equation: str, axes: list[int]) -> tuple[list[str], str]:
    """Return a letter for each axis of the operands and of the result; those of ``...`` are capital Greek ones."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(axes):
        raise checks.value_error("equation", f"{len(axes)} operand(s), separated by commas", equation)
    wide = [ndim - len(term.replace("...", "")) for term, ndim in zip(terms, axes, strict=True)]
    if any(count < 0 or (count and "..." not in term) for term, count in zip(terms, wide, strict=True)):
        raise checks.value_error("equation", f"one letter for each of the axes {axes}", equation)
    rest = "".join(chr(ord("Α") + k) for k in range(max(wide)))
    terms = [term.replace("...", rest[len(rest) - count :]) for term, count in zip(terms, wide, strict=True)]
    if not arrow:
        joined = "".join(terms)
        right = rest + "".join(sorted(x for x in set(joined) if joined.count(x) == 1 and x not in rest))
    right = right.replace("...", rest)
    if len(set(right)) != len(right) or not set(right) <= set("".join(terms)):
        raise checks.value_error("equation", "each letter of the result once, and among the operands'", equation)
    return terms, right


def _without_repeats(x: Any, letters: str) -> tuple[Any, str]:
    """Return the diagonal of axes with the same letter."""
    for letter in set(letters):
        while letters.count(letter) > 1:
            first, second = letters.index(letter), letters.rindex(letter)
            x = diagonal(x, 0, first, second)
            letters = "".join(c for k, c in enumerate(letters) if k not in (first, second)) + letter
    return x, letters


def _pair(a: Any, first: str, b: Any, second: str, kept: set[str]) -> tuple[Tensor, str]:
    """Return the product of two operands, summed over what both have and nobody needs, and its letters."""
    alone = tuple(k for k, c in enumerate(first) if c not in second and c not in kept)
    a, first = (sum(a, alone), "".join(c for k, c in enumerate(first) if k not in alone)) if alone else (a, first)
    alone = tuple(k for k, c in enumerate(second) if c not in first and c not in kept)
    b, second = (sum(b, alone), "".join(c for k, c in enumerate(second) if k not in alone)) if alone else (b, second)
    shapes = (dict(zip(first, array(a).shape, strict=True)), dict(zip(second, array(b).shape, strict=True)))
    for c in set(first) & set(second):
        both = sorted((shapes[0][c], shapes[1][c]))
        if both[0] not in (1, both[1]):
            raise checks.value_error("operands", f"axes of one length for {c!r}", str(both))
    batch = [c for c in first if c in second and (c in kept or shapes[0][c] != shapes[1][c])]
    inner = [c for c in first if c in second and c not in batch]
    rows, columns = [c for c in first if c not in second], [c for c in second if c not in first]

    def brought(x: Any, letters: str, shape: dict[str, int], *groups: list[str]) -> Tensor:
        x = permute(x, tuple(letters.index(c) for group in groups for c in group)) if letters else x
        merged = [math.prod(shape[c] for c in group) for group in groups[1:]]
        return reshape(x, (*(shape[c] for c in groups[0]), *merged))

    product = matmul(
        brought(a, first, shapes[0], batch, rows, inner), brought(b, second, shapes[1], batch, inner, columns)
    )
    sizes = [*product.shape[: len(batch)], *(shapes[0][c] for c in rows), *(shapes[1][c] for c in columns)]
    return reshape(product, tuple(sizes)), "".join(batch + rows + columns)
