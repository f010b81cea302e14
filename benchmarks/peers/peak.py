"""P, the limit: what the tile of fastseq's own matrix products reaches when its operands stay in the first cache."""

from __future__ import annotations

import numpy as np

from fastseq.jit import Int, Launcher, ReadReals, Reals, get_num_threads, kernel, piece, share
from fastseq.simd.gemm import multiply
from fastseq.simd.lanes import address

ROWS, VECTORS, LANES, DEPTH = 24, 4, 16, 256
WIDTH = VECTORS * LANES
REPEATS = 2000
FLOP = 2.0 * ROWS * WIDTH * DEPTH * REPEATS
"""Operations of one thread in one call: about 1.6 G."""


@piece
def multiply_again_task(task, a, w, c, repeats):
    """Add a (24, 256) times w to a task's c (24, 64), over and over.

    The same 64 weights serve every k (stride 0), so that with a (24 KiB) and c (6 KiB) all operands fit 32 KiB of L1.
    """
    at = task * ROWS * WIDTH
    for _ in range(repeats):
        multiply(a, 0, DEPTH, 1, w, 0, 0, DEPTH, c, at, WIDTH, c, at, WIDTH, ROWS, VECTORS, LANES)


@kernel
def multiply_again(a: ReadReals, w: ReadReals, c: Reals, tasks: Int, repeats: Int, launcher: Launcher):
    """Run the tasks."""
    share(launcher, tasks, multiply_again_task, (address(a), address(w), address(c), repeats))


class Peak:
    """The measurement on as many threads as fastseq uses now, or on fewer."""

    def __init__(self, threads: int | None = None) -> None:
        self.threads = get_num_threads() if threads is None else threads
        self.a = np.full(ROWS * DEPTH, 1e-3, np.float32)
        self.w = np.full(WIDTH, 1e-3, np.float32)
        self.c = np.zeros(self.threads * ROWS * WIDTH, np.float32)

    def run(self, repeats: int = REPEATS) -> None:
        """Multiply ``repeats`` times on every thread."""
        work = FLOP if self.threads > 1 else 0.0
        multiply_again.launch(work, self.a, self.w, self.c, self.threads, repeats)
