"""PyTorch's ``nn.TransformerEncoder``, eager; unequal lengths as ``src_key_padding_mask``, in inference its own way."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.adapters import Results, Run
from benchmarks.peers.tasks import Problem, Task


def encoder(task: Task, problem: Problem, dropout: float = 0.0) -> Any:
    """The encoder with the task's weights."""
    import torch

    layer = torch.nn.TransformerEncoderLayer(task.hidden, task.heads, task.inner, dropout, batch_first=True)
    found = torch.nn.TransformerEncoder(layer, task.layers)
    found.load_state_dict({name: torch.from_numpy(value) for name, value in problem.weights.items()})
    return found


def padding(task: Task, problem: Problem) -> Any:
    """Which steps are padding (B, T), or None."""
    import torch

    hidden = np.arange(task.steps) >= problem.lengths[:, None]
    return torch.from_numpy(hidden) if task.ragged else None


def inference(task: Task, problem: Problem) -> Run:
    """Under ``inference_mode``, where PyTorch takes its fast path: with a mask, nested tensors."""
    import torch

    model, x, mask = encoder(task, problem).eval(), torch.from_numpy(problem.x), padding(task, problem)

    def call() -> Any:
        with torch.inference_mode():
            return model(x, src_key_padding_mask=mask)

    def results() -> Results:
        out = call().numpy()  # as long as the longest row
        whole = np.zeros(problem.x.shape, np.float32)
        whole[:, : out.shape[1]] = out
        return {"out": whole}

    return Run(call, results)


def training(task: Task, problem: Problem) -> Run:
    """Forward and backward; dropout is on while a clock runs."""
    import torch

    x, d_out = torch.from_numpy(problem.x.copy()).requires_grad_(), torch.from_numpy(problem.d_out)
    mask = padding(task, problem)
    valid = np.arange(task.steps)[None, :, None] < problem.lengths[:, None, None]

    def run(model: Any) -> Any:
        model.zero_grad(set_to_none=True)
        x.grad = None
        out = model(x, src_key_padding_mask=mask)
        out.backward(d_out)
        return out

    def results() -> Results:
        model = encoder(task, problem)
        found = {"out": np.where(valid, run(model).detach().numpy(), 0), "d_x": x.grad.numpy()}
        return found | {f"d_{name}": p.grad.numpy() for name, p in model.named_parameters()}

    timed = encoder(task, problem, task.dropout)
    return Run(lambda: run(timed), results)
