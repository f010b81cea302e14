"""Names of layers: Keras's, counted per kind."""

from __future__ import annotations

import re
from collections import Counter

from fastseq import checks

_counts: Counter[str] = Counter()


def name_for(kind: str, given: str | None) -> str:
    """Return a layer's name: the one given, or one made of its class's name, as Keras makes them.

    Parameters
    ----------
    kind
        The class's name: ``"LSTM"`` gives lstm, then lstm_1, ...
    given
        The user's name, or None.
    """
    if given is not None:
        if not isinstance(given, str):
            raise checks.kind_error("name", "a string", given)
        if not given or "." in given or "/" in given:
            raise checks.value_error("name", "a non-empty name without dots and slashes", given)
        return given
    base = re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
    number = _counts[base]
    _counts[base] += 1
    return f"{base}_{number}" if number else base


def clear_session() -> None:
    """Begin to count names anew, as ``keras.utils.clear_session`` does."""
    _counts.clear()
