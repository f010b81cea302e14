"""The floor, and the judge: the equations as a plain loop over time, one matrix product per step.

In float32 it is timed as what anyone can write in an afternoon; in float64 it is what the others are compared with.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.adapters import Results, Run, gradients, numpy_encoder
from benchmarks.peers.adapters.numpy_cells import CELLS as OF_CELLS
from benchmarks.peers.adapters.numpy_cells import Cell, States
from benchmarks.peers.tasks import CLIP_NORM, ENCODER, LEARNING_RATE, Problem, Task, suffixes

PACKAGES = ("numpy",)
CELLS = (*OF_CELLS, ENCODER)

Arrays = dict[str, np.ndarray]


def step(w: Arrays, cell: Cell, end: str, x: np.ndarray, states: States) -> tuple[States, Any]:
    """One step: the states, h first, and what backward needs."""
    a_x = x @ w[f"weight_ih{end}"].T + w[f"bias_ih{end}"]
    recurrent = f"weight_hh{end}" in w
    a_h = states[0] @ w[f"weight_hh{end}"].T + w[f"bias_hh{end}"] if recurrent else np.zeros_like(a_x)
    return cell.step(a_x, a_h, states)


def forward(w: Arrays, task: Task, end: str, x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, list]:
    """Output (B, T, H), zeros past the lengths, and per step what backward needs."""
    batch, steps, _ = x.shape
    cell = OF_CELLS[task.cell]
    states: States = (np.zeros((batch, task.hidden), x.dtype),) * cell.states
    out, kept = np.zeros((batch, steps, task.hidden), x.dtype), []
    for t in reversed(range(steps)) if end.endswith("reverse") else range(steps):
        new, inner = step(w, cell, end, x[:, t], states)
        valid = (t < lengths)[:, None]
        kept.append((t, valid, states[0], inner))
        out[:, t] = np.where(valid, new[0], 0)
        states = tuple(np.where(valid, after, before) for after, before in zip(new, states, strict=True))
    return out, kept


def backward(
    w: Arrays, task: Task, end: str, x: np.ndarray, d_out: np.ndarray, kept: list
) -> tuple[np.ndarray, Arrays]:
    """Gradients of the input and of the parameters."""
    cell, recurrent = OF_CELLS[task.cell], f"weight_hh{end}" in w
    grads = {name: np.zeros_like(value) for name, value in w.items() if name.endswith(end)}
    d_x = np.zeros_like(x)
    d_states: States = (np.zeros_like(kept[0][2]),) * cell.states
    for t, valid, h, inner in reversed(kept):
        d_a_x, d_a_h, d_before = cell.back(inner, (d_states[0] + d_out[:, t], *d_states[1:]))
        d_a_x, d_a_h = np.where(valid, d_a_x, 0), np.where(valid, d_a_h, 0)
        grads[f"weight_ih{end}"] += d_a_x.T @ x[:, t]
        grads[f"bias_ih{end}"] += d_a_x.sum(axis=0)
        d_x[:, t] = d_a_x @ w[f"weight_ih{end}"]
        if recurrent:
            grads[f"weight_hh{end}"] += d_a_h.T @ h
            grads[f"bias_hh{end}"] += d_a_h.sum(axis=0)
            d_before = d_before[0] + d_a_h @ w[f"weight_hh{end}"], *d_before[1:]
        d_states = tuple(np.where(valid, new, old) for new, old in zip(d_before, d_states, strict=True))
    return d_x, grads


def cast(problem: Problem, dtype: type) -> tuple[Arrays, np.ndarray]:
    """Weights and input in the given precision."""
    return {name: value.astype(dtype) for name, value in problem.weights.items()}, problem.x.astype(dtype)


def inference(task: Task, problem: Problem, dtype: type = np.float32) -> Run:
    """Forward."""
    w, x = cast(problem, dtype)

    def call() -> np.ndarray:
        return forward(w, task, "_l0", x, problem.lengths)[0]

    return Run(call, lambda: {"out": call()})


def training(task: Task, problem: Problem, dtype: type = np.float32) -> Run:
    """Forward and backward."""
    w, x = cast(problem, dtype)
    d_out = problem.d_out.astype(dtype)

    def call() -> Results:
        out, kept = forward(w, task, "_l0", x, problem.lengths)
        d_x, grads = backward(w, task, "_l0", x, d_out, kept)
        return {"out": out, "d_x": d_x} | gradients(task, grads)

    return Run(call, call)


def update(task: Task, problem: Problem, dtype: type = np.float32) -> Run:
    """The whole training step, written out; dropout between layers by a drawn mask."""

    def network(dropout: float) -> tuple:
        w, xs = cast(problem, dtype)
        ys = problem.y.astype(dtype)
        rng = np.random.default_rng(0)
        moments = {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in w.items()}
        done = 0

        def call() -> float:
            nonlocal done
            x, y = xs[done % len(xs)], ys[done % len(ys)]
            done += 1
            layers = []
            for number, ends in enumerate(suffixes(task)):
                mask = (rng.random(x.shape) >= dropout) / (1 - dropout) if number and dropout else None
                x = x if mask is None else x * mask.astype(dtype)
                outs = [forward(w, task, end, x, problem.lengths) for end in ends]
                layers.append((ends, x, mask, [kept for _, kept in outs]))
                x = np.concatenate([out for out, _ in outs], axis=2)
            difference = x[:, -1] @ w["fc.weight"].T + w["fc.bias"] - y
            d_y = 2 * difference / len(difference)
            grads = {"fc.weight": d_y.T @ x[:, -1], "fc.bias": d_y.sum(axis=0)}
            d_out = np.zeros_like(x)
            d_out[:, -1] = d_y @ w["fc.weight"]
            for ends, inputs, mask, kept in reversed(layers):
                parts = np.split(d_out, len(ends), axis=2)
                found = [backward(w, task, end, inputs, d, k) for end, d, k in zip(ends, parts, kept, strict=True)]
                d_out = sum(d_x for d_x, _ in found)
                d_out = d_out if mask is None else d_out * mask.astype(dtype)
                for _, of_direction in found:
                    grads |= of_direction
            norm = np.sqrt(sum(float((g * g).sum()) for g in grads.values()))
            scale = min(1.0, CLIP_NORM / (norm + 1e-6))
            for name, value in w.items():
                m, v = moments[name]
                g = grads[name] * scale
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                rate = LEARNING_RATE / (1 - 0.9**done)
                value -= (rate * m / (np.sqrt(v / (1 - 0.999**done)) + 1e-8)).astype(dtype)
            return float((difference * difference).mean())

        return call, lambda: {"losses": np.array([call() for _ in range(3)])}

    return Run(network(task.dropout)[0], network(0.0)[1])


def streamed(task: Task, problem: Problem, dtype: type = np.float32) -> Run:
    """One step of one row; the state is kept here."""
    w, xs = cast(problem, dtype)
    cell = OF_CELLS[task.cell]
    states: States = (np.zeros(task.hidden, dtype),) * cell.states

    def call(x: np.ndarray) -> np.ndarray:
        nonlocal states
        states = step(w, cell, "_l0", x, states)[0]
        return states[0]

    return Run(call, lambda: {"out": np.stack([call(x) for x in xs])}, (xs[0],))


def pool(task: Task, problem: Problem, dtype: type = np.float32) -> Run:
    """Any of B states, stepped at once."""
    w, xs = cast(problem, dtype)
    ids = pool_ids(task)
    h, c = np.zeros((2, task.batch, task.hidden), dtype)

    def call(x: np.ndarray, ids: np.ndarray) -> np.ndarray:
        h[ids], c[ids] = step(w, OF_CELLS["LSTM"], "_l0", x, (h[ids], c[ids]))[0]
        return h[ids] @ w["fc.weight"].T + w["fc.bias"]

    return Run(call, lambda: {"out": np.stack([call(x, ids) for x in xs])}, (xs[0], ids))


def pool_ids(task: Task) -> np.ndarray:
    """Which of a pool's states are stepped: (active,), in no order."""
    return np.random.default_rng(3).permutation(task.batch)[: task.active]


WAYS = {
    "inference": {"numpy": inference},
    "training": {"numpy": training},
    "ragged training": {"numpy": training},
    "update": {"numpy": update},
    "step": {"numpy": streamed},
    "pool": {"numpy": pool},
    "encoder inference": {"numpy": numpy_encoder.inference},
    "ragged encoder inference": {"numpy": numpy_encoder.inference},
    "encoder training": {"numpy": numpy_encoder.training},
    "ragged encoder training": {"numpy": numpy_encoder.training},
}


def judge(task: Task, problem: Problem) -> Results:
    """What every peer's results are compared with: the same in float64."""
    return next(iter(WAYS[task.way].values()))(task, problem, np.float64).results()
