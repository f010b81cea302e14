"""The demo: what may be seen when, and a whole run of one epoch."""

from __future__ import annotations

import re

import matplotlib.image
import numpy as np
import pyarrow.parquet as pq
import pytest

import fastseq as fs
from fastseq.cli import main
from fastseq.cli.demo.meter import DAY, FEATURES, HISTORY, HORIZON, WEEK, load_meter, long_format
from fastseq.cli.demo.network import PEAK_RATE, falling
from fastseq.cli.demo.rivals import rival_forecasts
from fastseq.forecasting import mae


@pytest.fixture(scope="module")
def meter():
    """The demo's series."""
    return load_meter()


def hours_touched(cut) -> set[int]:
    """All hours that windows show or ask for."""
    return {
        int(hour) for origin in (cut.origins[0], cut.origins[-1]) for hour in range(origin - HISTORY, origin + HORIZON)
    }


def test_training_never_touches_validation_or_holdout(meter):
    training = meter.training_windows()
    reach = (training.origins[:, None] + np.arange(-HISTORY, HORIZON)).ravel()
    weeks = meter.validation
    assert not np.any((reach >= weeks.start) & (reach < weeks.stop))
    assert reach.min() >= 0 and reach.max() < meter.holdout_start == len(meter.power) - 8 * WEEK
    assert not meter.known[weeks].any() and not meter.known[meter.holdout_start :].any()


def test_validation_windows_lie_in_their_weeks(meter):
    validation, weeks = meter.validation_windows(), meter.validation
    assert min(hours_touched(validation)) >= weeks.start and max(hours_touched(validation)) == weeks.stop - 1
    assert np.array_equal(
        meter.validation_yesterdays()[3, 5], meter.power[validation.origins[3] - HISTORY + 6 - DAY :][:24]
    )


def test_windows_show_the_past_and_ask_for_the_future(meter):
    for cut, per_step in ((meter.training_windows(), True), (meter.holdout_windows(), False)):
        for w in (0, len(cut.origins) // 2, -1):
            origin = cut.origins[w]
            assert np.array_equal(cut.inputs[w], meter.features[origin - HISTORY : origin])
            target = cut.targets[w, -1] if per_step else cut.targets[w]
            assert np.array_equal(target, meter.power[origin : origin + HORIZON])
    holdout = meter.holdout_windows()
    assert holdout.origins[0] == meter.holdout_start and holdout.origins[-1] == len(meter.power) - HORIZON
    assert set(np.diff(holdout.origins)) == {DAY}


def test_rivals_see_nothing_of_the_future(meter):
    holdout = meter.holdout_windows()
    forecasts = rival_forecasts(meter, holdout.origins)
    errors = {name: round(mae(holdout.targets, forecast), 3) for name, forecast in forecasts.items()}
    assert errors == {"same hour yesterday": 0.626, "same hour last week": 0.674, "ridge on 168 hours": 0.520}
    blind = type(meter)(meter.ds, meter.power.copy(), meter.features, meter.source)
    blind.power[holdout.origins[3] :] = np.nan
    for name, forecast in rival_forecasts(blind, holdout.origins[:4]).items():
        assert np.allclose(forecast, forecasts[name][:4], rtol=1e-4), name  # BLAS sums in another order for fewer rows


def test_long_format_is_the_windows(meter):
    holdout = meter.holdout_windows()
    table = long_format(meter, holdout)
    assert table.column_names == ["unique_id", "ds", *FEATURES]
    values = np.stack([table[name].to_numpy() for name in FEATURES], axis=1)
    assert np.array_equal(values.reshape(holdout.inputs.shape), holdout.inputs)


def test_the_rate_falls():
    rates = [falling(epoch, 10) for epoch in range(10)]
    assert rates[0] == PEAK_RATE and rates == sorted(rates, reverse=True) and rates[-1] > 0


def test_a_run_of_one_epoch(tmp_path, capsys):
    assert main(["demo", "--epochs", "1", "--output", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    rows = {name.strip(): list(map(float, cells)) for name, *cells in re.findall(
        r"│ (.+?)│ +([\d.]+) │ +([\d.]+) │ +([\d.]+) │ +([\d.]+) │", text
    )}  # fmt: skip
    assert list(rows) == ["same hour yesterday", "same hour last week", "ridge on 168 hours", "fastseq LSTM"]
    assert rows["fastseq LSTM"][0] < 0.55 and rows["same hour yesterday"][0] == 0.626
    assert "the same bits as the forecasts above" in text and "the same bits as in one batch" in text
    assert re.search(r"median [\d.]+ us per step", text) and "CC BY 4.0" in text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "forecast.png", "holdout.parquet", "learning_curve.png", "model.safetensors", "predictions.parquet",
    ]  # fmt: skip
    for name in ("forecast.png", "learning_curve.png"):
        picture = matplotlib.image.imread(tmp_path / "out" / name)
        assert min(picture.shape[:2]) > 400 and picture[..., :3].std() > 0.05
    predictions = pq.read_table(tmp_path / "out" / "predictions.parquet")
    assert predictions.num_rows == 56 and predictions.column_names[-1] == "prediction_23"
    assert fs.load(tmp_path / "out" / "model.safetensors").num_parameters() == 19_736
