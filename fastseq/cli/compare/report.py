"""The comparison's table and picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastseq.checks import require
from fastseq.cli.compare.contest import Result
from fastseq.cli.compare.tasks import Task

_COLOURS = ("#d1495b", "#00798c", "#edae49", "#30638e", "#8f5fa8", "#5f9e58", "#333333")
_COLUMNS = ("weights", "rate", "train s", "row µs", "batch µs", "step µs")


def rows(task: Task, results: Sequence[Result]) -> list[list[str]]:
    """Return the table's cells: a heading, then baselines and models, the smallest error first.

    Parameters
    ----------
    task
        The task.
    results
        What the models did.
    """
    digits = 3 if task.loss == "mae" else 2
    found = [
        (float(error), [name, f"{error:.{digits}f}", *["-"] * len(_COLUMNS)]) for name, error in task.baselines.items()
    ]
    for one in results:
        mean, spread = float(one.errors.mean()), float(np.ptp(one.errors) / 2)
        step = "-" if one.step_microseconds is None else f"{one.step_microseconds:.1f}"
        cells = [
            one.name, f"{mean:.{digits}f} ± {spread:.{digits}f}", f"{one.parameters:,}", f"{one.rate:g}",
            f"{one.training_seconds:.2f}", f"{one.row_microseconds:.0f}", f"{one.batch_microseconds:.1f}", step,
        ]  # fmt: skip
        found.append((mean, cells))
    return [["model", task.measure, *_COLUMNS], *(cells for _, cells in sorted(found, key=lambda pair: pair[0]))]


def show(task: Task, results: Sequence[Result], *, markdown: bool) -> None:
    """Print the table.

    Parameters
    ----------
    task
        The task.
    results
        What the models did.
    markdown
        In Markdown instead of lines and bold type.
    """
    heading, *body = rows(task, results)
    note = (
        f"{task.title}; {len(task.training.targets):,} rows to learn from, {len(task.test.targets):,} to test on; "
        f"mean of {len(results[0].errors)} seeds ± half of the range"
    )
    if markdown:
        rule = ["---", *["---:"] * (len(heading) - 1)]
        print(*(f"| {' | '.join(cells)} |" for cells in (heading, rule, *body)), sep="\n")
        print(f"\n{note}.")
        return
    table = require("rich.table", "demo").Table(
        caption=f"{note}. rate: learning rate, of {len(task.rates)} the best on other rows. row: one alone, from its "
        "first step to the answer. batch: one of many. step: the answer to one more step of a stream.",
        caption_justify="left",
        box=require("rich.box", "demo").SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    table.add_column(heading[0], no_wrap=True)
    for name in heading[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    for cells in body:
        table.add_row(*cells, style="dim" if cells[0] in task.baselines else None)
    require("rich.console", "demo").Console(highlight=False).print(table)
    print(f"Source: {task.source}.")


def draw(path: str, task: Task, results: Sequence[Result]) -> None:
    """Write a picture: every seed's error beside the baselines, and error over the time that an answer takes.

    Parameters
    ----------
    path
        PNG to write.
    task
        The task.
    results
        What the models did.
    """
    figure = require("matplotlib.figure", "plot").Figure(figsize=(11, 4.6), layout="constrained")
    strip, plane = figure.subplots(1, 2, width_ratios=(1, 1.1))
    colours = {one.name: _COLOURS[number % len(_COLOURS)] for number, one in enumerate(results)}
    ordered = sorted(results, key=lambda one: -one.errors.mean())
    for height, one in enumerate(ordered):
        strip.plot([one.errors.min(), one.errors.max()], [height] * 2, color=colours[one.name], linewidth=6, alpha=0.25)
        strip.plot(one.errors, np.full(len(one.errors), height), "o", color=colours[one.name], markersize=6, alpha=0.8)
        strip.plot(one.errors.mean(), height, "|", color="#222222", markersize=18, markeredgewidth=2)
    strip.set_yticks(range(len(ordered)), [one.name for one in ordered])
    strip.set_ylim(-0.7, len(ordered) - 0.1)
    worst, edge = float(max(one.errors.max() for one in results)), 0.02
    for name, error in sorted(task.baselines.items(), key=lambda pair: -pair[1]):
        if error > 1.15 * worst:  # too far away to be drawn to scale
            strip.annotate(
                f"{name} {error:.3g} →", (1, edge), xycoords="axes fraction", ha="right", va="bottom", fontsize=8,
                color="#555555",
            )  # fmt: skip
            edge += 0.06
            continue
        strip.axvline(error, color="#777777", linestyle="--", linewidth=1)
        strip.annotate(
            name, (error, 1), xycoords=("data", "axes fraction"), xytext=(-4, -4), textcoords="offset points",
            rotation=90, ha="right", va="top", fontsize=8, color="#555555",
        )  # fmt: skip
    strip.set(xlabel=f"{task.measure} on the test rows", title="Error: each seed, and the mean")
    for one in results:
        point = one.row_microseconds, one.errors.mean()
        plane.scatter(*point, s=_area(one), color=colours[one.name], alpha=0.75, linewidth=0)
    ticker = require("matplotlib.ticker", "plot")
    plane.set_xscale("log")
    plane.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    plane.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    plane.xaxis.set_minor_locator(ticker.NullLocator())
    plane.set(xlabel="one row alone, to its answer (µs)", ylabel=task.measure)
    plane.set_title("Error over time to answer; area: training time")
    plane.margins(0.18, 0.16)
    for axes in (strip, plane):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e4e4e4", linewidth=0.7)
        axes.set_axisbelow(True)
    weights = [one.parameters for one in results]
    figure.suptitle(
        f"{task.title[0].upper()}{task.title[1:]}: models of {min(weights):,} to {max(weights):,} weights", fontsize=11
    )
    _label(plane, results)
    figure.savefig(path, dpi=130)


def _area(one: Result) -> float:
    """Return the area of a model's dot, in square points."""
    return 60 + 40 * one.training_seconds


def _label(plane: Any, results: Sequence[Result]) -> None:
    """Write each model's name and training time beside its dot: above, below, right or left, where there is room."""
    boxes = require("matplotlib.transforms", "plot").Bbox
    plane.figure.draw_without_rendering()  # now the axes have their final place, and text can be measured
    points = [(one.row_microseconds, float(one.errors.mean())) for one in results]
    dots = plane.transData.transform(points)
    pixel = plane.figure.dpi / 72
    radii = [pixel * math.sqrt(_area(one) / math.pi) for one in results]
    taken = [boxes.from_extents(x - r, y - r, x + r, y + r) for (x, y), r in zip(dots, radii, strict=True)]
    for k, one in enumerate(results):
        gap = radii[k] / pixel + 2
        label = plane.annotate(
            f"{one.name}, {one.training_seconds:.1f} s", points[k], (0, 0), textcoords="offset points", fontsize=8.5
        )
        places = [(0, gap, "center", "bottom"), (0, -gap, "center", "top"), (gap, 0, "left", "center")]
        places.append((-gap, 0, "right", "center"))
        crowding = []
        for place in places:
            _put(label, *place)
            box = label.get_window_extent()
            inside = plane.bbox.x0 <= box.x0 and box.x1 <= plane.bbox.x1
            crowding.append(box.count_overlaps(taken[:k] + taken[k + 1 :]) + (not inside))
        _put(label, *places[crowding.index(min(crowding))])
        taken.append(label.get_window_extent())


def _put(label: Any, x: float, y: float, horizontal: str, vertical: str) -> None:
    label.set(position=(x, y), horizontalalignment=horizontal, verticalalignment=vertical)
