"""``from_torch`` and ``to_torch``: files that PyTorch wrote, models from names and shapes, and what is refused."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from fastseq import nn
from fastseq.interop import from_onnx, from_torch, to_onnx, to_torch
from fastseq.persistence import ModelFileError
from tests.interop.models import drawn, outputs, recurrent, rows

DATA = Path(__file__).parents[1] / "data" / "interop"
GOLDEN = dict(np.load(DATA / "golden.npz"))
KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN", "rnn_relu": "RNN"}


def state_of(model, prefix=""):
    """A model's weights as plain arrays, under other names."""
    return OrderedDict((prefix + name, value.numpy().copy()) for name, value in model.state_dict().items())


# -- what PyTorch wrote -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_torch_gives_its_numbers(tmp_path, name):
    options = {"nonlinearity": "relu"} if name == "rnn_relu" else {}
    model = from_torch(DATA / f"torch_{name}.safetensors", **options)
    assert [key for key, _ in model.named_children()] == ["body", "head"] and not model.training
    assert type(model.body).__name__ == KINDS[name]
    to_onnx(model, tmp_path / "m.onnx")
    for one in (model, from_onnx(tmp_path / "m.onnx")):
        x, lengths = GOLDEN["x"], GOLDEN["lengths"]
        np.testing.assert_allclose(one(x).numpy(), GOLDEN[f"torch/{name}/full"], atol=1e-5)
        np.testing.assert_allclose(one(x, lengths=lengths).numpy(), GOLDEN[f"torch/{name}/ragged"], atol=1e-5)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_a_graph_of_torch_gives_onnxruntimes_numbers(name):
    pytest.importorskip("onnx")
    model = from_onnx(DATA / f"exported_{name}.onnx")
    assert [type(layer).__name__ for layer in model] == [name.upper(), "LastStep", "Linear", "ReLU"]
    assert model[0].num_layers == 2 and model[0].bidirectional
    np.testing.assert_allclose(model(GOLDEN["x"]).numpy(), GOLDEN[f"onnx/{name}"], atol=1e-5)


# -- models from names and shapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "rnn_relu"])
@pytest.mark.parametrize("layers, both, bias", [(1, False, True), (3, True, False)])
def test_a_lone_recurrent_layer_is_recognised(rng, name, layers, both, bias):
    model = drawn(recurrent(name, 3, 5, layers, bidirectional=both, bias=bias))
    options = {"nonlinearity": model.nonlinearity} if name.startswith("rnn") else {}
    found = from_torch(state_of(model), **options)
    assert type(found) is type(model) and found.config() == model.config()
    x = rows(rng, 2, 4, 3)
    np.testing.assert_array_equal(outputs(found, x)[0], outputs(model, x)[0])


def test_layers_come_in_a_sequential_with_their_names(rng):
    model = nn.Sequential(
        {
            "embed": nn.Embedding(7, 8),
            "attend": nn.MultiheadAttention(8, 2, add_bias_kv=True),
            "norm": nn.LayerNorm(8),
            "rnn": nn.LSTM(8, 5, 2, bidirectional=True),
            "out": nn.Linear(10, 3, bias=False),
        }
    )
    state = state_of(drawn(model))
    found = from_torch(state, num_heads=2)
    assert list(found.state_dict()) == list(state)
    x = rng.integers(0, 7, (2, 4))
    np.testing.assert_array_equal(found(x).numpy(), model(x).numpy())
    pooled = from_torch(state, num_heads=2, pool=nn.LastStep(bidirectional=True))
    assert [name for name, _ in pooled.named_children()] == ["embed", "attend", "norm", "rnn", "pool", "out"]
    assert pooled(x).shape == (2, 3)


def test_paths_become_nested_sequentials(rng):
    model = drawn(nn.Sequential({"encoder": nn.Sequential({"lstm": nn.LSTM(3, 5)}), "fc": nn.Linear(5, 2)}))
    found = from_torch(state_of(model))
    assert list(found.state_dict()) == list(model.state_dict())
    x = rows(rng, 2, 4, 3)
    np.testing.assert_array_equal(found(x).numpy(), model(x).numpy())
    wrapped = {"epoch": 3, "model_state_dict": state_of(model, "module.")}
    np.testing.assert_array_equal(from_torch(wrapped)(x).numpy(), model(x).numpy())


