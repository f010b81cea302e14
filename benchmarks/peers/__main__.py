"""``python -m benchmarks.peers``: fastseq beside its peers, and beside the limit of the machine.

All contenders of a workload must agree with a float64 loop; then they take turns. Prints tables, writes JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = 1
FACTS = ("cold", "memory")


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    from benchmarks.peers.adapters import MODULES
    from benchmarks.peers.interleave import cores

    found = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    found.add_argument("--only", nargs="+", default=[], metavar="NAME", help="workloads whose names begin so")
    found.add_argument("--peers", nargs="+", default=list(MODULES), choices=list(MODULES), help="whom to ask")
    found.add_argument(
        "--threads", type=int, default=min(2, cores()), help="threads for everyone (default: %(default)s)"
    )
    found.add_argument("--rounds", type=int, help="turns of each contender (default: 11, quick: 3)")
    found.add_argument("--seconds", type=float, help="length of a turn (default: 0.05, quick: 0.01)")
    found.add_argument("--quick", action="store_true", help="a few workloads, to see that everything works")
    found.add_argument("--json", type=Path, metavar="PATH", help="write the results there")
    found.add_argument("--keep", action="store_true", help="keep what that file holds and is not measured now")
    found.add_argument("--results", type=Path, metavar="PATH", help="measure nothing, take the results from there")
    found.add_argument("--readme", action="store_true", help="rewrite the tables of README.md")
    found.add_argument("--list", action="store_true", help="name the workloads and end")
    return found


def measured(options: argparse.Namespace, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Measure what was asked for; print each workload, and ``keep`` all results so far, when it is done."""
    from benchmarks.peers import processes, report
    from benchmarks.peers.interleave import cores, description
    from benchmarks.peers.referee import Referee
    from benchmarks.peers.workloads import QUICK, selected, workloads

    only = options.only or (list(QUICK) if options.quick else [])
    rounds = options.rounds or (3 if options.quick else 11)
    seconds = options.seconds or (0.01 if options.quick else 0.05)
    peers = list(dict.fromkeys(["fastseq", *options.peers]))
    results: dict[str, Any] = {"schema": SCHEMA, "machine": description(options.threads), "workloads": [], "facts": {}}
    begin = time.perf_counter()
    with Referee(peers, rounds, seconds, budget=0.5 if options.quick else 4.0) as referee:
        results["peers"] = referee.versions
        for workload in selected(workloads(options.threads, cores()), only):
            found = referee.run(workload)
            results["workloads"].append(found)
            keep(results)
            print("\n".join(report.lines_of(found)), f"  [{time.perf_counter() - begin:.0f} s]", sep="\n", flush=True)
    for name in FACTS:
        if not only or name in only:
            repeats = 1 if options.quick else 5
            found = processes.memory() if name == "memory" else processes.cold_start(repeats, not options.quick)
            results["facts"][name] = found
            keep(results)
            print(f"{name}\n" + "\n".join(f"  {key:36} {value:.3f}" for key, value in found.items()), flush=True)
    print(f"[{time.perf_counter() - begin:.0f} s in all]")
    return results


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return new results, and of the old ones what was not measured again; the order is that of a whole run."""
    fresh = {w["name"]: w for w in new["workloads"]}
    names = [w["name"] for w in old["workloads"]]
    kept = [fresh.pop(name, w) for name, w in zip(names, old["workloads"], strict=True)]
    return new | {"workloads": [*kept, *fresh.values()], "facts": old["facts"] | new["facts"]}


def main(arguments: list[str] | None = None) -> int:
    """Measure or read results, judge them, print and write; returns the exit status."""
    options = parser().parse_args(arguments)
    from benchmarks.peers import goals, report
    from benchmarks.peers.interleave import cores
    from benchmarks.peers.referee import Disagreement
    from benchmarks.peers.workloads import workloads

    if options.list:
        print("\n".join([*(w.name for w in workloads(options.threads, cores())), *FACTS]))
        return 0
    old: dict[str, Any] | None = None
    if options.keep and options.json and options.json.exists():
        old = json.loads(options.json.read_text(encoding="utf-8"))

    def complete(results: dict[str, Any]) -> dict[str, Any]:
        found = results if old is None else merged(old, results)
        return found | {"goals": goals.judged(found)}

    def keep(results: dict[str, Any]) -> None:
        if options.json:  # after every workload: a run that is cut short has not been for nothing
            options.json.write_text(json.dumps(complete(results), indent=1) + "\n", encoding="utf-8")

    if options.results:
        results = json.loads(options.results.read_text(encoding="utf-8"))
        results["goals"] = goals.judged(results)
    else:
        try:
            results = complete(measured(options, keep))
        except Disagreement as error:
            print(error, file=sys.stderr)
            return 1
    shown = [goal for goal in results["goals"] if goal["met"] is not None]
    print("", report.origin(results), *report.text(report.goal_rows(shown)), sep="\n")
    if options.readme:
        readme = ROOT / "README.md"
        readme.write_text(
            report.replaced(readme.read_text(encoding="utf-8"), report.readme_section(results)), encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
