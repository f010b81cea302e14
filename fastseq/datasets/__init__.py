"""Small real data sets that ship with the package, each with its source and licence."""

from __future__ import annotations

from fastseq.datasets.household_power import HouseholdPower, load_household_power

__all__ = ["HouseholdPower", "load_household_power"]
