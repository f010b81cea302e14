"""A Transformer encoder in JAX, in one ``jit``."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.adapters import Results, Run
from benchmarks.peers.tasks import Problem, Task


def forward(w: dict, x: Any, task: Task, hidden: Any, key: Any = None) -> Any:
    """Output (B, T, E); ``hidden`` (B, T) says what is padding, ``key`` draws dropout."""
    import jax
    import jax.numpy as jnp

    size = task.hidden // task.heads
    drawn = iter(()) if key is None else iter(jax.random.split(key, 4 * task.layers))

    def dense(name: str, x: Any) -> Any:
        return x @ w[f"{name}weight"].T + w[f"{name}bias"]

    def norm(name: str, x: Any) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = jax.lax.rsqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5)
        return centred * scale * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dropped(x: Any) -> Any:
        if key is None:
            return x
        keep = jax.random.bernoulli(next(drawn), 1 - task.dropout, x.shape)
        return jnp.where(keep, x / (1 - task.dropout), 0)

    for k in range(task.layers):
        at = f"layers.{k}"
        joint = dense(f"{at}.self_attn.in_proj_", x).reshape(*x.shape[:2], 3, task.heads, size)
        q, keys, v = (joint[:, :, part] for part in range(3))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, keys) * size**-0.5
        if hidden is not None:
            scores = jnp.where(hidden[:, None, None], -jnp.inf, scores)
        found = jnp.einsum("bhqk,bkhd->bqhd", dropped(jax.nn.softmax(scores, axis=-1)), v).reshape(x.shape)
        x = norm(f"{at}.norm1", x + dropped(dense(f"{at}.self_attn.out_proj.", found)))
        inner = dropped(jax.nn.relu(dense(f"{at}.linear1.", x)))
        x = norm(f"{at}.norm2", x + dropped(dense(f"{at}.linear2.", inner)))
    return x if hidden is None else jnp.where(hidden[..., None], 0, x)


def on_device(task: Task, problem: Problem) -> tuple[dict, Any, Any]:
    """Parameters, x and which steps are padding, or None."""
    import jax.numpy as jnp

    hidden = jnp.asarray(np.arange(task.steps) >= problem.lengths[:, None]) if task.ragged else None
    return {name: jnp.asarray(value) for name, value in problem.weights.items()}, jnp.asarray(problem.x), hidden


def inference(task: Task, problem: Problem) -> Run:
    """Forward."""
    import jax

    w, x, hidden = on_device(task, problem)
    run = jax.jit(lambda w, x: forward(w, x, task, hidden))

    def call() -> Any:
        return run(w, x).block_until_ready()

    return Run(call, lambda: {"out": np.asarray(call())})


def training(task: Task, problem: Problem) -> Run:
    """Forward and ``jax.vjp``; dropout is on while a clock runs."""
    import jax
    import jax.numpy as jnp

    w, x, hidden = on_device(task, problem)
    d_out = jnp.asarray(problem.d_out)

    @jax.jit
    def run(w: dict, x: Any, d_out: Any, key: Any) -> tuple:
        out, vjp = jax.vjp(lambda w, x: forward(w, x, task, hidden, key), w, x)
        return out, *vjp(d_out)

    state = jax.random.key(0) if task.dropout else None

    def call() -> Any:
        nonlocal state
        now = None
        if state is not None:
            state, now = jax.random.split(state)
        return jax.block_until_ready(run(w, x, d_out, now))

    def results() -> Results:
        out, d_w, d_x = run(w, x, d_out, None)
        found = {"out": np.asarray(out), "d_x": np.asarray(d_x)}
        return found | {f"d_{name}": np.asarray(value) for name, value in d_w.items()}

    return Run(call, results)
