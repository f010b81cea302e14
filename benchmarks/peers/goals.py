"""The goals, row by row, and whether a file of results reaches them. Nothing is measured here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.peers import workloads as named
from benchmarks.peers.processes import MEMORY
from benchmarks.peers.referee import FLOOR, JUDGED
from benchmarks.peers.workloads import name_of

Value = float | None


@dataclass(frozen=True)
class Goal:
    """One cell of the table: what is compared with which limit."""

    row: str
    what: str
    limit: float
    unit: str
    value: Callable[[Figures], Value]
    at_least: bool = True

    def judged(self, figures: Figures) -> dict[str, Any]:
        """The goal beside what was reached; ``met`` is None where it was not measured."""
        reached = self.value(figures)
        met = None
        if reached is not None:
            met = bool(reached >= self.limit if self.at_least else reached <= self.limit)
        sense = "at least" if self.at_least else "at most"
        return {
            "row": self.row, "what": self.what, "sense": sense, "limit": self.limit, "unit": self.unit,
            "reached": reached, "met": met,
        }  # fmt: skip


class Figures:
    """Questions to a file of results; the answer is None where something was not measured."""

    def __init__(self, results: dict[str, Any]) -> None:
        self._workloads = {w["name"]: w for w in results["workloads"]}
        self._facts = results["facts"]

    def entry(self, workload: str, label: str = "fastseq") -> dict[str, Any] | None:
        """A contender that was timed."""
        entries = self._workloads.get(workload, {"entries": []})["entries"]
        return next((e for e in entries if e["label"] == label and e["status"] == "timed"), None)

    def labels(self, workload: str) -> list[str]:
        """Contenders of other peers that were timed; the floor is none of them."""
        entries = self._workloads.get(workload, {"entries": []})["entries"]
        return [e["label"] for e in entries if e["status"] == "timed" and e["peer"] not in (JUDGED, FLOOR)]

    def share(self, workload: str, label: str = "fastseq") -> Value:
        """Share of P on as many threads."""
        found = self.entry(workload, label)
        return None if found is None else found["share"]

    def seconds(self, workload: str, label: str = "fastseq") -> Value:
        """Median seconds of a call."""
        found = self.entry(workload, label)
        return None if found is None else found["seconds"]["median"]

    def ratio(self, workload: str, other: str, label: str = "fastseq") -> Value:
        """Time of ``other`` as a multiple of the time of ``label``."""
        over, under = self.seconds(workload, other), self.seconds(workload, label)
        return None if over is None or under is None else over / under

    def best_peer(self, workload: str) -> Value:
        """Ratio to the fastest peer."""
        return min(known(self.ratio(workload, label) for label in self.labels(workload)), default=None)

    def tail(self, workload: str) -> Value:
        """The slowest in a thousand single calls, in medians."""
        found = self.entry(workload)
        return None if found is None or "single" not in found else found["single"]["p999"] / found["single"]["median"]

    def over_fill(self, workload: str) -> Value:
        """Time of unequal lengths as a share of the dense time, less the share of steps that are valid."""
        ratio = self.ratio(workload, "fastseq", "fastseq, dense")
        return None if ratio is None else ratio - self._workloads[workload]["fill"]

    def fact(self, group: str, name: str) -> Value:
        """A figure of `processes`."""
        return self._facts.get(group, {}).get(name)


def known(values: Iterable[Value]) -> list[float]:
    """Those that were measured."""
    return [value for value in values if value is not None]


def geometric_mean(values: Iterable[Value]) -> Value:
    """The mean of ratios; None unless all were measured."""
    listed = list(values)
    found = known(listed)
    return math.exp(sum(map(math.log, found)) / len(found)) if found and len(found) == len(listed) else None


def _training() -> list[Goal]:
    found = []
    for shape in named.TRAINING:
        batch, _, _, hidden = shape
        name = f"training/{name_of(shape)}"
        if batch > 1:
            limit = 0.8 if hidden >= 128 else 0.7 if hidden == 64 else 0.6
            found.append(Goal("training pass, share of P x threads", name_of(shape), limit, "P", _share(name)))
    for shape in named.TRAINING:
        batch, _, _, hidden = shape
        limit = (
            10
            if batch == 1
            else next(r for h, r in ((64, 3.5), (128, 2.2), (256, 1.45), (math.inf, 1.25)) if hidden <= h)
        )
        name = f"training/{name_of(shape)}"
        found.append(Goal("training pass, ratio to torch", name_of(shape), limit, "x", _ratio(name, "torch")))
    row = "whole training step: tape, clipping, Adam"
    found.append(Goal(row, "two-layer bidirectional, 32,50,16,64", 3, "x torch", _ratio("update/contract", "torch")))
    found.append(Goal(row, "online learning, 1,50,16,64", 10, "x torch", _ratio("update/online", "torch")))
    found.append(Goal(row, "online learning, 1,50,16,64", 250, "us", _microseconds("update/online"), at_least=False))
    return found


def _ragged() -> list[Goal]:
    found, row = [], "unequal lengths, training pass"
    names = {name_of(shape): f"ragged/{name_of(shape)}" for shape in named.RAGGED}
    for shape, name in names.items():
        found.append(Goal(row, shape, 5, "x torch packed", _ratio(name, "torch packed")))
        found.append(Goal(row, shape, 3, "x torch padded", _ratio(name, "torch padded")))
        over = Goal(row, shape, 0.06, "of dense time over fill", lambda f, n=name: f.over_fill(n), at_least=False)
        found.append(over)

    def mean(figures: Figures) -> Value:
        return geometric_mean(figures.ratio(name, "torch packed") for name in names.values())

    return [*found, Goal(row, "geometric mean", 8, "x torch packed", mean)]


def _inference() -> list[Goal]:
    row = "inference, dense"
    names = {f"1,1,{f},{h}": f"step/{f},{h}" for f, h in named.STEP if (f, h) != (64, 128)}
    names |= {name_of(shape): f"inference/{name_of(shape)}" for shape in named.INFERENCE}
    found = [Goal(row, shape, 1.3, "x best peer", lambda f, n=name: f.best_peer(n)) for shape, name in names.items()]
    for shape in named.INFERENCE:
        if shape[0] >= 32 and shape[3] >= 256:
            found.append(Goal(row, name_of(shape), 0.85, "P", _share(f"inference/{name_of(shape)}")))
    return [
        *found,
        Goal(row, "geometric mean", 2.5, "x best peer", lambda f: geometric_mean(map(f.best_peer, names.values()))),
    ]


def _single_steps() -> list[Goal]:
    found, row = [], "one step from Python"
    for (features, hidden), limit, ratio in zip(named.STEP, (0.6, 1.6, 4.5, 18.0), (30, 14, 6, 2), strict=True):
        name, what = f"step/{features},{hidden}", f"F {features}, H {hidden}"
        found.append(Goal(row, what, limit, "us", _microseconds(name), at_least=False))
        found.append(Goal(row, what, ratio, "x onnxruntime", _ratio(name, "onnxruntime")))
        found.append(Goal(row, what, 3, "medians at p99.9", lambda f, n=name: f.tail(n), at_least=False))
    row = "many streams, StreamPool of 10,000, F 16, H 64"
    found.append(Goal(row, "1 active", 1.6, "us", _microseconds("pool/1"), at_least=False))
    for active in (64, 1024):
        found.append(Goal(row, f"{active} active", 0.6, "P", _share(f"pool/{active}")))
    return found


def _rest() -> list[Goal]:
    found = []
    for features, hidden in named.OFF_WIDTH:
        off = hidden != named.next_multiple(hidden)
        name, what = (f"width/H{hidden}", f"H {hidden}") if off else (f"width/F{features}", f"F {features}")
        value = _ratio(name, "fastseq", "next multiple")
        found.append(Goal("sizes off the vector width", what, 1.15, "x next multiple", value, at_least=False))
    cold = [
        ("import fastseq", 0.35), ("import fastseq.nn", 0.35), ("first training pass, cache warm", 0.5),
        ("fastseq warmup, empty cache", 20.0),
    ]  # fmt: skip
    for name, limit in cold:
        found.append(Goal("cold start", name, limit, "s", lambda f, n=name: f.fact("cold", n), at_least=False))
    for shape in MEMORY:
        for name in (name_of(shape), f"{name_of(shape)} ragged"):
            unit, value = "floats x H per valid step", lambda f, n=name: f.fact("memory", n)
            found.append(Goal("memory kept by a training pass", name, 7, unit, value, at_least=False))
    for shape in named.SCALING:
        value = _ratio(f"threads/{name_of(shape)} x2", "one thread")
        found.append(Goal("2 threads against 1", name_of(shape), 1.85, "x", value))
    value = _ratio(f"threads/{name_of(named.MANY)} x{named.MANY_CORES}", "one thread")
    found.append(Goal("16 cores against 1", name_of(named.MANY), 11, "x", value))
    for shape in named.SCALING:
        found.append(Goal("AVX2 code, share of its P", name_of(shape), 0.75, "P", _share(f"avx2/{name_of(shape)}")))
    return found


def _share(workload: str) -> Callable[[Figures], Value]:
    return lambda figures: figures.share(workload)


def _ratio(workload: str, other: str, label: str = "fastseq") -> Callable[[Figures], Value]:
    return lambda figures: figures.ratio(workload, other, label)


def _microseconds(workload: str) -> Callable[[Figures], Value]:
    def value(figures: Figures) -> Value:
        seconds = figures.seconds(workload)
        return None if seconds is None else 1e6 * seconds

    return value


def _cells() -> list[Goal]:
    found = []
    for cell in named.CELLS:
        asked = [("cells", "training pass", "torch", 4, named.CELL_TRAINING)]
        asked.append(("cells ragged", "unequal lengths, training pass", "torch packed", 8, named.CELL_RAGGED))
        for group, what, other, limit, shapes in asked:
            for shape in shapes:
                name = f"{group}/{cell} {name_of(shape)}"
                found.append(Goal(f"{cell}, {what}", name_of(shape), limit, f"x {other}", _ratio(name, other)))
                ahead = Goal(f"{cell}, {what}", name_of(shape), -0.1, "P over the LSTM's", _ahead(name))
                found.append(ahead)
    for way in ("training", "training with dropout 0.1"):
        found.append(Goal("TransformerEncoder", way, 1, "x torch", _ratio(f"encoder/{way}", "torch")))
    return found


def _ahead(workload: str) -> Callable[[Figures], Value]:
    def value(figures: Figures) -> Value:
        own, lstm = figures.share(workload), figures.share(workload, "fastseq LSTM")
        return None if own is None or lstm is None else own - lstm

    return value


GOALS = [*_training(), *_ragged(), *_inference(), *_single_steps(), *_cells(), *_rest()]


def judged(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Every goal beside what was reached."""
    figures = Figures(results)
    return [goal.judged(figures) for goal in GOALS]
