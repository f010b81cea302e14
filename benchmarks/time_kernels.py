"""Seconds of kernels by themselves: products, elementary functions, the optimiser's update, the tile's limit."""

from __future__ import annotations

import numpy as np


class Product:
    """A matrix product, as ``Linear`` and ``matmul`` use it."""

    params = (["64x64x64", "512x512x512", "6400x128x512"], [1, 2])
    param_names = ("rows x depth x columns", "threads")
    timeout = 300

    def setup(self, sizes: str, threads: int) -> None:
        """Draw the operands."""
        import fastseq as fs
        from fastseq.simd.dense import product

        fs.set_num_threads(threads)
        rows, depth, columns = map(int, sizes.split("x"))
        rng = np.random.default_rng(0)
        self.a = rng.standard_normal((rows, depth), dtype=np.float32)
        self.b = rng.standard_normal((depth, columns), dtype=np.float32)
        self.product = product
        self.time_product()

    def time_product(self, *_: object) -> None:
        """a b."""
        self.product(self.a, self.b)


class Elementwise:
    """An elementary function of a million numbers."""

    params = (["exp", "sigmoid", "tanh"],)
    param_names = ("function",)
    timeout = 300

    def setup(self, function: str) -> None:
        """Draw the numbers."""
        from fastseq.simd import elementwise

        self.kind, self.elementwise = elementwise.KINDS.index(function), elementwise.elementwise
        self.x = np.random.default_rng(0).uniform(-8, 8, 1_000_000).astype(np.float32)
        self.time_elementwise()

    def time_elementwise(self, *_: object) -> None:
        """f(x)."""
        self.elementwise(self.kind, self.x)


class Adam:
    """The update of a million parameters that have gradients."""

    timeout = 300

    def setup(self) -> None:
        """Give the parameters gradients."""
        from fastseq import nn, optim

        layer = nn.Linear(1000, 1000)
        layer(np.ones((1, 1000), np.float32)).sum().backward()
        self.optimizer = optim.Adam(layer.parameters())
        self.time_step()

    def time_step(self) -> None:
        """One step of the optimiser."""
        self.optimizer.step()


class Peak:
    """P: fused multiply-adds on operands in the first cache."""

    params = ([1, 2],)
    param_names = ("threads",)
    timeout = 300

    def setup(self, threads: int) -> None:
        """Compile the loop."""
        import fastseq as fs
        from benchmarks.peers import peak

        fs.set_num_threads(threads)
        self.peak = peak.Peak()
        self.peak.run()

    def time_peak(self, *_: object) -> None:
        """`benchmarks.peers.peak.FLOP` operations per thread."""
        self.peak.run()
