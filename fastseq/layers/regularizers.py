"""Keras's regularisers: penalties on weights that are added to the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor


class L1L2:
    """The penalty l1 * sum |w| + l2 * sum w**2.

    Parameters
    ----------
    l1, l2
        The factors, >= 0.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = checks.real("l1", l1, 0.0)
        self.l2 = checks.real("l2", l2, 0.0)

    def __call__(self, x: Any) -> Tensor:
        """Return the penalty."""
        total = ops.sum(ops.square(x)) * self.l2 if self.l2 else None
        if self.l1 or total is None:
            first = ops.sum(ops.abs(x)) * self.l1
            total = first if total is None else total + first
        return total

    def get_config(self) -> dict[str, Any]:
        """Return the factors."""
        return {"l1": self.l1, "l2": self.l2}


class L1(L1L2):
    """The penalty l1 * sum |w|.

    Parameters
    ----------
    l1
        The factor, >= 0.
    """

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)


class L2(L1L2):
    """The penalty l2 * sum w**2.

    Parameters
    ----------
    l2
        The factor, >= 0.
    """

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)


l1, l2, l1_l2 = L1, L2, L1L2  # Keras has both spellings

_NAMES: dict[str, Callable[[], L1L2]] = {
    "l1": L1,
    "L1": L1,
    "l2": L2,
    "L2": L2,
    "l1_l2": lambda: L1L2(0.01, 0.01),
    "L1L2": L1L2,
}


def get(argument: str, given: Any) -> Any:
    """Return a regulariser by name, from its configuration, or as it is.

    Parameters
    ----------
    argument
        The name to use in messages.
    given
        None, ``"l1"``, ``"l2"``, ``"l1_l2"``, what ``describe`` returned, or a function of a Tensor.
    """
    if given is None:
        return None
    if isinstance(given, dict):
        if set(given) != {"l1", "l2"}:
            raise checks.kind_error(argument, "the factors l1 and l2", given)
        return L1L2(**given)
    if isinstance(given, str):
        return _NAMES[checks.choice(argument, given, _NAMES)]()
    if not callable(given):
        raise checks.kind_error(argument, "None, 'l1', 'l2', 'l1_l2' or a function of a Tensor", given)
    return given


def describe(regularizer: Any) -> Any:
    """Return a regulariser as JSON values; a function of the user's is returned as it is.

    Parameters
    ----------
    regularizer
        From ``get``.
    """
    return regularizer.get_config() if isinstance(regularizer, L1L2) else regularizer
