"""Where a pass's batches come from: arrays, a generator of batches, or an object that gives them anew in each epoch."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from fastseq import checks
from fastseq.models.arrays import Arrays, Batch
from fastseq.nn import init

#: Makes a batch of what a source gives: (x,), (x, y) or (x, y, sample_weight).
Taking = Callable[..., Batch]


def is_array(x: Any) -> bool:
    """Return whether data are arrays, or lists and dicts of them, and no source of batches.

    Parameters
    ----------
    x
        What ``fit`` was given as x.
    """
    if x is None or isinstance(x, (list, tuple, dict, str, int, float)) or hasattr(x, "__array__"):
        return True
    return not (hasattr(x, "__iter__") or (hasattr(x, "__getitem__") and hasattr(x, "__len__")))


class Feed:
    """Gives each pass its batches.

    Parameters
    ----------
    fresh
        Begins to give batches from the first on.
    steps
        How many batches make a pass; None for all there are.
    count
        How many batches there are, if that is known.
    rows
        How many rows there are, if that is known.
    """

    def __init__(
        self, fresh: Callable[[], Iterator[Batch]], steps: int | None, count: int | None = None, rows: int = 0
    ) -> None:
        self._fresh = fresh
        self.steps = steps
        self.count = count if steps is None else steps
        self.rows = rows
        self._running: Iterator[Batch] | None = None

    @classmethod
    def of_arrays(cls, data: Arrays, batch_size: int, steps: int | None = None, shuffle: bool = False) -> Feed:
        """Return what goes through arrays, again and again where ``steps`` say so.

        Parameters
        ----------
        data
            The data.
        batch_size
            Rows in each but the last.
        steps
            See the class.
        shuffle
            Whether rows come in another order each time.
        """

        def fresh() -> Iterator[Batch]:
            order = init.generator().permutation(len(data)) if shuffle else None
            return data.batches(batch_size, order)

        return cls(fresh, steps, -(-len(data) // batch_size), len(data))

    @classmethod
    def of_source(
        cls, argument: str, source: Any, steps: int | None, shuffle: bool, take: Taking, with_targets: bool = True
    ) -> Feed:
        """Return what takes batches from an object of the user's.

        Parameters
        ----------
        argument
            The name to use in messages.
        source
            A generator of batches (x, y) or (x, y, sample_weight); something that can be gone through anew, such as
            a ``tf.data.Dataset`` or a ``DataLoader``; or something with a length and batches by number, such as
            ``keras.utils.PyDataset``, whose ``on_epoch_end`` is called.
        steps
            See the class.
        shuffle
            Whether batches by number come in another order each time.
        take
            Makes a batch of what the source gives.
        with_targets
            Whether batches have targets; else they may be inputs alone.
        """

        def batch_of(item: Any) -> Batch:
            if not with_targets and not isinstance(item, tuple):
                return take(item)
            if not isinstance(item, (tuple, list)) or not 1 <= len(item) <= 3:
                raise checks.kind_error(argument, "batches (x, y) or (x, y, sample_weight)", item)
            return take(*item)

        if hasattr(source, "__next__"):
            first = [batch_of(item) for item in itertools.islice(source, 1)]  # builds the model
            running = itertools.chain(first, map(batch_of, source))
            return cls(lambda: running, steps)
        if not (hasattr(source, "__getitem__") and hasattr(source, "__len__")):
            return cls(lambda: map(batch_of, source), steps)
        number = int(getattr(source, "num_batches", None) or len(source))

        def by_number() -> Iterator[Batch]:
            for k in init.generator().permutation(number) if shuffle else range(number):
                yield batch_of(source[int(k)])
            if hasattr(source, "on_epoch_end"):
                source.on_epoch_end()

        return cls(by_number, steps, number)

    def batches(self) -> Iterator[Batch]:
        """Yield a pass's batches."""
        if self.steps is None:
            found = 0
            for batch in self._fresh():
                found += 1
                yield batch
            if not found:
                self._say("none")
            return
        for done in range(self.steps):
            following = None if self._running is None else next(self._running, None)
            if following is None:
                self._running = self._fresh()
                following = next(self._running, None)
            if following is None:
                self._say(f"{done}")
                return
            yield following

    def first(self) -> Batch | None:
        """Return the first batch of something that can be gone through anew, to build a model by; None if empty."""
        return next(iter(self._fresh()), None)

    def _say(self, found: str) -> None:
        wanted = "batches" if self.steps is None else f"{self.steps} batches"
        warnings.warn(f"ran out of data: expected {wanted} in a pass, got {found}", UserWarning, stacklevel=4)


def steps_of(argument: str, value: Any) -> int | None:
    """Return a number of batches, or None.

    Parameters
    ----------
    argument
        The name to use in messages.
    value
        What was given.
    """
    return None if value is None else checks.integer(argument, value, 1)
