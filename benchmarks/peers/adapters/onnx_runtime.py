"""ONNX Runtime: one LSTM node, for whole sequences and for single steps. It does not train."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.adapters import Run
from benchmarks.peers.tasks import Problem, Task

PACKAGES = ("onnxruntime", "onnx")

_threads = [1]


def limit_threads(threads: int) -> None:
    """Sessions opened from now on use so many threads."""
    _threads[0] = threads


def session(task: Task, problem: Problem, steps: int, batch: int) -> Any:
    """A session over x (T, B, F), h and c (1, B, H): Y (T, 1, B, H), h_n, c_n. Gates i o f c."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    w, hidden = problem.weights, task.hidden

    def turned(name: str) -> np.ndarray:
        i, f, g, o = np.split(w[f"{name}_l0"], 4)
        return np.concatenate([i, o, f, g])

    constants = {
        "W": turned("weight_ih")[None],
        "R": turned("weight_hh")[None],
        "B": np.concatenate([turned("bias_ih"), turned("bias_hh")])[None],
    }

    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    lstm = helper.make_node(
        "LSTM", ["x", "W", "R", "B", "", "h", "c"], ["Y", "h_n", "c_n"], hidden_size=hidden, direction="forward"
    )
    state = (1, batch, hidden)
    graph = helper.make_graph(
        [lstm],
        "lstm",
        [value("x", steps, batch, task.features), value("h", *state), value("c", *state)],
        [value("Y", steps, 1, batch, hidden), value("h_n", *state), value("c_n", *state)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = _threads[0], 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def inference(task: Task, problem: Problem) -> Run:
    """The whole batch, handed over in the runtime's own layout (T, B, F): its transposition is not timed."""
    run = session(task, problem, task.steps, task.batch).run
    state = np.zeros((1, task.batch, task.hidden), np.float32)
    feed = {"x": np.ascontiguousarray(problem.x.transpose(1, 0, 2)), "h": state, "c": state}
    names = ["Y"]

    def call() -> Any:
        return run(names, feed)

    return Run(call, lambda: {"out": call()[0][:, 0].transpose(1, 0, 2)})


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


WAYS = {"inference": {"onnxruntime": inference}, "step": {"onnxruntime": streamed}}
