"""Results in words: tables for the terminal, and for the README between its markers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from benchmarks.peers.referee import FLOOR, JUDGED

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"

TITLES = {
    "training": "Training pass (forward and backward of one layer, input gradient included), milliseconds",
    "update": "Whole training step (loss, backward, clipping, Adam), milliseconds",
    "ragged": "Training pass, lengths uniform in T/10..T, milliseconds",
    "inference": "Inference of one layer, milliseconds",
    "step": "One step of one row from Python, one thread, microseconds",
    "pool": "One step of some of 10,000 states (F 16, H 64, linear head), one thread, microseconds",
    "cells": "GRU, RNN and minGRU: training pass, milliseconds",
    "cells ragged": "GRU and RNN: training pass, lengths uniform in T/10..T, milliseconds",
    "cells inference": "GRU and RNN: inference, milliseconds",
    "encoder": "TransformerEncoder, 2 layers of 8 heads, B 32, T 64, E 128, 512 inner units, milliseconds",
    "width": "Sizes off the vector width: training pass, B 32, T 50, milliseconds",
    "threads": "Threads: training pass, milliseconds",
    "avx2": "AVX2 code on this machine: training pass, milliseconds",
}
"""Groups of workloads by the first word of their names, in the order of the tables."""


def number(value: float) -> str:
    """Three significant digits."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def scale(workload: dict[str, Any]) -> float:
    """What the group's table multiplies seconds with."""
    return 1e6 if workload["name"].split("/")[0] in ("step", "pool") else 1e3


def lines_of(workload: dict[str, Any]) -> list[str]:
    """One workload for the terminal: a line per contender."""
    timed = [e for e in workload["entries"] if e["status"] == "timed"]
    others = [e["seconds"]["median"] for e in timed if e["peer"] not in (JUDGED, FLOOR)]
    best, unit = min(others, default=None), scale(workload)
    limits = ", ".join(f"{p['median']:.0f} GFLOP/s x {n} thread(s)" for n, p in workload["P"].items())
    found = [f"{workload['name']}   ({'ms' if unit == 1e3 else 'us'}; P: {limits})"]
    for e in workload["entries"]:
        if e["status"] != "timed":
            found.append(f"  {e['label']:20} {e['status']}: {e['note']}")
            continue
        s = {name: unit * e["seconds"][name] for name in ("median", "q1", "q3")}
        line = f"  {e['label']:20} {number(s['median']):>9}  [{number(s['q1'])}..{number(s['q3'])}]"
        line += f"  {100 * e['share']:5.1f} % of P"
        if best is not None:
            line += f"  {number(best / e['seconds']['median']):>6} x best peer's speed"
        if "single" in e:
            line += f"  single calls {number(unit * e['single']['median'])}, p99.9 {number(unit * e['single']['p999'])}"
        line += f"  [first {e['first_call_s']:.1f} s, off {e['difference']:.0e}]"
        found.append(line)
    return found


def goal_cells(goal: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Row, what, goal, reached, met."""

    def shown(value: float | None) -> str:
        if value is None:
            return "not measured"
        if goal["unit"] == "P":
            return f"{100 * value:.1f} %"
        return f"{number(value) if value >= 0 else f'{value:.3f}'} {goal['unit']}"

    met = {True: "yes", False: "no", None: ""}[goal["met"]]
    bound = ">= " if goal["sense"] == "at least" else "<= "
    return goal["row"], goal["what"], bound + shown(goal["limit"]).replace("0.0 %", "0 %"), shown(goal["reached"]), met


def text(rows: Iterable[Iterable[str]]) -> list[str]:
    """Columns for the terminal."""
    table = [list(row) for row in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def markdown(rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table; the first row is its head."""
    table = [list(row) for row in rows]
    table.insert(1, ["---"] * len(table[0]))
    return ["| " + " | ".join(row) + " |" for row in table]


def goal_rows(goals: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The goal table, head first."""
    return [("what", "shape or case", "goal", "reached", "met"), *map(goal_cells, goals)]


def grouped_goal_rows(goals: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The goal table with one line per row and limit, head first."""
    groups: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for goal in goals:
        row, what, limit, reached, met = goal_cells(goal)
        groups.setdefault((row, limit), []).append((what, reached, met))
    found: list[tuple[str, ...]] = [("what", "goal", "reached", "met")]
    for (row, limit), cells in groups.items():
        yes = sum(met == "yes" for _, _, met in cells)
        met = "yes" if yes == len(cells) else "no" if yes == 0 else f"{yes} of {len(cells)}"
        found.append((row, limit, "; ".join(f"{what}: {reached.split()[0]}" for what, reached, _ in cells), met))
    return found


def origin(results: dict[str, Any]) -> str:
    """One sentence on where figures come from."""
    m = results["machine"]
    peers = []
    for peer, versions in results["peers"].items():
        if peer in (JUDGED, FLOOR):
            continue
        peers.append(f"{peer} absent" if versions is None else " ".join(f"{n} {v}" for n, v in versions.items()))
    own = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    return (
        f"{m['processor']}, {m['cores']} cores, {m['threads']} threads, Python {m['python']}, {own}; {', '.join(peers)}"
    )


def group_table(workloads: list[dict[str, Any]]) -> list[list[str]]:
    """Contenders as columns, shapes as rows; a contender that was not timed has an empty cell."""
    labels = list(dict.fromkeys(e["label"] for w in workloads for e in w["entries"] if e["status"] == "timed"))
    rows = [["", *labels, "fastseq's share of P"]]
    for w in workloads:
        entries = {e["label"]: e for e in w["entries"] if e["status"] == "timed"}
        cells = [number(scale(w) * entries[label]["seconds"]["median"]) if label in entries else "" for label in labels]
        share = f"{100 * entries['fastseq']['share']:.0f} %" if "fastseq" in entries else ""
        rows.append([w["name"].split("/", 1)[1].replace(",", ", "), *cells, share])
    return rows


def readme_section(results: dict[str, Any]) -> str:
    """What stands between the markers: every table, then the goals."""
    found = [f"Measured on {origin(results)}.", ""]
    for group, title in TITLES.items():
        workloads = [w for w in results["workloads"] if w["name"].startswith(f"{group}/")]
        if workloads:
            found += [f"{title}:", "", *markdown(group_table(workloads)), ""]
    measured = [goal for goal in results["goals"] if goal["met"] is not None]
    met = sum(goal["met"] for goal in measured)
    found += [f"Goals: {met} of {len(measured)} met.", "", *markdown(grouped_goal_rows(measured)), ""]
    return "\n".join(found)


def replaced(document: str, section: str) -> str:
    """Return the document with a new section between the markers."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.S)
    if len(pattern.findall(document)) != 1:
        raise ValueError(f"document: expected {BEGIN} once, and {END} after it")
    return pattern.sub(lambda _: f"{BEGIN}\n\n{section}\n{END}", document)
