"""PyTorch's name of the place where ``data`` is."""

from __future__ import annotations

from typing import Any

from fastseq.utils import data

__all__ = ["data"]

#: Where to look for what Keras has here.
_ELSEWHERE = dict.fromkeys(("pad_sequences", "to_categorical"), ": it is in fastseq.models.preprocessing")


def __getattr__(name: str) -> Any:
    """Say where a name is that is not here."""
    raise AttributeError(f"module 'fastseq.utils' has no attribute {name!r}{_ELSEWHERE.get(name, '')}")
