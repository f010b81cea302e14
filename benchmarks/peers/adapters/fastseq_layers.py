"""fastseq itself, as a user writes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.adapters import Results, Run, gradients
from benchmarks.peers.adapters.numpy_loop import pool_ids
from benchmarks.peers.tasks import CLIP_NORM, ENCODER, LEARNING_RATE, SLOTS, Problem, Task

PACKAGES = ("numba", "numpy")  # fastseq itself may run from its sources, without being installed
CELLS = (*SLOTS, ENCODER)


def layer(task: Task, problem: Problem) -> Any:
    """The recurrent layer with the task's weights."""
    from fastseq import nn

    kind = getattr(nn, task.cell)
    found = kind(task.features, task.hidden, task.layers, bidirectional=task.directions == 2, dropout=task.dropout)
    found.load_state_dict({name: value for name, value in problem.weights.items() if not name.startswith("fc.")})
    return found


def encoder(task: Task, problem: Problem, dropout: float = 0.0) -> Any:
    """The encoder with the task's weights."""
    from fastseq import nn

    layer = nn.TransformerEncoderLayer(task.hidden, task.heads, task.inner, dropout)
    found = nn.TransformerEncoder(layer, task.layers)
    found.load_state_dict(problem.weights)
    return found


def inference(task: Task, problem: Problem) -> Run:
    """A layer under ``no_grad``."""
    import fastseq as fs

    recurrent, x = layer(task, problem), problem.x
    lengths = problem.lengths if task.ragged else None

    def call() -> Any:
        with fs.no_grad():
            return recurrent(x, lengths=lengths)[0]

    return Run(call, lambda: {"out": call().numpy()})


def encoder_inference(task: Task, problem: Problem) -> Run:
    """An encoder under ``no_grad``."""
    import fastseq as fs

    model, x = encoder(task, problem).eval(), problem.x
    lengths = problem.lengths if task.ragged else None

    def call() -> Any:
        with fs.no_grad():
            return model(x, lengths=lengths)

    return Run(call, lambda: {"out": call().numpy()})


def training(task: Task, problem: Problem) -> Run:
    """Forward and backward through the tape."""
    import fastseq as fs

    recurrent, x = layer(task, problem), fs.Tensor(problem.x, requires_grad=True)
    lengths = problem.lengths if task.ragged else None

    def call() -> Any:
        recurrent.zero_grad()
        x.grad = None
        out = recurrent(x, lengths=lengths)[0]
        out.backward(problem.d_out)
        return out

    def results() -> Results:
        out = call().numpy()
        grads = {name: p.grad.numpy() for name, p in recurrent.named_parameters()}
        return {"out": out, "d_x": x.grad.numpy()} | gradients(task, grads)

    return Run(call, results)


def encoder_training(task: Task, problem: Problem) -> Run:
    """Forward and backward of an encoder; dropout is on while a clock runs."""
    import fastseq as fs

    x = fs.Tensor(problem.x, requires_grad=True)
    lengths = problem.lengths if task.ragged else None

    def run(model: Any) -> Any:
        model.zero_grad()
        x.grad = None
        out = model(x, lengths=lengths)
        out.backward(problem.d_out)
        return out

    def results() -> Results:
        model = encoder(task, problem)
        found = {"out": run(model).numpy(), "d_x": x.grad.numpy()}
        return found | {f"d_{name}": p.grad.numpy() for name, p in model.named_parameters()}

    timed = encoder(task, problem, task.dropout)
    return Run(lambda: run(timed), results)


def update(task: Task, problem: Problem) -> Run:
    """A training step with ``optim.Adam``."""
    from fastseq import nn, optim

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = layer(task, problem)
            self.fc = nn.Linear(task.directions * task.hidden, 1)
            self.fc.load_state_dict({name: problem.weights[f"fc.{name}"] for name in ("weight", "bias")})

        def forward(self, x: Any) -> Any:
            return self.fc(self.lstm(x)[0][:, -1, :])

    def network(dropout: float) -> Any:
        model = Network()
        model.lstm.dropout = dropout
        optimizer = optim.Adam(model.parameters(), lr=LEARNING_RATE)
        done = 0

        def call() -> Any:
            nonlocal done
            at = done % len(problem.x)
            done += 1
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(problem.x[at]), problem.y[at])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
            optimizer.step()
            return loss

        return call

    def results() -> Results:
        call = network(0.0)
        return {"losses": np.array([call().item() for _ in range(3)])}

    return Run(network(task.dropout), results)


def network_per_step(task: Task, problem: Problem) -> Any:
    """The layer, and its head on every step where there is one."""
    from fastseq import nn

    model = nn.Sequential(layer(task, problem), *([nn.Linear(task.hidden, 1)] if task.head else []))
    if task.head:
        model[1].load_state_dict({name: problem.weights[f"fc.{name}"] for name in ("weight", "bias")})
    return model.eval()


def stream(task: Task, problem: Problem) -> Run:
    """``fs.Stream``."""
    import fastseq as fs

    step = fs.Stream(network_per_step(task, problem)).step
    return Run(step, lambda: {"out": np.stack([step(x).copy() for x in problem.x])}, (problem.x[0],))


def layer_step(task: Task, problem: Problem) -> Run:
    """The layer called for a sequence of one step, its state handed back by the caller."""
    import fastseq as fs

    lstm = layer(task, problem)
    state = None

    def call(x: np.ndarray) -> Any:
        nonlocal state
        with fs.no_grad():
            out, state = lstm(x[None, None], state)
        return out

    return Run(call, lambda: {"out": np.stack([call(x).numpy()[0, 0] for x in problem.x])}, (problem.x[0],))


def pool(task: Task, problem: Problem) -> Run:
    """``fs.StreamPool``."""
    import fastseq as fs

    step = fs.StreamPool(network_per_step(task, problem), task.batch).step
    ids = pool_ids(task)
    return Run(step, lambda: {"out": np.stack([step(x, ids).copy() for x in problem.x])}, (problem.x[0], ids))


def peak(task: Task, problem: Problem) -> Run:
    """The tile of fastseq's own products, on operands that stay in L1."""
    from benchmarks.peers.peak import Peak

    return Run(Peak(task.batch).run, dict)


WAYS = {
    "inference": {"fastseq": inference},
    "training": {"fastseq": training},
    "ragged training": {"fastseq": training},
    "update": {"fastseq": update},
    "step": {"fastseq": stream, "fastseq, layer call": layer_step},
    "pool": {"fastseq": pool},
    "peak": {"P": peak},
    "encoder inference": {"fastseq": encoder_inference},
    "ragged encoder inference": {"fastseq": encoder_inference},
    "encoder training": {"fastseq": encoder_training},
    "ragged encoder training": {"fastseq": encoder_training},
}
