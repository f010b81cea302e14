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


def test_what_is_elsewhere_is_said(tmp_path):
    for name, hint in (("utils", "there is no DataLoader"), ("onnx", "interop.to_onnx"), ("keras", "fastseq itself")):
        with pytest.raises(AttributeError, match=f"no attribute '{name}': .*{hint}"):
            getattr(torch, name)
    with pytest.raises(AttributeError, match="no attribute 'einsum'$"):
        _ = torch.einsum
    model = nn.LSTM(3, 4)
    with pytest.raises(TypeError, match=r"model: expected a Module \(fastseq.save_state\(model, path\) writes"):
        torch.save(model.state_dict(), tmp_path / "m.pt")
    for start, reader in ((b"PK\x03\x04", "interop.from_torch"), (b"\x89HDF\r\n\x1a\n", "interop.from_keras")):
        (tmp_path / "m.pt").write_bytes(start + bytes(100))
        with pytest.raises(ValueError, match=reader):
            torch.load(tmp_path / "m.pt")
