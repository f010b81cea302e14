"""Argument checks. Every message names the argument, what was expected and what came.

A wrong kind of thing is a ``TypeError``, a wrong value or shape a ``ValueError``; both are raised
before any memory is touched. Nothing in the package imports less than this module.
"""

from __future__ import annotations

import importlib
import math
import numbers
import operator
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def kind_error(argument: str, expected: str, got: object) -> TypeError:
    """Return a TypeError that names the argument, what was expected and what came."""
    return TypeError(f"{argument}: expected {expected}, got {describe(got)}")


def value_error(argument: str, expected: str, got: object) -> ValueError:
    """Return a ValueError that names the argument, what was expected and what came."""
    return ValueError(f"{argument}: expected {expected}, got {got if isinstance(got, str) else describe(got)}")


def describe(value: object) -> str:
    """Say in a few words what a value is: arrays by shape and dtype, the rest by type and (short) value."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, (bool, int, float, str, bytes, type(None), np.generic)):
        text = repr(value)
        return text if len(text) <= 60 else f"{type(value).__name__} {text[:57]}..."
    return type(value).__name__


def integer(argument: str, value: object, minimum: int | None = None, maximum: int | None = None) -> int:
    """Return ``value`` as an int, or raise unless it is an integer (no bool, no float) in the given range."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise kind_error(argument, "an integer", value)
    number = operator.index(value)
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        low = "" if minimum is None else f" >= {minimum}"
        high = "" if maximum is None else f"{' and' if low else ''} <= {maximum}"
        raise value_error(argument, f"an integer{low}{high}", number)
    return number


def single(argument: str, value: object, minimum: int) -> int:
    """Return an integer that may come in a tuple or list of one, as sizes of windows do, or raise like `integer`."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]
    return integer(argument, value, minimum)


def real(
    argument: str,
    value: object,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    open_minimum: bool = False,
    open_maximum: bool = False,
) -> float:
    """Return ``value`` as a float, or raise unless it is a finite number in the given range."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise kind_error(argument, "a number", value)
    number = float(value)
    low = minimum is not None and (number <= minimum if open_minimum else number < minimum)
    high = maximum is not None and (number >= maximum if open_maximum else number > maximum)
    if low or high or not np.isfinite(number):
        limits = []
        if minimum is not None:
            limits.append(f"{'>' if open_minimum else '>='} {minimum:g}")
        if maximum is not None:
            limits.append(f"{'<' if open_maximum else '<='} {maximum:g}")
        raise value_error(argument, " ".join(["a finite number", " and ".join(limits)]).strip(), number)
    return number


def boolean(argument: str, value: object) -> bool:
    """Return ``value`` as a bool, or raise TypeError."""
    if not isinstance(value, (bool, np.bool_)):
        raise kind_error(argument, "True or False", value)
    return bool(value)


def choice(argument: str, value: object, allowed: Iterable[str]) -> str:
    """Return ``value``, or raise ValueError unless it is one of the allowed words."""
    words = list(allowed)
    if not isinstance(value, str) or value not in words:
        raise value_error(argument, f"one of {', '.join(map(repr, words))}", value)
    return value


def float_dtype(argument: str, value: Any) -> np.dtype:
    """Return ``value`` as a NumPy dtype, or raise TypeError unless it is float32 or float64."""
    try:
        if isinstance(value, str) and not value.lstrip("<>=|").isidentifier():
            raise TypeError("a string of fields and counts, which NumPy would parse as Python")
        dtype = np.dtype(value)
    except (TypeError, ValueError):
        raise kind_error(argument, "float32 or float64", value) from None
    if dtype not in FLOATS:
        raise TypeError(f"{argument}: expected float32 or float64, got {dtype}")
    return dtype


def is_device(argument: str, value: object) -> bool:
    """Return whether ``value`` names a device, or raise ValueError where that is not the CPU."""
    if not isinstance(value, str) or value.split(":")[0] not in ("cpu", "cuda", "mps", "xpu", "hip", "meta"):
        return False
    if value != "cpu":
        raise value_error(argument, "'cpu', where everything is computed", value)
    return True


def array(argument: str, value: object, dtype: np.dtype, shape: Sequence[int | str]) -> NDArray[Any]:
    """Return ``value`` as an aligned C-contiguous array of ``dtype``, copied only where it is not one already.

    Parameters
    ----------
    argument
        The name to use in messages.
    value
        An ndarray of real numbers. Any memory order, byte order and strides; integers and the other float
        types are converted where NumPy calls that a ``same_kind`` cast; bool, complex, object and text are refused.
    dtype
        The dtype wanted.
    shape
        One entry per axis: an int that must match, or a letter that stands for any size.

    Raises
    ------
    TypeError
        If it is not an ndarray of numbers.
    ValueError
        If the rank or a fixed size differs.
    """
    if not isinstance(value, np.ndarray):
        raise kind_error(argument, "a NumPy array", value)
    if value.dtype.kind not in "fiu":
        raise kind_error(argument, f"an array of {dtype} (or another real dtype)", value)
    fits = value.ndim == len(shape) and all(
        isinstance(want, str) or want == have for want, have in zip(shape, value.shape, strict=True)
    )
    if not fits:
        raise value_error(argument, f"shape ({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})", value)
    return np.require(value, dtype, ("C", "A"))


def unmasked(argument: str, value: object) -> NDArray[Any]:
    """Return ``value`` as an ndarray, or raise if it is a masked array or no array can be made of it."""
    if isinstance(value, np.ma.MaskedArray):
        raise kind_error(argument, "an array without a mask (fill it first)", value)
    try:
        return np.asarray(value)
    except ValueError:
        raise value_error(argument, "numbers in an array, or in lists of like lengths", value) from None


def lengths(argument: str, value: object, rows: int, steps: int) -> NDArray[np.int64]:
    """Return row lengths as an int64 array (rows,), or raise unless they are integers in 0..steps.

    ``None`` means that every row has all ``steps`` steps.
    """
    if value is None:
        return np.full(rows, steps, np.int64)
    found = unmasked(argument, value)
    if found.size == 0 and rows == 0:
        return np.zeros(0, np.int64)
    if found.dtype.kind not in "iu":
        raise kind_error(argument, f"integers of shape ({rows},)", found)
    if found.shape != (rows,):
        raise value_error(argument, f"integers of shape ({rows},), one per row", found)
    whole = found.astype(np.int64)
    outside = whole.view(np.uint64) > steps  # where negative ones, and what does not fit, are the largest
    if outside.any():
        bad = int(outside.argmax())
        raise value_error(argument, f"0 <= length <= {steps}", f"{found[bad]} in row {bad}")
    return whole


def product_fits(argument: str, *sizes: int, itemsize: int = 8) -> int:
    """Return the product of ``sizes``, or raise ValueError if that many items overflow the address space."""
    total = math.prod(map(int, sizes))
    if total * itemsize >= 2**47:
        raise value_error(argument, f"at most 2**47 bytes in all, shape {tuple(sizes)}", f"{total * itemsize} bytes")
    return total


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module, or raise an ImportError that names the extra which brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing(module, extra, error)


def missing(module: str, extra: str, error: ImportError) -> NoReturn:
    """Raise the ImportError for an optional module that is not installed."""
    raise ImportError(f'{module} is needed here and is not installed: pip install "fastseq-numba[{extra}]"') from error