def test_a_given_model_is_filled(rng):
    source, target = drawn(nn.Sequential(nn.LSTM(3, 5), nn.ReLU(), nn.Linear(5, 2))), None
    target = nn.Sequential(nn.LSTM(3, 5), nn.ReLU(), nn.Linear(5, 2))
    assert from_torch(state_of(source, "module."), target) is target and target.training
    x = rows(rng, 2, 4, 3)
    np.testing.assert_array_equal(target(x).numpy(), source(x).numpy())


def square(*shape):
    return np.ones(shape, np.float32)


RECURRENT = {"weight_ih_l0": square(16, 3), "weight_hh_l0": square(16, 4)}
REFUSED = {
    "empty": ({}, "state_dict: expected arrays, got none"),
    "gates": ({"r.weight_ih_l0": square(20, 3), "r.weight_hh_l0": square(20, 4)}, r"times 4 rows .* at 'r', got 20"),
    "projection": ({**RECURRENT, "weight_hr_l0": square(2, 4)}, r"expected weight_hh_l0 \(16, 2\)"),
    "one bias": ({**RECURRENT, "bias_ih_l0": square(16)}, "bias_hh_l0"),
    "missing layer": ({**RECURRENT, "weight_hh_l1": square(16, 4)}, "weight_ih_l1"),
    "batch norm": ({"bn.weight": square(3), "bn.bias": square(3), "bn.running_mean": square(3)}, "at 'bn'"),
    "convolution": ({"conv.weight": square(3, 2, 5), "conv.bias": square(3)}, r"at 'conv', got weight \(3, 2, 5\)"),
    "no heads": ({"a.in_proj_weight": square(12, 4), "a.out_proj.weight": square(4, 4)}, "num_heads="),
    "sizes": ({"a.weight": square(3, 2), "a.bias": square(3), "b.weight": square(4)}, "3 inputs, .*'a' gives at 'b'"),
    "two dense": (
        {"a.weight": square(3, 2), "a.bias": square(3), "b.weight": square(1, 3), "b.bias": square(1)}, "two in a row",
    ),
    "gap": ({"0.weight": square(3, 2), "0.bias": square(3), "2.weight": square(3)}, "at '1', got one without"),
    "either": ({"a.weight": square(3, 3), "b.weight": square(3), "b.bias": square(3)}, "Linear or Embedding"),
    "no floats": ({"a.weight": np.ones((2, 2), int), "a.bias": np.ones(2, int)}, "at 'a'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_names_and_shapes_do_not_say_is_refused(name):
    state, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as caught:
        from_torch(state)
    assert name == "empty" or "from_torch(state_dict, model)" in str(caught.value)


def test_weights_that_do_not_fit_change_nothing():
    model = drawn(nn.Sequential(nn.LSTM(3, 5), nn.Linear(5, 2)))
    before = state_of(model)
    with pytest.raises(ValueError, match=r"0.weight_ih_l0: expected shape \(20, 3\), got \(16, 3\)"):
        from_torch({**{f"0.{name}": values for name, values in RECURRENT.items()}, **state_of(model[1], "1.")}, model)
    for name, values in before.items():
        np.testing.assert_array_equal(model.state_dict()[name].numpy(), values)
    with pytest.raises(TypeError, match="source: expected a mapping"):
        from_torch(5)
    with pytest.raises(TypeError, match=r"state_dict\['a'\]: expected a tensor or an array, got 'text'"):
        from_torch({"a": "text"})


# -- files --------------------------------------------------------------------------------------------------------


def test_damaged_safetensors_are_refused(tmp_path):
    whole = (DATA / "torch_rnn.safetensors").read_bytes()
    path = tmp_path / "m"
    for data in [*(whole[:size] for size in range(0, len(whole), 5)), b"\x93NUMPY" + bytes(99)]:
        path.write_bytes(data)
        with pytest.raises(ModelFileError):
            from_torch(path)
    with pytest.raises(FileNotFoundError):
        from_torch(tmp_path / "nowhere")


def test_a_file_of_torch_save_is_read_without_running_code(tmp_path):
    torch = pytest.importorskip("torch")
    x = GOLDEN["x"]
    np.testing.assert_allclose(from_torch(DATA / "torch_lstm.pt")(x).numpy(), GOLDEN["torch/lstm/full"], atol=1e-5)
    torch.save(torch.nn.LSTM(3, 4), tmp_path / "whole.pt")
    with pytest.raises(ModelFileError, match="a state dict of tensors"):
        from_torch(tmp_path / "whole.pt")
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, tmp_path / "huge.pt")
    with pytest.raises(ModelFileError, match="stored in full"):
        from_torch(tmp_path / "huge.pt")


def test_damaged_files_of_torch_save_are_refused(tmp_path):
    pytest.importorskip("torch")
    whole = (DATA / "torch_lstm.pt").read_bytes()
    want = {name: tensor.numpy() for name, tensor in from_torch(DATA / "torch_lstm.pt").state_dict().items()}
    rng = np.random.default_rng(0)
    path = tmp_path / "m.pt"
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelFileError):
            from_torch(path)
    for position in range(0, len(whole), 31):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            found = from_torch(path).state_dict()
        except ModelFileError:
            continue
        assert all(np.array_equal(found[name].numpy(), values) for name, values in want.items()), position


