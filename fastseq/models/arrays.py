"""The arrays that ``fit``, ``evaluate`` and ``predict`` are given, checked against the model, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.tensor import Tensor

Array = NDArray[Any]


class Batch(NamedTuple):
    """Some rows."""

    x: list[Array]
    y: list[Array]
    weights: list[Array | None]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.x[0])


class Arrays:
    """Inputs, targets and weights, one array per input and output of a model, all of as many rows.

    Parameters
    ----------
    x
        Inputs.
    y
        Targets; none to predict.
    weights
        Weights per sample, or None, one per target.
    """

    def __init__(self, x: Sequence[Array], y: Sequence[Array] = (), weights: Sequence[Array | None] = ()) -> None:
        self.x, self.y = list(x), list(y)
        self.weights = list(weights) or [None] * len(self.y)
        rows = len(self.x[0])
        for name, arrays in (("x", self.x), ("y", self.y), ("sample_weight", self.weights)):
            for array in arrays:
                if array is not None and len(array) != rows:
                    raise checks.value_error(name, f"{rows} rows, as many as x", f"{len(array)}")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.x[0])

    def take(self, rows: Any) -> Batch:
        """Return some rows.

        Parameters
        ----------
        rows
            Row numbers, or a slice.
        """
        return Batch(
            [array[rows] for array in self.x],
            [array[rows] for array in self.y],
            [None if array is None else array[rows] for array in self.weights],
        )

    def part(self, rows: slice) -> Arrays:
        """Return a stretch of rows as data of their own.

        Parameters
        ----------
        rows
            Which.
        """
        return Arrays(*self.take(rows))

    def batches(self, size: int, order: NDArray[np.int64] | None = None) -> Iterator[Batch]:
        """Yield batches.

        Parameters
        ----------
        size
            Rows in each but the last.
        order
            Row numbers; None for all in order.
        """
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size) if order is None else order[start : start + size])


def array_of(argument: str, value: Any) -> Array:
    """Return an ndarray of numbers with rows.

    Parameters
    ----------
    argument
        The name to use in messages.
    value
        An array, Tensor, data frame or nested list.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if isinstance(value, Tensor):
        found = value._data
    elif hasattr(value, "__array__") or isinstance(value, (list, tuple)):
        found = np.asarray(value)
    else:
        raise checks.kind_error(argument, "an array (generators and tf.data are not supported)", value)
    if found.dtype.kind not in "fiub":
        raise checks.kind_error(argument, "an array of numbers", found)
    if found.dtype.kind == "f" and found.dtype not in checks.FLOATS:
        found = found.astype(np.float32)
    if not found.ndim or not len(found):
        raise checks.value_error(argument, "at least one row", found)
    return found


def listed(argument: str, value: Any, names: Sequence[str], optional: bool = False) -> list[Any]:
    """Return one item per name from a list, a dict, or, where there is one name only, an item.

    Parameters
    ----------
    argument
        The name to use in messages.
    value
        What was given.
    names
        The model's inputs or outputs.
    optional
        Whether a dict may leave names out; they are None then.
    """
    if isinstance(value, dict):
        unknown = [name for name in value if name not in names]
        missing = [] if optional else [name for name in names if name not in value]
        if unknown or missing:
            raise checks.value_error(argument, f"the names {', '.join(names)}", ", ".join(map(str, value)))
        return [value.get(name) for name in names]
    if len(names) == 1:
        single = isinstance(value, (list, tuple)) and len(value) == 1 and (value[0] is None or np.ndim(value[0]))
        return [value[0] if single and hasattr(value[0], "shape") else value]
    if not isinstance(value, (list, tuple)):
        raise checks.kind_error(argument, f"a list or dict for {', '.join(names)}", value)
    if len(value) != len(names):
        raise checks.value_error(argument, f"{len(names)} items, for {', '.join(names)}", f"{len(value)}")
    return list(value)


def shaped(argument: str, array: Array, shape: Any, accepted: Any = None) -> Array:
    """Return an input in the shape that a model expects: an axis of length 1 at the end may be missing, or too many.

    Parameters
    ----------
    argument
        The name to use in messages.
    array
        The input.
    shape
        Sizes, rows first; None for any.
    accepted
        The sizes that are taken, where they are fewer than those of ``shape``: the others may be any.

    Raises
    ------
    ValueError
        If it does not fit.
    """
    if array.ndim == len(shape) - 1 and shape[-1] == 1:
        array = array[..., None]
    elif array.ndim == len(shape) + 1 and array.shape[-1] == 1:
        array = array[..., 0]
    shape = shape if accepted is None else accepted
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        expected = ", ".join("any" if n is None else str(n) for n in shape[1:])
        first = "rows" if shape[0] is None else f"batch size {shape[0]}"
        raise checks.value_error(argument, f"shape ({first}, {expected})", array)
    return array


def class_factors(class_weight: Any, y: Array, sparse: bool) -> Array:
    """Return each sample's weight after its class.

    Parameters
    ----------
    class_weight
        Weight per class; 1 for those that are not there.
    y
        Numbers of classes; or one-hot, unless ``sparse``.
    sparse
        Whether the loss takes numbers of classes.
    """
    if not isinstance(class_weight, dict):
        raise checks.kind_error("class_weight", "a dict from classes to weights", class_weight)
    classes = y.argmax(axis=-1) if not sparse and y.ndim > 1 and y.shape[-1] > 1 else y
    if classes.ndim > 1 and classes.shape[-1] == 1:
        classes = classes[..., 0]
    found = np.ones(classes.shape, np.float32)
    for name, weight in class_weight.items():
        found[classes == checks.integer("class_weight", name)] = checks.real("class_weight", weight, 0.0)
    return found
