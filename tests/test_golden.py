"""Outputs, all gradients and ten training losses against numbers that PyTorch wrote (``tests/data/``)."""

from __future__ import annotations

import functools
import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn, optim

GOLDEN = Path(__file__).parent / "data" / "golden.npz"
LIMIT = {"float32": 1e-5, "float64": 1e-10}


@functools.cache
def golden() -> dict[str, np.ndarray]:
    """Every stored array by name."""
    with np.load(GOLDEN, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def cases() -> dict[str, list]:
    """The stored cases: input size, hidden size, layers, bidirectional, bias, lengths."""
    return json.loads(str(golden()["about"]))["cases"]


def arrays(prefix: str) -> dict[str, np.ndarray]:
    """The arrays of one case, by their names in it."""
    return {name.removeprefix(prefix): value for name, value in golden().items() if name.startswith(prefix)}


def assert_close(got, want: np.ndarray, dtype: str, what: str) -> None:
    """Differences relative to the largest entry, as the project promises them."""
    got = np.asarray(got)
    assert got.shape == want.shape and got.dtype == want.dtype, what
    scale = np.abs(want).max(initial=0.0) or 1.0
    worst = np.abs(got - want).max(initial=0.0) / scale
    assert worst <= LIMIT[dtype], f"{what}: {worst:.2e} of the largest entry"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", list(cases()))
def test_layers_equal_torch(name, dtype):
    features, hidden, layers, both, bias, lengths = cases()[name]
    want = arrays(f"{dtype}/{name}/")
    kind = {"gru": nn.GRU, "rnn": nn.RNN}.get(name.split("_")[-1], nn.LSTM)
    layer = kind(features, hidden, layers, bias=bias, bidirectional=both, dtype=np.dtype(dtype))
    layer.load_state_dict({key.removeprefix("weight/"): v for key, v in want.items() if key.startswith("weight/")})
    leaves = {key: fs.Tensor(want[key].copy(), requires_grad=True) for key in ("x", "h0", "c0") if key in want}
    x, *states = leaves.values()
    out, last = layer(x, tuple(states) if len(states) > 1 else states[0], lengths=np.array(lengths))
    finals = last if isinstance(last, tuple) else [last]
    outputs = {"out": out, **dict(zip(("h_n", "c_n"), finals, strict=False))}
    for key, value in outputs.items():
        assert_close(value.numpy(), want[key], dtype, key)
    sum((value * want[f"d_{key}"]).sum() for key, value in outputs.items()).backward()
    for key, tensor in leaves.items():
        assert_close(tensor.grad.numpy(), want[f"d_{key}"], dtype, key)
    for key, parameter in layer.named_parameters():
        assert_close(parameter.grad.numpy(), want[f"d_weight/{key}"], dtype, key)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ten_losses_of_adam_equal_torch(dtype):
    want = arrays(f"{dtype}/training/")
    layers = [("lstm", nn.LSTM(3, 8, dtype=np.dtype(dtype))), ("last", nn.LastStep())]
    model = nn.Sequential(OrderedDict([*layers, ("fc", nn.Linear(8, 2, dtype=np.dtype(dtype)))]))
    model.load_state_dict({key.removeprefix("weight/"): v for key, v in want.items() if key.startswith("weight/")})
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(want["x"]), want["y"])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # ten steps of Adam divide small gradients by their own size, so rounding differences grow: ten times the limit
    np.testing.assert_allclose(losses, want["losses"], rtol=10 * LIMIT[dtype])
    for key, parameter in model.named_parameters():
        worst = np.abs(parameter.numpy() - want[f"trained/{key}"]).max() / np.abs(want[f"trained/{key}"]).max()
        assert worst <= 10 * LIMIT[dtype], key
