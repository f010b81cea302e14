"""JAX: one ``jit`` around a ``lax.scan``; the input products of all steps are taken out of the loop.

Everything that a call needs lies on the device in time-major order before the clock starts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.adapters import Results, Run, gradients, jax_encoder
from benchmarks.peers.tasks import CLIP_NORM, ENCODER, LEARNING_RATE, SLOTS, Problem, Task, suffixes

PACKAGES = ("jax", "jaxlib")
CELLS = (*SLOTS, ENCODER)


def lstm(w: dict, end: str, a_x: Any, h: Any, c: Any) -> tuple:
    """One step from the input's share of the slots."""
    import jax
    import jax.numpy as jnp

    i, f, g, o = jnp.split(a_x + h @ w[f"weight_hh{end}"].T, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def gru(w: dict, end: str, a_x: Any, h: Any) -> tuple:
    """Likewise; only the candidate's second bias stays with h."""
    import jax
    import jax.numpy as jnp

    (r_x, z_x, n_x), (r_h, z_h, n_h) = (jnp.split(a, 3, axis=-1) for a in (a_x, h @ w[f"weight_hh{end}"].T))
    n_h = n_h + w[f"bias_hh{end}"][2 * h.shape[-1] :]
    z = jax.nn.sigmoid(z_x + z_h)
    return ((1 - z) * jnp.tanh(n_x + jax.nn.sigmoid(r_x + r_h) * n_h) + z * h,)


def rnn(w: dict, end: str, a_x: Any, h: Any) -> tuple:
    """Likewise."""
    import jax.numpy as jnp

    return (jnp.tanh(a_x + h @ w[f"weight_hh{end}"].T),)


def min_gru(w: dict, end: str, a_x: Any, h: Any) -> tuple:
    """Likewise, without a product."""
    import jax
    import jax.numpy as jnp

    z, n = jnp.split(a_x, 2, axis=-1)
    return (h + jax.nn.sigmoid(z) * (n - h),)


STEPS = {"LSTM": (lstm, 2), "GRU": (gru, 1), "RNN": (rnn, 1), "MinGRU": (min_gru, 1)}
"""Each cell's step, and how many states it has."""


def input_share(w: dict, end: str, x: Any, cell: str) -> Any:
    """What the input gives to the slots, with all biases that can be added there."""
    bias = w[f"bias_ih{end}"]
    if cell != "MinGRU":
        own = w[f"bias_hh{end}"]
        bias = bias + (own.at[2 * own.size // 3 :].set(0) if cell == "GRU" else own)
    return x @ w[f"weight_ih{end}"].T + bias


def direction(w: dict, end: str, x: Any, cell: str, lengths: Any = None) -> Any:
    """Output (T, B, H) of one direction of a layer; with lengths, masked step by step."""
    import jax
    import jax.numpy as jnp

    step, states = STEPS[cell]
    a_x = input_share(w, end, x, cell)
    zeros = (jnp.zeros((x.shape[1], a_x.shape[-1] // SLOTS[cell]), x.dtype),) * states

    def dense(state: tuple, a: Any) -> tuple:
        state = step(w, end, a, *state)
        return state, state[0]

    def masked(state: tuple, at: tuple) -> tuple:
        t, a = at
        valid = (t < lengths)[:, None]
        new = step(w, end, a, *state)
        kept = tuple(jnp.where(valid, after, before) for after, before in zip(new, state, strict=True))
        return kept, jnp.where(valid, new[0], 0)

    if lengths is None:
        return jax.lax.scan(dense, zeros, a_x, reverse=end.endswith("reverse"))[1]
    return jax.lax.scan(masked, zeros, (jnp.arange(x.shape[0]), a_x))[1]


def weights_on_device(problem: Problem) -> dict:
    """Parameters by PyTorch's names."""
    import jax.numpy as jnp

    return {name: jnp.asarray(value) for name, value in problem.weights.items()}


def on_device(problem: Problem) -> tuple[dict, Any]:
    """Parameters, and x (..., T, B, F) in time-major order."""
    import jax.numpy as jnp

    return weights_on_device(problem), jnp.asarray(np.ascontiguousarray(np.swapaxes(problem.x, -3, -2)))


def inference(task: Task, problem: Problem) -> Run:
    """Forward."""
    import jax

    w, x = on_device(problem)
    run = jax.jit(lambda w, x: direction(w, "_l0", x, task.cell))

    def call() -> Any:
        return run(w, x).block_until_ready()

    return Run(call, lambda: {"out": np.asarray(call()).transpose(1, 0, 2)})


def training(task: Task, problem: Problem) -> Run:
    """Forward and ``jax.vjp`` down to the input."""
    import jax
    import jax.numpy as jnp

    w, x = on_device(problem)
    d_out = jnp.asarray(problem.d_out.transpose(1, 0, 2).copy())
    lengths = jnp.asarray(problem.lengths) if task.ragged else None

    @jax.jit
    def run(w: dict, x: Any, d_out: Any) -> tuple:
        out, vjp = jax.vjp(lambda w, x: direction(w, "_l0", x, task.cell, lengths), w, x)
        return out, *vjp(d_out)

    def call() -> tuple:
        return jax.block_until_ready(run(w, x, d_out))

    def results() -> Results:
        out, d_w, d_x = call()
        grads = gradients(task, {name: np.asarray(value) for name, value in d_w.items()})
        return {"out": np.asarray(out).transpose(1, 0, 2), "d_x": np.asarray(d_x).transpose(1, 0, 2)} | grads

    return Run(call, results)


def update(task: Task, problem: Problem) -> Run:
    """The whole training step in one ``jit``, parameters and moments donated."""
    import jax
    import jax.numpy as jnp

    ends = suffixes(task)

    def loss_of(w: dict, x: Any, y: Any, key: Any, dropout: float) -> Any:
        for number, layer in enumerate(ends):
            if number and dropout:
                keep = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - dropout, x.shape)
                x = jnp.where(keep, x / (1 - dropout), 0)
            x = jnp.concatenate([direction(w, end, x, task.cell) for end in layer], axis=-1)
        difference = x[-1] @ w["fc.weight"].T + w["fc.bias"] - y
        return (difference * difference).mean()

    def network(dropout: float) -> Any:
        w, xs = on_device(problem)
        xs, ys = list(xs), list(jnp.asarray(problem.y))
        zeros = jax.tree.map(jnp.zeros_like, w)
        state = (w, zeros, jax.tree.map(jnp.zeros_like, w), jnp.zeros((), jnp.int32), jax.random.key(0))

        def advance(state: tuple, x: Any, y: Any) -> tuple:
            w, m, v, done, key = state
            key, now = jax.random.split(key)
            loss, grads = jax.value_and_grad(loss_of)(w, x, y, now, dropout)
            norm = jnp.sqrt(sum((g * g).sum() for g in grads.values()))
            scale, done = jnp.minimum(1.0, CLIP_NORM / (norm + 1e-6)), done + 1
            m = jax.tree.map(lambda m, g: m + 0.1 * (g * scale - m), m, grads)
            v = jax.tree.map(lambda v, g: v + 0.001 * ((g * scale) ** 2 - v), v, grads)
            rate, root = LEARNING_RATE / (1 - 0.9**done), jnp.sqrt(1 - 0.999**done)
            w = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) / root + 1e-8), w, m, v)
            return (w, m, v, done, key), loss

        run, done = jax.jit(advance, donate_argnums=0), 0

        def call() -> Any:
            nonlocal state, done
            at = done % len(xs)
            done += 1
            state, loss = run(state, xs[at], ys[at])
            return jax.block_until_ready(loss)

        return call

    def results() -> Results:
        call = network(0.0)
        return {"losses": np.array([float(call()) for _ in range(3)])}

    return Run(network(task.dropout), results)


def streamed(task: Task, problem: Problem) -> Run:
    """One step under ``jit``, from a NumPy observation to a NumPy answer; the state stays on the device."""
    import jax
    import jax.numpy as jnp

    w = weights_on_device(problem)
    h = c = jnp.zeros((1, task.hidden))

    @jax.jit
    def run(w: dict, x: Any, h: Any, c: Any) -> tuple:
        return lstm(w, "_l0", input_share(w, "_l0", x, task.cell), h, c)

    def call(x: np.ndarray) -> np.ndarray:
        nonlocal h, c
        h, c = run(w, x[None], h, c)
        return np.asarray(h)

    return Run(call, lambda: {"out": np.stack([call(x)[0] for x in problem.x])}, (problem.x[0],))


WAYS = {
    "inference": {"jax": inference},
    "training": {"jax": training},
    "ragged training": {"jax masked": training},
    "update": {"jax": update},
    "step": {"jax": streamed},
    "encoder inference": {"jax": jax_encoder.inference},
    "ragged encoder inference": {"jax": jax_encoder.inference},
    "encoder training": {"jax": jax_encoder.training},
    "ragged encoder training": {"jax": jax_encoder.training},
}
