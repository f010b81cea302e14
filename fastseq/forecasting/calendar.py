"""Hour and weekday as points on a circle, so that 23:00 is beside 00:00 and Sunday beside Monday."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastseq import checks

CALENDAR_NAMES = ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos")
"""Names of the columns of `calendar_features`."""

_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday, Monday being 0


def calendar_features(ds: NDArray[np.datetime64]) -> NDArray[np.float32]:
    """Return the hour of the day and the day of the week of each time as sine and cosine.

    Parameters
    ----------
    ds
        datetime64 (N,) of any unit.

    Returns
    -------
    ndarray
        float32 (N, 4), columns as in `CALENDAR_NAMES`. Fractions of an hour count; the weekday turns at midnight.

    Raises
    ------
    TypeError
        If ``ds`` is not a datetime64 array.
    """
    if not isinstance(ds, np.ndarray) or ds.dtype.kind != "M":
        raise checks.kind_error("ds", "a datetime64 array", ds)
    seconds = ds.astype("datetime64[s]").astype(np.int64)
    hour = 2 * np.pi / 86_400 * (seconds % 86_400)
    weekday = 2 * np.pi / 7 * ((seconds // 86_400 + _EPOCH_WEEKDAY) % 7)
    return np.stack([np.sin(hour), np.cos(hour), np.sin(weekday), np.cos(weekday)], axis=-1).astype(np.float32)
