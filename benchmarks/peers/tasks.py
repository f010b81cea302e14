"""What is measured: tasks, how much arithmetic they are, and the weights and data that every peer gets.

Weights carry PyTorch's names, shapes and gate order (i f g o). Everything is drawn from fixed seeds, so that each
process draws the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UPDATE_BATCHES = 8
"""Batches that a training step takes in turns: on a single one the loss, and then the gradients, would fade to zero."""
CHECKED_STEPS = 20
"""Streamed steps whose outputs are compared."""
LEARNING_RATE = 1e-3
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Task:
    """One piece of work: B rows, T steps, F features, H hidden units, and what is done with them.

    Kinds: ``inference`` (forward), ``training`` (forward, and backward down to the input), ``update`` (a training step:
    forward, mean squared error, backward, clipping, Adam), ``step`` (one row and step, from Python, state carried),
    ``pool`` (one step of ``active`` out of B states) and ``peak`` (nothing but fused multiply-adds).
    """

    kind: str
    batch: int = 1
    steps: int = 1
    features: int = 1
    hidden: int = 1
    ragged: bool = False
    layers: int = 1
    directions: int = 1
    dropout: float = 0.0
    head: bool = False
    active: int = 0

    @property
    def shape(self) -> str:
        """``B,T,F,H``."""
        return f"{self.batch},{self.steps},{self.features},{self.hidden}"

    @property
    def way(self) -> str:
        """What adapters call this kind of task."""
        return f"ragged {self.kind}" if self.ragged else self.kind

    @property
    def lengths(self) -> np.ndarray:
        """Valid steps per row (B,): T, or uniform in T/10..T."""
        if not self.ragged:
            return np.full(self.batch, self.steps)
        return np.random.default_rng(1).integers(max(1, self.steps // 10), self.steps + 1, self.batch)

    @property
    def fill(self) -> float:
        """Share of the padded steps that are valid."""
        return float(self.lengths.sum() / (self.batch * self.steps))

    @property
    def weights_per_step(self) -> int:
        """Weights that one step of one row is multiplied with: N = 4 H (F + H) per layer and direction, and the head's.

        The head is counted where it acts on every step; at a sequence's end it is too little to count.
        """
        total, inputs = 0, self.features
        for _ in range(self.layers):
            total += self.directions * 4 * self.hidden * (inputs + self.hidden)
            inputs = self.directions * self.hidden
        return total + (inputs if self.head and self.kind in ("step", "pool") else 0)

    @property
    def flop(self) -> float:
        """Floating-point operations: 2 N per valid step forward, 6 N for a training pass."""
        valid = self.active if self.kind == "pool" else int(self.lengths.sum())
        return (6.0 if self.kind in ("training", "update") else 2.0) * self.weights_per_step * valid


@dataclass(frozen=True)
class Problem:
    """The numbers of a task: weights by PyTorch's names, and data."""

    weights: dict[str, np.ndarray]
    x: np.ndarray
    y: np.ndarray
    d_out: np.ndarray
    lengths: np.ndarray


def suffixes(task: Task) -> list[list[str]]:
    """The endings of parameter names: per layer, one for each direction."""
    return [[f"_l{layer}", f"_l{layer}_reverse"][: task.directions] for layer in range(task.layers)]


def draw_weights(task: Task) -> dict[str, np.ndarray]:
    """Draw from U(-1/sqrt(H), 1/sqrt(H)), as PyTorch does; ``fc.*`` is the linear head of one output."""
    rng, bound, rows = np.random.default_rng(2), task.hidden**-0.5, 4 * task.hidden
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = task.features
    for layer in suffixes(task):
        for suffix in layer:
            shapes |= {f"weight_ih{suffix}": (rows, inputs), f"weight_hh{suffix}": (rows, task.hidden)}
            shapes |= {f"bias_ih{suffix}": (rows,), f"bias_hh{suffix}": (rows,)}
        inputs = task.directions * task.hidden
    if task.head:
        shapes |= {"fc.weight": (1, inputs), "fc.bias": (1,)}
    return {name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}


def draw(task: Task) -> Problem:
    """Draw weights and data of a task.

    x is (B, T, F); `UPDATE_BATCHES` of that for updates, with targets y (batches, B, 1); (steps, F) for one streamed
    row and (steps, active, F) for a pool, `CHECKED_STEPS` of them. d_out (B, T, H) is the gradient that comes from
    above, zero past a row's length.
    """
    rng, lengths = np.random.default_rng(0), task.lengths
    y = d_out = np.empty(0, np.float32)
    if task.kind == "step":
        x = rng.standard_normal((CHECKED_STEPS, task.features), dtype=np.float32)
    elif task.kind == "pool":
        x = rng.standard_normal((CHECKED_STEPS, task.active, task.features), dtype=np.float32)
    elif task.kind == "update":
        x = rng.standard_normal((UPDATE_BATCHES, task.batch, task.steps, task.features), dtype=np.float32)
        y = rng.standard_normal((UPDATE_BATCHES, task.batch, 1), dtype=np.float32)
    else:
        x = rng.standard_normal((task.batch, task.steps, task.features), dtype=np.float32)
    if task.kind == "training":
        d_out = rng.standard_normal((task.batch, task.steps, task.hidden), dtype=np.float32)
        d_out[np.arange(task.steps)[None, :] >= lengths[:, None]] = 0
    return Problem(draw_weights(task), x, y, d_out, lengths)
