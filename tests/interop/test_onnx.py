"""``to_onnx`` and ``from_onnx``: round trips bit for bit, ONNX Runtime's numbers, and what is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.interop import from_onnx, to_onnx
from fastseq.persistence import ModelFileError
from tests.interop.models import SEQUENCES, THERE, drawn, outputs, recurrent, rows

onnx = pytest.importorskip("onnx")

LENGTHS = np.array([7, 0, 3, 1])
each_cell = pytest.mark.parametrize("name", THERE)
each_sequence = pytest.mark.parametrize("name", SEQUENCES)


def runs(path: Path, feed: dict) -> list[np.ndarray]:
    """What ONNX Runtime computes."""
    runtime = pytest.importorskip("onnxruntime")
    runtime.set_default_logger_severity(3)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(path, options).run(None, feed)


def agree(model: nn.Module, path: Path, x: np.ndarray, limit: float = 1e-5) -> None:
    """ONNX Runtime's numbers are ours, without lengths and with them."""
    for lengths in (None, LENGTHS):
        feed = {"x": x} | ({} if lengths is None else {"lengths": lengths.astype(np.int32)})
        for got, want in zip(runs(path, feed), outputs(model, x, lengths), strict=True):
            assert got.shape == want.shape
            assert np.abs(got - want).max() <= limit * max(1.0, np.abs(want).max())


# -- round trips --------------------------------------------------------------------------------------------------


@each_cell
@pytest.mark.parametrize("layers, both, bias", [(1, False, True), (2, True, True), (3, False, False)])
def test_a_recurrent_layer_comes_back_as_it_was(tmp_path, rng, name, layers, both, bias):
    model = drawn(recurrent(name, 3, 5, layers, bidirectional=both, bias=bias))
    to_onnx(model, tmp_path / "m.onnx")
    again = from_onnx(tmp_path / "m.onnx")
    assert type(again) is type(model) and again.config() == model.config() and not again.training
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[key].numpy(), value.numpy())
    x = rows(rng, 4, 7, 3)
    for got, want in zip(outputs(again, x, LENGTHS), outputs(model, x, LENGTHS), strict=True):
        np.testing.assert_array_equal(got, want)


@each_cell
def test_a_recurrent_layer_gives_onnxruntimes_numbers(tmp_path, rng, name):
    x = rows(rng, 4, 7, 3)
    for layers, both, bias in [(1, False, True), (2, True, True), (2, False, False)]:
        model = drawn(recurrent(name, 3, 5, layers, bidirectional=both, bias=bias))
        to_onnx(model, tmp_path / "m.onnx")
        agree(model, tmp_path / "m.onnx", x)


@each_sequence
def test_a_sequence_of_layers_comes_back(tmp_path, rng, name):
    model = drawn(SEQUENCES[name]())
    to_onnx(model, tmp_path / "m.onnx")
    again = from_onnx(tmp_path / "m.onnx")
    x = rows(rng, 4, 7, 3)
    for lengths in (None, LENGTHS):
        (got,), (want,) = outputs(again, x, lengths), outputs(model, x, lengths)
        assert got.shape == want.shape and np.abs(got - want).max() <= 1e-6
    fs.save(again, tmp_path / "again.safetensors")  # they are layers like all others
    (got,) = outputs(fs.load(tmp_path / "again.safetensors"), x, LENGTHS)
    np.testing.assert_array_equal(got, outputs(again, x, LENGTHS)[0])


@each_sequence
def test_a_sequence_of_layers_gives_onnxruntimes_numbers(tmp_path, rng, name):
    model = drawn(SEQUENCES[name]())
    to_onnx(model, tmp_path / "m.onnx")
    agree(model, tmp_path / "m.onnx", rows(rng, 4, 7, 3))


