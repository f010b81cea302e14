"""``from_keras`` and ``to_keras_weights``: files that Keras wrote, what is refused, and damage."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fastseq import nn
from fastseq.interop import from_keras, to_keras_weights
from fastseq.persistence import ModelFileError
from tests.interop.models import drawn

h5py = pytest.importorskip("h5py")

DATA = Path(__file__).parents[1] / "data" / "interop"
GOLDEN = dict(np.load(DATA / "golden.npz"))
KERAS_LINES = Path(__file__).parent / "keras_round_trip.py"


def changed(tmp_path: Path, change, name: str = "functional.keras") -> Path:
    """A file of Keras with something in its configuration changed."""
    with zipfile.ZipFile(DATA / name) as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    config = json.loads(parts["config.json"])
    change({entry["config"]["name"]: entry for entry in config["config"]["layers"]}, config)
    parts["config.json"] = json.dumps(config).encode()
    return packed(tmp_path / "changed.keras", parts)


def packed(path: Path, parts: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


# -- what Keras wrote ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sequential.keras", "sequential.h5"])
def test_a_sequential_model(name):
    with pytest.warns(UserWarning, match=r"'embedding' \(Embedding\) masks steps by their values; give .* lengths="):
        model = from_keras(DATA / name)
    tokens = GOLDEN["keras/tokens"]
    lengths = (tokens != 0)[:, ::-1].argmax(1)
    found = model(tokens, lengths=tokens.shape[1] - lengths).numpy()
    np.testing.assert_allclose(found, GOLDEN["keras/sequential"], atol=1e-5)
    assert not model.training and model.embedding.num_embeddings == 10


def test_a_functional_model():
    with pytest.warns(UserWarning, match="Masking"):
        model = from_keras(DATA / "functional.keras")
    found = model(GOLDEN["x"], lengths=GOLDEN["lengths"]).numpy()
    np.testing.assert_allclose(found, GOLDEN["keras/functional"], atol=1e-5)
    kinds = [type(layer).__name__ for layer in model]
    assert kinds == ["LSTM", "GRU", "RNN", "LastStep", "Linear", "GELU"]


def test_weights_go_back_as_they_came():
    with h5py.File(DATA / "sequential.h5") as file, pytest.warns(UserWarning):
        group = file["model_weights"]
        want = [
            group[layer][name][()]
            for layer in group.attrs["layer_names"]
            for name in group[layer].attrs["weight_names"]
        ]
        found = to_keras_weights(from_keras(DATA / "sequential.h5"))
    for got, values in zip(found, want, strict=True):
        np.testing.assert_array_equal(got, values)


def test_weights_of_other_layers():
    model = drawn(nn.Sequential(nn.LSTM(3, 4, 2, bidirectional=True), nn.MultiheadAttention(8, 2), nn.Conv1d(8, 5, 3)))
    shapes = [values.shape for values in to_keras_weights(model)]
    lstm = [(3, 16), (4, 16), (16,), (3, 16), (4, 16), (16,), (8, 16), (4, 16), (16,), (8, 16), (4, 16), (16,)]
    heads = [(8, 2, 4), (2, 4)] * 3 + [(2, 4, 8), (8,)]
    assert shapes == [*lstm, *heads, (3, 8, 5), (5,)]
    with pytest.raises(TypeError, match=r"model.1: .* got CRF"):
        to_keras_weights(nn.Sequential(nn.LSTM(2, 3), nn.CRF(3)))
    with pytest.raises(TypeError, match="model: .* got PeepholeLSTM"):
        to_keras_weights(nn.PeepholeLSTM(2, 3))
    with pytest.raises(TypeError, match="model: expected attention without extra keys"):
        to_keras_weights(nn.MultiheadAttention(4, 2, add_bias_kv=True))
    with pytest.raises(TypeError, match="model: expected a Module"):
        to_keras_weights([])


@pytest.mark.slow
def test_keras_fastseq_keras():
    pytest.importorskip("keras")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, KERAS_LINES], capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) > 20


# -- what is refused ----------------------------------------------------------------------------------------------


def set_option(layer: str, option: str, value: object):
    return lambda layers, config: layers[layer]["config"].update({option: value})


def lambda_layer(layers, config):
    layers["lstm"].update({"class_name": "Lambda", "registered_name": None})


def custom_class(layers, config):
    layers["lstm"].update({"module": None, "registered_name": "Mine>LSTM"})


def branch(layers, config):
    config["config"]["layers"].append(
        {
            "class_name": "Dense",
            "module": "keras.layers",
            "config": {"name": "beside"},
            "name": "beside",
            "inbound_nodes": [],
        }
    )


REFUSED = {
    "activation": (
        set_option("lstm", "activation", "elu"), r"activation='tanh' or 'relu' in layer 'lstm' \(LSTM\), got 'elu'",
    ),
    "hard sigmoid": (set_option("lstm", "recurrent_activation", "hard_sigmoid"), "recurrent_activation='sigmoid' in"),
    "backwards": (set_option("lstm", "go_backwards", True), "go_backwards=False in layer 'lstm'"),
    "stateful": (set_option("lstm", "stateful", True), "stateful=False in layer 'lstm'"),
    "states": (set_option("lstm", "return_state", True), "return_state=False in layer 'lstm'"),
    "units": (set_option("lstm", "units", 5), r"an array of shape \(None, 20\) in layer 'lstm'"),
    "no units": (set_option("lstm", "units", "many"), "a number as units in layer 'lstm'"),
    "half": (set_option("lstm", "dtype", "float16"), "dtype float32 or float64 in layer 'lstm' .*'float16'"),
    "new option": (set_option("lstm", "frobnicate", 3), "no argument frobnicate in layer 'lstm'"),
    "dense": (set_option("dense", "activation", "selu"), r"an activation of .* in layer 'dense' \(Dense\), got 'selu'"),
    "lambda": (lambda_layer, r"a layer of .* in layer 'lstm' \(Lambda\)"),
    "custom": (custom_class, "one of Keras's own classes .* got Mine>LSTM"),
    "branch": (branch, r"layers one behind another, got layer 'beside' \(Dense\)"),
    "loop": (lambda layers, config: config["config"].update(input_layers=["nobody", 0, 0]), "got .*"),
    "subclass": (lambda layers, config: config.update(class_name="Mine", registered_name="Mine"), "Mine"),
    "no layers": (lambda layers, config: config["config"].update(layers=[]), "1 to 4096 layers"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:layer")
def test_what_is_not_supported_is_refused_by_name(tmp_path, name):
    change, message = REFUSED[name]
    with pytest.raises(ModelFileError, match=message):
        from_keras(changed(tmp_path, change))


def test_files_of_other_kinds_are_refused(tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["kernel"] = np.ones(3)
    (tmp_path / "text.h5").write_text("no HDF5")
    packed(tmp_path / "zip.keras", {"config.json": b"{}"})
    packed(tmp_path / "json.keras", {"config.json": b"[" * 100_000, "model.weights.h5": b""})
    for name, message in {
        "weights.h5": "a whole model: its configuration and its weights",
        "text.h5": r"a .keras file \(zip\) or an .h5 file \(HDF5\)",
        "zip.keras": "model.weights.h5 in a .keras file, got no such part",
        "json.keras": "config.json in JSON, got RecursionError|config.json in JSON",
        "": "a file, got a folder",
    }.items():
        with pytest.raises(ModelFileError, match=message):
            from_keras(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        from_keras(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="path"):
        from_keras(5)


def test_arrays_that_are_not_in_the_file_are_refused(tmp_path):
    """HDF5 can point to other files, and claim sizes that nobody has written."""
    dense = {"name": "d", "units": 2, "activation": "linear", "use_bias": False}
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "s",
            "layers": [
                {"class_name": "InputLayer", "config": {"name": "i", "batch_shape": [None, 3]}},
                {"class_name": "Dense", "config": dense},
            ],
        },
    }

    def refused(make, message):
        path = tmp_path / "m.h5"
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = json.dumps(config)
            group = file.create_group("model_weights/d")
            group.attrs["weight_names"] = ["kernel"]
            make(group)
        with pytest.raises(ModelFileError, match=message):
            from_keras(path)

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["k"] = np.ones((3, 2), np.float32)
    refused(
        lambda g: g.update(kernel=h5py.ExternalLink(str(tmp_path / "other.h5"), "k")), "in the file itself, got a link"
    )
    refused(lambda g: g.create_dataset("kernel", (2**20, 2**20), "f4", chunks=(8, 8)), "in one piece")
    refused(lambda g: g.create_dataset("kernel", (2**20, 2**20), "f4"), "bytes at .*in one piece")
    refused(lambda g: g.create_dataset("kernel", (3, 2), "i4", data=np.ones((3, 2))), "floats at")
    refused(lambda g: g.create_group("kernel"), "an array at")
    refused(lambda g: None, "'kernel' in the file")


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize("name", ["functional.keras", "sequential.h5"])
def test_damaged_files_are_refused(tmp_path, name):
    whole = (DATA / name).read_bytes()
    path = tmp_path / "m"
    for size in range(0, len(whole), 977):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelFileError):
            from_keras(path)
    rng = np.random.default_rng(0)
    for position in range(0, len(whole), 397):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            from_keras(path)  # an .h5 file has no checksums, and both kinds have bytes that nobody reads
        except ModelFileError:
            continue


@pytest.mark.parametrize("size", [0, 7])
def test_a_heap_that_is_zeroed_is_refused(tmp_path, size):
    """HDF5's library itself goes round in it for ever."""
    whole = bytearray((DATA / "sequential.h5").read_bytes())
    heaps = [found.start() for found in re.finditer(b"GCOL", whole)]
    assert heaps
    for start in heaps:
        damaged = whole.copy()
        damaged[start + 16 : start + 4096] = bytes(4080)
        damaged[start + 24] = size
        (tmp_path / "m.h5").write_bytes(damaged)
        with pytest.raises(ModelFileError, match=f"an entry of {size} bytes at byte {start + 16}: the file is"):
            from_keras(tmp_path / "m.h5")


@pytest.mark.filterwarnings("ignore:layer")
def test_a_flipped_bit_in_a_zip_does_not_change_weights(tmp_path):
    whole = (DATA / "functional.keras").read_bytes()
    want = to_keras_weights(from_keras(DATA / "functional.keras"))
    rng = np.random.default_rng(1)
    path = tmp_path / "m.keras"
    for position in range(0, len(whole), 397):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            found = to_keras_weights(from_keras(path))
        except ModelFileError:
            continue
        assert all(np.array_equal(one, other) for one, other in zip(found, want, strict=True)), position
