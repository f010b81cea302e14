"""fs.save and fs.load: what comes back, and what is refused."""

from __future__ import annotations

import copy
import functools
import os
import pickle
import resource
import stat
from pathlib import Path

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.nn import init
from fastseq.persistence import ModelFileError, read_arrays, read_metadata, write_arrays
from fastseq.persistence.models import layer_types

ENCODER = functools.partial(nn.TransformerEncoderLayer, 6, 2, 10, 0.2, "gelu", norm_first=True, bias=False)


def translator():
    parts = nn.LSTM(3, 4, bidirectional=True), nn.LSTM(2 + 8, 8), nn.Embedding(5, 2), nn.LuongAttention(8)
    return nn.Seq2Seq(*parts, nn.Embedding(6, 3), bos=0, eos=1, input_feeding=True, dropout=0.25)


# One layer of every kind, with an input that suits it.
LAYERS = {
    "AttentionPool": (lambda: nn.AttentionPool(3, 4), (2, 4, 3)),
    "AvgPool1d": (lambda: nn.AvgPool1d(3, 2, 1, True, False), (2, 6, 3)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3, 1e-3, None, bias=False, unbiased=False), (2, 4, 3)),
    "Bidirectional": (lambda: nn.Bidirectional(nn.LSTM(3, 4), nn.Conv1d(3, 4, 2, causal=True), "ave"), (2, 5, 3)),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, 2, 1, 1, 2, bias=False), (2, 7, 4)),
    "CRF": (lambda: nn.CRF(3), (2, 4, 3)),
    "ELU": (lambda: nn.ELU(0.5), (2, 3)),
    "Embedding": (lambda: nn.Embedding(7, 3, padding_idx=2, max_norm=2.0), np.array([[0, 2], [6, 1]])),
    "Flatten": (lambda: nn.Flatten(0, 1), (2, 4, 3)),
    "GELU": (lambda: nn.GELU("tanh"), (2, 3)),
    "GRU": (lambda: nn.GRU(3, 5, num_layers=2, bias=False, dropout=0.25, bidirectional=True), (2, 4, 3)),
    "GRUCell": (lambda: nn.GRUCell(3, 5, bias=False, reset_after=False), (2, 3)),
    "Identity": (nn.Identity, (2, 3)),
    "LSTM": (lambda: nn.LSTM(3, 5, 2, bias=False, dropout=0.25, bidirectional=True, proj_size=4), (2, 4, 3)),
    "LSTMCell": (lambda: nn.LSTMCell(3, 5), (2, 3)),
    "LearnedPositions": (lambda: nn.LearnedPositions(9, 3, 0.1), (2, 5, 3)),
    "MLP": (lambda: nn.MLP(3, [4, 5], 2, "gelu", 0.1, bias=False), (2, 5, 3)),
    "Residual": (lambda: nn.Residual(nn.Sequential(nn.Linear(3, 3), nn.Tanh())), (2, 5, 3)),
    "SinusoidalPositions": (lambda: nn.SinusoidalPositions(3, 0.1), (2, 5, 3)),
    "VariationalDropout": (lambda: nn.VariationalDropout(0.3), (2, 5, 3)),
    "WeightDrop": (lambda: nn.WeightDrop(nn.LSTM(3, 4), 0.3), (2, 5, 3)),
    "LastStep": (lambda: nn.LastStep(), (2, 4, 3)),
    "LayerNorm": (lambda: nn.LayerNorm((4, 3), 1e-3), (2, 4, 3)),
    "LayerNormLSTM": (lambda: nn.LayerNormLSTM(3, 5, num_layers=2, bidirectional=True), (2, 4, 3)),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.2), (2, 3)),
    "Linear": (lambda: nn.Linear(3, 2, bias=False), (2, 3)),
    "LogSoftmax": (lambda: nn.LogSoftmax(dim=-1), (2, 3)),
    "LuongAttention": (lambda: nn.LuongAttention(3, score="concat", attention_size=2), (2, 4, 3)),
    "MaxPool": (nn.MaxPool, (2, 4, 3)),
    "MaxPool1d": (lambda: nn.MaxPool1d(2, 1, "same", 2), (2, 6, 3)),
    "MeanPool": (nn.MeanPool, (2, 4, 3)),
    "MinGRU": (lambda: nn.MinGRU(3, 5, num_layers=2, bias=False, bidirectional=True), (2, 4, 3)),
    "MinLSTM": (lambda: nn.MinLSTM(3, 5, num_layers=2, dropout=0.25), (2, 4, 3)),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(6, 2, 0.1, causal=True), (2, 4, 6)),
    "RNN": (lambda: nn.RNN(3, 5, num_layers=2, nonlinearity="relu", bias=False, bidirectional=True), (2, 4, 3)),
    "RNNCell": (lambda: nn.RNNCell(3, 5, nonlinearity="relu"), (2, 3)),
    "PeepholeLSTM": (lambda: nn.PeepholeLSTM(3, 5, num_layers=2, bias=False, bidirectional=True), (2, 4, 3)),
    "PReLU": (lambda: nn.PReLU(3, 0.5), (2, 3)),
    "ReLU": (nn.ReLU, (2, 3)),
    "Rescale": (lambda: nn.Rescale([1.0, 2.0, 3.0], [0.5, 0.5, 0.5]), (2, 3)),
    "Seq2Seq": (translator, np.array([[0, 4, 2], [3, 1, 1]])),
    "Sequential": (lambda: nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.Tanh()), nn.Linear(4, 1)), (2, 3)),
    "SiLU": (nn.SiLU, (2, 3)),
    "Sigmoid": (nn.Sigmoid, (2, 3)),
    "Softmax": (lambda: nn.Softmax(dim=1), (2, 3)),
    "Softplus": (lambda: nn.Softplus(2.0, 10.0), (2, 3)),
    "Standardize": (lambda: nn.Standardize([1.0, 2.0, 3.0], [0.5, 0.5, 0.5]), (2, 3)),
    "Tagger": (lambda: nn.Tagger(nn.Sequential(nn.Linear(3, 2), nn.LSTM(2, 5)), 5, 4, 0.25), (2, 4, 3)),
    "Tanh": (nn.Tanh, (2, 3)),
    "TransformerEncoder": (lambda: nn.TransformerEncoder(ENCODER(), 2, nn.LayerNorm(6)), (2, 4, 6)),
    "TransformerEncoderLayer": (lambda: ENCODER(), (2, 4, 6)),
    "Dropout": (lambda: nn.Dropout(0.5), (2, 3)),
}

