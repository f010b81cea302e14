"""Measures of forecasts, against values worked out by hand and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from fastseq.forecasting import calendar_features, mae, mase, rmse, smape


def test_against_scikit_learn(rng):
    y, forecast = rng.normal(size=(2, 50, 4)).astype(np.float32)
    assert mae(y, forecast) == pytest.approx(mean_absolute_error(y, forecast))
    assert rmse(y, forecast) == pytest.approx(root_mean_squared_error(y.ravel(), forecast.ravel()))


def test_by_hand():
    y, forecast = np.array([1.0, 0.0, -2.0, 4.0]), np.array([2.0, 0.0, 2.0, 4.0])
    assert mae(y, forecast) == 1.25
    assert rmse(y, forecast) == pytest.approx(np.sqrt(17 / 4))
    assert smape(y, forecast) == pytest.approx((1 / 3 + 0 + 1 + 0) / 4)
    assert mase(y, forecast, np.array([1.0, 2.0, 2.0, 4.0]), 2) == 1.25 / 1.5


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"forecast: expected an array of shape \(3,\)"):
        mae(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="not empty"):
        smape(np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match=r"past: expected an array \(N,\) with N > season = 5"):
        mase(np.zeros(1), np.zeros(1), np.zeros(5), 5)
    with pytest.raises(ValueError, match="past: expected values that differ"):
        mase(np.zeros(1), np.zeros(1), np.zeros(9), 2)


def test_calendar_features():
    monday = np.datetime64("2026-11-23T06:00", "s")
    found = calendar_features(monday + np.array([0, 6, 12, 42], "timedelta64[h]"))
    turn = 2 * np.pi / 7
    wanted = [
        [1, 0, 0, 1],
        [0, -1, 0, 1],
        [-1, 0, 0, 1],
        [0, 1, np.sin(2 * turn), np.cos(2 * turn)],
    ]
    assert found.dtype == np.float32
    assert np.allclose(found, wanted, atol=1e-6)
    assert np.array_equal(
        found, calendar_features((monday + np.array([0, 6, 12, 42], "timedelta64[h]")).astype("M8[ns]"))
    )
    with pytest.raises(TypeError, match="ds: expected a datetime64 array"):
        calendar_features(np.zeros(3))
