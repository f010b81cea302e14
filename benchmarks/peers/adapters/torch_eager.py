"""PyTorch, eager: recurrent layers padded and packed, ``nn.LSTMCell`` for single steps.

It has no minGRU: that one is written with its operations, the products of all steps at once and a ``lerp`` per step.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers.adapters import Results, Run, gradients, torch_encoder
from benchmarks.peers.tasks import CLIP_NORM, ENCODER, LEARNING_RATE, SLOTS, Problem, Task

PACKAGES = ("torch",)
CELLS = (*SLOTS, ENCODER)


def limit_threads(threads: int) -> None:
    """Set the size of both pools."""
    import torch

    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)


def layer(task: Task, problem: Problem) -> Any:
    """The recurrent layer with the task's weights."""
    import torch

    if task.cell == "MinGRU":
        found = min_gru(task)
        found.load_state_dict({name: torch.from_numpy(value) for name, value in problem.weights.items()})
        return found
    lstm = getattr(torch.nn, task.cell)(
        task.features,
        task.hidden,
        task.layers,
        batch_first=True,
        bidirectional=task.directions == 2,
        dropout=task.dropout,
    )
    own = {name: torch.from_numpy(v) for name, v in problem.weights.items() if not name.startswith("fc.")}
    lstm.load_state_dict(own)
    return lstm


def min_gru(task: Task) -> Any:
    """A minGRU with the names of our own."""
    import torch

    class MinGRU(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight_ih_l0 = torch.nn.Parameter(torch.empty(2 * task.hidden, task.features))
            self.bias_ih_l0 = torch.nn.Parameter(torch.empty(2 * task.hidden))

        def forward(self, x: Any) -> Any:
            z, n = torch.nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0).chunk(2, dim=-1)
            h, outs = torch.zeros_like(n[:, 0]), []
            for z_now, n_now in zip(z.sigmoid().unbind(1), n.unbind(1), strict=True):
                h = torch.lerp(h, n_now, z_now)
                outs.append(h)
            return torch.stack(outs, dim=1), h

    return MinGRU()


def inference(task: Task, problem: Problem) -> Run:
    """A layer in inference mode."""
    import torch

    lstm, x = layer(task, problem).eval(), torch.from_numpy(problem.x)

    def call() -> Any:
        with torch.inference_mode():
            return lstm(x)[0]

    return Run(call, lambda: {"out": call().numpy()})


def training(task: Task, problem: Problem, packed: bool) -> Run:
    """Forward and backward; unequal lengths packed, or padded, where all steps are run and the gradient is zero there.

    Padding is harmless in one direction: what follows the last valid step cannot reach back.
    """
    import torch

    lstm = layer(task, problem)
    x, d_out = torch.from_numpy(problem.x.copy()).requires_grad_(), torch.from_numpy(problem.d_out)
    lengths, rnn = torch.from_numpy(problem.lengths), torch.nn.utils.rnn
    valid = np.arange(task.steps)[None, :, None] < problem.lengths[:, None, None]

    def call() -> Any:
        lstm.zero_grad(set_to_none=True)
        x.grad = None
        if packed:
            sequence = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            out = rnn.pad_packed_sequence(lstm(sequence)[0], batch_first=True, total_length=task.steps)[0]
        else:
            out = lstm(x)[0]
        out.backward(d_out)
        return out

    def results() -> Results:
        out = call().detach().numpy()
        grads = {name: p.grad.numpy() for name, p in lstm.named_parameters()}
        # padded, the layer runs on past a row's length
        return {"out": np.where(valid, out, 0), "d_x": x.grad.numpy()} | gradients(task, grads)

    return Run(call, results)


def update(task: Task, problem: Problem) -> Run:
    """A training step with ``torch.optim.Adam``."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = layer(task, problem)
            self.fc = torch.nn.Linear(task.directions * task.hidden, 1)
            names = ("weight", "bias")
            self.fc.load_state_dict({name: torch.from_numpy(problem.weights[f"fc.{name}"]) for name in names})

        def forward(self, x: Any) -> Any:
            return self.fc(self.lstm(x)[0][:, -1, :])

    xs, ys = torch.from_numpy(problem.x), torch.from_numpy(problem.y)

    def network(dropout: float) -> Any:
        model = Network()
        model.lstm.dropout = dropout
        optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
        done = 0

        def call() -> Any:
            nonlocal done
            at = done % len(xs)
            done += 1
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(xs[at]), ys[at])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
            optimizer.step()
            return loss

        return call

    def results() -> Results:
        call = network(0.0)
        return {"losses": np.array([call().item() for _ in range(3)])}

    return Run(network(task.dropout), results)


def cell_step(task: Task, problem: Problem) -> Run:
    """``nn.LSTMCell`` in inference mode, from a NumPy observation to a NumPy answer."""
    import torch

    cell = torch.nn.LSTMCell(task.features, task.hidden)
    cell.load_state_dict({name.removesuffix("_l0"): torch.from_numpy(v) for name, v in problem.weights.items()})
    state = (torch.zeros(1, task.hidden), torch.zeros(1, task.hidden))
    mode, from_numpy = torch.inference_mode, torch.from_numpy

    def call(x: np.ndarray) -> np.ndarray:
        nonlocal state
        with mode():
            state = cell(from_numpy(x[None]), state)
            return state[0].numpy()

    return Run(call, lambda: {"out": np.stack([call(x)[0].copy() for x in problem.x])}, (problem.x[0],))


def layer_step(task: Task, problem: Problem) -> Run:
    """``nn.LSTM`` for a sequence of one step, likewise."""
    import torch

    lstm = layer(task, problem).eval()
    state = None
    mode, from_numpy = torch.inference_mode, torch.from_numpy

    def call(x: np.ndarray) -> np.ndarray:
        nonlocal state
        with mode():
            out, state = lstm(from_numpy(x[None, None]), state)
            return out.numpy()

    return Run(call, lambda: {"out": np.stack([call(x)[0, 0].copy() for x in problem.x])}, (problem.x[0],))


WAYS = {
    "inference": {"torch": inference},
    "training": {"torch": partial(training, packed=False)},
    "ragged training": {
        "torch packed": partial(training, packed=True),
        "torch padded": partial(training, packed=False),
    },
    "update": {"torch": update},
    "step": {"torch LSTMCell": cell_step, "torch LSTM": layer_step},
    "encoder inference": {"torch": torch_encoder.inference},
    "ragged encoder inference": {"torch": torch_encoder.inference},
    "encoder training": {"torch": torch_encoder.training},
    "ragged encoder training": {"torch": torch_encoder.training},
}
