"""The referee: first all contenders of a workload must agree, then they are timed in turns, P among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.peers.adapters import Results, versions, ways
from benchmarks.peers.interleave import in_turns, quartiles
from benchmarks.peers.peak import FLOP
from benchmarks.peers.tasks import Task
from benchmarks.peers.worker import Failed, Remote
from benchmarks.peers.workloads import Entry, Workload

TOLERANCE = 1e-5
"""Largest difference from the float64 results that counts as rounding, as a share of the array's largest entry."""
JUDGED = "fastseq"
FLOOR, FLOOR_ROUNDS = "numpy", 5
"""Who is no peer, and takes part in a few rounds only."""
SINGLE_CALLS = 4000
"""Calls per turn that are timed one by one."""


class Disagreement(RuntimeError):
    """fastseq itself is wrong: nothing is timed."""


def difference(found: Results, expected: Results) -> float:
    """The largest difference, as a share of the largest entry of its array; infinite where NaN or of another shape.

    Of a series of losses, a peer may give fewer than the judge does.
    """
    worst = 0.0
    for name, truth in expected.items():
        array = np.asarray(found.get(name, np.nan), np.float64)
        if name == "losses" and array.ndim == 1:
            truth = truth[: max(1, array.size)]
        if array.shape != truth.shape or not np.isfinite(array).all():
            return np.inf
        worst = max(worst, float(abs(array - truth).max() / abs(truth).max()))
    return worst


