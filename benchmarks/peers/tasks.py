"""What is measured: tasks, how much arithmetic they are, and the weights and data that every peer gets.

Weights carry PyTorch's names, shapes and gate orders (i f g o, r z n). Everything is drawn from fixed seeds, so that
each process draws the same.
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
SLOTS = {"LSTM": 4, "GRU": 3, "RNN": 1, "MinGRU": 2}
"""Products per hidden unit, by the cell's name; a minGRU has none with h."""
ENCODER = "TransformerEncoder"
"""The cell of a task that is none: attention and dense layers instead of a recurrence."""


@dataclass(frozen=True)
class Task:
    """One piece of work: B rows, T steps, F features, H hidden units, and what is done with them.

    Kinds: ``inference`` (forward), ``training`` (forward, and backward down to the input), ``update`` (a training step:
    forward, mean squared error, backward, clipping, Adam), ``step`` (one row and step, from Python, state carried),
    ``pool`` (one step of ``active`` out of B states) and ``peak`` (nothing but fused multiply-adds).

    ``cell`` is a key of `SLOTS`, or `ENCODER`: then H = F is the model's width, with ``heads`` heads and ``inner``
    units between the dense layers, ReLU and normalisation after each part, as is PyTorch's default.
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
    cell: str = "LSTM"
    heads: int = 0
    inner: int = 0

    @property
    def shape(self) -> str:
        """``B,T,F,H``."""
        return f"{self.batch},{self.steps},{self.features},{self.hidden}"

    @property
    def way(self) -> str:
        """What adapters call this kind of task."""
        kind = f"encoder {self.kind}" if self.cell == ENCODER else self.kind
        return f"ragged {kind}" if self.ragged else kind

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

        Other cells have as many H as they have slots. The head is counted where it acts on every step; at a sequence's
        end it is too little to count.
        """
        if self.cell == ENCODER:
            return self.layers * self.hidden * (4 * self.hidden + 2 * self.inner)
        total, inputs, recurrent = 0, self.features, 0 if self.cell == "MinGRU" else self.hidden
        for _ in range(self.layers):
            total += self.directions * SLOTS[self.cell] * self.hidden * (inputs + recurrent)
            inputs = self.directions * self.hidden
        return total + (inputs if self.head and self.kind in ("step", "pool") else 0)

    @property
    def flop(self) -> float:
        """Floating-point operations: 2 N per valid step forward, 6 N for a training pass.

        In an encoder every step is also multiplied with its row's keys, and with its values.
        """
        valid = self.active if self.kind == "pool" else int(self.lengths.sum())
        pairs = int((self.lengths**2).sum()) if self.cell == ENCODER else 0
        products = self.weights_per_step * valid + self.layers * 2 * self.hidden * pairs
        return (6.0 if self.kind in ("training", "update") else 2.0) * products


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


def encoder_shapes(task: Task) -> dict[str, tuple[int, ...]]:
    """Shapes of an encoder's parameters by PyTorch's names."""
    size, inner = task.hidden, task.inner
    of_layer = {
        "self_attn.in_proj_weight": (3 * size, size), "self_attn.in_proj_bias": (3 * size,),
        "self_attn.out_proj.weight": (size, size), "self_attn.out_proj.bias": (size,),
        "linear1.weight": (inner, size), "linear1.bias": (inner,),
        "linear2.weight": (size, inner), "linear2.bias": (size,),
        "norm1.weight": (size,), "norm1.bias": (size,), "norm2.weight": (size,), "norm2.bias": (size,),
    }  # fmt: skip
    return {f"layers.{k}.{name}": shape for k in range(task.layers) for name, shape in of_layer.items()}


def draw_weights(task: Task) -> dict[str, np.ndarray]:
    """Draw from U(-1/sqrt(H), 1/sqrt(H)), as PyTorch does; ``fc.*`` is the linear head of one output.

    An encoder's gains of normalisation are drawn around one.
    """
    rng, bound = np.random.default_rng(2), task.hidden**-0.5
    if task.cell == ENCODER:
        drawn = {name: rng.uniform(-bound, bound, shape) for name, shape in encoder_shapes(task).items()}
        return {n: (v + 1 if "norm" in n and n.endswith("weight") else v).astype(np.float32) for n, v in drawn.items()}
    rows, sources = SLOTS[task.cell] * task.hidden, ("ih",) if task.cell == "MinGRU" else ("ih", "hh")
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = task.features
    for layer in suffixes(task):
        for suffix in layer:
            widths = {"ih": inputs, "hh": task.hidden}
            shapes |= {f"weight_{source}{suffix}": (rows, widths[source]) for source in sources}
            shapes |= {f"bias_{source}{suffix}": (rows,) for source in sources}
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
