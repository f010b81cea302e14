"""What becomes of values that are not Tensors yet."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks

_DTYPES = "float32, float64, integers or bool"


def as_array(argument: str, value: Any, dtype: Any = None) -> NDArray[Any]:
    """Return ``value`` as an ndarray of a supported dtype, by the rules of the Tensor constructor.

    Parameters
    ----------
    argument
        The name to use in messages.
    value
        An ndarray, NumPy scalar, Python number, nested sequence, or anything ``np.asarray`` takes.
    dtype
        The dtype wanted; None keeps that of arrays and picks float32, int64 or bool for Python numbers.

    Returns
    -------
    ndarray
        Shares memory with ``value`` wherever no conversion is needed; an array that begins at an address which does
        not suit its elements (a view of raw bytes, say) is copied.

    Raises
    ------
    TypeError
        If the dtype is not supported, or ``value`` is a masked array.
    """
    array = checks.unmasked(argument, value)
    if not isinstance(value, (np.ndarray, np.generic)):
        if array.dtype == np.float64 and not hasattr(value, "__array__"):
            array = array.astype(np.float32)
        if array.size == 0 and isinstance(value, (list, tuple)):
            array = array.astype(np.float32)
    kind = array.dtype
    if not (kind.kind in "iub" or kind in checks.FLOATS) or not kind.isnative:
        raise checks.kind_error(argument, f"an array of {_DTYPES} in native byte order", array)
    if dtype is not None:
        wanted = np.dtype(dtype)
        if not (wanted.kind in "iub" or wanted in checks.FLOATS):
            raise TypeError(f"dtype: expected {_DTYPES}, got {wanted}")
        array = array.astype(wanted, copy=False)
    return array if array.flags.aligned else array.copy()  # compiled code takes no others
