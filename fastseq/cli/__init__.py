"""The command ``fastseq``: demo, compare, score, warmup, info."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastseq import __version__
from fastseq.cli import compare, demo, info, score, warmup

__all__ = ["main"]

_COMMANDS = {"demo": demo, "compare": compare, "score": score, "warmup": warmup, "info": info}
_USAGE_ERROR = 2
_INTERRUPTED = 130  # what a shell reports for SIGINT
_READER_LEFT = 141  # and for SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    argv
        Arguments after the program's name; None takes those of the process.

    Returns
    -------
    int
        0 where all went well, 2 for bad usage or bad input (one line on stderr says what), 130 after Ctrl-C; 143 and
        129 after a signal to end, 141 where the reader of the output left: what a shell reports for them.
    """
    arguments = _parser().parse_args(argv)
    try:
        with _ended_by_signals():
            _set_threads(arguments)
            return arguments.run(arguments)
    except BrokenPipeError:  # who read the output has left; nor shall the interpreter's last flush complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_LEFT
    except (ValueError, OSError, ImportError) as error:
        print(f"fastseq: error: {' '.join(str(error).split())}", file=sys.stderr)
        return _USAGE_ERROR
    except KeyboardInterrupt:
        print("fastseq: interrupted", file=sys.stderr)
        return _INTERRUPTED


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Say what an option is by default, unless that is nothing."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastseq", description="Recurrent networks for sequences on the CPU: train, forecast, score and stream."
    )
    parser.add_argument("--version", action="version", version=f"fastseq {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, module in _COMMANDS.items():
        text = (module.__doc__ or "").strip().splitlines()[0]
        command = commands.add_parser(
            name, help=text, description=text, epilog=getattr(module, "EPILOG", None), formatter_class=_Formatter
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let signals to end raise SystemExit meanwhile, so that what was begun is cleaned up."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    former: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                former[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _set_threads(arguments: argparse.Namespace) -> None:
    if getattr(arguments, "threads", None) is not None:
        from fastseq.jit import set_num_threads

        try:
            set_num_threads(arguments.threads)
        except ValueError as error:
            raise ValueError(str(error).replace("count:", "--threads:", 1)) from None
