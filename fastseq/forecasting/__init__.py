"""Windows to learn from, calendar features, and measures of forecasts."""

from __future__ import annotations

from fastseq.forecasting.calendar import CALENDAR_NAMES, calendar_features
from fastseq.forecasting.measures import mae, mase, rmse, smape
from fastseq.forecasting.windows import Windows, windows

__all__ = ["CALENDAR_NAMES", "Windows", "calendar_features", "mae", "mase", "rmse", "smape", "windows"]
