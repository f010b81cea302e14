"""What hides keys from queries: PyTorch's masks in the form that attention takes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor


class Mask(NamedTuple):
    """What hides keys: numbers to add (or None), the keys of each row (or None), and whether it is causal."""

    added: NDArray[Any] | None
    lengths: NDArray[np.int64] | None
    causal: bool


def _hiding(name: str, mask: Any, dtype: np.dtype) -> NDArray[Any]:
    """Return a mask as numbers to add; of bools, True hides."""
    found = array(mask)
    if isinstance(mask, Tensor) and mask.requires_grad:
        raise checks.kind_error(name, "a constant (its gradient is not computed)", mask)
    if found.dtype.kind == "b":
        return np.where(found, dtype.type(-np.inf), dtype.type(0))
    if found.dtype.kind != "f":
        raise checks.kind_error(name, "bools (True hides) or floats to add", found)
    return found.astype(dtype, copy=False)


def mask_of(
    attn_mask: Any,
    key_padding_mask: Any,
    causal: bool,
    batch: int,
    heads: int,
    queries: int,
    keys: int,
    dtype: np.dtype,
    names: tuple[str, str] = ("attn_mask", "key_padding_mask"),
) -> Mask:
    """Return PyTorch's two masks in the form that attention takes.

    Parameters
    ----------
    attn_mask
        (queries, keys) or (B * heads, queries, keys): bools, of which True hides, or floats to add; or None.
    key_padding_mask
        (B, keys), likewise. Bools that hide the end of each row, and only it, become lengths.
    causal
        Whether query r sees keys 0..r only.
    batch, heads, queries, keys
        Sizes.
    dtype
        Of the numbers to add.
    names
        What messages call the two masks.

    Returns
    -------
    Mask

    Raises
    ------
    TypeError
        If a mask holds neither bools nor floats, or requires a gradient.
    ValueError
        If a shape does not fit.
    """
    added: NDArray[Any] | None = None
    lengths = None
    if attn_mask is not None:
        found = _hiding(names[0], attn_mask, dtype)
        if found.shape == (queries, keys):
            added = found[None, None]
            if queries == keys and np.array_equal(np.isneginf(found), ~np.tri(keys, dtype=bool)):
                rest = np.tril(added)
                causal, added = True, rest if rest.any() else None
        elif found.shape == (batch * heads, queries, keys):
            added = found.reshape(batch, heads, queries, keys)
        else:
            shapes = f"shape ({queries}, {keys}) or ({batch * heads}, {queries}, {keys})"
            raise checks.value_error(names[0], shapes, found)
    if key_padding_mask is not None:
        found = _hiding(names[1], key_padding_mask, dtype)
        if found.shape != (batch, keys):
            raise checks.value_error(names[1], f"shape ({batch}, {keys})", found)
        hidden = np.isneginf(found)
        count = keys - hidden.sum(axis=1)
        if np.array_equal(hidden, np.arange(keys) >= count[:, None]) and not found[~hidden].any():
            lengths = count.astype(np.int64)
        else:
            found = found[:, None, None]
            added = found if added is None else added + found
    return Mask(added, lengths, causal)


def lone_mask(name: str, mask: Any, keys: int) -> Any:
    """Return the key padding mask (S,) of a row that has no axis for rows as one of a batch (1, S), or None.

    Parameters
    ----------
    name
        What messages call it.
    mask
        Array or Tensor, or None.
    keys
        S.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    if mask is None:
        return None
    found = array(mask)
    if found.shape != (keys,):
        raise checks.value_error(name, f"shape ({keys},), since there is one row", found)
    return ops.reshape(mask, (1, keys))