class Referee:
    """Workers, and the rules of a measurement.

    Parameters
    ----------
    peers
        Whom to ask, fastseq first; those that are not installed are reported as absent.
    rounds
        Turns of each contender.
    seconds
        Length of a turn; a single call may take longer.
    budget
        Seconds after which a contender has had enough turns, if they were three or more.
    """

    def __init__(self, peers: Iterable[str], rounds: int, seconds: float, budget: float) -> None:
        self.versions = {peer: versions(peer) for peer in peers}
        self.rounds, self.seconds, self.budget = rounds, seconds, budget
        self._workers: dict[tuple[Any, ...], Remote] = {}

    def __enter__(self) -> Referee:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.close()

    def _worker(self, peer: str, threads: int, environment: tuple[tuple[str, str], ...] = ()) -> Remote:
        key = peer, threads, environment
        if key not in self._workers:
            self._workers[key] = Remote(peer, threads, dict(environment))
        return self._workers[key]

    def _of(self, entry: Entry) -> Remote:
        return self._worker(entry.peer, entry.threads, entry.environment)

    def entries(self, workload: Workload) -> list[Entry]:
        """The contenders: every way of every peer, then the workload's own extras."""
        found = []
        for peer in self.versions:
            if workload.peers is None or peer in workload.peers:
                for label in ways(peer, workload.task):
                    found.append(Entry(label, peer, label, workload.task, workload.threads, workload.environment))
        return found + [entry for entry in workload.extra if entry.peer in self.versions]

    def run(self, workload: Workload) -> dict[str, Any]:
        """Check and time one workload; return its part of the JSON file."""
        entries = self.entries(workload)
        truths: dict[Task, Results] = {}
        records = {entry.label: self._checked(entry, truths) for entry in entries}
        for label, record in records.items():
            if record["peer"] == JUDGED and record["status"] not in ("agrees", "absent"):
                raise Disagreement(f"{workload.name}: {label} {record['status']}: {record['note']}")
        ready = [entry for entry in entries if records[entry.label]["status"] == "agrees"]
        peaks = []
        for threads in sorted({entry.threads for entry in ready}):
            peak = Task("peak", batch=threads)
            peaks.append(Entry(f"P x {threads}", JUDGED, "P", peak, threads, workload.environment))
            self._of(peaks[-1])("prepare", "P", peak)
        seconds = self._in_turns(ready, peaks, records)
        limits = {peak.threads: FLOP * peak.threads / np.array(seconds[peak.label]) for peak in peaks}
        for entry in ready:
            if seconds[entry.label]:
                records[entry.label] |= summary(entry.task, seconds[entry.label], limits[entry.threads])
        if workload.single:
            self._single_calls(ready, records)
        self._tidy()
        task = workload.task
        return {
            "name": workload.name,
            "kind": task.way,
            "shape": task.shape,
            "threads": workload.threads,
            "flop": task.flop,
            "fill": task.fill,
            "P": {str(threads): quartiles(values / 1e9) for threads, values in limits.items()},
            "entries": list(records.values()),
        }

    def _checked(self, entry: Entry, truths: dict[Task, Results]) -> dict[str, Any]:
        """Prepare a contender and compare it with the judge, who is asked once per task."""
        record = {
            "label": entry.label,
            "peer": entry.peer,
            "threads": entry.threads,
            "shape": entry.task.shape,
            "status": "agrees",
            "note": "",
        }
        if self.versions[entry.peer] is None:
            return record | {"status": "absent", "note": "not installed"}
        try:
            found, first = self._of(entry)("prepare", entry.way, entry.task)
            if entry.task not in truths:
                truths[entry.task] = self._worker("numpy", entry.threads)("judge", entry.task)
            error = difference(found, truths[entry.task])
        except Failed as failure:
            return record | {"status": "failed", "note": str(failure)}
        record |= {"first_call_s": first, "difference": error if np.isfinite(error) else None}
        if error > TOLERANCE:
            record |= {"status": "disagrees", "note": f"by {error:.1e} of the largest entry: not timed"}
        return record

    def _in_turns(
        self, ready: list[Entry], peaks: list[Entry], records: dict[str, dict[str, Any]]
    ) -> dict[str, list[float]]:
        """Seconds per call, round after round; who has used up the budget drops out."""
        contenders = {entry.label: entry for entry in [*peaks, *ready]}
        seconds: dict[str, list[float]] = {label: [] for label in contenders}
        done: set[str] = set()
        for label in in_turns(contenders, self.rounds):
            entry, own = contenders[label], seconds[label]
            if label in done:
                continue
            try:
                own.append(self._of(entry)("measure", entry.way, entry.task, self.seconds))
            except Failed as failure:
                records[label] |= {"status": "failed", "note": str(failure)}
                done.add(label)
            spent = sum(max(self.seconds, one) for one in own)
            if entry not in peaks and len(own) >= 3 and spent > self.budget:
                done.add(label)
            if entry.peer == FLOOR and len(own) >= FLOOR_ROUNDS:
                done.add(label)
        return seconds

    def _single_calls(self, ready: list[Entry], records: dict[str, dict[str, Any]]) -> None:
        """Time calls one by one: the median, and the slowest in a thousand."""
        found: dict[str, list[np.ndarray]] = {entry.label: [] for entry in ready}
        entries = {entry.label: entry for entry in ready}
        for label in in_turns(found, self.rounds):
            entry = entries[label]
            if records[label]["status"] == "timed":
                calls = min(
                    SINGLE_CALLS, max(10, int(self.budget / 2 / self.rounds / records[label]["seconds"]["median"]))
                )
                found[label].append(self._of(entry)("each", entry.way, entry.task, calls))
        for label, parts in found.items():
            if parts:
                every = np.concatenate(parts) / 1e9
                tail = {"calls": every.size, "median": np.median(every), "p99": np.quantile(every, 0.99)}
                records[label]["single"] = {**tail, "p999": np.quantile(every, 0.999)}

    def _tidy(self) -> None:
        """Have all workers forget their tasks; lose those that have ended."""
        for key, worker in list(self._workers.items()):
            try:
                worker("drop")
            except Failed:
                worker.close()
                del self._workers[key]


def summary(task: Task, seconds: list[float], limit: np.ndarray) -> dict[str, Any]:
    """A contender's figures: its times, its rate, and its share of P, which was measured in the same rounds."""
    each = np.array(seconds)
    rate = task.flop / each
    return {
        "status": "timed",
        "seconds": quartiles(each) | {"rounds": [float(one) for one in each]},
        "gflops": float(np.median(rate) / 1e9),
        "share": float(np.median(rate / limit[: each.size])),
    }
