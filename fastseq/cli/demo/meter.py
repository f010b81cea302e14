"""The demo's data: what the model sees, what it must forecast, and which weeks are kept from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.datasets import load_household_power
from fastseq.forecasting import CALENDAR_NAMES, Windows, calendar_features, windows

DAY, WEEK = 24, 168
HISTORY, HORIZON = 7 * DAY, DAY
HOLDOUT, VALIDATION = 8 * WEEK, 8 * WEEK
TRAINING_STRIDE = 12  # hours between training windows; with a target after every step each hour counts 14 times
FEATURES = ("log_power", *CALENDAR_NAMES)


@dataclass(frozen=True)
class Meter:
    """The series and where it is cut.

    Attributes
    ----------
    ds
        Start of each hour, datetime64 (N,).
    power
        Mean power of each hour in kW (N,).
    features
        What the model sees of each hour (N, F), columns as in ``FEATURES``.
    source
        Whom to cite.
    """

    ds: NDArray[np.datetime64]
    power: NDArray[np.float32]
    features: NDArray[np.float32]
    source: str

    @property
    def holdout_start(self) -> int:
        """First hour of the hold-out, the last eight weeks."""
        return len(self.power) - HOLDOUT

    @property
    def validation(self) -> slice:
        """The same eight weeks one year before the hold-out."""
        start = self.holdout_start - 52 * WEEK
        return slice(start, start + VALIDATION)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which hours the model learns from: all but the validation weeks and the hold-out (N,)."""
        learnt = np.arange(len(self.power)) < self.holdout_start
        learnt[self.validation] = False
        return learnt

    def training_windows(self) -> Windows:
        """Windows before and after the validation weeks, with the 24 values that follow each step of the history."""
        before = self._cut(0, self.validation.start, TRAINING_STRIDE, per_step=True)
        after = self._cut(self.validation.stop, self.holdout_start, TRAINING_STRIDE, per_step=True)
        return Windows(*(np.concatenate(pair) for pair in zip(before, after, strict=True)))

    def validation_windows(self) -> Windows:
        """Windows that lie in the validation weeks, likewise."""
        return self._cut(self.validation.start, self.validation.stop, DAY, per_step=True)

    def validation_yesterdays(self) -> NDArray[np.float32]:
        """For each target of `validation_windows` the value a day earlier."""
        lagged = np.concatenate([np.zeros(DAY, np.float32), self.power[:-DAY]])[self.validation]
        return windows(lagged, HISTORY, HORIZON, DAY, per_step=True).targets

    def holdout_windows(self) -> Windows:
        """One window per day of the hold-out: the forecasts to compare."""
        return self._cut(self.holdout_start - HISTORY, len(self.power), DAY, per_step=False)

    def _cut(self, start: int, stop: int, stride: int, *, per_step: bool) -> Windows:
        cut = windows(
            self.features[start:stop], HISTORY, HORIZON, stride, target=self.power[start:stop], per_step=per_step
        )
        return cut._replace(origins=cut.origins + start)


def load_meter() -> Meter:
    """Return the household power series with its features."""
    data = load_household_power()
    power = data["active_power_kw"]
    features = np.concatenate([np.log(power)[:, None], calendar_features(data.ds)], axis=1)
    return Meter(data.ds, power, features, data.source)


def long_format(meter: Meter, cut: Windows) -> Any:
    """Return windows as an Arrow table, one row per hour of history: unique_id is the day forecast."""
    from fastseq.checks import require

    pa = require("pyarrow", "data")
    rows = (cut.origins[:, None] - np.arange(HISTORY, 0, -1)).ravel()
    days = np.repeat(np.datetime_as_string(meter.ds[cut.origins], "h"), HISTORY)
    columns = {name: meter.features[rows, f] for f, name in enumerate(FEATURES)}
    return pa.table({"unique_id": days.tolist(), "ds": meter.ds[rows], **columns})
