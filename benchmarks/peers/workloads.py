"""The named workloads: which tasks stand side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.peers.tasks import ENCODER, Task

AVX2 = (("NUMBA_CPU_NAME", "haswell"), ("NUMBA_CPU_FEATURES", ""))
"""Environment in which Numba makes code for a processor without AVX-512."""

TRAINING = [
    (1, 50, 16, 64), (32, 50, 16, 32), (32, 50, 16, 64), (64, 100, 64, 128), (64, 100, 128, 256),
    (32, 100, 256, 512), (128, 50, 512, 1024),
]  # fmt: skip
RAGGED = [(32, 29, 12, 100), (32, 200, 16, 64), (64, 100, 64, 128), (64, 400, 32, 128)]
INFERENCE = [
    (1, 50, 16, 64), (32, 50, 1, 32), (32, 50, 16, 64), (64, 100, 64, 128), (64, 100, 128, 256), (32, 100, 256, 512),
]  # fmt: skip
STEP = [(1, 32), (16, 64), (64, 128), (64, 256)]
POOL, ACTIVE = 10_000, [1, 8, 64, 1024]
OFF_WIDTH = [(16, 50), (16, 100), (16, 200), (3, 64), (5, 64), (33, 64)]
SCALING = [(64, 100, 64, 128), (64, 100, 128, 256), (32, 100, 256, 512)]
CELLS = ("GRU", "RNN")
CELL_TRAINING = [(32, 50, 16, 64), (64, 100, 64, 128), (64, 100, 128, 256)]
CELL_RAGGED = [(32, 200, 16, 64), (64, 100, 64, 128)]
CELL_INFERENCE = [(32, 50, 16, 64), (64, 100, 64, 128)]
MANY_CORES, MANY = 16, (256, 100, 128, 256)
QUICK = ("training/1,50,16,64", "training/32,50,16,64", "update/online", "ragged/32,29,12,100", "inference/32,50,16,64",
         "step/16,64", "pool/8", "width/H50", "cells/GRU 32,50,16,64", "cells inference/RNN 32,50,16,64",
         "encoder/training with unequal lengths")  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One contender: a peer's way of doing a task, on so many threads, in an environment."""

    label: str
    peer: str
    way: str
    task: Task
    threads: int
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Workload:
    """Contenders that take turns. Every peer that can do ``task`` is one; ``extra`` names more.

    P is measured beside them, in the same ``environment``, on every number of threads that occurs.
    """

    name: str
    task: Task
    threads: int
    peers: tuple[str, ...] | None = None
    extra: tuple[Entry, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def single(self) -> bool:
        """Whether single calls are timed too."""
        return self.task.kind in ("step", "pool")


def name_of(shape: tuple[int, ...]) -> str:
    """``B,T,F,H``."""
    return ",".join(map(str, shape))


def next_multiple(size: int, width: int = 16) -> int:
    """The next whole number of vectors."""
    return -(-size // width) * width


def workloads(threads: int, cores: int) -> list[Workload]:
    """All workloads on a machine."""
    found = []
    for shape in TRAINING:
        found.append(Workload(f"training/{name_of(shape)}", Task("training", *shape), threads))
    contract = Task("update", 32, 50, 16, 64, layers=2, directions=2, dropout=0.2, head=True)
    online = Task("update", 1, 50, 16, 64, head=True)
    found += [Workload("update/contract", contract, threads), Workload("update/online", online, threads)]
    for shape in RAGGED:
        task = Task("training", *shape, ragged=True)
        dense = Entry("fastseq, dense", "fastseq", "fastseq", replace(task, ragged=False), threads)
        found.append(Workload(f"ragged/{name_of(shape)}", task, threads, extra=(dense,)))
    for shape in INFERENCE:
        found.append(Workload(f"inference/{name_of(shape)}", Task("inference", *shape), threads))
    for features, hidden in STEP:
        found.append(Workload(f"step/{features},{hidden}", Task("step", 1, 1, features, hidden), 1))
    for active in ACTIVE:
        task = Task("pool", POOL, 1, 16, 64, head=True, active=active)
        single = Entry("Stream.step, no head", "fastseq", "fastseq", Task("step", 1, 1, 16, 64), 1)
        extra = (single,) if active == 1 else ()
        found.append(Workload(f"pool/{active}", task, 1, peers=("fastseq", "numpy"), extra=extra))
    found += [*_cells(threads), *_encoders(threads)]
    for features, hidden in OFF_WIDTH:
        off = Task("training", 32, 50, features, hidden)
        full = replace(off, features=next_multiple(features), hidden=next_multiple(hidden))
        entry = Entry("next multiple", "fastseq", "fastseq", full, threads)
        name = f"width/H{hidden}" if hidden != next_multiple(hidden) else f"width/F{features}"
        found.append(Workload(name, off, threads, peers=("fastseq",), extra=(entry,)))
    if threads > 1:
        for shape in SCALING:
            found.append(_scaling(shape, threads))
    if cores >= MANY_CORES:
        found.append(_scaling(MANY, MANY_CORES))
    for shape in SCALING:
        task = Task("training", *shape)
        found.append(Workload(f"avx2/{name_of(shape)}", task, threads, peers=("fastseq",), environment=AVX2))
    return found


def _cells(threads: int) -> list[Workload]:
    """Other cells beside the peers', and beside our own LSTM; nobody else has a minGRU ready-made."""
    asked = [("cells", "training", False, CELL_TRAINING), ("cells ragged", "training", True, CELL_RAGGED)]
    asked.append(("cells inference", "inference", False, CELL_INFERENCE))
    found = []
    for group, kind, ragged, shapes in asked:
        for cell in CELLS:
            for shape in shapes:
                task = Task(kind, *shape, ragged=ragged, cell=cell)
                lstm = Entry("fastseq LSTM", "fastseq", "fastseq", replace(task, cell="LSTM"), threads)
                found.append(Workload(f"{group}/{cell} {name_of(shape)}", task, threads, extra=(lstm,)))
    task = Task("training", *CELL_TRAINING[1], cell="MinGRU")
    return [*found, Workload(f"cells/MinGRU {name_of(CELL_TRAINING[1])}", task, threads)]


def _encoders(threads: int) -> list[Workload]:
    """Two layers of a Transformer encoder, B 32, T 64, E 128."""
    whole = Task("training", 32, 64, 128, 128, cell=ENCODER, layers=2, heads=8, inner=512)
    tasks = {
        "training": whole,
        "training with dropout 0.1": replace(whole, dropout=0.1),
        "training with unequal lengths": replace(whole, ragged=True),
        "inference": replace(whole, kind="inference"),
        "inference with unequal lengths": replace(whole, kind="inference", ragged=True),
    }
    return [Workload(f"encoder/{name}", task, threads) for name, task in tasks.items()]


def _scaling(shape: tuple[int, int, int, int], threads: int) -> Workload:
    task = Task("training", *shape)
    alone = Entry("one thread", "fastseq", "fastseq", task, 1)
    return Workload(f"threads/{name_of(shape)} x{threads}", task, threads, peers=("fastseq",), extra=(alone,))


def selected(all_of_them: list[Workload], only: list[str]) -> list[Workload]:
    """Those whose names begin with one of ``only``; all where that is empty."""
    return [w for w in all_of_them if not only or any(w.name.startswith(prefix) for prefix in only)]
