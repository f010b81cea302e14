"""Forecast the next 24 hours of a household's power from the last three days, and plot a few days.

The shortest way from a series to forecasts: windows, one model, fit, predict. `fastseq demo` is the full story.

    python examples/forecast_series.py [--epochs 6] [--plot forecast.png] [--quick]
"""

from __future__ import annotations

import argparse

import numpy as np

import fastseq as fs
from fastseq import nn
from fastseq.datasets import load_household_power
from fastseq.forecasting import calendar_features, mae, windows

HISTORY, HORIZON, WEEK = 72, 24, 168


def plot(path: str, times: np.ndarray, actual: np.ndarray, forecast: np.ndarray) -> None:
    """Write a picture of consecutive forecasts (W, 24) over what happened."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(times, actual, color="#333333", linewidth=1, label="measured")
    axes.plot(times, forecast, color="#d1495b", linewidth=2, label="forecast, issued once a day")
    axes.set(xlabel="time", ylabel="hourly mean power (kW)")
    axes.legend(frameon=False)
    figure.autofmt_xdate()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train, compare with last week's values, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--plot", metavar="PNG", help="write a picture of the first held-out week")
    parser.add_argument("--quick", action="store_true", help="toy size: a few windows, one epoch")
    options = parser.parse_args()

    data = load_household_power()
    power = data["active_power_kw"]
    features = np.concatenate([np.log(power)[:, None], calendar_features(data.ds)], axis=1)
    split = len(power) - 8 * WEEK

    learn = windows(features[:split], HISTORY, HORIZON, stride=200 if options.quick else 3, target=power[:split])
    held_out = windows(features[split - HISTORY :], HISTORY, HORIZON, stride=24, target=power[split - HISTORY :])
    print(f"{len(learn.inputs):,} windows of {HISTORY} hours to learn from, {len(held_out.inputs)} days held out")

    fs.manual_seed(0)
    model = nn.Sequential(
        nn.Standardize.fit(features[:split]),
        nn.LSTM(features.shape[1], 48),
        nn.LastStep(),
        nn.Linear(48, HORIZON),
        nn.Rescale(power[:split].std(), power[:split].mean()),
    )
    history = fs.fit(
        model,
        learn.inputs,
        learn.targets,
        loss="mae",
        learning_rate=2e-3,
        epochs=1 if options.quick else options.epochs,
        batch_size=64,
        validation_split=0.1,
        random_state=0,
    )
    print(history)

    forecast = fs.predict(model, held_out.inputs)
    origins = held_out.origins + split - HISTORY
    last_week = power[origins[:, None] - WEEK + np.arange(HORIZON)]
    print(f"mean absolute error: last week's values {mae(held_out.targets, last_week):.3f} kW")
    print(f"mean absolute error: LSTM {mae(held_out.targets, forecast):.3f} kW")
    if options.plot:
        shown = slice(0, 7 * HORIZON)
        hours = (data.ds[origins, None] + np.arange(HORIZON).astype("timedelta64[h]")).ravel()
        plot(options.plot, hours[shown], held_out.targets.ravel()[shown], forecast.ravel()[shown])
        print(f"wrote {options.plot}")


if __name__ == "__main__":
    main()
