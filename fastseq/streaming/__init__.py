"""One observation at a time, without allocation."""

from __future__ import annotations

from fastseq.streaming.stream import Stream

__all__ = ["Stream"]