@each_sequence
def test_what_stands_past_a_length_does_not_matter(tmp_path, rng, name):
    model = drawn(SEQUENCES[name]())
    to_onnx(model, tmp_path / "m.onnx", lengths="required")
    x = rows(rng, 4, 7, 3)
    (want,) = runs(tmp_path / "m.onnx", {"x": x, "lengths": LENGTHS.astype(np.int32)})
    x[np.arange(7) >= LENGTHS[:, None]] = np.nan
    (got,) = runs(tmp_path / "m.onnx", {"x": x, "lengths": LENGTHS.astype(np.int32)})
    valid = np.arange(7) < LENGTHS[:, None] if got.ndim == 3 else np.ones(len(x), bool)
    np.testing.assert_array_equal(got[valid], want[valid])


def test_embeddings_take_indices(tmp_path, rng):
    model = drawn(nn.Sequential(nn.Embedding(11, 4), nn.LSTM(4, 5), nn.LastStep(), nn.Linear(5, 2)))
    to_onnx(model, tmp_path / "m.onnx")
    again = from_onnx(tmp_path / "m.onnx")
    x = rng.integers(0, 11, (4, 7))
    agree(model, tmp_path / "m.onnx", x)
    padded = np.where(np.arange(7) < LENGTHS[:, None], x, 10**6)  # no row of the table
    np.testing.assert_array_equal(outputs(again, padded, LENGTHS)[0], outputs(model, x, LENGTHS)[0])
    feed = {"x": padded, "lengths": LENGTHS.astype(np.int32)}
    np.testing.assert_allclose(runs(tmp_path / "m.onnx", feed)[0], outputs(model, x, LENGTHS)[0], atol=1e-5)


def test_arrays_with_time_first(tmp_path, rng):
    model = drawn(nn.LSTM(3, 5, 2, bidirectional=True, batch_first=False))
    to_onnx(model, tmp_path / "m.onnx")
    again = from_onnx(tmp_path / "m.onnx")
    assert again.config() == model.config()
    agree(model, tmp_path / "m.onnx", rows(rng, 7, 4, 3))
    mixed = nn.Sequential(nn.LSTM(3, 5, batch_first=False), nn.LSTM(5, 5))
    with pytest.raises(ValueError, match="batch_first"):
        to_onnx(mixed, tmp_path / "n.onnx")
    with pytest.raises(ValueError, match=r"model.1 \(LastStep\): batch_first: expected True"):
        to_onnx(nn.Sequential(nn.LSTM(3, 5, batch_first=False), nn.LastStep()), tmp_path / "n.onnx")
    assert not (tmp_path / "n.onnx").exists()


@each_cell
def test_initial_states(tmp_path, rng, name):
    model = drawn(recurrent(name, 3, 5, 2, bidirectional=True))
    to_onnx(model, tmp_path / "m.onnx", states=True, lengths="required")
    assert from_onnx(tmp_path / "m.onnx").config() == model.config()
    x, h, c = rows(rng, 4, 7, 3), rows(rng, 4, 4, 5), rows(rng, 4, 4, 5)
    pair = type(model).__name__.endswith("LSTM")
    out, last = model(x, (h, c) if pair else h, lengths=LENGTHS)
    feed = {"x": x, "lengths": LENGTHS.astype(np.int32), "h_0": h} | ({"c_0": c} if pair else {})
    wanted = [out, *(last if pair else [last])]
    for got, want in zip(runs(tmp_path / "m.onnx", feed), wanted, strict=True):
        assert np.abs(got - want.numpy()).max() <= 1e-5 * max(1.0, np.abs(want.numpy()).max())


def test_models_without_steps(tmp_path, rng):
    model = drawn(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 2)))
    x = rows(rng, 4, 3)
    to_onnx(model, tmp_path / "m.onnx")
    np.testing.assert_allclose(runs(tmp_path / "m.onnx", {"x": x})[0], model(x).numpy(), atol=1e-5)
    np.testing.assert_array_equal(from_onnx(tmp_path / "m.onnx")(x).numpy(), model(x).numpy())
    to_onnx(model, tmp_path / "m.onnx", steps=True)
    sequence = rows(rng, 4, 7, 3)
    np.testing.assert_allclose(runs(tmp_path / "m.onnx", {"x": sequence})[0], model(sequence).numpy(), atol=1e-5)


