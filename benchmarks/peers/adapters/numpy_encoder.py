"""A Transformer encoder written out, and its gradient: post-norm, ReLU, no dropout. Floor and judge."""

from __future__ import annotations

import numpy as np

from benchmarks.peers.adapters import Results, Run
from benchmarks.peers.tasks import Problem, Task

Arrays = dict[str, np.ndarray]
EPS = 1e-5


def norm(w: Arrays, name: str, x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Normalise the last axis; also what backward needs."""
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.asarray(EPS, x.dtype))
    return centred * scale * w[f"{name}.weight"] + w[f"{name}.bias"], (centred * scale, scale)


def norm_back(w: Arrays, grads: Arrays, name: str, kept: tuple[np.ndarray, np.ndarray], d: np.ndarray) -> np.ndarray:
    """Gradient of the input; the parameters' go into ``grads``."""
    x, scale = kept
    grads[f"{name}.weight"], grads[f"{name}.bias"] = (d * x).sum(axis=(0, 1)), d.sum(axis=(0, 1))
    d = d * w[f"{name}.weight"]
    return scale * (d - d.mean(axis=-1, keepdims=True) - x * (d * x).mean(axis=-1, keepdims=True))


def dense(w: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    """A product with a bias; ``name`` ends where weight and bias part."""
    return x @ w[f"{name}weight"].T + w[f"{name}bias"]


def dense_back(w: Arrays, grads: Arrays, name: str, x: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Likewise for the gradient."""
    grads[f"{name}weight"], grads[f"{name}bias"] = np.tensordot(d, x, ((0, 1), (0, 1))), d.sum(axis=(0, 1))
    return d @ w[f"{name}weight"]


def apart(x: np.ndarray, heads: int) -> np.ndarray:
    """(B, T, E) as (B, heads, T, E / heads)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def together(x: np.ndarray) -> np.ndarray:
    """The way back."""
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def layer(w: Arrays, at: str, x: np.ndarray, heads: int, hidden: np.ndarray) -> tuple[np.ndarray, tuple]:
    """One layer, and what backward needs; ``hidden`` (B, 1, 1, T) says which keys are not seen."""
    q, k, v = (apart(part, heads) for part in np.split(dense(w, f"{at}.self_attn.in_proj_", x), 3, axis=-1))
    scores = np.where(hidden, -np.inf, q @ k.swapaxes(-1, -2) * np.asarray(q.shape[-1] ** -0.5, x.dtype))
    p = np.exp(scores - scores.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    found = together(p @ v)
    first, one = norm(w, f"{at}.norm1", x + dense(w, f"{at}.self_attn.out_proj.", found))
    inner = np.maximum(dense(w, f"{at}.linear1.", first), 0)
    out, two = norm(w, f"{at}.norm2", first + dense(w, f"{at}.linear2.", inner))
    return out, (x, q, k, v, p, found, one, first, inner, two)


def layer_back(w: Arrays, grads: Arrays, at: str, kept: tuple, heads: int, d: np.ndarray) -> np.ndarray:
    """Gradient of a layer's input."""
    x, q, k, v, p, found, one, first, inner, two = kept
    d = norm_back(w, grads, f"{at}.norm2", two, d)
    d_inner = dense_back(w, grads, f"{at}.linear2.", inner, d) * (inner > 0)
    d = norm_back(w, grads, f"{at}.norm1", one, d + dense_back(w, grads, f"{at}.linear1.", first, d_inner))
    d_found = apart(dense_back(w, grads, f"{at}.self_attn.out_proj.", found, d), heads)
    d_p = d_found @ v.swapaxes(-1, -2)
    d_scores = p * (d_p - (d_p * p).sum(axis=-1, keepdims=True)) * np.asarray(q.shape[-1] ** -0.5, x.dtype)
    parts = d_scores @ k, d_scores.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ d_found
    joint = np.concatenate([together(part) for part in parts], axis=-1)
    return d + dense_back(w, grads, f"{at}.self_attn.in_proj_", x, joint)


def prepared(task: Task, problem: Problem, dtype: type) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """Weights, input and which steps are padding (B, T)."""
    hidden = np.arange(task.steps) >= problem.lengths[:, None]
    return {name: value.astype(dtype) for name, value in problem.weights.items()}, problem.x.astype(dtype), hidden


def inference(task: Task, problem: Problem, dtype: type = np.float32) -> Run:
    """Forward."""
    w, x, hidden = prepared(task, problem, dtype)

    def call() -> np.ndarray:
        out = x
        for k in range(task.layers):
            out = layer(w, f"layers.{k}", out, task.heads, hidden[:, None, None])[0]
        return np.where(hidden[..., None], 0, out)

    return Run(call, lambda: {"out": call()})


def training(task: Task, problem: Problem, dtype: type = np.float32) -> Run:
    """Forward and backward."""
    w, x, hidden = prepared(task, problem, dtype)
    d_out = problem.d_out.astype(dtype)

    def call() -> Results:
        out, kept = x, []
        for k in range(task.layers):
            out, inner = layer(w, f"layers.{k}", out, task.heads, hidden[:, None, None])
            kept.append(inner)
        grads: Arrays = {}
        d = d_out
        for k in reversed(range(task.layers)):
            d = layer_back(w, grads, f"layers.{k}", kept[k], task.heads, d)
        found = {"out": np.where(hidden[..., None], 0, out), "d_x": d}
        return found | {f"d_{name}": value for name, value in grads.items()}

    return Run(call, call)
