"""Benchmarks for airspeed velocity; ``peers`` measures other packages in the same run."""
