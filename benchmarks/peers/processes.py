"""Facts about fresh processes: what a cold start costs, and what a training pass keeps in memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORT = "import numpy, time; begin = time.perf_counter(); import {module}; print(time.perf_counter() - begin)"

FIRST_PASS = """
import time
import numpy as np
import fastseq as fs
from fastseq import nn
x = np.random.default_rng(0).standard_normal((32, 50, 16), dtype=np.float32)
begin = time.perf_counter()
nn.LSTM(16, 64)(fs.Tensor(x, requires_grad=True))[0].sum().backward()
print(time.perf_counter() - begin)
"""

RESIDUALS = """
import tracemalloc
import numpy as np
import fastseq as fs
from fastseq import nn
batch, steps, features, hidden = {shape}
rng = np.random.default_rng(0)
lengths = rng.integers(steps // 10, steps + 1, batch) if {ragged} else np.full(batch, steps)
x = fs.Tensor(rng.standard_normal((batch, steps, features), dtype=np.float32), requires_grad=True)
lstm = nn.LSTM(features, hidden)
first = lstm(x, lengths=lengths)  # packs the weights, and takes the scratch that all later calls share
tracemalloc.start()
out, state = lstm(x, lengths=lengths)
kept = tracemalloc.get_traced_memory()[0] - out.numpy().nbytes
print(kept / 4 / hidden / lengths.sum())
"""
MEMORY = [(64, 100, 64, 128), (32, 100, 256, 64)]
"""Shapes (B, T, F, H); where F is four times H, a copy of the input could not hide among the residuals."""


def program(code: str, cache: str | None = None, *arguments: str) -> str:
    """Run Python code, or arguments such as ``-m``, in a process that has the same fastseq; return what it prints."""
    import fastseq

    home = str(Path(fastseq.__file__).resolve().parents[1])  # a checkout, or the site-packages of an environment
    command = [sys.executable, *(["-c", code] if code else []), *arguments]
    environment = dict(os.environ) | ({} if cache is None else {"FASTSEQ_CACHE_DIR": cache})
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        command, env=environment, cwd=home, stdout=subprocess.PIPE, text=True, check=True, timeout=600
    ).stdout


def cold_start(repeats: int, from_nothing: bool) -> dict[str, float]:
    """Seconds of imports after NumPy, of a first training pass with a warm cache, and of compiling everything.

    Medians of ``repeats`` processes; compiling from nothing is done once.
    """
    program(FIRST_PASS)  # fills the cache

    def seconds(code: str) -> float:
        return statistics.median(float(program(code)) for _ in range(repeats))

    found = {
        "import fastseq": seconds(IMPORT.format(module="fastseq")),
        "import fastseq.nn": seconds(IMPORT.format(module="fastseq.nn")),
        "first training pass, cache warm": seconds(FIRST_PASS),
    }
    if from_nothing:
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            program("", folder, "-m", "fastseq", "warmup", "--no-progress")
            found["fastseq warmup, empty cache"] = time.perf_counter() - begin
    return found


def memory() -> dict[str, float]:
    """Floats kept for backward per valid step and hidden unit: all that a second forward pass allocates but its output.

    The first pass is still alive, so that no buffer can be used again.
    """
    found = {}
    for shape in MEMORY:
        for ragged in (False, True):
            name = ",".join(map(str, shape)) + (" ragged" if ragged else "")
            found[name] = float(program(RESIDUALS.format(shape=shape, ragged=ragged)))
    return found
