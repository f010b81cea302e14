"""Watch a sensor, one reading at a time: forecast the next voltage and report readings that surprise.

A model with a head per step learns to say the next value; in the stream every reading costs one step of it. The
alarm level is a quantile of the errors on readings that the model did not learn from.

    python examples/stream_sensor.py [--hours 2000] [--quick]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import fastseq as fs
from fastseq import nn
from fastseq.datasets import load_household_power
from fastseq.forecasting import calendar_features, windows

SEQUENCE = 72


def main() -> None:
    """Train on the past, then stream the most recent hours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=2000, help="how many of the last hours to stream")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="toy size: little training, 100 hours")
    options = parser.parse_args()
    hours, epochs = (100, 1) if options.quick else (options.hours, options.epochs)

    data = load_household_power()
    voltage = data["voltage_v"]
    features = np.concatenate([voltage[:, None], calendar_features(data.ds)], axis=1)
    calibrate, live = len(voltage) - 2 * hours, len(voltage) - hours

    past = slice(calibrate - 2000 if options.quick else 0, calibrate)
    learn = windows(features[past], SEQUENCE, 1, stride=SEQUENCE // 2, target=voltage[past], per_step=True)
    fs.manual_seed(0)
    model = nn.Sequential(
        nn.Standardize.fit(features[past]),
        nn.LSTM(features.shape[1], 32),
        nn.Linear(32, 1),
        nn.Rescale(voltage[past].std(), voltage[past].mean()),
    )
    fs.fit(
        model, learn.inputs, learn.targets, loss="mae", learning_rate=5e-3, epochs=epochs, batch_size=32, random_state=0
    )

    expected = fs.predict(model, features[None, calibrate:live])[0, :-1, 0]
    errors = np.abs(voltage[calibrate + 1 : live] - expected)
    alarm = np.quantile(errors, 0.999)
    print(f"typical error {np.median(errors):.2f} V, alarm beyond {alarm:.2f} V")

    stream = fs.Stream(model)
    for reading in features[live - SEQUENCE : live]:  # let it see the last days before it is asked
        forecast = float(stream.step(reading)[0])
    seconds, alarms = [], 0
    for hour in range(live, len(voltage)):
        surprise = voltage[hour] - forecast
        if abs(surprise) > alarm:
            alarms += 1
            print(f"{data.ds[hour]}: {voltage[hour]:.1f} V, expected {forecast:.1f} V ({surprise:+.1f})")
        reading = features[hour]
        begin = time.perf_counter()
        answer = stream.step(reading)
        seconds.append(time.perf_counter() - begin)
        forecast = float(answer[0])
    print(f"{hours} readings, {alarms} alarms, median {np.median(seconds) * 1e6:.2f} us per reading")


if __name__ == "__main__":
    main()
