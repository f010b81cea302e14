"""Write one prediction per series of CSV or Parquet files, in constant memory."""

from __future__ import annotations

import argparse
import sys

EPILOG = (
    "INPUT has a row per observation (id, time, features; the rows of a series together, in order of time) or, in "
    "Parquet, a row per series with a list column per feature. OUTPUT gets the id and the prediction of each series "
    "(prediction_0, prediction_1, ... of a model with several outputs) in the order of the input; it appears when all "
    "is done, whole or not at all. Exit code: 0, or 2 for bad usage or input, of which one line says what and where."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("model", metavar="MODEL", help="model file that fastseq.save wrote")
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", help=".csv, .csv.gz or .parquet files, or folders of them"
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        help=".csv, .csv.gz or .parquet file to write; for several inputs or a folder, a folder of parts",
    )
    parser.add_argument("--id", default="unique_id", metavar="COLUMN", help="column that tells series apart")
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--time", default="ds", metavar="COLUMN", help="column that ascends within a series")
    order.add_argument("--no-time", action="store_true", help="rows have no time; take them in order")
    parser.add_argument(
        "--features",
        nargs="+",
        metavar="COLUMN",
        default=argparse.SUPPRESS,
        help="columns in the order of the model's inputs (default: those that the model file names in its metadata, "
        "else all other numeric columns in order)",
    )
    parser.add_argument("--batch-size", type=int, default=256, metavar="N", help="series per call of the model")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads to use (default: all cores)", default=argparse.SUPPRESS
    )
    parser.add_argument("--no-progress", action="store_true", help="show no bar")


def run(arguments: argparse.Namespace) -> int:
    """Score the files and print a summary."""
    from fastseq.scoring import score

    summary = score(
        arguments.model,
        arguments.inputs,
        arguments.output,
        id=arguments.id,
        time=None if arguments.no_time else arguments.time,
        features=getattr(arguments, "features", None),
        batch_size=arguments.batch_size,
        progress=not arguments.no_progress,
    )
    where = summary.outputs[0] if len(summary.outputs) == 1 else f"{len(summary.outputs)} parts in {arguments.output}"
    text = (
        f"{summary.series:,} series, {summary.rows:,} rows in {summary.seconds:.2f} s "
        f"({summary.rows_per_second:,.0f} rows per second): {where}"
    )
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))  # names of files may be any bytes
    return 0
