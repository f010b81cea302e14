"""Dropout, inside fused nodes and alone: two keys instead of a stored mask (see `fastseq.simd.noise`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastseq import checks
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor, record
from fastseq.simd.drop import drop


class Noise(NamedTuple):
    """The keys of one dropout, the hash below which an element is dropped, and what the others are multiplied by."""

    key_0: int
    key_1: int
    threshold: int
    share: float

    @property
    def numbers(self) -> np.ndarray:
        """The keys, the threshold and a 1, as kernels take them."""
        return np.array([self.key_0, self.key_1, self.threshold, 1], np.int64)


SILENT = np.zeros(4, np.int64)
"""What kernels take where there is no noise."""


def noise_of(p: float, generator: np.random.Generator) -> Noise | None:
    """Draw the keys of a dropout.

    Parameters
    ----------
    p
        The probability, in 0..1.
    generator
        Where the keys come from.

    Returns
    -------
    Noise or None
        None if p is 0: nothing is dropped, and nothing is drawn.
    """
    checks.real("p", p, 0.0, 1.0)
    if p == 0:
        return None
    key_0, key_1 = int(generator.integers(0, 2**32)), int(generator.integers(0, 2**32))  # sooner than two at once
    return Noise(key_0, key_1, min(round(p * 2**32), 2**32 - 1), 1 / (1 - p) if p < 1 else 0.0)


def numbers_of(noise: Noise | None) -> tuple[np.ndarray, float]:
    """Return what kernels take: the numbers, and the factor of what is not dropped.

    Parameters
    ----------
    noise
        What `noise_of` returned.
    """
    return (SILENT, 1.0) if noise is None else (noise.numbers, noise.share)


def under_noise(x: Any, noise: Noise | None) -> Tensor:
    """Return x with some elements times zero and the others scaled, as one node.

    Parameters
    ----------
    x
        Any shape.
    noise
        What `noise_of` returned.
    """
    numbers, factor = numbers_of(noise)
    return record(drop(array(x), numbers, factor), (x,), (lambda g: drop(g, numbers, factor),))
