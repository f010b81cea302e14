"""The one error that scoring raises for bad input."""

from __future__ import annotations


class ScoringError(ValueError):
    """Input that cannot be scored; the message names file and line, what was expected and what was found."""
