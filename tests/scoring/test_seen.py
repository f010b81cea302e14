"""The set of ids seen."""

from __future__ import annotations

import numpy as np

from fastseq.scoring.seen import SeenIds


def test_it_is_a_set_across_merges():
    rng = np.random.default_rng(0)
    ids = rng.permutation(5000).tolist()
    seen = SeenIds(recent_size=64)
    for start in range(0, 5000, 37):
        assert seen.add(ids[start : start + 37]) == -1
    assert len(seen) == 5000
    for value in (ids[0], ids[2500], ids[4999]):
        assert seen.add([10_000 + value, value]) == 1
    assert seen.add([-1, -2, -1]) == 2


def test_eight_bytes_per_id():
    seen = SeenIds(recent_size=1 << 10)
    for start in range(0, 1 << 17, 1 << 10):
        seen.add(range(start, start + (1 << 10)))
    assert sum(level.nbytes for level in seen._levels) == 8 << 17
    assert len(seen._levels) <= 8
