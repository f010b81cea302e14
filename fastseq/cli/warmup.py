"""Compile every kernel once, so that later processes load them from the cache."""

from __future__ import annotations

import argparse
import importlib

_PARTS = ("nn", "optim", "training", "streaming")  # importing them defines all kernels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("--all", action="store_true", help="the rarer cells, too, beside LSTM, GRU and RNN")
    parser.add_argument("--double", action="store_true", help="compile for float64, too")
    parser.add_argument("--no-progress", action="store_true", help="show no bar")


def run(arguments: argparse.Namespace) -> int:
    """Compile all kernels with a bar and say how long it took."""
    from tqdm.auto import tqdm

    from fastseq import jit

    for part in _PARTS:
        importlib.import_module(f"fastseq.{part}")
    if arguments.all:
        _define_all()
    finished = 0
    with tqdm(desc="compiling", unit="kernel", disable=arguments.no_progress) as bar:

        def advance(name: str, seconds: float, done: int, total: int) -> None:
            nonlocal finished
            finished, bar.total = done, total
            bar.set_postfix_str(f"{name} {seconds:.1f} s", refresh=False)
            bar.update()

        seconds = jit.warmup(("float32", "float64") if arguments.double else ("float32",), progress=advance)
    print(f"{finished} kernels ready in {seconds:.1f} s: {jit.cache_folder() or 'no writable cache folder, not kept'}")
    return 0


def _define_all() -> None:
    """Define the kernels of every cell; those of rarer ones are otherwise made when they are used."""
    from fastseq.autograd.recurrent import kernels_of
    from fastseq.cells.contract import all_cells
    from fastseq.streaming import pool, stream

    for cell in all_cells():
        for define in (kernels_of, stream.kernel_of, pool.kernel_of):
            define(cell)
