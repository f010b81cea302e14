"""The electricity meter of one household near Paris: 34,587 hours, December 2006 to November 2010."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FILE = "household_power_hourly.csv.gz"
_SOURCE = (
    "G. Hebrail and A. Berard, Individual Household Electric Power Consumption, "
    "UCI Machine Learning Repository, https://doi.org/10.24432/C58K54; averaged to hours"
)
_LICENCE = "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/ (attribution required)"


@dataclass(frozen=True)
class HouseholdPower:
    """Hourly readings of one household's electricity meter, without a gap in time.

    Attributes
    ----------
    ds
        Start of each hour, datetime64[s] (N,), local time of the meter.
    columns
        Name to float32 (N,): ``active_power_kw``, ``reactive_power_kvar``, ``voltage_v`` (hourly means) and
        ``kitchen_wh``, ``laundry_wh``, ``heater_ac_wh`` (hourly sums).
    source
        Whom to cite.
    licence
        The licence of the data.
    """

    ds: NDArray[np.datetime64]
    columns: dict[str, NDArray[np.float32]]
    source: str = _SOURCE
    licence: str = _LICENCE

    def __len__(self) -> int:
        return len(self.ds)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self.columns[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in the order of the file."""
        return tuple(self.columns)

    @property
    def values(self) -> NDArray[np.float32]:
        """All columns beside each other, float32 (N, 6), in the order of ``names``."""
        return np.stack(list(self.columns.values()), axis=1)

    def __repr__(self) -> str:
        return f"HouseholdPower({len(self)} hours, {self.ds[0]} to {self.ds[-1]}, columns {', '.join(self.columns)})"


def load_household_power() -> HouseholdPower:
    """Return the hourly household power series that ships with the package.

    Returns
    -------
    HouseholdPower
        Times and float32 columns, with source and licence.

    Notes
    -----
    Hourly means of the one-minute rows of G. Hebrail and A. Berard, *Individual Household Electric Power
    Consumption*, UCI Machine Learning Repository, doi 10.24432/C58K54, CC BY 4.0. The notice file beside the data
    says what was changed.
    """
    packed: Any = resources.files("fastseq.datasets").joinpath(_FILE)
    with packed.open("rb") as raw, gzip.open(raw) as plain, io.TextIOWrapper(plain, "utf-8", newline="") as text:
        rows = csv.reader(text)
        header = next(rows)
        times, *columns = zip(*rows, strict=True)
    ds = np.array([time.replace(" ", "T") for time in times], "datetime64[s]")
    return HouseholdPower(
        ds, {name: np.array(column, np.float32) for name, column in zip(header[1:], columns, strict=True)}
    )