def test_float64_is_rounded(tmp_path, rng):
    model = drawn(nn.Sequential(nn.LSTM(3, 5, dtype=np.float64), nn.Linear(5, 2, dtype=np.float64)))
    to_onnx(model, tmp_path / "m.onnx")
    x = rows(rng, 4, 7, 3)
    want = model(x.astype(np.float64)).numpy()
    np.testing.assert_allclose(from_onnx(tmp_path / "m.onnx")(x).numpy(), want, atol=1e-5)


def test_the_file_is_plain_onnx(tmp_path):
    to_onnx(nn.Sequential(nn.LSTM(3, 5), nn.Linear(5, 2)), tmp_path / "m.onnx", lengths="required")
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 10 and model.opset_import[0].version <= 21  # what ONNX Runtime 1.20 takes
    assert [entry.name for entry in model.graph.input] == ["x", "lengths"]
    (lstm,) = (node for node in model.graph.node if node.op_type == "LSTM")
    assert lstm.input[4] == "lengths"
    to_onnx(nn.Sequential(nn.LSTM(3, 5), nn.Linear(5, 2)), tmp_path / "m.onnx", lengths="none")
    assert [entry.name for entry in onnx.load(tmp_path / "m.onnx").graph.input] == ["x"]


# -- what others have written -------------------------------------------------------------------------------------


