"""What every test gets: a fixed hypothesis profile, a seeded generator, and the thread count put back.

Beside other workers (``pytest -n``) a test has one thread, unless it asks for ``threads``.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# The first example of a test may compile a kernel, so no deadline can tell a slow example from a cold cache.
settings.register_profile(
    "default", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=300)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config: pytest.Config) -> None:
    """Leave the other cores to the other workers."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        import fastseq as fs

        fs.set_num_threads(1)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator whose seed is the test's own name: tests do not shift one another's numbers."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture
def threads() -> Iterator[None]:
    """All threads there are; the count is put back to what it was before the test."""
    import fastseq as fs

    before = fs.get_num_threads()
    fs.set_num_threads(int(numba.config.NUMBA_NUM_THREADS))
    yield
    fs.set_num_threads(before)
