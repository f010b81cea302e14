"""The floor, and the judge: the equations as a plain loop over time, one matrix product per step.

In float32 it is timed as what anyone can write in an afternoon; in float64 it is what the others are compared with.
"""

from __future__ import annotations

import numpy as np

from benchmarks.peers.adapters import Results, Run
from benchmarks.peers.tasks import CLIP_NORM, LEARNING_RATE, Problem, Task, suffixes

PACKAGES = ("numpy",)

Arrays = dict[str, np.ndarray]


def sigmoid(a: np.ndarray) -> np.ndarray:
    """The logistic function, without overflow."""
    return 0.5 * np.tanh(0.5 * a) + 0.5


def step(w: Arrays, end: str, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
    """One step: the activated gates i, f, g, o, then h and c."""
    a = x @ w[f"weight_ih{end}"].T + h @ w[f"weight_hh{end}"].T + w[f"bias_ih{end}"] + w[f"bias_hh{end}"]
    i, f, g, o = np.split(a, 4, axis=-1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c + i * g
    return i, f, g, o, o * np.tanh(c), c


def forward(w: Arrays, end: str, x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, list]:
    """Output (B, T, H), zeros past the lengths, and per step what backward needs."""
    batch, steps, _ = x.shape
    h = np.zeros((batch, w[f"weight_hh{end}"].shape[1]), x.dtype)
    c, out, kept = h, np.zeros((batch, steps, h.shape[1]), x.dtype), []
    for t in reversed(range(steps)) if end.endswith("reverse") else range(steps):
        i, f, g, o, h_new, c_new = step(w, end, x[:, t], h, c)
        valid = (t < lengths)[:, None]
        kept.append((t, valid, i, f, g, o, h, c, c_new))
        out[:, t] = np.where(valid, h_new, 0)
        h, c = np.where(valid, h_new, h), np.where(valid, c_new, c)
    return out, kept


def backward(w: Arrays, end: str, x: np.ndarray, d_out: np.ndarray, kept: list) -> tuple[np.ndarray, Arrays]:
    """Gradients of the input and of the parameters."""
    grads = {name: np.zeros_like(w[name]) for name in (f"weight_ih{end}", f"weight_hh{end}", f"bias_ih{end}")}
    d_x, d_h = np.zeros_like(x), np.zeros_like(kept[0][6])
    d_c = np.zeros_like(d_h)
    for t, valid, i, f, g, o, h, c, c_new in reversed(kept):
        d_now, tanh_c = d_h + d_out[:, t], np.tanh(c_new)
        d_c_now = d_c + d_now * o * (1 - tanh_c * tanh_c)
        slots = [
            d_c_now * g * i * (1 - i),
            d_c_now * c * f * (1 - f),
            d_c_now * i * (1 - g * g),
            d_now * tanh_c * o * (1 - o),
        ]
        d_a = np.where(valid, np.concatenate(slots, axis=1), 0)
        grads[f"weight_ih{end}"] += d_a.T @ x[:, t]
        grads[f"weight_hh{end}"] += d_a.T @ h
        grads[f"bias_ih{end}"] += d_a.sum(axis=0)
        d_x[:, t] = d_a @ w[f"weight_ih{end}"]
        d_h = np.where(valid, d_a @ w[f"weight_hh{end}"], d_h)
        d_c = np.where(valid, d_c_now * f, d_c)
    grads[f"bias_hh{end}"] = grads[f"bias_ih{end}"]
    return d_x, grads


def cast(problem: Problem, dtype: type) -> tuple[Arrays, np.ndarray]:
    """Weights and input in the given precision."""
    return {name: value.astype(dtype) for name, value in problem.weights.items()}, problem.x.astype(dtype)


def inference(task: Task, problem: Problem, dtype: type = np.float32) -> Run:
    """Forward."""
    w, x = cast(problem, dtype)

    def call() -> np.ndarray:
        return forward(w, "_l0", x, problem.lengths)[0]

    return Run(call, lambda: {"out": call()})


def training(task: Task, problem: Problem, dtype: type = np.float32) -> Run:
    """Forward and backward."""
    w, x = cast(problem, dtype)
    d_out = problem.d_out.astype(dtype)

    def call() -> Results:
        out, kept = forward(w, "_l0", x, problem.lengths)
        d_x, grads = backward(w, "_l0", x, d_out, kept)
        return {
            "out": out,
            "d_x": d_x,
            "d_weight_ih": grads["weight_ih_l0"],
            "d_weight_hh": grads["weight_hh_l0"],
            "d_bias": grads["bias_ih_l0"],
        }

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
                outs = [forward(w, end, x, problem.lengths) for end in ends]
                layers.append((ends, x, mask, [kept for _, kept in outs]))
                x = np.concatenate([out for out, _ in outs], axis=2)
            difference = x[:, -1] @ w["fc.weight"].T + w["fc.bias"] - y
            d_y = 2 * difference / len(difference)
            grads = {"fc.weight": d_y.T @ x[:, -1], "fc.bias": d_y.sum(axis=0)}
            d_out = np.zeros_like(x)
            d_out[:, -1] = d_y @ w["fc.weight"]
            for ends, inputs, mask, kept in reversed(layers):
                parts = np.split(d_out, len(ends), axis=2)
                found = [backward(w, end, inputs, d, k) for end, d, k in zip(ends, parts, kept, strict=True)]
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
    h = c = np.zeros(task.hidden, dtype)

    def call(x: np.ndarray) -> np.ndarray:
        nonlocal h, c
        *_, h, c = step(w, "_l0", x, h, c)
        return h

    return Run(call, lambda: {"out": np.stack([call(x) for x in xs])}, (xs[0],))


def pool(task: Task, problem: Problem, dtype: type = np.float32) -> Run:
    """Any of B states, stepped at once."""
    w, xs = cast(problem, dtype)
    ids = pool_ids(task)
    h, c = np.zeros((2, task.batch, task.hidden), dtype)

    def call(x: np.ndarray, ids: np.ndarray) -> np.ndarray:
        *_, h[ids], c[ids] = step(w, "_l0", x, h[ids], c[ids])
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
}


def judge(task: Task, problem: Problem) -> Results:
    """What every peer's results are compared with: the same in float64."""
    return next(iter(WAYS[task.way].values()))(task, problem, np.float64).results()