# -- beside PyTorch -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "rnn_relu"])
@pytest.mark.parametrize("layers, both", [(1, False), (2, True)])
def test_torch_fastseq_onnxruntime(tmp_path, rng, name, layers, both):
    torch = pytest.importorskip("torch")
    runtime = pytest.importorskip("onnxruntime")
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    kind = type(recurrent(name, 1, 1)).__name__
    options = {"nonlinearity": recurrent(name, 1, 1).nonlinearity} if kind == "RNN" else {}
    torch.manual_seed(0)
    original = getattr(torch.nn, kind)(3, 5, layers, batch_first=True, bidirectional=both, **options)
    x, lengths = rows(rng, 4, 7, 3), np.array([7, 2, 5, 1])
    with torch.no_grad():
        packed = pack_padded_sequence(torch.tensor(x), torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        out, last = original(packed)
        out, _ = pad_packed_sequence(out, batch_first=True, total_length=7)
    wanted = [value.numpy() for value in (out, *(last if isinstance(last, tuple) else (last,)))]
    torch.save(original.state_dict(), tmp_path / "m.pt")
    model = from_torch(tmp_path / "m.pt", **options)
    to_onnx(model, tmp_path / "m.onnx")
    runtime.set_default_logger_severity(3)
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    found = session.run(None, {"x": x, "lengths": lengths.astype(np.int32)})
    for ours, theirs, want in zip(outputs(model, x, lengths), found, wanted, strict=True):
        np.testing.assert_allclose(ours, want, atol=1e-5)
        np.testing.assert_allclose(theirs, want, atol=1e-5)
    twin = getattr(torch.nn, kind)(3, 5, layers, batch_first=True, bidirectional=both, **options)
    twin.load_state_dict(to_torch(model))
    for one, other in zip(twin.parameters(), original.parameters(), strict=True):
        assert torch.equal(one, other)


def test_half_precision_is_widened():
    torch = pytest.importorskip("torch")
    for dtype in (torch.float16, torch.bfloat16):
        weight = torch.randn(2, 3).to(dtype)
        found = from_torch({"weight": weight, "bias": torch.zeros(2, dtype=dtype)})
        np.testing.assert_array_equal(found.weight.numpy(), weight.float().numpy())


def test_what_torch_does_not_have_does_not_go_there():
    pytest.importorskip("torch")
    model = nn.Sequential(recurrent("gru_before", 3, 4))
    with pytest.raises(ValueError, match=re.escape("0 (GRU): expected reset_after=True")):
        to_torch(model)
    with pytest.raises(ValueError, match=re.escape("model (LSTM): expected activation='tanh'")):
        to_torch(recurrent("lstm_relu", 3, 4))
    with pytest.raises(TypeError, match="model: expected a Module"):
        to_torch({})
