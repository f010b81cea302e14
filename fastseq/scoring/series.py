"""Whole series out of a stream of tables, whatever the layout they came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SeriesBlock:
    """Some whole series (S of them, N steps in all).

    Attributes
    ----------
    values
        Features of all series one after another (N, F).
    lengths
        Steps of each series, int64 (S,).
    ids
        Arrow array of S ids.
    first_rows
        Row number of each series' first row, from 0, int64 (S,): for messages.
    """

    values: NDArray[Any]
    lengths: NDArray[np.int64]
    ids: Any
    first_rows: NDArray[np.int64]
