"""What flows between layers: a tensor, with the mask of its steps and, behind a softmax or sigmoid, the logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor

Mask = NDArray[np.bool_]


class Flow(Tensor):
    """A layer's output: the same array and place on the tape as the tensor that the layer computed.

    Attributes
    ----------
    mask : ndarray or None
        Which steps count, bools (B, T), for the layers that come next.
    logits : Tensor or None
        What the softmax or sigmoid that made this tensor was given, for losses that want it.
    """

    __slots__ = ("mask", "logits")

    mask: Mask | None
    logits: Tensor | None


def flow(tensor: Any, mask: Mask | None = None, logits: Tensor | None = None) -> Flow:
    """Return a tensor with a mask and logits attached; the tensor given stays as it is.

    Parameters
    ----------
    tensor
        A Tensor, or an array.
    mask
        Bools (B, T) or None.
    logits
        A Tensor of the same shape, or None.

    Returns
    -------
    Flow
    """
    found = tensor if isinstance(tensor, Tensor) else Tensor(tensor)
    if found._node is None and found.requires_grad:
        found = ops.clone(found)  # a leaf collects its gradient itself: a second one in its place would take it away
    out = Flow.__new__(Flow)
    for name in Tensor.__slots__:
        if name != "__weakref__":
            setattr(out, name, getattr(found, name))
    out.mask, out.logits = mask, logits
    return out


def mask_of(x: Any) -> Any:
    """Return the mask that a value brings with it; for a list one per item; None if there is none.

    Parameters
    ----------
    x
        A value that a layer is given.
    """
    if isinstance(x, (list, tuple)):
        found = [mask_of(item) for item in x]
        return found if any(mask is not None for mask in found) else None
    return getattr(x, "mask", None) if isinstance(x, Flow) else None


def as_mask(argument: str, value: Any, rows: int, steps: int) -> Mask | None:
    """Return a mask as bools (B, T), or None if there is none.

    Parameters
    ----------
    argument
        The name to use in messages.
    value
        Bools (or zeros and ones) (B, T) or (B, T, 1), or None.
    rows, steps
        B and T.

    Raises
    ------
    ValueError
        If the shape differs.
    """
    if value is None:
        return None
    found = value._data if isinstance(value, Tensor) else np.asarray(value)
    if found.dtype.kind not in "biuf":
        raise checks.kind_error(argument, f"bools of shape ({rows}, {steps})", found)
    if found.shape == (rows, steps, 1):
        found = found[:, :, 0]
    if found.shape != (rows, steps):
        raise checks.value_error(argument, f"bools of shape ({rows}, {steps})", found)
    return found.astype(bool)


def nested(x: Any, function: Callable[[Any], Any]) -> Any:
    """Return ``function(item)`` for every item of nested lists, tuples and dicts, in the same structure.

    Parameters
    ----------
    x
        Items.
    function
        What to apply.
    """
    if isinstance(x, (list, tuple)):
        return type(x)([nested(item, function) for item in x])
    if isinstance(x, dict):
        return {name: nested(item, function) for name, item in x.items()}
    return function(x)


def flat(x: Any) -> list[Any]:
    """Return the items of nested lists, tuples and dicts in order.

    Parameters
    ----------
    x
        Items.
    """
    if isinstance(x, (list, tuple)):
        return [leaf for item in x for leaf in flat(item)]
    if isinstance(x, dict):
        return [leaf for item in x.values() for leaf in flat(item)]
    return [x]


def in_order(x: Any) -> Any:
    """Return nested lists, tuples and dicts with the dicts' names sorted, the order in which Keras goes through them.

    Parameters
    ----------
    x
        Items.
    """
    if isinstance(x, (list, tuple)):
        return type(x)([in_order(item) for item in x])
    return {name: in_order(x[name]) for name in sorted(x)} if isinstance(x, dict) else x


class ValidSteps(NamedTuple):
    """A mask as fastseq's layers want it: lengths, and where the steps that count stand if there are gaps."""

    mask: Mask  #: (B, T)
    lengths: NDArray[np.int64]  #: how many steps of each row count (B,)
    order: NDArray[np.int64] | None  #: the steps that count, then the others (B, T); None if they stand so already

    @classmethod
    def of(cls, mask: Mask | None) -> ValidSteps | None:
        """Return what a mask says; None if there is none or all steps count.

        Parameters
        ----------
        mask
            Bools (B, T) or None.
        """
        if mask is None or mask.all():
            return None
        lengths = mask.sum(axis=1).astype(np.int64)
        right_padded = bool((mask == (np.arange(mask.shape[1]) < lengths[:, None])).all())
        return cls(mask, lengths, None if right_padded else np.argsort(~mask, axis=1, kind="stable"))

    def closed_up(self, x: Tensor) -> Tensor:
        """Return rows whose steps that count follow one another from the first step on.

        Parameters
        ----------
        x
            (B, T, F)
        """
        if self.order is None:
            return x
        return ops.getitem(x, (np.arange(len(self.mask))[:, None], self.order))

    def spread_out(self, x: Tensor, hold: bool) -> Tensor:
        """Return outputs of closed-up rows at the steps they belong to.

        Parameters
        ----------
        x
            (B, T, F), zeros past ``lengths``.
        hold
            Whether a step that does not count repeats the output before it (zeros before the first), or gives zeros.
        """
        if self.order is None and not hold:
            return x
        count = np.cumsum(self.mask, axis=1)
        found = ops.getitem(x, (np.arange(len(self.mask))[:, None], np.maximum(count - 1, 0)))
        shown = count > 0 if hold else self.mask
        return ops.where(shown[:, :, None], found, x._data.dtype.type(0))
