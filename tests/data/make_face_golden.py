"""Write face_golden.npz: what Keras says to its own test cases and to tests/models/keras_runs.py, and PyTorch to its
listing.

Run from the repository's root, with the extra ``peers``: ``KERAS_BACKEND=torch python -m tests.data.make_face_golden``.
With names of cases and runs behind the file's, only those are run, and what else the file holds stays. The tests run it
into another file, on other backends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.layers.keras_layer_cases import CASES
from tests.models import keras_runs, torch_listing


def main(path: Path, names: list[str]) -> None:
    """Run everything, or the runs named, and write the file."""
    import keras

    found: dict[str, np.ndarray] = {}
    if names and path.exists():
        with np.load(path) as before:
            found = {name: before[name] for name in before.files}
    for name in [name for name in names if name in CASES] if names else CASES:
        out = CASES[name](keras.layers, keras.initializers)
        for k, array in enumerate(out if isinstance(out, (list, tuple)) else [out]):
            found[f"case {name} {k}"] = keras.ops.convert_to_numpy(array)
    for name in [name for name in names if name in keras_runs.RUNS] if names else keras_runs.RUNS:
        parts = keras_runs.run(name, keras.layers, keras.models, keras.optimizers, keras.losses)
        found |= {f"run {name}: {key}": value for key, value in parts.items()}
    if not names:
        import torch

        found["torch listing"] = np.array(torch_listing.losses(torch, torch.nn, torch.optim))
    np.savez_compressed(path, **found)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("face_golden.npz")
    main(target, sys.argv[2:])
