"""Dropout by hashing: the hash itself against plain integers, shares, keys, and where it must not matter."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.autograd.noise import Noise, noise_of
from fastseq.autograd.ops_norm import sum_and_norm
from fastseq.nn.init import generator
from fastseq.simd.noise import LAST_SHIFTS, ROUNDS, SPACING


def dropped(noise: Noise, count: int) -> np.ndarray:
    """Which elements are dropped, by the rules in plain Python."""
    mask = 2**32 - 1
    found = []
    for number in range(count):
        h = (number * SPACING + noise.key_0) & mask
        for stage, rounds in enumerate(ROUNDS):
            h ^= noise.key_1 * stage
            for shift, factor in rounds:
                h = (h ^ h >> shift) * factor & mask
            h ^= h >> LAST_SHIFTS[stage]
        found.append(h < noise.threshold)
    return np.array(found)


def thin(noise: Noise, shape: tuple[int, ...], dtype=np.float32) -> np.ndarray:
    """Ones after dropout."""
    return sum_and_norm(np.zeros(shape, dtype), np.ones(shape, dtype), None, None, noise=noise, norm=False)[0].numpy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 7, 16, 33])
def test_the_hash_is_the_one_described(width, dtype):
    noise = Noise(2**32 - 5, 123456789, round(0.4 * 2**32), 1 / 0.6)
    got = thin(noise, (70, width), dtype)
    np.testing.assert_array_equal(got.reshape(-1) == 0, dropped(noise, 70 * width))
    np.testing.assert_allclose(got[got != 0], 1 / 0.6, rtol=1e-6)


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_the_share_that_is_dropped(p):
    noise = noise_of(p, np.random.default_rng(1))
    gone = thin(noise, (1000, 100)) == 0
    assert abs(gone.mean() - p) < 5 * np.sqrt(p * (1 - p) / gone.size)
    assert np.abs(gone.mean(axis=0) - p).max() < 5 * np.sqrt(p * (1 - p) / 1000)
    for one, other in ((gone[:, 1:], gone[:, :-1]), (gone[1:], gone[:-1])):  # neighbours know nothing of each other
        assert abs((one & other).mean() - p * p) < 5 * p / np.sqrt(gone.size) + 1e-3


def test_other_keys_drop_others():
    random = np.random.default_rng(2)
    several = [thin(noise_of(0.5, random), (100, 100)).reshape(-1) == 0 for _ in range(6)]
    for i, one in enumerate(several):
        for other in several[:i]:
            assert abs((one ^ other).mean() - 0.5) < 0.03


def test_seeds_repeat_and_nothing_is_drawn_for_nothing():
    assert noise_of(0.3, np.random.default_rng(5)) == noise_of(0.3, np.random.default_rng(5))
    before = generator().bit_generator.state
    assert noise_of(0.0, generator()) is None
    assert generator().bit_generator.state == before
    assert not thin(noise_of(1.0, np.random.default_rng(0)), (5, 5)).any()
