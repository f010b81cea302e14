"""The demo's two pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.checks import require

_ACTUAL, _MODEL, _RIVAL = "#333333", "#d1495b", "#5b8db8"
_DAYS_SHOWN = 7


def plot_forecasts(
    path: Path,
    ds: NDArray[np.datetime64],
    actual: NDArray[Any],
    forecast: NDArray[Any],
    rival: NDArray[Any],
    rival_name: str,
) -> None:
    """Draw the first week of the hold-out: what happened, the model's daily forecasts and a rival's.

    Parameters
    ----------
    path
        PNG to write.
    ds
        First hour of each forecast, datetime64 (W,).
    actual
        What happened (W, 24) in kW.
    forecast
        The model's forecasts (W, 24) in kW.
    rival
        A rival's forecasts (W, 24) in kW.
    rival_name
        What to call it.
    """
    figure, axes = _figure((11, 4.4))
    hours = (ds[:_DAYS_SHOWN, None] + np.arange(actual.shape[1]).astype("timedelta64[h]")).astype("datetime64[s]")
    axes.fill_between(hours.ravel(), actual[:_DAYS_SHOWN].ravel(), color=_ACTUAL, alpha=0.12, linewidth=0)
    axes.plot(hours.ravel(), actual[:_DAYS_SHOWN].ravel(), color=_ACTUAL, linewidth=1.1, label="measured")
    for day in range(min(_DAYS_SHOWN, len(hours))):
        label = "_" if day else ""
        axes.plot(hours[day], rival[day], color=_RIVAL, linewidth=1.1, linestyle="--", label=label + rival_name)
        axes.plot(hours[day], forecast[day], color=_MODEL, linewidth=2.2, label=label + "LSTM forecast")
        axes.axvline(hours[day, 0], color="#999999", linewidth=0.8, linestyle=":", label=label + "forecast issued")
    dates = require("matplotlib.dates", "plot")
    axes.xaxis.set_major_locator(dates.DayLocator())
    axes.xaxis.set_major_formatter(dates.DateFormatter("%a %d %b"))
    axes.set_xlim(hours.ravel()[0], hours.ravel()[-1])
    axes.set_ylim(0, float(actual[:_DAYS_SHOWN].max()) * 1.22)
    axes.set_xlabel("local time (ticks at midnight)")
    axes.set_ylabel("hourly mean power (kW)")
    year = str(ds[0].astype("datetime64[Y]"))
    axes.set_title(f"One household, {year}: 24 hours ahead, once a day, on weeks the model never saw", loc="left")
    axes.legend(ncols=4, loc="upper left", frameon=False)
    figure.savefig(path, dpi=130)


def plot_learning_curve(
    path: Path, training: NDArray[Any], validation: NDArray[Any], best: int, rival_name: str, rival: float
) -> None:
    """Draw the error of each epoch on training and validation weeks.

    Parameters
    ----------
    path
        PNG to write.
    training
        Mean absolute error of each epoch in kW, (E,).
    validation
        The same on the validation weeks (E,).
    best
        Number of the best epoch, from 1.
    rival_name
        What to compare with.
    rival
        Its error on the validation weeks in kW.
    """
    figure, axes = _figure((7, 4.4))
    epochs = np.arange(1, len(training) + 1)
    axes.plot(epochs, training, color=_ACTUAL, marker="o", markersize=4, label="what it learns from, while learning")
    axes.plot(epochs, validation, color=_MODEL, marker="o", markersize=4, label="validation weeks, after each epoch")
    axes.scatter(
        [best],
        [validation[best - 1]],
        s=130,
        facecolors="none",
        edgecolors=_MODEL,
        zorder=3,
        label="the epoch that was kept",
    )
    axes.axhline(rival, color=_RIVAL, linestyle="--", linewidth=1.1, label=f"validation weeks, {rival_name}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean absolute error (kW)")
    axes.set_title("Learning curve", loc="left")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)


def _figure(size: tuple[float, float]) -> tuple[Any, Any]:
    """Return a figure that no window system or global state knows of, and its axes."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes
