"""Figures that are no times of calls: seconds of compilation, of a cache hit, of imports; share of the limit; memory.

Compilation is a figure of its own: it never hides in a time of the other modules.
"""

from __future__ import annotations

import statistics
import tempfile
import time

import numpy as np

from benchmarks.peers import processes

PROGRAMS = {
    "inference": "lstm = nn.LSTM(4, 16)\nwith fs.no_grad():\n    lstm(x)",
    "training": "nn.LSTM(4, 16)(x)[0].sum().backward()",
    "stream": "fs.Stream(nn.Sequential(nn.LSTM(4, 16), nn.Linear(16, 1)).eval()).step(x[0, 0])",
}
PREAMBLE = """
import time
import numpy as np
import fastseq as fs
from fastseq import nn
x = np.ones((2, 3, 4), np.float32)
start = time.perf_counter()
"""


def first_use(program: str, folder: str | None = None) -> float:
    """Seconds that the program takes in a process of its own, imports left out; ``folder`` is its kernel cache."""
    return float(processes.program(PREAMBLE + PROGRAMS[program] + "\nprint(time.perf_counter() - start)", folder))


def track_compile_seconds(program: str) -> float:
    """Cold: everything that the program needs is compiled."""
    with tempfile.TemporaryDirectory() as folder:
        return first_use(program, folder)


def track_cached_seconds(program: str) -> float:
    """Warm: the second process finds all of it in the user's cache."""
    first_use(program)
    return statistics.median(first_use(program) for _ in range(3))


def track_import_seconds(module: str) -> float:
    """Import, after NumPy's, in a fresh process."""
    return statistics.median(float(processes.program(processes.IMPORT.format(module=module))) for _ in range(3))


def track_share_of_peak(shape: str, threads: int) -> float:
    """Training pass of one layer: its rate as a share of P, which is measured in turns with it."""
    import fastseq as fs
    from benchmarks.peers import peak
    from benchmarks.peers.adapters.fastseq_layers import training
    from benchmarks.peers.tasks import Task, draw

    fs.set_num_threads(threads)
    task, limit = Task("training", *map(int, shape.split("x"))), peak.Peak()
    run = training(task, draw(task))

    def rate(call, flop: float, calls: int) -> float:
        call()
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        return flop * calls / (time.perf_counter() - begin)

    calls = max(1, round(5e9 / task.flop))
    rounds = [rate(run.call, task.flop, calls) / rate(limit.run, peak.FLOP * threads, 3) for _ in range(9)]
    return 100 * float(np.median(rounds))


def track_residual_floats(shape: str) -> float:
    """Floats that a training pass keeps, per valid step and hidden unit."""
    sizes = tuple(map(int, shape.split("x")))
    return float(processes.program(processes.RESIDUALS.format(shape=sizes, ragged=True)))


for benchmark in (track_compile_seconds, track_cached_seconds):
    benchmark.params = (list(PROGRAMS),)
    benchmark.param_names = ("program",)
track_import_seconds.params = (["fastseq", "fastseq.nn", "fastseq.training"],)
track_import_seconds.param_names = ("module",)
track_share_of_peak.params = (["32x50x16x64", "64x100x64x128", "64x100x128x256"], [1, 2])
track_share_of_peak.param_names = ("shape", "threads")
track_residual_floats.params = (["64x100x64x128"],)
track_residual_floats.param_names = ("shape",)
for benchmark, unit in (
    (track_compile_seconds, "s"),
    (track_cached_seconds, "s"),
    (track_import_seconds, "s"),
    (track_share_of_peak, "%"),
    (track_residual_floats, "floats"),
):
    benchmark.unit, benchmark.timeout = unit, 600