# How to call those that want more than one array.
CALLS = {
    "CRF": lambda crf, x: crf.marginals(x),
    "LuongAttention": lambda attention, x: attention(x, x),
    "Seq2Seq": lambda model, x: model(x, x),
}

FORMAT_1_OUTPUT = [[1.1025197505950928, 0.7747297286987305], [1.119083046913147, 0.7887909412384033]]


def output(model, x):
    with fs.no_grad():
        out = CALLS.get(type(model).__name__, lambda model, x: model(x))(model.eval(), x)
    return np.asarray(out[0] if isinstance(out, tuple) else out)


@pytest.mark.parametrize("name", sorted(layer_types()))
def test_every_layer_comes_back_with_the_same_bits(name, rng, tmp_path):
    build, shape = LAYERS[name]
    for dtype in (np.float32, np.float64):
        model = build().to(dtype)
        fs.save(model, tmp_path / "m.safetensors")
        same = fs.load(tmp_path / "m.safetensors")
        assert type(same) is type(model) and repr(same) == repr(model) and not same.training
        x = shape if isinstance(shape, np.ndarray) else rng.standard_normal(shape).astype(dtype)
        assert np.array_equal(output(same, x), output(model, x))
        assert output(same, x).dtype == dtype


def test_layers_around_others(tmp_path):
    def parts(found):
        return found["model"]["children"]

    path = tmp_path / "m"
    for change, message in [
        (lambda d: parts(d)[0].__setitem__(0, "scores"), "children of Tagger named encoder, got 'scores'"),
        (lambda d: parts(d).append(parts(d)[0]), "names of their own"),
        (lambda d: parts(d).clear(), "missing 1 required positional argument: 'encoder'"),
        (lambda d: d["model"]["config"].update(encoder=3), "children of Tagger named encoder"),
        (lambda d: parts(d)[0].__setitem__(1, {"type": "Tanh", "config": {}}), "encoder: expected a Module whose"),
        (lambda d: d["model"].update(children=None), "a list of children of Tagger"),
    ]:
        fs.save(nn.Tagger(nn.LSTM(2, 5), 5, 3), path)
        rewrite(path, change)
        with pytest.raises(ModelFileError, match=message):
            fs.load(path)


