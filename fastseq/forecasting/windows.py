"""Histories and what followed them, cut out of a long series."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fastseq import checks


class Windows(NamedTuple):
    """Pairs of history and future (W of them; T steps of history, K steps ahead).

    Attributes
    ----------
    inputs
        Histories (W, T, F).
    targets
        What followed: (W, K), or per step of the history (W, T, K).
    origins
        Row of the series at which each forecast begins, int64 (W,): the first that its history does not hold.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    origins: NDArray[np.int64]


def windows(
    series: NDArray[Any],
    history: int,
    horizon: int,
    stride: int = 1,
    *,
    target: NDArray[Any] | None = None,
    per_step: bool = False,
) -> Windows:
    """Cut a series into histories and the values that followed them.

    Parameters
    ----------
    series
        Observations in order of time, (N,) or (N, F).
    history
        Steps of each history, T.
    horizon
        Steps to forecast, K.
    stride
        Steps from one window to the next. The last window ends with the series.
    target
        What to forecast (N,); None takes the series itself, its first column if it has several.
    per_step
        Give the K values that follow every step of the history, not only its last.

    Returns
    -------
    Windows
        Read-only views of the input where the stride allows it: nothing is copied.

    Raises
    ------
    ValueError
        If the series is too short for one window, or ``target`` has another length.
    """
    if not isinstance(series, np.ndarray) or series.ndim not in (1, 2):
        raise checks.value_error("series", "an array of shape (N,) or (N, F)", series)
    features = series[:, None] if series.ndim == 1 else series
    goal = features[:, 0] if target is None else target
    if not isinstance(goal, np.ndarray) or goal.shape != (len(features),):
        raise checks.value_error("target", f"an array of shape ({len(features)},)", goal)
    history = checks.integer("history", history, 1)
    horizon = checks.integer("horizon", horizon, 1)
    stride = checks.integer("stride", stride, 1)
    count = len(features) - history - horizon
    if count < 0:
        raise checks.value_error("series", f"at least history + horizon = {history + horizon} rows", len(features))
    starts = np.arange(count % stride, count + 1, stride)
    inputs = sliding_window_view(features, history, axis=0).transpose(0, 2, 1)[starts[0] :: stride][: len(starts)]
    ahead = sliding_window_view(goal, horizon)[1:]  # row t: what follows step t
    if per_step:
        targets = sliding_window_view(ahead, history, axis=0).transpose(0, 2, 1)[starts[0] :: stride]
    else:
        targets = ahead[history - 1 :][starts[0] :: stride]
    return Windows(inputs, targets, starts + history)
