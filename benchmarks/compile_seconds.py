"""What a first use costs: seconds of a fresh process with an empty kernel cache, and of the next one with a warm one.

Compilation is a figure of its own: it never hides in a time of ``time_layers``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

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
    code = PREAMBLE + PROGRAMS[program] + "\nprint(time.perf_counter() - start)"
    cache = {} if folder is None else {"FASTSEQ_CACHE_DIR": folder}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **cache}, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def track_compile_seconds(program: str) -> float:
    """Cold: everything that the program needs is compiled."""
    with tempfile.TemporaryDirectory() as folder:
        return first_use(program, folder)


def track_cached_seconds(program: str) -> float:
    """Warm: the second process finds all of it in the user's cache."""
    first_use(program)
    return first_use(program)


for benchmark in (track_compile_seconds, track_cached_seconds):
    benchmark.params = (list(PROGRAMS),)
    benchmark.param_names = ("program",)
    benchmark.unit = "s"
    benchmark.timeout = 600
