"""What PyTorch's listings write beside layers: dtypes, the device, functions of tensors; and what is not there."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as torch
from fastseq import nn


def test_dtypes_are_numpy_s():
    assert torch.float32 is np.float32 and torch.float is np.float32 and torch.double is np.float64
    assert torch.long is np.int64 and torch.int is np.int32 and torch.bool is np.bool_
    assert torch.zeros(2, dtype=torch.long).dtype == torch.int64
    assert torch.tensor([1, 0]).long().dtype == torch.int64


def test_the_device_is_the_cpu():
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, x = nn.LSTM(3, 4).to(device), torch.randn(2, 5, 3).to(device)
    assert np.array_equal(model(x)[0].detach().cpu().numpy(), model.cpu()(x.contiguous())[0].numpy())
    assert torch.cuda.device_count() == 0
    for call in (model.to, x.to, torch.device):
        with pytest.raises(ValueError, match="device: expected 'cpu', where everything is computed, got cuda"):
            call("cuda:0")
    with pytest.raises(TypeError, match="dtype: expected float32 or float64"):
        model.to("float33")


def test_functions_of_tensors(rng):
    x, y = (torch.tensor(rng.standard_normal((2, 3)), requires_grad=True) for _ in range(2))
    assert np.array_equal(torch.cat([x, y], dim=1), np.concatenate([x.numpy(), y.numpy()], 1))
    assert torch.stack([x, y], dim=1).shape == (2, 2, 3)
    for name in ("tanh", "sigmoid", "relu", "exp"):
        assert np.array_equal(getattr(torch, name)(x), getattr(x, name)())
    assert np.array_equal(torch.log(torch.exp(x)), x.exp().log())
    assert np.array_equal(torch.softmax(x, dim=-1), x.softmax(-1))
    assert np.array_equal(torch.argmax(x, dim=1), x.numpy().argmax(1))
    assert torch.matmul(x, y.transpose(0, 1)).shape == (2, 2)
    torch.where(x > 0, x, y).sum().backward()
    assert np.array_equal(x.grad.numpy(), x.numpy() > 0) and np.array_equal(y.grad.numpy(), x.numpy() <= 0)


def test_new_tensors():
    assert torch.arange(3).tolist() == [0, 1, 2] and torch.arange(1.0, 2.0, 0.5).dtype == np.float32
    assert torch.full((2,), 7.0).tolist() == [7, 7]
    assert torch.ones_like(torch.zeros(2)).tolist() == [1, 1] and torch.zeros_like(torch.ones(2)).tolist() == [0, 0]
    array = np.zeros(2, np.float32)
    shared = torch.from_numpy(array)
    array[0] = 1
    assert shared.tolist() == [1, 0]
    torch.manual_seed(1)
    drawn = torch.randint(0, 3, (100,))
    assert drawn.dtype == np.int64 and set(drawn.tolist()) == {0, 1, 2} and torch.randint(2, (3, 2)).shape == (3, 2)
    assert sorted(torch.randperm(9).tolist()) == list(range(9))


def test_no_gradients():
    model = nn.LSTM(3, 4)
    with torch.inference_mode():
        assert not model(torch.randn(2, 5, 3))[0].requires_grad
    for wanted in (True, False):
        with torch.set_grad_enabled(wanted):
            assert model(torch.randn(2, 5, 3))[0].requires_grad is wanted
        assert torch.is_grad_enabled()
    assert not torch.set_grad_enabled(False)(torch.is_grad_enabled)() and torch.is_grad_enabled()
    assert not torch.no_grad()(torch.is_grad_enabled)()
    torch.set_grad_enabled(False)
    assert not torch.is_grad_enabled()
    torch.set_grad_enabled(True)


def test_what_is_elsewhere_is_said(tmp_path):
    for name, hint in (("compile", "nothing to compile"), ("onnx", "interop.to_onnx"), ("keras", "fastseq itself")):
        with pytest.raises(AttributeError, match=f"no attribute '{name}': .*{hint}"):
            getattr(torch, name)
    with pytest.raises(AttributeError, match="'to_categorical': it is in fastseq.models.preprocessing"):
        _ = torch.utils.to_categorical
    for name, hint in (("swa_utils", "ExponentialMovingAverage"), ("Adamax", "there are Adagrad, Adam")):
        with pytest.raises(AttributeError, match=f"no attribute '{name}': .*{hint}"):
            getattr(torch.optim, name)
    with pytest.raises(AttributeError, match="no attribute 'fft'$"):
        _ = torch.fft
    for start, reader in ((b"PK\x03\x04", "interop.from_torch"), (b"\x89HDF\r\n\x1a\n", "interop.from_keras")):
        (tmp_path / "m.pt").write_bytes(start + bytes(100))
        with pytest.raises(ValueError, match=reader):
            torch.load(tmp_path / "m.pt")


def test_random_tensors():
    for name, sizes in (("randn", (2, 3)), ("rand", (2, 3))):
        torch.manual_seed(0)
        first = getattr(torch, name)(*sizes)
        torch.manual_seed(0)
        assert torch.equal(first, getattr(torch, name)(size=sizes)) and first.dtype == np.float32
        own = [getattr(torch, name)(3, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
        assert torch.equal(*own)
    assert torch.bernoulli(torch.tensor([0.0, 1.0])).tolist() == [0, 1]
    drawn = torch.multinomial(torch.tensor([1.0, 3.0, 0.0]), 4000, replacement=True)
    assert abs(drawn.float().mean().item() - 0.75) < 0.05 and drawn.max().item() == 1
    assert sorted(torch.multinomial(torch.ones(2, 5), 5)[1].tolist()) == [0, 1, 2, 3, 4]
    assert torch.normal(torch.zeros(3), 0.0).tolist() == [0, 0, 0]
    for call, message in (
        (lambda: torch.multinomial(torch.tensor([1.0, 0.0]), 2), "num_samples: expected at most 1"),
        (lambda: torch.multinomial(torch.zeros(2), 1), "input: expected finite weights"),
        (lambda: torch.bernoulli([2.0]), "input: expected probabilities"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="generator: expected a Generator"):
        torch.randn(2, generator=3)


def test_functions_take_arrays_and_names():
    x = np.array([[3.0, 1.0], [2.0, 5.0]])
    assert torch.max(x, 1).indices.tolist() == [0, 1] and torch.sum(input=x, dim=0).tolist() == [5, 6]
    assert torch.vstack([x[0], x[1]]).tolist() == x.tolist() and torch.hstack([x[0], x[1]]).shape == (4,)
    assert [part.tolist() for part in torch.where(torch.tensor(x) > 2)] == [[0, 1], [0, 1]]
    assert (
        torch.device("cpu").type == "cpu" and torch.tensor(x).device == "cpu" and not torch.backends.mps.is_available()
    )
    assert torch.LongTensor([1.0]).dtype == np.int64 and torch.FloatTensor(2, 3).shape == (2, 3)
    assert "topk" in dir(torch) and torch.topk.__name__ == "topk" and "largest" in torch.topk.__doc__


def test_checkpoints_are_saved_as_dicts(tmp_path):
    model = nn.LSTM(3, 4)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 5, 3))[0].sum().backward()
    optimizer.step()
    kept = {
        "epoch": 3, "model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict(),
        "loss": float("inf"), "names": ["a", None, True], "size": (2, 3), "big": 2**70, "x": torch.arange(3),
    }  # fmt: skip
    torch.save(kept, tmp_path / "checkpoint.pt")
    found = torch.load(tmp_path / "checkpoint.pt", map_location=torch.device("cpu"), weights_only=True)
    assert {name: found[name] for name in ("epoch", "loss", "names", "size", "big")} == {
        "epoch": 3, "loss": float("inf"), "names": ["a", None, True], "size": [2, 3], "big": 2**70,
    }  # fmt: skip
    assert found["x"].tolist() == [0, 1, 2] and isinstance(found["x"], torch.Tensor)
    other = nn.LSTM(3, 4)
    other.load_state_dict(found["model_state_dict"])
    again = torch.optim.Adam(other.parameters())
    again.load_state_dict(found["optimizer_state_dict"])
    for one, layer in ((optimizer, model), (again, other)):
        one.zero_grad()
        layer(torch.ones(2, 5, 3))[0].sum().backward()
        one.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    with pytest.raises(TypeError, match="model: expected numbers, strings, lists, dicts and arrays"):
        torch.save({"f": print}, tmp_path / "none.pt")
    with pytest.raises(ValueError, match="map_location: expected 'cpu'"):
        torch.load(tmp_path / "weights.pt", map_location="cuda:0")
