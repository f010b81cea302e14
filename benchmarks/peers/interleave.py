"""Turns, so that a noisy moment of the machine falls on all contenders alike, and where figures come from."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Any

import numpy as np


def in_turns(names: Iterable[str], rounds: int) -> Iterator[str]:
    """Every name once per round; the order is reversed every other round.

    No contender always inherits the same neighbour's caches.
    """
    there = list(names)
    for number in range(rounds):
        yield from there if number % 2 == 0 else reversed(there)


def quartiles(values: np.ndarray) -> dict[str, float]:
    """Median and quartiles."""
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "q1": float(q1), "q3": float(q3)}


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def description(threads: int) -> dict[str, Any]:
    """The machine, as the JSON file keeps it."""
    versions = {name: metadata.version(name) for name in ("numpy", "numba", "llvmlite")}
    return {
        "processor": processor(),
        "system": platform.system(),
        "cores": cores(),
        "threads": threads,
        "python": platform.python_version(),
        "versions": versions,
    }


def machine(threads: int, *packages: str) -> str:
    """One line on where figures come from: processor, threads, versions."""
    versions = [f"{name} {metadata.version(name)}" for name in ("numpy", "numba", *packages)]
    return f"{processor()}, {threads} thread(s), Python {platform.python_version()}, {', '.join(versions)}"
