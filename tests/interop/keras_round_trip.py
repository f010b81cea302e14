"""Models from Keras to fastseq and their weights back, outputs compared each time; run by ``test_keras.py``."""

from __future__ import annotations

import itertools
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
warnings.simplefilter("ignore")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers  # noqa: E402

from fastseq.interop import from_keras, to_keras_weights  # noqa: E402
from tests.interop.models import THERE  # noqa: E402

LENGTHS = np.array([6, 1, 4])
MAKERS = {
    "lstm": lambda **o: layers.LSTM(5, **o),
    "gru": lambda **o: layers.GRU(5, **o),
    "gru_before": lambda **o: layers.GRU(5, reset_after=False, **o),
    "rnn": lambda **o: layers.SimpleRNN(5, **o),
    "lstm_relu": lambda **o: layers.LSTM(5, activation="relu", **o),
    "rnn_relu": lambda **o: layers.SimpleRNN(5, activation="relu", **o),
}


def built(name: str, both: bool, depth: int, merge: str, bias: bool) -> keras.Model:
    """A stack behind a mask, its last layer without its steps unless directions are added up."""
    every = merge != "concat"
    parts = [keras.Input((6, 3)), layers.Masking()]
    for number in range(depth):
        inner = MAKERS[name](return_sequences=number < depth - 1 or every, use_bias=bias)
        parts.append(layers.Bidirectional(inner, merge_mode=merge) if both else inner)
    return keras.Sequential([*parts, layers.Dense(2, activation="tanh")])


def check(model: keras.Model, x: np.ndarray, folder: Path, count: int, lengths: np.ndarray | None = LENGTHS) -> None:
    """Compare outputs on valid steps, there and back."""
    rng = np.random.default_rng(count)
    drawn = [(w.path, 0.4 * rng.standard_normal(w.shape)) for w in model.weights]
    model.set_weights([np.abs(values) + 0.1 if "variance" in path else values for path, values in drawn])
    want = model.predict(x, verbose=0)
    kept = np.ones(want.shape[:1], bool)
    if want.ndim == 3 and lengths is not None:
        kept = np.arange(want.shape[1]) < lengths[:, None]
    path = folder / f"m{count}{'.h5' if count % 2 else '.keras'}"
    model.save(path)
    found = from_keras(path)
    np.testing.assert_allclose(found(x, lengths=lengths).numpy()[kept], want[kept], atol=1e-5)
    weights = to_keras_weights(found)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    model.set_weights(weights)
    np.testing.assert_allclose(model.predict(x, verbose=0), want, atol=1e-6)


def main() -> None:
    """Check every kind, and print how many models agreed."""
    x = np.random.default_rng(0).standard_normal((3, 6, 3)).astype(np.float32)
    x[np.arange(6) >= LENGTHS[:, None]] = 0
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, both, depth in itertools.product([n for n in MAKERS if n in THERE], (False, True), (1, 2)):
            merge = "concat" if depth == 1 or not both else ("sum", "mul", "ave")[count % 3]
            check(built(name, both, depth, merge, bias=count % 4 != 3), x, Path(folder), count)
            count += 1
        plain = [
            [layers.Conv1D(4, 3, padding="causal", activation="relu"), layers.GlobalMaxPooling1D(), layers.Dense(2)],
            [layers.Conv1D(4, 2, padding="same"), layers.LeakyReLU(0.1), layers.GlobalAveragePooling1D()],
            [layers.LayerNormalization(scale=False), layers.LSTM(4, dropout=0.2), layers.Dense(3, activation="gelu")],
            [layers.Dense(4, "silu"), layers.LayerNormalization(center=False), layers.SpatialDropout1D(0.1),
             layers.Dense(3, "log_softmax")],
            [layers.Conv1D(4, 3), layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling1D(2), layers.LSTM(4),
             layers.BatchNormalization(scale=False), layers.Dense(2)],
            [layers.BatchNormalization(center=False), layers.AveragePooling1D(3, 2, "same"), layers.GaussianNoise(0.1),
             layers.PReLU(shared_axes=[1]), layers.BatchNormalization(center=False, scale=False), layers.Flatten(),
             layers.GaussianDropout(0.1), layers.Dense(2)],
        ]  # fmt: skip
        for parts in plain:
            check(keras.Sequential([keras.Input((6, 3)), *parts]), x, Path(folder), count, None)
            count += 1
        one = keras.Input((None, 3))
        chain = layers.Dense(1)(layers.GRU(4)(layers.LSTM(5, return_sequences=True)(one)))
        check(keras.Model(one, chain), x, Path(folder), count, None)
        count += 1
    print("models that agree:", count)


if __name__ == "__main__":
    main()
