"""Any number of shards on any machine: how a batch is cut is decided by the thread count, before anything runs."""

from __future__ import annotations

import pytest

from fastseq.jit.threads import threads


@pytest.fixture(autouse=True)
def in_order(monkeypatch) -> None:
    """Run the shards one after another: there may be more of them than the machine has threads."""
    monkeypatch.setattr(threads, "forked", True)


@pytest.fixture
def shards(monkeypatch):
    """Pretend to have any number of threads."""
    return lambda count: monkeypatch.setattr(threads, "count", count)
