"""One streamed step from Python: fastseq beside ``torch.nn.LSTMCell`` and ONNX Runtime, on the same weights.

``python -m benchmarks.peers.step [--features F] [--hidden H] [--head] [--rounds N] [--calls N]``. One row, one step,
float32, state carried; ``--head`` adds a linear head of one output. All contenders' outputs are compared over 20 steps
before any clock starts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from benchmarks.peers.interleave import machine, medians

Step = Callable[[np.ndarray], np.ndarray]
Weights = dict[str, np.ndarray]


def draw(features: int, hidden: int) -> Weights:
    """PyTorch's initialisation, under PyTorch's names."""
    rng, bound = np.random.default_rng(0), hidden**-0.5
    shapes = {
        "weight_ih": (4 * hidden, features),
        "weight_hh": (4 * hidden, hidden),
        "bias_ih": (4 * hidden,),
        "bias_hh": (4 * hidden,),
        "weight": (1, hidden),
        "bias": (1,),
    }
    return {name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}


def fastseq_step(weights: Weights, head: bool) -> Step:
    """``fs.Stream``."""
    import fastseq as fs
    from fastseq import nn

    features, hidden = weights["weight_ih"].shape[1], weights["weight_hh"].shape[1]
    net = nn.Sequential(nn.LSTM(features, hidden), *([nn.Linear(hidden, 1)] if head else []))
    state = {f"0.{name}_l0": weights[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    net.load_state_dict(state | ({f"1.{name}": weights[name] for name in ("weight", "bias")} if head else {}))
    return fs.Stream(net.eval()).step


def torch_step(weights: Weights, head: bool) -> Step:
    """``torch.nn.LSTMCell`` in inference mode, from a NumPy observation to a NumPy answer."""
    import torch

    features, hidden = weights["weight_ih"].shape[1], weights["weight_hh"].shape[1]
    cell, linear = torch.nn.LSTMCell(features, hidden), torch.nn.Linear(hidden, 1)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    cell.load_state_dict({name: torch.from_numpy(weights[name]) for name in names})
    linear.load_state_dict({name: torch.from_numpy(weights[name]) for name in ("weight", "bias")})
    state = (torch.zeros(1, hidden), torch.zeros(1, hidden))
    mode = torch.inference_mode

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal state
        with mode():
            state = cell(torch.from_numpy(x[None]), state)
            return (linear(state[0]) if head else state[0])[0].numpy()

    return step


def onnx_model(weights: Weights, head: bool) -> bytes:
    """One LSTM node over a sequence of one step (and a Gemm), states as inputs and outputs; gates i o f c."""
    from onnx import TensorProto, helper, numpy_helper

    features, hidden = weights["weight_ih"].shape[1], weights["weight_hh"].shape[1]

    def turned(name: str) -> np.ndarray:
        i, f, g, o = np.split(weights[name], 4)
        return np.concatenate([i, o, f, g])

    constants = {
        "W": turned("weight_ih")[None],
        "R": turned("weight_hh")[None],
        "B": np.concatenate([turned("bias_ih"), turned("bias_hh")])[None],
        "weight": weights["weight"],
        "bias": weights["bias"],
        "flat": np.array([1, hidden]),
    }

    def value(name: str, *shape: int) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    lstm = helper.make_node(
        "LSTM", ["x", "W", "R", "B", "", "h", "c"], ["", "h_n", "c_n"], hidden_size=hidden, direction="forward"
    )
    rows = helper.make_node("Reshape", ["h_n", "flat"], ["rows"])
    last = helper.make_node("Gemm", ["rows", "weight", "bias"], ["y"], transB=1)
    used = ["W", "R", "B", "flat", "weight", "bias"] if head else ["W", "R", "B"]
    graph = helper.make_graph(
        [lstm, rows, last] if head else [lstm],
        "step",
        [value("x", 1, 1, features), value("h", 1, 1, hidden), value("c", 1, 1, hidden)],
        [value("h_n", 1, 1, hidden), value("c_n", 1, 1, hidden), *([value("y", 1, 1)] if head else [])],
        [numpy_helper.from_array(constants[name], name) for name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8).SerializeToString()


def onnx_step(weights: Weights, head: bool) -> Step:
    """An ONNX Runtime session on one thread."""
    import onnxruntime

    hidden = weights["weight_hh"].shape[1]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_model(weights, head), options, providers=["CPUExecutionProvider"])
    feed = {name: np.zeros((1, 1, hidden), np.float32) for name in ("h", "c")}

    def step(x: np.ndarray) -> np.ndarray:
        feed["x"] = x[None, None]
        result = session.run(None, feed)
        feed["h"], feed["c"] = result[0], result[1]
        return result[2][0] if head else result[0][0, 0]

    return step


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Check that all agree, measure, print; returns seconds per step by name."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--head", action="store_true", help="add a linear head of one output")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=2000)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)

    weights = draw(chosen.features, chosen.hidden)
    steps = {
        "fastseq": fastseq_step(weights, chosen.head),
        "torch LSTMCell": torch_step(weights, chosen.head),
        "onnxruntime": onnx_step(weights, chosen.head),
    }
    observations = np.random.default_rng(1).standard_normal((20, chosen.features), dtype=np.float32)
    answers = {name: np.stack([step(x).copy() for x in observations]) for name, step in steps.items()}
    for name, answer in answers.items():
        np.testing.assert_allclose(answer, answers["fastseq"], rtol=0, atol=1e-5, err_msg=name)

    x = observations[0]
    found = medians(
        {name: lambda step=step: step(x) for name, step in steps.items()}, rounds=chosen.rounds, calls=chosen.calls
    )
    print(machine(1, "torch", "onnxruntime"))
    print(f"one step of one row, F={chosen.features}, H={chosen.hidden}{', linear head' if chosen.head else ''}:")
    for name, seconds in found.items():
        print(f"  {name:16} {1e6 * seconds:8.2f} us   {seconds / found['fastseq']:6.1f} x fastseq")
    return found


if __name__ == "__main__":
    main()