def graph_of(nodes, inputs, outputs, constants=(), opset=20):
    """A model made by hand; inputs and outputs as (name, shape), floats unless the name is lengths."""
    helper, kinds = onnx.helper, onnx.TensorProto

    def info(name, shape):
        return helper.make_tensor_value_info(name, kinds.INT32 if name == "lengths" else kinds.FLOAT, shape)

    tensors = [onnx.numpy_helper.from_array(np.asarray(values), name) for name, values in dict(constants).items()]
    graph = helper.make_graph(nodes, "g", [info(*i) for i in inputs], [info(*o) for o in outputs], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def lstm_constants(rng, features=3, hidden=4, directions=1):
    shapes = {
        "w": (directions, 4 * hidden, features),
        "r": (directions, 4 * hidden, hidden),
        "b": (directions, 8 * hidden),
    }
    return {name: rows(rng, *shape) for name, shape in shapes.items()}


def saved(model, path):
    path.write_bytes(model.SerializeToString())
    return path


def test_a_bare_operator(tmp_path, rng):
    node = onnx.helper.make_node("LSTM", ["x", "w", "r", "b", "lengths"], ["y", "h", "c"], hidden_size=4)
    shapes = [("y", ["t", 1, "b", 4]), ("h", [1, "b", 4]), ("c", [1, "b", 4])]
    model = graph_of([node], [("x", ["t", "b", 3]), ("lengths", ["b"])], shapes, lstm_constants(rng))
    layer = from_onnx(saved(model, tmp_path / "m.onnx"))
    x = rows(rng, 7, 4, 3)
    y, h, c = runs(tmp_path / "m.onnx", {"x": x, "lengths": LENGTHS.astype(np.int32)})
    for got, want in zip(outputs(layer, x, LENGTHS), [y[:, 0], h, c], strict=True):
        assert np.abs(got - want).max() <= 1e-5


def test_final_states_as_features(tmp_path, rng):
    nodes = [
        onnx.helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        onnx.helper.make_node("LSTM", ["xt", "w", "r", "b"], ["", "h"], hidden_size=4, direction="bidirectional"),
        onnx.helper.make_node("Transpose", ["h"], ["ht"], perm=[1, 0, 2]),
        onnx.helper.make_node("Reshape", ["ht", "shape"], ["f"]),
        onnx.helper.make_node("Gemm", ["f", "v"], ["y"]),
    ]
    constants = lstm_constants(rng, directions=2) | {"shape": np.array([0, -1]), "v": rows(rng, 8, 2)}
    model = graph_of(nodes, [("x", ["b", "t", 3])], [("y", ["b", 2])], constants, opset=14)
    found = from_onnx(saved(model, tmp_path / "m.onnx"))
    assert [type(layer).__name__ for layer in found] == ["LSTM", "LastStep", "Linear"]
    x = rows(rng, 4, 7, 3)
    np.testing.assert_allclose(found(x).numpy(), runs(tmp_path / "m.onnx", {"x": x})[0], atol=1e-5)


def lstm_with(attributes, **changes):
    """A graph of one LSTM operator with something in it changed."""
    rng = np.random.default_rng(0)
    settings = {"inputs": ["x", "w", "r", "b"], "more": {}, **changes}
    constants = lstm_constants(rng) | settings["more"]
    node = onnx.helper.make_node("LSTM", settings["inputs"], ["y"], name="the_lstm", **attributes)
    return graph_of([node], [("x", ["t", "b", 3])], [("y", ["t", 1, "b", 4])], constants)


REFUSED = {
    "clip": (lstm_with({"hidden_size": 4, "clip": 3.0}), "no attribute 'clip' in LSTM 'the_lstm', got 3.0"),
    "input_forget": (lstm_with({"hidden_size": 4, "input_forget": 1}), "input_forget 0 in LSTM 'the_lstm', got 1"),
    "reverse": (lstm_with({"hidden_size": 4, "direction": "reverse"}), "direction forward.* 'the_lstm', got reverse"),
    "activations": (
        lstm_with({"hidden_size": 4, "activations": ["HardSigmoid", "Tanh", "Tanh"]}), "activations .* got .*Hards",
    ),
    "hidden size": (lstm_with({"hidden_size": 5}), "hidden_size 4, as R has in LSTM 'the_lstm', got 5"),
    "peepholes": (
        lstm_with({"hidden_size": 4}, inputs=["x", "w", "r", "b", "", "", "", "p"], more={"p": np.ones((1, 8), "f")}),
        r"floats of shape \(1, 12\) as P in LSTM 'the_lstm'",
    ),
    "shape of B": (
        lstm_with({"hidden_size": 4}, more={"b": np.ones((1, 12), "f")}), r"floats of shape \(1, 32\) as B in LSTM",
    ),
    "initial state": (
        lstm_with({"hidden_size": 4}, inputs=["x", "w", "r", "b", "", "h"], more={"h": np.ones((1, 1, 4), "f")}),
        "zeros or an input as initial_h in LSTM",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_operators_that_compute_something_else_are_refused(tmp_path, name):
    model, message = REFUSED[name]
    with pytest.raises(ModelFileError, match=message):
        from_onnx(saved(model, tmp_path / "m.onnx"))


def test_unknown_operators_are_refused_by_name(tmp_path):
    helper = onnx.helper
    for operator, domain in [("Erf", ""), ("Loopy", "com.example")]:
        nodes = [helper.make_node(operator, ["x"], ["y"], name="odd", domain=domain)]
        model = graph_of(nodes, [("x", ["b", "t", 3])], [("y", ["b", "t", 3])])
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))
        with pytest.raises(ModelFileError, match=f"an operator that fastseq can read in .*{operator} 'odd'"):
            from_onnx(saved(model, tmp_path / "m.onnx"))


def test_lengths_that_are_not_looked_at_everywhere_are_refused(tmp_path, rng):
    nodes = [
        onnx.helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        onnx.helper.make_node("LSTM", ["xt", "w", "r", "b", "lengths"], ["y4"], hidden_size=4),
        onnx.helper.make_node("Squeeze", ["y4", "one"], ["y3"]),
        onnx.helper.make_node("Transpose", ["y3"], ["yt"], perm=[1, 0, 2]),
        onnx.helper.make_node("ReduceMean", ["yt", "one"], ["y"], keepdims=0),
    ]
    constants = lstm_constants(rng) | {"one": np.array([1])}
    model = graph_of(nodes, [("x", ["b", "t", 3]), ("lengths", ["b"])], [("y", ["b", 4])], constants)
    with pytest.raises(ModelFileError, match="lengths for all layers .* got ReduceMean"):
        from_onnx(saved(model, tmp_path / "m.onnx"))


def test_weights_in_other_files_are_refused(tmp_path, rng):
    model = lstm_with({"hidden_size": 4})
    (tmp_path / "elsewhere").write_bytes(bytes(10**4))
    for tensor in model.graph.initializer[:1]:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="elsewhere")
    with pytest.raises(ModelFileError, match="'w' in the file itself, got a reference"):
        from_onnx(saved(model, tmp_path / "m.onnx"))


