"""Warm-up: compile all kernels at once, in as many processes as there are cores (Numba compiles one at a time)."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from fastseq.jit import cache
from fastseq.jit.kernels import Kernel, all_kernels
from fastseq.jit.threads import threads

MOST_PROCESSES = 4
FEW = 4
"""Missing kernels up to which more processes cost more than they save."""

Progress = Callable[[str, float, int, int], None]


class _Job(NamedTuple):
    """A kernel to be compiled for an element type."""

    kernel: Kernel
    dtype: np.dtype

    @property
    def title(self) -> str:
        return f"{self.kernel.name} {self.dtype}"

    @property
    def module(self) -> str:
        return str(self.kernel.function.__module__)


def warmup(
    dtypes: tuple[Any, ...] = (np.float32,), progress: Progress | None = None, processes: int | None = None
) -> float:
    """Compile every kernel that has been imported, or load it from the cache.

    Parameters
    ----------
    dtypes
        The element types to compile for.
    progress
        Called after each specialisation with its name, its seconds, how many are done and how many there are.
    processes
        How many processes compile what is missing; by default as many as there are cores, at most `MOST_PROCESSES`.

    Returns
    -------
    float
        Seconds taken.
    """
    begin = time.perf_counter()
    jobs = [_Job(kernel, np.dtype(dtype)) for kernel in all_kernels() for dtype in dtypes]
    total, done = len(jobs) + 1, 0

    def report(title: str, seconds: float) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(title, seconds, done, total)

    missing = [job for job in jobs if job.kernel.missing(job.dtype)]
    count = min(_cores(), MOST_PROCESSES) if processes is None else processes
    elsewhere: set[_Job] = set()
    if cache.cache_folder() is not None and len(missing) > FEW and count > 1:
        for job, seconds in _shared_out(missing, count):
            elsewhere.add(job)
            report(job.title, seconds)
    for job in jobs:
        before = time.perf_counter()
        job.kernel.compiled(job.dtype)
        if job not in elsewhere:
            report(job.title, time.perf_counter() - before)
    before = time.perf_counter()
    threads.launcher()
    report("the loop over threads", time.perf_counter() - before)
    return time.perf_counter() - begin


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shared_out(jobs: list[_Job], count: int) -> Iterator[tuple[_Job, float]]:
    """Have processes fill the cache; yield each kernel that one has compiled, and its seconds.

    What none of them could compile (a kernel of a program's own, a process that was killed) is left to the caller.
    """
    waiting = _Waiting(jobs)
    finished: SimpleQueue[tuple[_Job, float] | None] = SimpleQueue()
    workers = [threading.Thread(target=_employ, args=(waiting, finished), daemon=True) for _ in range(count)]
    for worker in workers:
        worker.start()
    ended = 0
    while ended < len(workers):
        found = finished.get()
        if found is None:
            ended += 1
        else:
            yield found


class _Waiting:
    """Jobs to be taken, large ones first; kernels of one module by one process, since they share pieces."""

    def __init__(self, jobs: list[_Job]) -> None:
        self._jobs = sorted(jobs, key=lambda job: -len(job.kernel.function.__code__.co_code))
        self._begun: set[str] = set()
        self._door = threading.Lock()

    def take(self, own: set[str]) -> _Job | None:
        """Return a job, None if none is left; ``own`` are the modules of those that the process has had."""
        with self._door:
            if not self._jobs:
                return None
            job = min(self._jobs, key=lambda job: (job.module not in own, job.module in self._begun))
            self._jobs.remove(job)
            self._begun.add(job.module)
            own.add(job.module)
            return job


def _employ(waiting: _Waiting, finished: SimpleQueue[tuple[_Job, float] | None]) -> None:
    """Start one process and hand it kernel after kernel."""
    modules = [name for name in sys.modules if name.split(".")[0] == __name__.split(".")[0]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    try:
        with (
            contextlib.suppress(OSError),  # the process has gone
            subprocess.Popen(command, text=True, env=environment, **pipes) as process,
        ):
            assert process.stdin is not None and process.stdout is not None
            print(json.dumps(modules), file=process.stdin, flush=True)
            own: set[str] = set()
            while (job := waiting.take(own)) is not None:
                before = time.perf_counter()
                print(json.dumps([job.kernel.name, str(job.dtype)]), file=process.stdin, flush=True)
                answer = process.stdout.readline()
                if not answer:
                    break
                if json.loads(answer):
                    finished.put((job, time.perf_counter() - before))
    finally:
        finished.put(None)


def serve() -> None:
    """Compile the kernels that standard input names, one a line; answer each with whether it is in the cache now."""
    for name in json.loads(input()):
        importlib.import_module(name)
    known = {kernel.name: kernel for kernel in all_kernels()}
    for line in sys.stdin:
        name, dtype = json.loads(line)
        if name in known:
            known[name].compiled(np.dtype(dtype))
            gc.collect()
            gc.freeze()  # what the compiler keeps, it keeps for good: not to be looked through again
        print(json.dumps(name in known), flush=True)
