"""Random configurations beside the installed PyTorch: packed sequences, every gradient, every optimiser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn, optim

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow

LIMIT = {"float32": 1e-5, "float64": 1e-10}
CHUNKS, PER_CHUNK = 10, 20


@dataclass(frozen=True)
class Configuration:
    """One random layer stack and batch."""

    batch: int
    steps: int
    features: int
    hidden: int
    layers: int
    both: bool
    bias: bool
    states: bool
    lengths: np.ndarray
    seed: int


def configurations(chunk: int) -> list[Configuration]:
    """The chunk's configurations: 1 to 3 layers, one or two directions, B, F, H in 1..70, T in 1..40."""
    rng = np.random.default_rng([chunk, 20260101])
    drawn = []
    for _ in range(PER_CHUNK):
        batch, features, hidden = (int(n) for n in rng.integers(1, 71, 3))
        steps = int(rng.integers(1, 41))
        drawn.append(
            Configuration(
                batch, steps, features, hidden,
                layers=int(rng.integers(1, 4)),
                both=bool(rng.integers(2)),
                bias=bool(rng.random() < 0.8),
                states=bool(rng.random() < 0.7),
                lengths=rng.integers(1, steps + 1, batch),
                seed=int(rng.integers(2**31)),
            )
        )  # fmt: skip
    return drawn


def numbers(config: Configuration, dtype: np.dtype) -> dict[str, np.ndarray]:
    """Input, initial states and upstream gradients."""
    rng = np.random.default_rng(config.seed)
    directions = 2 if config.both else 1
    state = (config.layers * directions, config.batch, config.hidden)
    shapes = {
        "x": (config.batch, config.steps, config.features),
        "h0": state,
        "c0": state,
        "d_out": (config.batch, config.steps, directions * config.hidden),
        "d_h_n": state,
        "d_c_n": state,
    }
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def run_torch(config: Configuration, data: dict[str, np.ndarray], dtype: np.dtype):
    """Weights, and what PyTorch makes of them: outputs, states and gradients by name."""
    torch.manual_seed(config.seed)
    lstm = torch.nn.LSTM(
        config.features,
        config.hidden,
        config.layers,
        bias=config.bias,
        batch_first=True,
        bidirectional=config.both,
        dtype=getattr(torch, dtype.name),
    )
    x, h0, c0 = (torch.from_numpy(data[key].copy()).requires_grad_() for key in ("x", "h0", "c0"))
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        x, torch.from_numpy(config.lengths), batch_first=True, enforce_sorted=False
    )
    packed_out, (h_n, c_n) = lstm(packed, (h0, c0) if config.states else None)
    out, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_out, batch_first=True, total_length=config.steps)
    torch.autograd.backward([out, h_n, c_n], [torch.from_numpy(data[f"d_{key}"]) for key in ("out", "h_n", "c_n")])
    result = {"out": out, "h_n": h_n, "c_n": c_n, "d_x": x.grad}
    result |= {"d_h0": h0.grad, "d_c0": c0.grad} if config.states else {}
    result |= {f"d_{name}": parameter.grad for name, parameter in lstm.named_parameters()}
    return lstm.state_dict(), {name: value.detach().numpy() for name, value in result.items()}


def run_fastseq(config: Configuration, data: dict[str, np.ndarray], dtype: np.dtype, weights):
    """The same with the same weights."""
    lstm = nn.LSTM(
        config.features, config.hidden, config.layers, bias=config.bias, bidirectional=config.both, dtype=dtype
    )
    lstm.load_state_dict(weights)
    x, h0, c0 = (fs.Tensor(data[key].copy(), requires_grad=True) for key in ("x", "h0", "c0"))
    out, (h_n, c_n) = lstm(x, (h0, c0) if config.states else None, lengths=config.lengths)
    ((out * data["d_out"]).sum() + (h_n * data["d_h_n"]).sum() + (c_n * data["d_c_n"]).sum()).backward()
    result = {"out": out, "h_n": h_n, "c_n": c_n, "d_x": x.grad}
    result |= {"d_h0": h0.grad, "d_c0": c0.grad} if config.states else {}
    result |= {f"d_{name}": parameter.grad for name, parameter in lstm.named_parameters()}
    return {name: value.numpy() for name, value in result.items()}


def worst(got: np.ndarray, want: np.ndarray) -> float:
    """Largest difference, relative to the largest entry."""
    assert got.shape == want.shape and got.dtype == want.dtype
    return float(np.abs(got - want).max(initial=0.0) / (np.abs(want).max(initial=0.0) or 1.0))


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_lstm_equals_packed_torch(name, chunk):
    dtype = np.dtype(name)
    for config in configurations(chunk):
        data = numbers(config, dtype)
        weights, want = run_torch(config, data, dtype)
        got = run_fastseq(config, data, dtype, weights)
        assert got.keys() == want.keys()
        errors = {key: worst(got[key], want[key]) for key in want}
        assert max(errors.values()) <= LIMIT[name], (config, errors)


OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.05}),
    "momentum": ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    "dampened": ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3}),
    "nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "adam": ("Adam", {"lr": 0.01}),
    "adam_decay": ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    "adamw": ("AdamW", {"lr": 0.01}),
    "adamw_decay": ("AdamW", {"lr": 0.02, "weight_decay": 0.3}),
}


@pytest.mark.parametrize("case", OPTIMIZERS)
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_optimisers_follow_torch_for_20_steps(name, case):
    kind, options = OPTIMIZERS[case]
    dtype = np.dtype(name)
    rng = np.random.default_rng(5)
    shapes = [(7, 3), (5,), (1,), (2, 3, 4), (33, 17)]
    start = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    ours = [nn.Parameter(value.copy()) for value in start]
    theirs = [torch.nn.Parameter(torch.from_numpy(value.copy())) for value in start]
    optimizer, other = getattr(optim, kind)(ours, **options), getattr(torch.optim, kind)(theirs, **options)
    for step in range(20):
        optimizer.zero_grad()
        other.zero_grad()
        scale = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        for number, (mine, yours, factor) in enumerate(zip(ours, theirs, scale, strict=True)):
            if (step + number) % 6 == 5:
                continue  # a parameter that took no part in this step's loss is left alone
            (mine * mine * factor).sum().backward()
            (yours * yours * torch.from_numpy(factor)).sum().backward()
        optimizer.step()
        other.step()
        for mine, yours in zip(ours, theirs, strict=True):
            assert worst(mine.numpy(), yours.detach().numpy()) <= LIMIT[name], step
