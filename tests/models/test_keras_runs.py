"""Models of many kinds train as Keras trains them: losses, metrics, predictions and weights after three epochs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastseq as fs
from fastseq import layers, models
from tests.models import keras_runs, torch_listing

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "data" / "face_golden.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as found:
        return {name: found[name] for name in found.files}


def compare(name: str, golden: dict[str, np.ndarray]) -> None:
    """Run a model here and compare everything with the numbers stored."""
    found = keras_runs.run(name, layers, models, fs.optimizers, fs.losses)
    start = f"run {name}: "
    wanted = {key.removeprefix(start): value for key, value in golden.items() if key.startswith(start)}
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        # Adam and its kin divide by the root of squares: where a gradient is next to nothing, its rounding shows in
        # the weights, at a share of the steps taken. Losses and predictions do not feel it.
        tolerance = 1e-4 if key.startswith("weight") else 1e-5
        np.testing.assert_allclose(found[key], value, rtol=tolerance, atol=tolerance, err_msg=key)


@pytest.mark.parametrize("name", keras_runs.RUNS)
def test_training_follows_keras(name, golden):
    compare(name, golden)


def test_the_torch_listing_gives_torch_s_losses(golden):
    found = torch_listing.losses(fs, fs.nn, fs.optim)
    np.testing.assert_allclose(found, golden["torch listing"], rtol=1e-5)
    assert found[-1] < found[0]


def test_the_torch_listing_gives_the_losses_of_the_torch_that_is_installed():
    torch = pytest.importorskip("torch")
    expected = torch_listing.losses(torch, torch.nn, torch.optim)
    np.testing.assert_allclose(torch_listing.losses(fs, fs.nn, fs.optim), expected, rtol=1e-5)


def test_the_torch_listing_as_it_is_printed(capsys):
    import fastseq as torch
    import fastseq.nn as nn

    batch_size, seq_len, input_size, hidden_size, output_size = 4, 10, 8, 16, 3
    torch.manual_seed(0)
    LSTMModel = torch_listing.model_class(torch, nn)
    model = LSTMModel(input_size, hidden_size, output_size, num_layers=2, bidirectional=True, dropout=0.2)
    x = torch.randn(batch_size, seq_len, input_size)
    y_pred = model(x)
    print(y_pred.shape)
    assert capsys.readouterr().out.strip() == "(4, 3)"


def test_the_keras_listing_as_it_is_printed():
    import fastseq as tf

    tf.manual_seed(0)
    model = models.Sequential([layers.Input(shape=(50, 16)), layers.LSTM(64, return_sequences=False), layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse")
    x = tf.random.normal((32, 50, 16))
    y = tf.random.normal((32, 1))
    history = model.fit(x, y, epochs=3, batch_size=32)
    assert list(history.history) == ["loss"] and len(history.history["loss"]) == 3
    assert history.history["loss"][2] < history.history["loss"][0]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_training_follows_the_keras_that_is_installed(backend, tmp_path):
    pytest.importorskip("keras")
    pytest.importorskip(backend)
    names = list(keras_runs.RUNS)
    if backend == "tensorflow":
        # There, Keras squares the gradients of a symbol's places one by one instead of their sum, and forgets that
        # the last batch has fewer rows in the losses of single outputs; on its other backends it does neither.
        names = [name for name in names if not name.startswith(("embedding", "two outputs"))]
        names = names[::5]  # each model's graph takes it a second
    path = tmp_path / "live.npz"
    command = [sys.executable, "-W", "ignore", "-m", "tests.data.make_face_golden", str(path), *names]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True)
    with np.load(path) as found:
        live = {name: found[name] for name in found.files}
    for name in names:
        compare(name, live)
