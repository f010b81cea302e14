"""Steps of padded rows: picked out, put back, turned round within their rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor, make_node

Array = NDArray[Any]


def gather_tokens(x: Any, places: Array) -> Tensor:
    """Return chosen steps of padded rows, one after the other.

    Parameters
    ----------
    x
        (B, T, F)
    places
        Increasing numbers b * T + t (M,).

    Returns
    -------
    Tensor
        (M, F)
    """
    data = array(x)
    flat = data.reshape(math.prod(data.shape[:2]), data.shape[2])

    def back(grads: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        d_x = np.zeros(flat.shape, data.dtype)
        d_x[places] = grads[0]
        return (d_x.reshape(data.shape),)

    return make_node((x,), (flat[places],), back, saves=False, fresh=True)[0]


def scatter_tokens(x: Any, places: Array, batch: int, steps: int) -> Tensor:
    """Return padded rows (B, T, F) whose chosen steps are given and whose others are zeros; undoes `gather_tokens`.

    Parameters
    ----------
    x
        (M, F)
    places
        Increasing numbers b * T + t (M,).
    batch, steps
        B and T.

    Returns
    -------
    Tensor
        (B, T, F)
    """
    data = array(x)
    out = np.zeros((batch * steps, data.shape[1]), data.dtype)
    out[places] = data

    def back(grads: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        g: Any = grads[0]
        return (g.reshape(batch * steps, data.shape[1])[places],)

    return make_node((x,), (out.reshape(batch, steps, -1),), back, saves=False, fresh=True)[0]


def reverse_rows(x: Any, lengths: NDArray[np.int64]) -> Tensor:
    """Return padded rows whose valid steps come in the opposite order, zeros past lengths.

    Parameters
    ----------
    x
        (B, T, F)
    lengths
        Valid steps per row (B,).

    Returns
    -------
    Tensor
        (B, T, F)
    """
    data = array(x)
    batch, steps = data.shape[:2]
    past = np.arange(steps) >= lengths[:, None]
    source = np.where(past, 0, lengths[:, None] - 1 - np.arange(steps))
    rows = np.arange(batch)[:, None]

    def turned(values: Array) -> Array:
        out = values[rows, source]
        out[past] = 0
        return out

    return make_node((x,), (turned(data),), lambda grads: (turned(grads[0]),), saves=False, fresh=True)[0]  # type: ignore[arg-type]
