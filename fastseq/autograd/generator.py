"""The random numbers of the package: one NumPy Generator, which all that is random draws from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from fastseq import checks


class Generator(np.random.Generator):
    """A source of random numbers of its own, with PyTorch's names; functions take it as ``generator=``.

    Parameters
    ----------
    device
        ``"cpu"``.
    """

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(np.random.PCG64())
        checks.is_device("device", device)

    def manual_seed(self, seed: int) -> Generator:
        """Restart from a seed; return the generator.

        Parameters
        ----------
        seed
            An integer >= 0.
        """
        self.bit_generator.state = np.random.PCG64(checks.integer("seed", seed, minimum=0)).state
        return self


_DEFAULT = np.random.default_rng()
_CURRENT: ContextVar[np.random.Generator | None] = ContextVar("fastseq_generator", default=None)


def generator() -> np.random.Generator:
    """Return the Generator that draws the package's random numbers here and now.

    Returns
    -------
    numpy.random.Generator
        The one set by ``use_generator`` in this context, else the one of the process.
    """
    return _CURRENT.get() or _DEFAULT


def manual_seed(seed: int) -> np.random.Generator:
    """Restart the package's random numbers from a seed.

    Parameters
    ----------
    seed
        An integer >= 0.

    Returns
    -------
    numpy.random.Generator
        The Generator, now restarted; the same object as before.

    Raises
    ------
    TypeError, ValueError
        If ``seed`` is no integer or negative.
    """
    fresh = np.random.default_rng(checks.integer("seed", seed, minimum=0))
    current = generator()
    current.bit_generator.state = fresh.bit_generator.state
    return current


@contextmanager
def use_generator(rng: np.random.Generator) -> Iterator[np.random.Generator]:
    """Draw the package's random numbers from ``rng`` inside a ``with`` block, in this thread only.

    Parameters
    ----------
    rng
        The Generator to draw from.

    Yields
    ------
    numpy.random.Generator
        The same Generator.
    """
    token = _CURRENT.set(rng)
    try:
        yield rng
    finally:
        _CURRENT.reset(token)
