"""The data set that ships: complete, without gaps, with source and licence."""

from __future__ import annotations

from importlib import resources

import numpy as np

from fastseq.datasets import load_household_power


def test_household_power():
    data = load_household_power()
    assert len(data) == 34_587
    assert str(data.ds[0]) == "2006-12-16T18:00:00" and str(data.ds[-1]) == "2010-11-26T20:00:00"
    assert set(np.diff(data.ds)) == {np.timedelta64(3600, "s")}
    assert data.names == (
        "active_power_kw",
        "reactive_power_kvar",
        "voltage_v",
        "kitchen_wh",
        "laundry_wh",
        "heater_ac_wh",
    )
    assert data.values.shape == (34_587, 6) and data.values.dtype == np.float32
    assert np.isfinite(data.values).all() and data["active_power_kw"].min() > 0
    assert np.allclose(data.values[0], [3.6322, 0.08, 234.5802, 0, 403, 1012])
    assert repr(data).startswith("HouseholdPower(34587 hours, 2006-12-16T18:00:00 to 2010-11-26T20:00:00")


def test_source_and_licence_are_named():
    data = load_household_power()
    notice = resources.files("fastseq.datasets").joinpath("household_power_hourly.NOTICE.md").read_text("utf-8")
    for text in (notice, data.source):
        assert "Hebrail" in text and "10.24432/C58K54" in text
    for text in (notice, data.licence):
        assert "CC BY 4.0" in text
