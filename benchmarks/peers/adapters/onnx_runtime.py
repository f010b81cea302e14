"""ONNX Runtime: one LSTM, GRU or RNN node, for whole sequences and for single steps. It does not train.

An encoder comes as the file that fastseq writes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.adapters import Run
from benchmarks.peers.adapters.fastseq_layers import encoder
from benchmarks.peers.tasks import ENCODER, Problem, Task

PACKAGES = ("onnxruntime", "onnx")

CELLS = ("LSTM", "GRU", "RNN", ENCODER)
GATES = {"LSTM": "iofg", "GRU": "zrn", "RNN": "a"}
OURS = {"LSTM": "ifgo", "GRU": "rzn", "RNN": "a"}
"""The order of gates in ONNX, and in PyTorch: LSTM's c is PyTorch's g, GRU's h is n."""

_threads = [1]


def limit_threads(threads: int) -> None:
    """Sessions opened from now on use so many threads."""
    _threads[0] = threads


def session(task: Task, problem: Problem, steps: int, batch: int) -> Any:
    """A session over x (T, B, F), h and, for an LSTM, c (1, B, H): Y (T, 1, B, H), h_n, c_n."""
    from onnx import TensorProto, helper, numpy_helper

    w, hidden = problem.weights, task.hidden

    def turned(name: str) -> np.ndarray:
        parts = dict(zip(OURS[task.cell], np.split(w[f"{name}_l0"], len(OURS[task.cell])), strict=True))
        return np.concatenate([parts[gate] for gate in GATES[task.cell]])

    constants = {
        "W": turned("weight_ih")[None],
        "R": turned("weight_hh")[None],
        "B": np.concatenate([turned("bias_ih"), turned("bias_hh")])[None],
    }

    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    states = ["h", "c"] if task.cell == "LSTM" else ["h"]
    after = [f"{name}_n" for name in states]
    more = {"linear_before_reset": 1} if task.cell == "GRU" else {}
    inputs = ["x", "W", "R", "B", "", *states]
    node = helper.make_node(task.cell, inputs, ["Y", *after], hidden_size=hidden, direction="forward", **more)
    state = (1, batch, hidden)
    graph = helper.make_graph(
        [node],
        task.cell,
        [value("x", steps, batch, task.features), *(value(name, *state) for name in states)],
        [value("Y", steps, 1, batch, hidden), *(value(name, *state) for name in after)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return opened(model.SerializeToString())


def opened(model: bytes) -> Any:
    """A session on the threads allowed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = _threads[0], 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def inference(task: Task, problem: Problem) -> Run:
    """The whole batch, handed over in the runtime's own layout (T, B, F): its transposition is not timed."""
    run = session(task, problem, task.steps, task.batch).run
    state = np.zeros((1, task.batch, task.hidden), np.float32)
    feed = {"x": np.ascontiguousarray(problem.x.transpose(1, 0, 2)), "h": state}
    if task.cell == "LSTM":
        feed["c"] = state
    names = ["Y"]

    def call() -> Any:
        return run(names, feed)

    return Run(call, lambda: {"out": call()[0][:, 0].transpose(1, 0, 2)})


def encoder_inference(task: Task, problem: Problem) -> Run:
    """The whole batch."""
    from fastseq.interop import to_onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "encoder.onnx")
        to_onnx(encoder(task, problem), path, lengths="required" if task.ragged else "none")
        run = opened(path.read_bytes()).run
    feed = {"x": problem.x} | ({"lengths": problem.lengths.astype(np.int32)} if task.ragged else {})

    def call() -> Any:
        return run(None, feed)

    return Run(call, lambda: {"out": call()[0]})


def streamed(task: Task, problem: Problem) -> Run:
    """One step, its state handed back by the caller."""
    run = session(task, problem, 1, 1).run
    feed = {name: np.zeros((1, 1, task.hidden), np.float32) for name in ("h", "c")}
    names = ["h_n", "c_n"]

    def call(x: np.ndarray) -> np.ndarray:
        feed["x"] = x[None, None]
        feed["h"], feed["c"] = run(names, feed)
        return feed["h"]

    return Run(call, lambda: {"out": np.stack([call(x)[0, 0] for x in problem.x])}, (problem.x[0],))


WAYS = {
    "inference": {"onnxruntime": inference},
    "step": {"onnxruntime": streamed},
    "encoder inference": {"onnxruntime": encoder_inference},
    "ragged encoder inference": {"onnxruntime": encoder_inference},
}
