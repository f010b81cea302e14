"""The command ``fastseq``: demo, compare, score, warmup, info."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from fastseq import __version__
from fastseq.cli import compare, demo, info, score, warmup

__all__ = ["main"]

_COMMANDS = {"demo": demo, "compare": compare, "score": score, "warmup": warmup, "info": info}
_USAGE_ERROR = 2
_INTERRUPTED = 130  # what a shell reports for SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    argv
        Arguments after the program's name; None takes those of the process.

    Returns
    -------
    int
        0 where all went well, 2 for bad usage or bad input (one line on stderr says what), 130 after Ctrl-C.
    """
    arguments = _parser().parse_args(argv)
    try:
        _set_threads(arguments)
        return arguments.run(arguments)
    except (ValueError, OSError, ImportError) as error:
        print(f"fastseq: error: {' '.join(str(error).split())}", file=sys.stderr)
        return _USAGE_ERROR
    except KeyboardInterrupt:
        print("fastseq: interrupted", file=sys.stderr)
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastseq", description="Recurrent networks for sequences on the CPU: train, forecast, score and stream."
    )
    parser.add_argument("--version", action="version", version=f"fastseq {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, module in _COMMANDS.items():
        text = (module.__doc__ or "").strip().splitlines()[0]
        command = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _set_threads(arguments: argparse.Namespace) -> None:
    if getattr(arguments, "threads", None) is not None:
        from fastseq.jit import set_num_threads

        set_num_threads(arguments.threads)
