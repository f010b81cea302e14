"""Operators on sizes, lengths and masks, computed with NumPy while a graph is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MAX_RESULT = 1 << 22
"""Bytes that a computed value may take: sizes and masks of a small batch are far below."""


def _bounded(shape: Any, itemsize: int) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in shape)
    total = itemsize
    for n in sizes:
        total *= max(n, 0)
    if total > MAX_RESULT or any(n < 0 for n in sizes):
        raise ValueError(f"expected a value of at most {MAX_RESULT} bytes, got shape {sizes}")
    return sizes


def axes_of(inputs: list[Array | None], attributes: dict[str, Any], default: Any = None) -> Any:
    """Return the axes that an operator works on: an attribute, or since opset 13 its second input.

    Parameters
    ----------
    inputs
        The node's.
    attributes
        The node's.
    default
        Where neither is given.
    """
    if len(inputs) > 1 and inputs[1] is not None:
        return tuple(int(k) for k in inputs[1].reshape(-1))
    found = attributes.get("axes", default)
    return found if found is None else tuple(int(k) for k in found)


def _unsqueeze(inputs: list[Any], attributes: dict[str, Any]) -> Array:
    return np.expand_dims(inputs[0], axes_of(inputs, attributes))


def _squeeze(inputs: list[Any], attributes: dict[str, Any]) -> Array:
    return np.squeeze(inputs[0], axes_of(inputs, attributes))


def _slice(inputs: list[Any], attributes: dict[str, Any]) -> Array:
    data, starts, ends, *rest = inputs
    axes = rest[0] if rest and rest[0] is not None else np.arange(len(starts))
    strides = rest[1] if len(rest) > 1 and rest[1] is not None else np.ones(len(starts), int)
    where = [slice(None)] * data.ndim
    for start, end, axis, stride in zip(starts, ends, axes, strides, strict=True):
        limit = int(end)
        where[int(axis)] = slice(int(start), None if limit < -(1 << 62) else limit, int(stride))
    return data[tuple(where)]


def _reshape(inputs: list[Any], attributes: dict[str, Any]) -> Array:
    data, shape = inputs
    return data.reshape([data.shape[k] if n == 0 else int(n) for k, n in enumerate(shape)])


def _range(inputs: list[Any], attributes: dict[str, Any]) -> Array:
    start, limit, delta = (value.reshape(()) for value in inputs)
    count = np.ceil((float(limit) - float(start)) / float(delta))
    if not 0 <= count * 8 <= MAX_RESULT:
        raise ValueError(f"expected a range of at most {MAX_RESULT // 8} numbers, got {count}")
    return np.arange(start, limit, delta, dtype=start.dtype)


def _expand(inputs: list[Any], attributes: dict[str, Any]) -> Array:
    shape = np.broadcast_shapes(inputs[0].shape, _bounded(inputs[1], 1))
    return np.broadcast_to(inputs[0], _bounded(shape, inputs[0].itemsize)).copy()


def _filled(inputs: list[Any], attributes: dict[str, Any]) -> Array:
    value = attributes.get("value", np.zeros(1, np.float32)).reshape(-1)
    return np.full(_bounded(inputs[0], value.itemsize), value[0])


def _trilu(inputs: list[Any], attributes: dict[str, Any]) -> Array:
    k = int(inputs[1].reshape(())) if len(inputs) > 1 and inputs[1] is not None else 0
    return np.triu(inputs[0], k) if attributes.get("upper", 1) else np.tril(inputs[0], k)


def _cast(inputs: list[Any], attributes: dict[str, Any]) -> Array:
    from fastseq import checks

    dtype = checks.require("onnx", "onnx").helper.tensor_dtype_to_np_dtype(attributes["to"])
    if dtype.kind not in "fiub":
        raise ValueError(f"expected numbers to cast to, got {dtype}")
    return inputs[0].astype(dtype)


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[list[Any], dict[str, Any]], Array]:
    def compute(inputs: list[Any], attributes: dict[str, Any]) -> Array:
        one, other = inputs
        shape = np.broadcast_shapes(one.shape, other.shape)
        _bounded(shape, 8)
        with np.errstate(all="ignore"):
            return np.asarray(function(one, other))

    return compute


def _divide(one: Array, other: Array) -> Array:
    if one.dtype.kind == "f":
        return one / other
    if not np.all(other):
        raise ValueError("expected divisors that are not 0, got 0")
    return np.trunc(one / other).astype(one.dtype)


#: Operator to function of (inputs, attributes).
COMPUTED: dict[str, Callable[[list[Any], dict[str, Any]], Array]] = {
    "Identity": lambda i, a: i[0],
    "Cast": _cast,
    "Shape": lambda i, a: np.array(i[0].shape[a.get("start", 0) : a.get("end", None)], np.int64),
    "Size": lambda i, a: np.array(i[0].size, np.int64),
    "Gather": lambda i, a: np.take(i[0], i[1], axis=a.get("axis", 0)),
    "Slice": _slice,
    "Concat": lambda i, a: np.concatenate(i, axis=a["axis"]),
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Transpose": lambda i, a: np.transpose(i[0], a.get("perm")),
    "Range": _range,
    "Expand": _expand,
    "ConstantOfShape": _filled,
    "Trilu": _trilu,
    "Not": lambda i, a: ~i[0],
    "Neg": lambda i, a: -i[0],
    "Where": lambda i, a: np.where(i[0], _same(i[1], i[0]), i[2]),
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _binary(_divide),
    "Max": _binary(np.maximum),
    "Min": _binary(np.minimum),
    "And": _binary(np.logical_and),
    "Or": _binary(np.logical_or),
    "Equal": _binary(np.equal),
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
}


def _same(values: Array, condition: Array) -> Array:
    _bounded(np.broadcast_shapes(values.shape, condition.shape), 8)
    return values


def compute(operator: str, inputs: list[Any], attributes: dict[str, Any]) -> Array:
    """Return an operator's only output.

    Parameters
    ----------
    operator
        Its name, of ``COMPUTED``.
    inputs
        Arrays, None where one is left out.
    attributes
        By name.

    Raises
    ------
    ValueError
        If the inputs do not fit, or the result is too large.
    """
    try:
        found = np.asarray(COMPUTED[operator](inputs, attributes))
    except (TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"expected inputs that fit {operator}, got {error}") from error
    if found.nbytes > max(MAX_RESULT, sum(value.nbytes for value in inputs if value is not None)):
        raise ValueError(f"expected a value of at most {MAX_RESULT} bytes, got shape {found.shape}")
    return found
