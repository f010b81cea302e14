"""Write the files beside this one: ``python tests/data/interop/make_files.py``.

With torch 2.13.0, keras 3.15.1 (on TensorFlow) and onnxruntime 1.32.0. ``golden.npz`` holds inputs, lengths and the
outputs that each framework computes; the models are in files as the frameworks write them.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
HERE = Path(__file__).resolve().parent
LENGTHS = np.array([6, 2, 5])

# name: kind, layers, bidirectional, options
TORCH = {
    "lstm": ("LSTM", 2, True, {}),
    "gru": ("GRU", 2, True, {}),
    "rnn": ("RNN", 1, False, {}),
    "rnn_relu": ("RNN", 1, True, {"nonlinearity": "relu"}),
}


def torch_models(x: np.ndarray) -> dict[str, np.ndarray]:
    """Write one safetensors file per recurrent layer, and return what they compute with and without lengths."""
    import torch
    from safetensors.torch import save_file
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    found = {}
    for name, (kind, layers, both, options) in TORCH.items():
        torch.manual_seed(0)
        model = torch.nn.ModuleDict(
            {
                "body": getattr(torch.nn, kind)(3, 4, layers, batch_first=True, bidirectional=both, **options),
                "head": torch.nn.Linear(8 if both else 4, 2),
            }
        )
        with torch.no_grad():
            packed = pack_padded_sequence(
                torch.tensor(x), torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
            )
            ragged, _ = pad_packed_sequence(model["body"](packed)[0], batch_first=True, total_length=x.shape[1])
            found[f"torch/{name}/ragged"] = model["head"](ragged).numpy()
            found[f"torch/{name}/full"] = model["head"](model["body"](torch.tensor(x))[0]).numpy()
        save_file(model.state_dict(), HERE / f"torch_{name}.safetensors")
        if name == "lstm":
            torch.save(model.state_dict(), HERE / "torch_lstm.pt")
    return found


def torch_graphs(x: np.ndarray) -> dict[str, np.ndarray]:
    """Export two models from PyTorch and return what ONNX Runtime computes."""
    import onnxruntime
    import torch

    class Model(torch.nn.Module):
        def __init__(self, kind: str) -> None:
            super().__init__()
            self.body = getattr(torch.nn, kind)(3, 4, 2, batch_first=True, bidirectional=True)
            self.head = torch.nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.head(self.body(x)[0][:, -1]))

    found = {}
    for kind in ("LSTM", "GRU", "RNN"):
        torch.manual_seed(1)
        path = HERE / f"exported_{kind.lower()}.onnx"
        axes = {"x": {0: "b", 1: "t"}}
        torch.onnx.export(
            Model(kind).eval(), (torch.tensor(x),), path, dynamo=False, input_names=["x"], dynamic_axes=axes
        )
        found[f"onnx/{kind.lower()}"] = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    return found


def keras_models(x: np.ndarray) -> dict[str, np.ndarray]:
    """Write a sequential and a functional model of Keras, and return what they compute."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    tokens = np.array([[3, 1, 4, 1, 5, 9], [2, 6, 0, 0, 0, 0], [5, 3, 5, 8, 9, 0]])
    sequential = keras.Sequential(
        [
            keras.Input((None,)),
            layers.Embedding(10, 3, mask_zero=True),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True, dropout=0.2)),
            layers.LayerNormalization(),
            layers.TimeDistributed(layers.Dense(3, activation="tanh")),
            layers.GRU(4, return_sequences=True),
            layers.Bidirectional(layers.GRU(3, reset_after=False)),
            layers.Dropout(0.3),
            layers.Dense(2, activation="softmax"),
        ]
    )
    one = keras.Input((None, 3))
    y = layers.Masking()(one)
    y = layers.LSTM(4, return_sequences=True, name="lstm")(y)
    y = layers.GRU(4, return_sequences=True, name="gru")(y)
    y = layers.SimpleRNN(4, activation="relu", name="rnn")(y)
    functional = keras.Model(one, layers.Dense(2, activation="gelu", name="dense")(y))
    padded = np.where(np.arange(x.shape[1])[:, None] < LENGTHS[:, None, None], x, 0).astype(np.float32)
    for model in (sequential, functional):
        model.set_weights(
            [w + 0.3 * np.random.default_rng(k).standard_normal(w.shape) for k, w in enumerate(model.get_weights())]
        )
    sequential.save(HERE / "sequential.keras")
    sequential.save(HERE / "sequential.h5")
    functional.save(HERE / "functional.keras")
    return {
        "keras/tokens": tokens,
        "keras/sequential": sequential.predict(tokens, verbose=0),
        "keras/functional": functional.predict(padded, verbose=0),
    }


def main() -> None:
    """Write everything."""
    warnings.simplefilter("ignore")
    x = np.random.default_rng(0).standard_normal((3, 6, 3)).astype(np.float32)
    arrays = {"x": x, "lengths": LENGTHS} | torch_models(x) | torch_graphs(x) | keras_models(x)
    np.savez_compressed(HERE / "golden.npz", **arrays)
    print(sum(path.stat().st_size for path in HERE.iterdir()), "bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
