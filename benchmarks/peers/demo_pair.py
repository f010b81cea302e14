"""The demo's model and data, trained by fastseq and by PyTorch, one epoch of each in turns.

``python -m benchmarks.peers.demo_pair [--epochs N] [--windows N] [--threads N]``. Both start from the same weights and
run the demo's own recipe at its highest learning rate: the same windows, batch size, loss, clipping and Adam. Each
shuffles in its own way, so the losses agree in size and not in every digit; both are printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.peers.interleave import machine

Epoch = Callable[[], float]


def fastseq_epoch(model: object, inputs: np.ndarray, targets: np.ndarray, batch_size: int, rate: float) -> Epoch:
    """``fs.fit`` for one epoch after another, with one optimiser."""
    import fastseq as fs
    from fastseq import optim
    from fastseq.cli.demo.network import loss_after_run_in

    optimizer = optim.Adam(model.parameters(), lr=rate)

    def epoch() -> float:
        history = fs.fit(
            model,
            inputs,
            targets,
            loss=loss_after_run_in,
            optimizer=optimizer,
            epochs=1,
            batch_size=batch_size,
            clip_norm=1.0,
            random_state=0,
            verbose=False,
        )
        return history.history["loss"][-1]

    return epoch


def torch_epoch(model: object, inputs: np.ndarray, targets: np.ndarray, batch_size: int, rate: float) -> Epoch:
    """The loop that PyTorch's users write, over the same layers with the same weights."""
    import torch

    from fastseq.cli.demo.network import RUN_IN

    numbers = {name: torch.from_numpy(value.numpy().copy()) for name, value in model.state_dict().items()}

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            hidden, features = numbers["2.weight"].shape[1], numbers["1.weight_ih_l0"].shape[1]
            self.lstm = torch.nn.LSTM(features, hidden, batch_first=True)
            self.head = torch.nn.Linear(hidden, numbers["2.weight"].shape[0])
            for place, layer in (("1.", self.lstm), ("2.", self.head)):
                state = {name.removeprefix(place): v for name, v in numbers.items() if name.startswith(place)}
                layer.load_state_dict(state)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out, _ = self.lstm((x - numbers["0.mean"]) / numbers["0.std"])
            return self.head(out) * numbers["3.scale"] + numbers["3.shift"]

    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    x, y = torch.from_numpy(np.array(inputs)), torch.from_numpy(np.array(targets))
    generator = torch.Generator().manual_seed(0)

    def epoch() -> float:
        network.train()
        total = 0.0
        for rows in torch.randperm(len(x), generator=generator).split(batch_size):
            optimizer.zero_grad()
            loss = torch.nn.functional.l1_loss(network(x[rows])[:, RUN_IN:], y[rows][:, RUN_IN:])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            total += loss.item() * len(rows)
        return total / len(x)

    return epoch


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure and print; returns median seconds per epoch by name."""
    import torch

    import fastseq as fs
    from fastseq.cli.demo.meter import load_meter
    from fastseq.cli.demo.network import BATCH_SIZE, PEAK_RATE, build

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5, help="epochs of each that count, after one to warm up")
    parser.add_argument("--windows", type=int, default=None, help="use only so many windows (default: all)")
    parser.add_argument("--threads", type=int, default=fs.get_num_threads(), help="threads for both")
    chosen = parser.parse_args(arguments)
    fs.set_num_threads(chosen.threads)
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)

    meter = load_meter()
    windows = meter.training_windows()
    inputs, targets = windows.inputs[: chosen.windows], windows.targets[: chosen.windows]
    fs.manual_seed(0)
    model = build(meter)
    recipe = (inputs, targets, BATCH_SIZE, PEAK_RATE)
    epochs = {"torch": torch_epoch(model, *recipe), "fastseq": fastseq_epoch(model, *recipe)}
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    print(machine(chosen.threads, "torch"))
    print(f"{len(inputs)} windows of {inputs.shape[1]} hours, batches of {BATCH_SIZE}; epoch 0 warms up")
    for number in range(chosen.epochs + 1):
        for name, epoch in epochs.items():
            begin = time.perf_counter()
            loss = epoch()
            passed = time.perf_counter() - begin
            print(f"  epoch {number}  {name:8} {passed:8.2f} s   loss {loss:.4f} kW", flush=True)
            if number:
                seconds[name].append(passed)
    found = {name: statistics.median(values) for name, values in seconds.items()}
    print(
        f"median epoch: torch {found['torch']:.2f} s, fastseq {found['fastseq']:.2f} s, "
        f"ratio {found['torch'] / found['fastseq']:.2f}"
    )
    return found


if __name__ == "__main__":
    main()
