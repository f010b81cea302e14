"""One observation at a time, without allocation: a single stream, or very many of one model."""

from __future__ import annotations

from fastseq.streaming.pool import StreamPool
from fastseq.streaming.stream import Stream

__all__ = ["Stream", "StreamPool"]
