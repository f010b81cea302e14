"""Learn to forecast a real electricity meter, compare, plot, save, load, score and stream; all in two minutes."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "--output", default="demo-output", metavar="DIR", help="folder for plots, model and predictions"
    )
    parser.add_argument("--epochs", type=int, default=12, metavar="N", help="passes over the training data")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of weights and of the order of batches")
    parser.add_argument(
        "--threads", type=int, metavar="N", default=argparse.SUPPRESS, help="threads to use (default: all cores)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo and print its report."""
    from fastseq.cli.demo.story import tell

    tell(arguments.output, epochs=arguments.epochs, seed=arguments.seed)
    return 0
