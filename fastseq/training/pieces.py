"""What goes through the model at once: a batch of rows, or one window of steps of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq.training.objective import lengths_for_loss
from fastseq.training.rows import Rows, Targets

Array = NDArray[Any]
Numbers = NDArray[np.int64]


class Piece(NamedTuple):
    """Some rows over some steps, b by t."""

    data: Array  #: (b, t, F)
    given: Numbers | None  #: lengths for the model; None where it need not know
    target: Array  #: (b, ...) or (b, t, ...)
    masked: Numbers | None  #: lengths for the loss; None where every entry of the target counts
    counted: Numbers | None  #: lengths by which targets per step are counted; None where rows are
    begins: bool = True  #: whether it starts with the rows' first step
    ends: bool = True  #: whether it is the last of its rows
    ignored: int | None = None  #: the class whose targets the loss leaves out, if there is one

    @property
    def weight(self) -> int:
        """How many predictions the piece's mean loss is a mean of."""
        if self.ignored is not None and self.target.dtype.kind in "iu":
            kept = self.target != self.ignored
            if self.counted is not None:
                kept = kept[np.arange(kept.shape[1]) < self.counted[:, None]]
            return int(np.count_nonzero(kept))
        return len(self.target) if self.counted is None else int(self.counted.sum())


def pieces(
    rows: Rows, targets: Targets, batches: Iterable[Numbers], window: int | None = None, ignored: int | None = None
) -> Iterator[Piece]:
    """Yield batches of data and targets, cut in windows of steps if so wished.

    Parameters
    ----------
    rows
        The sequences.
    targets
        What belongs to them; one per step, if there are windows.
    batches
        Row numbers.
    window
        K, steps at a time: the pieces of one batch follow each other, rows keep their places. None for whole batches.
    ignored
        The class whose targets the loss leaves out, if there is one.
    """
    for batch in batches:
        data, lengths = rows.take(batch)
        target = targets.take(batch, data.shape[1])
        if window is None:
            masked = lengths_for_loss(targets, rows, lengths)
            yield Piece(data, lengths if rows.ragged else None, target, masked, masked, ignored=ignored)
            continue
        steps = data.shape[1]
        for start in range(0, steps, window):
            stop = min(start + window, steps)
            left = np.clip(lengths - start, 0, stop - start)
            unequal = left if (left != stop - start).any() else None
            part = np.ascontiguousarray(data[:, start:stop])
            yield Piece(part, unequal, target[:, start:stop], unequal, left, start == 0, stop == steps, ignored)


def groups(found: Iterable[Piece], size: int) -> Iterator[list[Piece]]:
    """Yield lists of pieces, ``size`` in each but the last.

    Parameters
    ----------
    found
        The pieces.
    size
        How many make a step of the optimiser.
    """
    source = iter(found)
    while group := list(islice(source, size)):
        yield group


def shares(group: list[Piece]) -> list[float]:
    """Return by what each piece's mean loss is multiplied, so that the sum is the mean over all their predictions.

    Parameters
    ----------
    group
        The pieces of one step of the optimiser.

    Returns
    -------
    list of float
        Their sum is 1. A piece on its own counts whole, even if there is nothing in it.
    """
    weights = [piece.weight for piece in group]
    total = sum(weights)
    return [weight / total if total else 1.0 / len(group) for weight in weights]
