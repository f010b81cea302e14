"""GaussianNoise and GaussianDropout: normal noise in training."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers.basic import seeded
from fastseq.layers.same_shape import SameShape
from fastseq.nn import init


class GaussianNoise(SameShape):
    """In training, add normal numbers of mean 0.

    Parameters
    ----------
    stddev
        Their standard deviation, in 0..1.
    seed
        Gives the layer random numbers of its own; None draws from the package's generator.
    **options
        See `Layer`.
    """

    arguments: ClassVar[tuple[str, ...]] = ("stddev", "seed")

    def __init__(self, stddev: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.stddev = checks.real("stddev", stddev, 0.0, 1.0)
        self.seed = seeded(self, seed)

    def call(self, inputs: Any) -> Tensor:
        """Return the inputs, with noise in training."""
        if not self.training or not self.stddev:
            return inputs  # type: ignore[no-any-return]
        noise = init.generator().standard_normal(inputs.shape, self.dtype)
        return ops.add(inputs, noise * self.dtype.type(self.stddev))


class GaussianDropout(SameShape):
    """In training, multiply by normal numbers of mean 1 and variance rate / (1 - rate).

    Parameters
    ----------
    rate
        As dropout's, in 0..1 without 1.
    seed
        Gives the layer random numbers of its own; None draws from the package's generator.
    **options
        See `Layer`.
    """

    arguments: ClassVar[tuple[str, ...]] = ("rate", "seed")

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.rate = checks.real("rate", rate, 0.0, 1.0, open_maximum=True)
        self.seed = seeded(self, seed)

    def call(self, inputs: Any) -> Tensor:
        """Return the inputs, with noise in training."""
        if not self.training or not self.rate:
            return inputs  # type: ignore[no-any-return]
        noise = init.generator().standard_normal(inputs.shape, self.dtype)
        return ops.mul(inputs, 1 + noise * self.dtype.type(math.sqrt(self.rate / (1.0 - self.rate))))
