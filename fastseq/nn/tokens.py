"""Padded rows without their padding: the valid steps of all rows, one after the other.

Layers that treat each step by itself, and attention, run over tokens (M, F) and cost what the rows are long; what
stands past a row's length is never read, so that NaN there reaches neither a result nor a gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.ops_attention import Rows, full_rows, packed_rows
from fastseq.autograd.ops_tokens import gather_tokens, scatter_tokens
from fastseq.autograd.tensor import Tensor


class Tokens(NamedTuple):
    """Tokens (M, F), which row each belongs to, and how to bring results back to padded rows (B, T, ...)."""

    values: Tensor
    rows: Rows
    batch: int
    steps: int
    places: NDArray[np.intp] | None

    def padded(self, values: Tensor) -> Tensor:
        """Return results (M, G) as padded rows (B, T, G), zeros past lengths.

        Parameters
        ----------
        values
            One row per token.
        """
        if self.places is None:
            return ops.reshape(values, (self.batch, self.steps, values.shape[-1]))
        return scatter_tokens(values, self.places, self.batch, self.steps)


def as_tensor(name: str, x: Any, features: int, dtype: Any) -> Tensor:
    """Return padded rows in the dtype of a layer's weights, or raise ValueError unless they are (B, T, features).

    Parameters
    ----------
    name
        The argument's name.
    x
        Array or Tensor.
    features
        F.
    dtype
        float32 or float64.
    """
    data = array(x, name)
    if data.ndim != 3 or data.shape[2] != features:
        raise checks.value_error(name, f"shape (B, T, {features})", data)
    if data.dtype.kind not in "fiu":
        raise checks.kind_error(name, f"numbers of shape (B, T, {features})", data)
    if data.dtype != dtype:
        return ops.cast(x, dtype)
    return x if isinstance(x, Tensor) else Tensor(data)


def batched(name: str, x: Any, features: int, dtype: Any, batch_first: bool = True) -> tuple[Tensor, bool]:
    """Return padded rows (B, T, features) in the dtype of a layer's weights, and whether x was one row (T, features).

    Parameters
    ----------
    name
        The argument's name.
    x
        Array or Tensor (B, T, features), (T, B, features) unless ``batch_first``, or (T, features).
    features
        F.
    dtype
        float32 or float64.
    batch_first
        Whether rows come before steps.

    Raises
    ------
    TypeError, ValueError
        If x holds no numbers, or has another shape.
    """
    data = array(x, name)
    if data.ndim not in (2, 3) or data.shape[-1] != features:
        shape = f"({'B, T' if batch_first else 'T, B'}, {features}) or (T, {features})"
        raise checks.value_error(name, f"shape {shape}", data)
    alone = data.ndim == 2
    if alone:
        x = ops.reshape(x, (1, *data.shape))
    elif not batch_first:
        x = ops.transpose(x, 0, 1)
    return as_tensor(name, x, features, dtype), alone


def as_given(out: Tensor, alone: bool, batch_first: bool = True) -> Tensor:
    """Return outputs (B, T, ...) with the axes that the caller's array had: the way back from `batched`.

    Parameters
    ----------
    out
        The outputs.
    alone
        Whether there was one row without an axis for rows.
    batch_first
        Whether rows came before steps.
    """
    if alone:
        return ops.reshape(out, out.shape[1:])
    return out if batch_first else ops.transpose(out, 0, 1)


def lone_length(lengths: Any) -> Any:
    """Return the length of a row that has no axis for rows, a number or an array (1,), as row lengths (1,), or None.

    Parameters
    ----------
    lengths
        The length, or None.
    """
    if lengths is None:
        return None
    found = checks.unmasked("lengths", lengths)
    return found.reshape(1) if found.ndim == 0 else found


def row_lengths(name: str, lengths: Any, batch: int, steps: int) -> NDArray[np.int64] | None:
    """Return row lengths, or None where all rows are full.

    Parameters
    ----------
    name
        The argument's name.
    lengths
        Integers in 0..T (B,), or None.
    batch, steps
        B and T.
    """
    if lengths is None:
        return None
    valid = checks.lengths(name, lengths, batch, steps)
    return None if (valid == steps).all() else valid


def tokens_of(x: Tensor, lengths: NDArray[np.int64] | None) -> Tokens:
    """Return the valid steps of padded rows.

    Parameters
    ----------
    x
        (B, T, F)
    lengths
        What `row_lengths` returned.
    """
    batch, steps, features = x.shape
    if lengths is None:
        values = ops.reshape(x, (batch * steps, features))
        return Tokens(values, full_rows(batch, steps), batch, steps, None)
    places = np.flatnonzero(np.arange(steps) < lengths[:, None])
    return Tokens(gather_tokens(x, places), packed_rows(lengths, steps), batch, steps, places)
