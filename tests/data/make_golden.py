"""Write ``golden.npz`` with PyTorch: ``python tests/data/make_golden.py`` (torch 2.13.0 wrote the one beside this).

Every case holds inputs, weights, upstream gradients, outputs, final states and all gradients of ``torch.nn.LSTM`` (or
GRU or RNN, where its name ends like that) on packed sequences; ``training`` holds ten losses of Adam on a small LSTM
with a linear head. Arrays are named ``<case>/<what>``; float32 cases are computed by torch in float32 from the same
float32 numbers.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent

# name: input size, hidden size, layers, bidirectional, bias, lengths (T is the longest)
CASES: dict[str, tuple[int, int, int, bool, bool, list[int]]] = {
    "one_layer": (3, 5, 1, False, True, [7, 7, 7, 7]),
    "ragged": (4, 17, 1, False, True, [1, 9, 4, 9, 2]),
    "reverse": (2, 6, 1, True, True, [3, 8, 1, 5]),
    "two_layers": (5, 16, 2, False, True, [6, 1, 4]),
    "two_layers_both_ways": (3, 9, 2, True, True, [2, 6, 5, 1, 6]),
    "no_bias": (1, 4, 1, True, False, [4, 2]),
    "one_of_each": (1, 1, 1, False, True, [1]),
    "ragged_gru": (4, 17, 1, False, True, [1, 9, 4, 9, 2]),
    "two_layers_both_ways_gru": (3, 9, 2, True, True, [2, 6, 5, 1, 6]),
    "no_bias_gru": (1, 4, 1, True, False, [4, 2]),
    "ragged_rnn": (4, 17, 1, False, True, [1, 9, 4, 9, 2]),
    "two_layers_both_ways_rnn": (3, 9, 2, True, True, [2, 6, 5, 1, 6]),
}


def layer_case(name: str, dtype: torch.dtype) -> dict[str, np.ndarray]:
    """Run one case forwards and backwards; initial states are drawn, not zero."""
    features, hidden, layers, both, bias, lengths = CASES[name]
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    directions, batch, steps = 2 if both else 1, len(lengths), max(lengths)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float32).to(dtype)

    kind = {"gru": torch.nn.GRU, "rnn": torch.nn.RNN}.get(name.split("_")[-1], torch.nn.LSTM)
    lstm = kind(features, hidden, layers, bias=bias, batch_first=True, bidirectional=both, dtype=dtype)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.copy_(0.4 * draw(*parameter.shape))
    x = draw(batch, steps, features).requires_grad_()
    h0 = draw(layers * directions, batch, hidden).requires_grad_()
    count = 2 if kind is torch.nn.LSTM else 1
    more = [draw(layers * directions, batch, hidden).requires_grad_() for _ in range(count - 1)]
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    packed_out, last = lstm(packed, (h0, *more) if more else h0)
    h_n, *c_n = last if more else [last]
    out, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_out, batch_first=True, total_length=steps)
    outputs = {"out": out, "h_n": h_n, **dict(zip(["c_n"], c_n, strict=False))}
    upstream = {key: draw(*value.shape) for key, value in outputs.items()}
    torch.autograd.backward(list(outputs.values()), list(upstream.values()))
    leaves = {"x": x, "h0": h0, **dict(zip(["c0"], more, strict=False))}
    arrays = leaves | outputs
    arrays |= {f"d_{key}": value for key, value in upstream.items()}
    arrays |= {f"d_{key}": value.grad for key, value in leaves.items()}
    arrays |= {f"weight/{key}": value for key, value in lstm.state_dict().items()}
    arrays |= {f"d_weight/{key}": value.grad for key, value in lstm.named_parameters()}
    result = {key: value.detach().numpy() for key, value in arrays.items()}
    return result | {"lengths": np.array(lengths)}


def training_case(dtype: torch.dtype) -> dict[str, np.ndarray]:
    """Ten steps of Adam on the squared error of the last step's output."""
    generator = torch.Generator().manual_seed(7)
    lstm = torch.nn.LSTM(3, 8, batch_first=True, dtype=dtype)
    head = torch.nn.Linear(8, 2, dtype=dtype)
    parameters = {f"lstm.{k}": v for k, v in lstm.named_parameters()} | {
        f"fc.{k}": v for k, v in head.named_parameters()
    }
    with torch.no_grad():
        for value in parameters.values():
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    start = {f"weight/{key}": value.detach().numpy().copy() for key, value in parameters.items()}
    x = torch.randn(6, 11, 3, generator=generator).to(dtype)
    y = torch.randn(6, 2, generator=generator).to(dtype)
    optimizer = torch.optim.Adam(parameters.values(), lr=0.02)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(head(lstm(x)[0][:, -1]), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    end = {f"trained/{key}": value.detach().numpy() for key, value in parameters.items()}
    return start | end | {"x": x.numpy(), "y": y.numpy(), "losses": np.array(losses)}


def main() -> None:
    """Compute every case in both precisions and write the file."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    arrays: dict[str, np.ndarray] = {}
    for dtype in (torch.float32, torch.float64):
        short = str(dtype).removeprefix("torch.")
        for name in CASES:
            arrays |= {f"{short}/{name}/{key}": value for key, value in layer_case(name, dtype).items()}
        arrays |= {f"{short}/training/{key}": value for key, value in training_case(dtype).items()}
    about = {"torch": torch.__version__.split("+")[0], "cases": {name: list(case) for name, case in CASES.items()}}
    np.savez_compressed(HERE / "golden.npz", about=np.array(json.dumps(about)), **arrays)


if __name__ == "__main__":
    main()
