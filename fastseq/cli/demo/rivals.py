"""What the LSTM must beat: yesterday, last week, and ridge regression on the week before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastseq.checks import require
from fastseq.cli.demo.meter import DAY, HORIZON, WEEK, Meter
from fastseq.forecasting import windows


def same_hour_before(power: NDArray[np.float32], origins: NDArray[np.int64], lag: int) -> NDArray[np.float32]:
    """Forecast each hour by its value some hours earlier.

    Parameters
    ----------
    power
        The series (N,).
    origins
        First hour of each forecast (W,).
    lag
        Hours to go back, at least the horizon.
    """
    return power[origins[:, None] - lag + np.arange(HORIZON)]


def ridge_forecasts(meter: Meter, origins: NDArray[np.int64]) -> NDArray[np.float32]:
    """Forecast 24 hours by ridge regression on the 168 before, fitted on every window before the hold-out.

    Parameters
    ----------
    meter
        The series.
    origins
        First hour of each forecast (W,).
    """
    linear_model = require("sklearn.linear_model", "demo")
    past = windows(meter.power[: meter.holdout_start], WEEK, HORIZON)
    model = linear_model.Ridge(alpha=1.0).fit(past.inputs[:, :, 0], past.targets)
    return model.predict(meter.power[origins[:, None] - np.arange(WEEK, 0, -1)])


def rival_forecasts(meter: Meter, origins: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """Return the forecasts of all rivals by name, each (W, 24).

    Parameters
    ----------
    meter
        The series.
    origins
        First hour of each forecast (W,).
    """
    return {
        "same hour yesterday": same_hour_before(meter.power, origins, DAY),
        "same hour last week": same_hour_before(meter.power, origins, WEEK),
        "ridge on 168 hours": ridge_forecasts(meter, origins),
    }
