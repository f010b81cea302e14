"""How far forecasts were off: the definitions of Hyndman and Koehler (2006), sMAPE on 0..1 as in utilsforecast."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks


def mae(y: NDArray[Any], forecast: NDArray[Any]) -> float:
    """Return the mean absolute error.

    Parameters
    ----------
    y
        What happened, any shape.
    forecast
        What was forecast, of the same shape.
    """
    return float(np.mean(np.abs(_errors(y, forecast))))


def rmse(y: NDArray[Any], forecast: NDArray[Any]) -> float:
    """Return the root of the mean squared error.

    Parameters
    ----------
    y
        What happened, any shape.
    forecast
        What was forecast, of the same shape.
    """
    return float(np.sqrt(np.mean(np.square(_errors(y, forecast)))))


def mase(y: NDArray[Any], forecast: NDArray[Any], past: NDArray[Any], season: int) -> float:
    """Return the mean absolute error over that of the seasonal naive forecast one step ahead in the past.

    Parameters
    ----------
    y
        What happened, any shape.
    forecast
        What was forecast, of the same shape.
    past
        The series up to the forecasts (N,): what the model could learn from.
    season
        Steps of a season: 24 for hours of a day.

    Raises
    ------
    ValueError
        If the past is not longer than a season, or its seasons are all alike so that the scale is zero.

    Notes
    -----
    R. J. Hyndman and A. B. Koehler, *Another look at measures of forecast accuracy*, International Journal of
    Forecasting 22 (2006), equation for q_t, with the seasonal naive method in the denominator.
    """
    season = checks.integer("season", season, 1)
    if past.ndim != 1 or len(past) <= season:
        raise checks.value_error("past", f"an array (N,) with N > season = {season}", past)
    scale = float(np.mean(np.abs(past[season:].astype(np.float64) - past[:-season])))
    if scale == 0:
        raise checks.value_error("past", "values that differ from one season to the next", "a scale of zero")
    return mae(y, forecast) / scale


def smape(y: NDArray[Any], forecast: NDArray[Any]) -> float:
    """Return the mean of |y - forecast| / (|y| + |forecast|), on 0..1; where both are zero it counts as zero.

    Parameters
    ----------
    y
        What happened, any shape.
    forecast
        What was forecast, of the same shape.

    Notes
    -----
    The M competitions' form is 200 times this.
    """
    error = np.abs(_errors(y, forecast))
    size = np.abs(y.astype(np.float64)) + np.abs(forecast)
    return float(np.mean(np.divide(error, size, out=np.zeros_like(error), where=size > 0)))


def _errors(y: NDArray[Any], forecast: NDArray[Any]) -> NDArray[np.float64]:
    if y.shape != forecast.shape or y.size == 0:
        raise checks.value_error("forecast", f"an array of shape {y.shape}, not empty", forecast)
    return forecast.astype(np.float64) - y
