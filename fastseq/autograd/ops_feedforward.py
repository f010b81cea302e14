"""Two dense layers with an activation and dropout between them, as one node of the tape."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import elementary
from fastseq.autograd.noise import Noise, numbers_of
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor, make_node
from fastseq.buffers import empty
from fastseq.simd.activate import ACTIVATIONS, RELU, activate, activate_back
from fastseq.simd.columns import sum_rows
from fastseq.simd.lanes import VECTOR_BYTES

Array = NDArray[Any]


def row_sums(g: Array) -> Array:
    """Return the sum of the rows of a matrix, each column added up with the rows ascending.

    Parameters
    ----------
    g
        (M, N), C-contiguous.

    Returns
    -------
    ndarray
        (N,)
    """
    sums = np.empty(g.shape[1], g.dtype)
    sum_rows.launch(4.0 * g.size, g.reshape(-1), sums, *g.shape, VECTOR_BYTES // g.itemsize)
    return sums


def project(x: Any, weight: Any, bias: Any) -> Tensor:
    """Return x @ weight.T + bias as one node whose gradients are all made by kernels.

    Parameters
    ----------
    x
        (M, I)
    weight
        (O, I)
    bias
        (O,) or None.

    Returns
    -------
    Tensor
        (M, O)
    """
    data, w = array(x), array(weight)
    wanted = isinstance(x, Tensor) and x.requires_grad

    def back(grads: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        g = np.ascontiguousarray(grads[0])
        d_x = elementary.product(g, w) if wanted else None
        return d_x, elementary.product(g.T, data), None if bias is None else row_sums(g)

    out = elementary.product(data, w.T, None if bias is None else array(bias))
    return make_node((x, weight, bias), (out,), back, fresh=True)[0]


def feed_forward(
    x: Any, weight_1: Any, bias_1: Any, weight_2: Any, bias_2: Any, activation: str, noise: Noise | None = None
) -> Tensor:
    """Return dropout(activation(x @ weight_1.T + bias_1)) @ weight_2.T + bias_2.

    Parameters
    ----------
    x
        (M, I)
    weight_1, bias_1
        (J, I) and (J,) or None.
    weight_2, bias_2
        (O, J) and (O,) or None.
    activation
        ``"relu"`` or ``"gelu"``.
    noise
        Dropout of the hidden units, or None.

    Returns
    -------
    Tensor
        (M, O)
    """
    kind = ACTIVATIONS.index(checks.choice("activation", activation, ACTIVATIONS))
    data, first, second = array(x), array(weight_1), array(weight_2)
    lanes = VECTOR_BYTES // data.itemsize
    numbers, factor = numbers_of(noise)
    before = elementary.product(data, first.T, None if bias_1 is None else array(bias_1))
    hidden = before if kind == RELU else empty(before.shape, before.dtype)
    work = 40.0 * before.size
    activate.launch(work, kind, before.reshape(-1), hidden.reshape(-1), numbers, factor, lanes)
    out = elementary.product(hidden, second.T, None if bias_2 is None else array(bias_2))

    def back(grads: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        g = np.ascontiguousarray(grads[0])
        d = elementary.product(g, second)
        activate_back.launch(work, kind, before.reshape(-1), d.reshape(-1), numbers, factor, lanes)
        return (
            elementary.product(d, first),
            elementary.product(d.T, data),
            None if bias_1 is None else row_sums(d),
            elementary.product(g.T, hidden),
            None if bias_2 is None else row_sums(g),
        )

    return make_node((x, weight_1, bias_1, weight_2, bias_2), (out,), back, fresh=True)[0]