def test_sizes_that_the_file_cannot_hold_are_refused(tmp_path):
    huge = lstm_with({"hidden_size": 4})
    huge.graph.initializer[0].dims[0] = 2**40
    with pytest.raises(ModelFileError, match="numbers in initializer 'w'"):
        from_onnx(saved(huge, tmp_path / "m.onnx"))
    helper = onnx.helper
    nodes = [helper.make_node("ConstantOfShape", ["n"], ["z"]), helper.make_node("Add", ["x", "z"], ["y"])]
    filled = graph_of(nodes, [("x", ["b", "t", 3])], [("y", ["b", "t", 3])], {"n": np.array([2**20, 2**20])})
    with pytest.raises(ModelFileError, match="at most .* bytes"):
        from_onnx(saved(filled, tmp_path / "m.onnx"))


# -- damage -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    to_onnx(drawn(nn.Sequential(nn.LSTM(2, 3), nn.Linear(3, 1))), path)
    return path.read_bytes()


def test_truncated_and_foreign_files_are_refused(tmp_path, whole):
    path = tmp_path / "m.onnx"
    for data in [whole[:size] for size in range(0, len(whole), 7)] + [b"PK\x03\x04" + bytes(99), b"no model at all"]:
        path.write_bytes(data)
        with pytest.raises(ModelFileError):
            from_onnx(path)
    with pytest.raises(ModelFileError, match="got a folder"):
        from_onnx(tmp_path)
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="path"):
        from_onnx(5)


def test_a_flipped_bit_is_noticed(tmp_path, whole):
    rng = np.random.default_rng(0)
    path = tmp_path / "m.onnx"
    for position in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError):
            from_onnx(path)


# -- what cannot be written ---------------------------------------------------------------------------------------


class Mine(nn.Module):
    """A class of a user's."""

    def forward(self, x):
        return x


def test_what_cannot_be_written_is_named_and_nothing_is_left(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"before")
    bad = nn.Linear(2, 1)
    bad.weight.data = np.full((1, 2), np.nan, np.float32)
    cases = [
        (nn.Sequential(nn.LSTM(2, 3), Mine()), TypeError, r"model.1: expected one of fastseq's layers .* got Mine"),
        (nn.Sequential(nn.LSTM(2, 3), nn.CRF(3)), TypeError, r"model.1: .* got CRF"),
        (nn.Sequential(nn.LSTM(2, 2), bad), ValueError, r"1.weight: expected weights that are finite"),
        (nn.Sequential(nn.LSTM(2, 3), nn.LastStep(), nn.MeanPool()), ValueError, r"model.2 \(MeanPool\)"),
        (nn.Sequential(nn.LSTM(2, 3), nn.Softplus(threshold=1.0)), ValueError, r"model.1 \(Softplus\): threshold"),
        (nn.MultiheadAttention(4, 2, add_zero_attn=True), ValueError, "add_zero_attn: expected False: extra keys are"),
        (5, TypeError, "model: expected a Module, got 5"),
    ]
    for model, error, message in cases:
        with pytest.raises(error, match=message):
            to_onnx(model, path)
    with pytest.raises(ValueError, match="lengths: expected one of"):
        to_onnx(nn.LSTM(2, 3), path, lengths="some")
    with pytest.raises(ValueError, match="states: expected False"):
        to_onnx(nn.Sequential(nn.LSTM(2, 3)), path, states=True)
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["m.onnx"]


def test_an_error_names_file_expected_and_found(tmp_path):
    path = saved(lstm_with({"hidden_size": 4, "clip": 3.0}), tmp_path / "m.onnx")
    with pytest.raises(ModelFileError) as caught:
        from_onnx(path)
    assert str(path) in str(caught.value) and re.search("expected .* got", str(caught.value))
