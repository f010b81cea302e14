"""Here kernels run serially: a parallel twin of the test-only cell would cost seconds to compile and show nothing.

How a batch is cut into shards is decided before, by the thread count; tests of the LSTM run both twins.
"""

from __future__ import annotations

import pytest

from fastseq import jit


@pytest.fixture(autouse=True)
def serial(monkeypatch) -> None:
    monkeypatch.setattr(jit._threads, "forked", True)


@pytest.fixture
def shards(monkeypatch):
    """Pretend to have any number of threads."""
    return lambda count: monkeypatch.setattr(jit._threads, "count", count)
