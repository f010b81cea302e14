"""One process per peer, number of threads and environment: it prepares tasks and times them when it is told to.

A process of its own keeps a peer's thread pools, allocator and settings away from the others; between its turns it
sleeps. The parent talks to it through `Worker`, whose methods run in the child.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.peers.adapters import Results, Run, adapter, ways
from benchmarks.peers.adapters.numpy_loop import judge
from benchmarks.peers.tasks import Task, draw

TIMEOUT = 300.0
"""Seconds after which a silent worker counts as lost."""
LONG = 0.25
"""A call of so many seconds warms itself up."""
NAP = 0.012
"""Seconds over which a process is watched for spinning threads: more than a tick (10 ms), in which time is counted."""


def settings(threads: int) -> dict[str, str]:
    """Environment that holds every package to so many threads; they read it when they are imported."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA", "TF_NUM_INTRAOP", "TF_NUM_INTEROP")
    pools = {f"{name}_THREADS" if name.startswith("TF") else f"{name}_NUM_THREADS": str(threads) for name in names}
    flags = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"} if threads == 1 else {}
    quiet = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "KERAS_BACKEND": "tensorflow",
    }
    return pools | flags | quiet | {"PJRT_NPROC": str(threads), "NPROC": str(threads)}


def hold_to(threads: int) -> None:
    """Let this process run on so many processors, the last of those that it has."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


class Worker:
    """What a worker can do; it lives in the child."""

    def __init__(self, peer: str, threads: int) -> None:
        self.peer = peer
        begin = time.perf_counter()
        limit = getattr(adapter(peer), "limit_threads", None)
        if limit is not None:
            limit(threads)
        self.import_seconds = time.perf_counter() - begin
        self._runs: dict[tuple[str, Task], Run] = {}
        self._seconds: dict[tuple[str, Task], float] = {}

    def judge(self, task: Task) -> Results:
        """Return the results in float64."""
        found = judge(task, draw(task))
        come_to_rest()
        return found

    def prepare(self, label: str, task: Task) -> tuple[Results, float]:
        """Make a task ready; return its results and the seconds to get there: compilation and a first call."""
        problem = draw(task)
        begin = time.perf_counter()
        run = self._runs[label, task] = ways(self.peer, task)[label](task, problem)
        found = run.results()
        passed = time.perf_counter() - begin
        come_to_rest()
        return found, passed

    def measure(self, label: str, task: Task, seconds: float) -> float:
        """Return seconds per call, from as many calls as fit into about ``seconds``, after some to warm up."""
        run, known = self._runs[label, task], self._seconds.get((label, task))
        if known is None:
            known = min(_loop(run, 1) for _ in range(3)) if _loop(run, 1) < LONG else _loop(run, 1)
        calls = max(1, round(seconds / known))
        if known < LONG:
            _loop(run, 1 + calls // 10)
        found = self._seconds[label, task] = _loop(run, calls)
        come_to_rest()
        return found

    def each(self, label: str, task: Task, calls: int) -> np.ndarray:
        """Return the nanoseconds of single calls, the clock's own included."""
        run, clock = self._runs[label, task], time.perf_counter_ns
        call, arguments, found = run.call, run.arguments, [0] * calls
        for i in range(calls):
            begin = clock()
            call(*arguments)
            found[i] = clock() - begin
        come_to_rest()
        return np.array(found, np.int64)

    def drop(self) -> None:
        """Forget all tasks."""
        self._runs.clear()
        self._seconds.clear()
        gc.collect()


def come_to_rest() -> None:
    """Wait until this process's threads have stopped spinning, or the next one's turn would be spent beside them.

    Pools keep their threads busy for a while after a product, in the hope of another: OpenBLAS for some 30 ms.
    """
    for _ in range(100):
        before = time.process_time()
        time.sleep(NAP)
        if time.process_time() - before < NAP / 10:
            return


def _loop(run: Run, calls: int) -> float:
    call, arguments = run.call, run.arguments
    turns = range(calls)
    begin = time.perf_counter()
    for _ in turns:
        call(*arguments)
    return (time.perf_counter() - begin) / calls


def serve(channel: Connection, peer: str, threads: int) -> None:
    """Answer (method, arguments) with (True, value) or (False, what went wrong) until told None."""
    hold_to(threads)
    worker: Worker | None = None
    while (asked := channel.recv()) is not None:
        name, arguments = asked
        try:
            worker = worker or Worker(peer, threads)
            value = getattr(worker, name)
            channel.send((True, value(*arguments) if callable(value) else value))
        except Exception as error:  # whatever a peer raises is that peer's result
            traceback.print_exc()
            channel.send((False, f"{type(error).__name__}: {error}"))


class Failed(RuntimeError):
    """A worker could not do what it was asked."""


class Remote:
    """The parent's end of a worker."""

    def __init__(self, peer: str, threads: int, environment: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._channel, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, peer, threads), daemon=True)
        with _environment(settings(threads) | dict(environment)):
            self._process.start()
        theirs.close()

    def __call__(self, name: str, *arguments: Any) -> Any:
        """Run a method of `Worker`, or read an attribute."""
        try:
            self._channel.send((name, arguments))
            if not self._channel.poll(TIMEOUT):
                self._process.kill()
                raise Failed(f"no answer in {TIMEOUT:.0f} s")
            good, value = self._channel.recv()
        except (EOFError, OSError) as error:
            raise Failed(f"the process ended ({error or type(error).__name__})") from error
        if not good:
            raise Failed(value)
        return value

    def close(self) -> None:
        """End the process."""
        try:
            self._channel.send(None)
            self._process.join(10)
        except OSError:
            pass
        if self._process.is_alive():
            self._process.kill()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables while a child is started; it inherits them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
