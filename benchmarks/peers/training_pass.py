"""Forward and backward of one LSTM layer, input gradient included: fastseq beside ``torch.nn.LSTM``, same weights.

``python -m benchmarks.peers.training_pass [--threads N] [--rounds N] [--ragged]``. Dense batches, or with ``--ragged``
lengths uniform in T/10..T, where torch runs packed and padded. Input gradients are compared before any clock starts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from benchmarks.peers.interleave import machine, medians

DENSE = [
    (1, 50, 16, 64),
    (32, 50, 16, 32),
    (32, 50, 16, 64),
    (64, 100, 64, 128),
    (64, 100, 128, 256),
    (32, 100, 256, 512),
]
RAGGED = [(32, 29, 12, 100), (32, 200, 16, 64), (64, 100, 64, 128)]
Pass = Callable[[], np.ndarray]


def contenders(shape: tuple[int, int, int, int], ragged: bool) -> tuple[dict[str, Pass], float]:
    """Passes by name, each returning the input's gradient, and the floating-point operations of the valid steps."""
    import torch

    import fastseq as fs
    from fastseq import nn

    batch, steps, features, hidden = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, steps, features), dtype=np.float32)
    d_out = rng.standard_normal((batch, steps, hidden), dtype=np.float32)
    lengths = rng.integers(max(1, steps // 10), steps + 1, batch) if ragged else np.full(batch, steps)
    d_out[np.arange(steps)[None, :] >= lengths[:, None]] = 0
    theirs = torch.nn.LSTM(features, hidden, batch_first=True)
    ours = nn.LSTM(features, hidden)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    tensor = fs.Tensor(x, requires_grad=True)
    other, d_other = torch.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(d_out)

    def fastseq_pass() -> np.ndarray:
        ours.zero_grad()
        tensor.grad = None
        ours(tensor, lengths=lengths if ragged else None)[0].backward(d_out)
        return tensor.grad.numpy()

    def torch_pass(packed: bool) -> np.ndarray:
        theirs.zero_grad(set_to_none=True)
        other.grad = None
        rnn = torch.nn.utils.rnn
        if packed:
            sequence = rnn.pack_padded_sequence(other, torch.from_numpy(lengths), True, enforce_sorted=False)
            out = rnn.pad_packed_sequence(theirs(sequence)[0], batch_first=True, total_length=steps)[0]
        else:
            out = theirs(other)[0]
        out.backward(d_other)
        return other.grad.numpy()

    passes: dict[str, Pass] = {"fastseq": fastseq_pass}
    if ragged:
        passes["torch packed"] = lambda: torch_pass(True)
    passes["torch padded"] = lambda: torch_pass(False)
    return passes, 24.0 * lengths.sum() * hidden * (features + hidden)


def main(arguments: list[str] | None = None) -> dict[tuple[int, ...], dict[str, float]]:
    """Check that all agree, measure, print; returns seconds per pass by shape and name."""
    import torch

    import fastseq as fs

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ragged", action="store_true")
    options = parser.parse_args(arguments)
    fs.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    print(machine(options.threads, "torch"))
    print("B,T,F,H: milliseconds per training pass (GFLOP/s of the valid steps; ratio to fastseq)")
    found = {}
    for shape in RAGGED if options.ragged else DENSE:
        passes, work = contenders(shape, options.ragged)
        results = {name: one().copy() for name, one in passes.items()}
        for name in ("torch packed",) if options.ragged else ("torch padded",):
            error = abs(results["fastseq"] - results[name]).max() / abs(results[name]).max()
            if error > 1e-5:
                raise SystemExit(f"{shape}: {name} and fastseq differ by {error:.1e} of the largest input gradient")
        calls = max(1, int(2e9 / work))
        seconds = found[shape] = medians(passes, rounds=options.rounds, calls=min(calls, 200))
        cells = [
            f"{name} {value * 1e3:.3f} ({work / value / 1e9:.0f}; {value / seconds['fastseq']:.2f})"
            for name, value in seconds.items()
        ]
        print(f"{','.join(map(str, shape))}: {', '.join(cells)}", flush=True)
    return found


if __name__ == "__main__":
    main()