def test_names_ties_and_frozen_parameters_survive(tmp_path):
    model = nn.Sequential({"encoder": nn.Linear(3, 3), "act": nn.Tanh(), "decoder": nn.Linear(3, 3)})
    model.decoder.weight = model.encoder.weight
    model.encoder.bias.requires_grad = False
    fs.save(model, tmp_path / "m", metadata={"features": ["a", "b"], "scale": 1.5})
    same = fs.load(tmp_path / "m")
    assert [name for name, _ in same.named_children()] == ["encoder", "act", "decoder"]
    assert same.decoder.weight is same.encoder.weight
    assert [p.requires_grad for p in same.parameters()] == [True, False, True]
    assert read_metadata(tmp_path / "m") == {"features": ["a", "b"], "scale": 1.5}
    assert "decoder.weight" not in read_arrays(tmp_path / "m")[0]


def test_loading_draws_no_random_numbers(tmp_path):
    fs.save(nn.LSTM(2, 3), tmp_path / "m")
    state = init.generator().bit_generator.state
    fs.load(tmp_path / "m")
    assert init.generator().bit_generator.state == state


def test_the_same_model_gives_the_same_file(tmp_path):
    model = nn.Sequential(nn.LSTM(2, 3), nn.Linear(3, 1))
    fs.save(model, tmp_path / "a")
    fs.save(model, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_safetensors_library_reads_the_file(tmp_path):
    from safetensors.numpy import load_file

    model = nn.Linear(3, 2)
    fs.save(model, tmp_path / "m")
    found = load_file(tmp_path / "m")
    assert np.array_equal(found["weight"], model.weight.numpy()) and set(found) == {"weight", "bias"}


def test_a_loaded_model_can_be_trained_and_saved_over_itself(tmp_path, rng):
    fs.save(nn.Linear(3, 2), tmp_path / "m")
    model = fs.load(tmp_path / "m").train()
    optimizer = fs.optim.SGD(model.parameters(), lr=0.1)
    model(rng.standard_normal((4, 3)).astype(np.float32)).sum().backward()
    optimizer.step()
    fs.save(model, tmp_path / "m")
    assert np.array_equal(fs.load(tmp_path / "m").weight.numpy(), model.weight.numpy())


class Mine(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x)


class MyLinear(nn.Linear):
    pass


def test_a_class_of_the_users_own_is_refused_and_its_weights_can_be_kept(tmp_path):
    with pytest.raises(TypeError, match=r"model\.1: expected one of fastseq's own layers, got .*Mine.*save_state"):
        fs.save(nn.Sequential(nn.Tanh(), Mine()), tmp_path / "m")
    with pytest.raises(TypeError, match="MyLinear"):
        fs.save(MyLinear(1, 1), tmp_path / "m")
    with pytest.raises(TypeError, match="model: expected a Module"):
        fs.save("model", tmp_path / "m")
    with pytest.raises(TypeError, match="model: expected a layer that a file can hold, got MSELoss"):
        fs.save(nn.MSELoss(), tmp_path / "m")
    assert not list(tmp_path.iterdir())
    model, other = Mine(), Mine()
    fs.save_state(model, tmp_path / "s")
    assert fs.load_state(other, tmp_path / "s") == ([], [])
    assert np.array_equal(other.fc.weight.numpy(), model.fc.weight.numpy())
    with pytest.raises(ModelFileError, match="expected a file of kind model or values, got 'state'"):
        fs.load(tmp_path / "s")
    with pytest.raises(
        ModelFileError, match=r"weights of this Linear[^@]*weight: expected shape \(2, 3\), got nothing"
    ):
        fs.load_state(nn.Linear(3, 2), tmp_path / "s")
    assert fs.load_state(nn.Linear(3, 2), tmp_path / "s", strict=False).missing_keys == ["weight", "bias"]


def test_weights_of_another_program(tmp_path):
    from safetensors.numpy import save_file

    save_file({"fc.weight": np.ones((2, 3), np.float32), "fc.bias": np.zeros(2, np.float32)}, tmp_path / "f")
    model = Mine()
    fs.load_state(model, tmp_path / "f")
    assert model.fc.weight.numpy().sum() == 6
    with pytest.raises(ModelFileError, match="expected a model that fastseq wrote, got a safetensors file of another"):
        fs.load(tmp_path / "f")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_not_saved(value, tmp_path):
    model = nn.Sequential(nn.Linear(3, 2))
    fs.save(model, tmp_path / "m")
    before = (tmp_path / "m").read_bytes()
    model[0].weight._data[1, 2] = value
    for save in (fs.save, fs.save_state):
        with pytest.raises(ValueError, match=r"0\.weight: expected finite weights, got .* at index \(1, 2\)"):
            save(model, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def document(path):
    arrays, found = read_arrays(path)
    return arrays, found


def rewrite(path, change, arrays_change=None):
    """Write the file again with a changed document, under a right checksum."""
    arrays, found = read_arrays(path)
    change(found)
    if arrays_change is not None:
        arrays_change(arrays)
    write_arrays(path, arrays, found)


def layer(found, number=0):
    return found["model"]["children"][number][1]


CHANGES = {
    "unknown layer": (
        lambda d: layer(d).update(type="Conv9"),
        "a layer that this version knows at model.0, got 'Conv9'",
    ),
    "base class": (lambda d: layer(d).update(type="Module"), "a layer that this version knows"),
    "function": (lambda d: layer(d).update(type="functional"), "a layer that this version knows"),
    "type is no name": (lambda d: layer(d).update(type=["LSTM"]), "a layer that this version knows"),
    "smaller": (lambda d: layer(d)["config"].update(hidden_size=4), r"0\.weight_ih_l0: shape \(16, 2\)"),
    "larger": (lambda d: layer(d)["config"].update(hidden_size=6), "layers that fit the arrays in the file"),
    "huge": (lambda d: layer(d)["config"].update(hidden_size=10**5), "layers that fit the arrays in the file"),
    "enormous": (lambda d: layer(d)["config"].update(hidden_size=10**18), "layers that fit the arrays in the file"),
    "many": (lambda d: layer(d)["config"].update(num_layers=10**9), "layers that fit the arrays in the file"),
    "negative": (lambda d: layer(d)["config"].update(hidden_size=-5), "hidden_size"),
    "text": (lambda d: layer(d)["config"].update(hidden_size="5"), "hidden_size: expected an integer"),
    "dtype": (lambda d: layer(d)["config"].update(dtype="object"), "dtype: expected float32 or float64"),
    "dtype to parse": (lambda d: layer(d)["config"].update(dtype="071,(1"), "dtype: expected float32 or float64"),
    "unknown argument": (lambda d: layer(d)["config"].update(x=1), "unexpected keyword argument 'x'"),
    "missing argument": (lambda d: layer(d)["config"].pop("hidden_size"), "missing 1 required positional"),
    "no configuration": (lambda d: layer(d).update(config=[]), "the arguments of LSTM at model.0"),
    "extra field": (lambda d: layer(d).update(code="import os"), "a layer's type and configuration"),
    "children": (lambda d: layer(d).update(children=[]), "no children of LSTM"),
    "no list": (lambda d: d["model"].update(children={}), "a list of children"),
    "same names": (lambda d: d["model"]["children"].append(d["model"]["children"][0]), "names of their own"),
    "dotted name": (lambda d: d["model"]["children"][0].__setitem__(0, "a.b"), "without dots"),
    "name in use": (lambda d: d["model"]["children"][0].__setitem__(0, "forward"), "a name that is not in use"),
    "one layer less": (lambda d: d["model"]["children"].pop(), r"1\.bias: no such array, got shape \(1,\)"),
    "one layer more": (
        lambda d: d["model"]["children"].append(
            ["9", {"type": "Linear", "config": {"in_features": 1, "out_features": 1}}]
        ),
        "layers that fit the arrays in the file",
    ),
    "no model": (lambda d: d.pop("model"), "a layer's type and configuration at model, got None"),
    "newer": (lambda d: d.update(format=2, fastseq="9.9"), "format 1 or older.*got format 2, written by fastseq '9.9'"),
    "no format": (lambda d: d.update(format="1"), "a format number"),
    "kind": (lambda d: d.update(kind="checkpoint"), "a file of kind model or values, got 'checkpoint'"),
    "shared": (lambda d: d.update(shared={"0.weight_hh_l0": "1.weight"}), "a shared array"),
    "shared with nothing": (lambda d: d.update(shared={"a": "b"}), "a shared array"),
    "shared list": (lambda d: d.update(shared=[1]), "names of shared arrays"),
    "frozen": (lambda d: d.update(frozen=3), "names of frozen parameters"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_files_that_lie(case, tmp_path):
    path = tmp_path / "m.safetensors"
    fs.save(nn.Sequential(nn.LSTM(2, 5), nn.Linear(5, 1)), path)
    change, message = CHANGES[case]
    rewrite(path, change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelFileError, match=message) as caught:
        fs.load(path)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert caught.value.path == str(path) and caught.value.expected and caught.value.found
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def arguments(node):
    """Every dict of a layer's arguments below a node, with the name of each argument."""
    for name in node["config"]:
        yield node["config"], name
    for _, child in node.get("children", []):
        yield from arguments(child)


def test_arguments_of_any_kind_give_the_error_or_a_layer_that_fits(tmp_path, monkeypatch):
    """F33: whatever stands in a file as an argument, nothing is allocated for it and nothing else is raised."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    path, before, loaded = tmp_path / "m", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
    for build, _ in LAYERS.values():
        fs.save(build(), path)
        arrays, found = read_arrays(path)
        for config, name in arguments(found["model"]):
            kept = config[name]
            for value in (None, -1, 10**12, 0.5, "x", [10**9], {"a": 1}):
                config[name] = value
                write_arrays(path, arrays, found)
                try:
                    fs.load(path)
                except ModelFileError as error:
                    assert len(str(error)) < 900
                else:
                    loaded += 1
            config[name] = kept
    assert loaded  # dropout of 0.5 is one
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


VALUES = [None, True, -1, 0, 1, 2**31, 2**63, 10**19, 0.5, 1e300, "", "Linear", "0.weight", "071,(1", [], [1], {}]


def changed_at_random(document, rng):
    """The document with one to three of its values replaced, removed, moved or repeated somewhere else."""
    document = copy.deepcopy(document)

    def places(value, owner=None, key=None):
        if owner is not None:
            yield owner, key
        for inner in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            yield from places(value[inner], value, inner)

    for _ in range(rng.integers(1, 4)):
        found = list(places(document))
        owner, key = found[rng.integers(len(found))]
        other, inner = found[rng.integers(len(found))]
        kind = rng.integers(6)
        if kind == 0:
            del owner[key]
        elif kind == 1:
            owner[key] = copy.deepcopy(other[inner])
        elif kind == 2 and isinstance(owner, list):
            owner.append(copy.deepcopy(other[inner]))
        elif kind == 3 and isinstance(owner[key], (int, float)) and not isinstance(owner[key], bool):
            owner[key] = owner[key] * 2 + int(rng.integers(-2, 3))
        else:
            owner[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    return document


@pytest.mark.slow
def test_documents_changed_at_random(tmp_path, monkeypatch, rng):
    """F31, through the checksum to what is behind it: only the error, or a model, and no more memory than the file."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    path, loaded = tmp_path / "m", 0
    files = []
    for build, _ in LAYERS.values():
        fs.save(build(), path)
        files.append(read_arrays(path))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(12_000):
        arrays, found = files[number % len(files)]
        try:
            write_arrays(path, arrays, changed_at_random(found, rng))
        except ValueError:  # numbers that no reader takes
            continue
        try:
            fs.load(path)
        except ModelFileError as error:
            assert len(str(error)) < 900
        else:
            loaded += 1
    assert loaded > 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_deep_nesting(tmp_path):
    model = nn.Tanh()
    for _ in range(30):
        model = nn.Sequential(model)
    fs.save(model, tmp_path / "m")
    fs.load(tmp_path / "m")
    for _ in range(5):
        model = nn.Sequential(model)
    with pytest.raises(ValueError, match="nested at most 32 deep"):
        fs.save(model, tmp_path / "m2")

    def deeper(found):
        for _ in range(40):
            found["model"] = {"type": "Sequential", "config": {}, "children": [["0", found["model"]]]}

    rewrite(tmp_path / "m", deeper)
    with pytest.raises(ModelFileError, match="at most 32 deep"):
        fs.load(tmp_path / "m")


def test_arrays_that_lie(tmp_path):
    path = tmp_path / "m.safetensors"
    cases = [
        (lambda a: a["weight"].fill(np.nan), "weight: finite weights"),
        (lambda a: a.update(weight=a["weight"].astype(np.int32)), "weight: float32, got int32"),
        (lambda a: a.update(weight=a["weight"].reshape(3, 2)), r"weight: shape \(2, 3\) .*got shape \(3, 2\)"),
        (lambda a: a.update(more=np.ones(1)), "more: no such array"),
    ]
    for change, message in cases:
        fs.save(nn.Linear(3, 2), path)
        rewrite(path, lambda d: None, change)
        with pytest.raises(ModelFileError, match=message):
            fs.load(path)


def test_errors_travel_between_processes(tmp_path):
    (tmp_path / "m").write_bytes(b"")
    with pytest.raises(ModelFileError) as caught:
        fs.load(tmp_path / "m")
    twin = pickle.loads(pickle.dumps(caught.value))
    assert str(twin) == str(caught.value) and twin.found == caught.value.found
    assert isinstance(twin, ValueError)


def test_metadata_must_be_json(tmp_path):
    for wrong in ({"a": {1, 2}}, {"a": np.float32(1)}):
        with pytest.raises(TypeError, match=r"metadata: expected JSON values \(arrays as lists\)"):
            fs.save(nn.Tanh(), tmp_path / "m", metadata=wrong)
    with pytest.raises(ValueError, match="metadata: expected JSON values"):
        fs.save(nn.Tanh(), tmp_path / "m", metadata={"a": float("nan")})
    for wrong in ([1], {1: 2}, "text"):
        with pytest.raises(TypeError, match="metadata: expected a mapping of names to JSON values"):
            fs.save(nn.Tanh(), tmp_path / "m", metadata=wrong)
    assert not list(tmp_path.iterdir())


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError):
        fs.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        fs.save(nn.Tanh(), tmp_path / "no" / "folder")
    with pytest.raises(ModelFileError, match="a folder, device"):
        fs.load(tmp_path)
    with pytest.raises(IsADirectoryError):
        fs.save(nn.Tanh(), tmp_path)
    assert stat.S_ISDIR(tmp_path.stat().st_mode)


def test_a_file_of_format_1_stays_readable():
    path = Path(__file__).parents[1] / "data" / "model_format1.safetensors"  # written by fastseq 0.1.0
    model = fs.load(path)
    assert [type(layer).__name__ for layer in model] == [
        "Standardize",
        "LSTM",
        "Dropout",
        "LastStep",
        "Linear",
        "Rescale",
    ]
    assert read_metadata(path) == {"note": "written by fastseq 0.1.0"}
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 6, 2)
    np.testing.assert_allclose(output(model, x), FORMAT_1_OUTPUT, rtol=1e-6)
