"""Measure several contenders in turns, so that a noisy moment of the machine falls on all of them alike."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata


def machine(threads: int, *packages: str) -> str:
    """One line on where figures come from: processor, threads, versions."""
    versions = [f"{name} {metadata.version(name)}" for name in ("numpy", "numba", *packages)]
    return f"{processor()}, {threads} thread(s), Python {platform.python_version()}, {', '.join(versions)}"


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def medians(contenders: Mapping[str, Callable[[], object]], *, rounds: int, calls: int) -> dict[str, float]:
    """Median seconds per call of each contender over ``rounds`` turns of ``calls`` calls, after a turn to warm up.

    The order is reversed every other round: no contender always inherits the same neighbour's caches.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        names = list(contenders) if number % 2 else list(reversed(contenders))
        for name in names:
            call = contenders[name]
            begin = time.perf_counter()
            for _ in range(calls):
                call()
            if number:
                seconds[name].append((time.perf_counter() - begin) / calls)
    return {name: statistics.median(values) for name, values in seconds.items()}
