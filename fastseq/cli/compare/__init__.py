"""Train one model of each kind on the same real task with as many weights each: errors, times, a table, a picture."""

from __future__ import annotations

import argparse

TASKS = ("household", "vowels")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "--task", choices=TASKS, default="household", help="household: forecasts; vowels: classes (needs sktime)"
    )
    parser.add_argument("--models", metavar="NAME,...", help="kinds to compare, by name (default: all)")
    parser.add_argument("--budget", type=int, metavar="N", help="weights per model (default: the task's own)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="models of each kind that are trained")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the data (default: the task's own)")
    parser.add_argument("--plot", default="compare.png", metavar="PNG", help="picture to write")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--quick", action="store_true", help="toy size: one small model of each kind, one epoch")
    parser.add_argument(
        "--threads", type=int, metavar="N", default=argparse.SUPPRESS, help="threads to use (default: all cores)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Hold the comparison and print its table."""
    from fastseq.checks import integer, require
    from fastseq.cli.compare.contest import compare
    from fastseq.cli.compare.kinds import chosen
    from fastseq.cli.compare.report import draw, show
    from fastseq.cli.compare.tasks import LOADERS

    for module in ("rich", "matplotlib", "sklearn"):  # say so before a minute is spent
        require(module, "demo")
    for name in ("budget", "seeds", "epochs"):
        if getattr(arguments, name) is not None:
            integer(f"--{name}", getattr(arguments, name), 1)
    kinds = chosen(arguments.models)
    task = LOADERS[arguments.task](quick=arguments.quick)
    results = compare(
        task,
        kinds,
        budget=arguments.budget or task.budget,
        seeds=1 if arguments.quick else arguments.seeds,
        epochs=arguments.epochs or task.epochs,
    )
    show(task, results, markdown=arguments.markdown)
    draw(arguments.plot, task, results)
    print(f"wrote {arguments.plot}")
    return 0
