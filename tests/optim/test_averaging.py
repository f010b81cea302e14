"""The moving average of weights: its numbers, applying it, its state."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq import nn, optim
from fastseq.nn.module import Parameter


def parameters(rng, dtype=np.float32):
    return [Parameter(rng.standard_normal(shape).astype(dtype)) for shape in [(3, 2), (4,)]]


def walk(rng, params):
    for p in params:
        p.data = p.numpy() + rng.standard_normal(p.shape).astype(p.dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("use_num_updates", [False, True])
def test_follows_the_formula(rng, dtype, use_num_updates):
    params = parameters(rng, dtype)
    ema = optim.ExponentialMovingAverage(params, 0.9, use_num_updates)
    expected = [p.numpy().astype(np.float64) for p in params]
    for n in range(1, 21):
        walk(rng, params)
        ema.update()
        decay = min(0.9, (1 + n) / (10 + n)) if use_num_updates else 0.9
        expected = [decay * e + (1 - decay) * p.numpy() for e, p in zip(expected, params, strict=True)]
    assert ema.num_updates == 20
    for found, wanted in zip(ema.averages, expected, strict=True):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6)


def test_is_torchs_averaged_model(rng):
    torch = pytest.importorskip("torch")
    swa_utils = pytest.importorskip("torch.optim.swa_utils")
    layer = torch.nn.Linear(3, 2).double()
    params = [Parameter(p.detach().numpy().copy()) for p in layer.parameters()]
    averaged = swa_utils.AveragedModel(layer, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.95))
    averaged.update_parameters(layer)  # the first call copies
    ema = optim.ExponentialMovingAverage(params, 0.95)
    for _ in range(25):
        walk(rng, params)
        for p, q in zip(params, layer.parameters(), strict=True):
            q.data = torch.from_numpy(p.numpy().copy())
        ema.update()
        averaged.update_parameters(layer)
    for found, wanted in zip(ema.averages, averaged.module.parameters(), strict=True):
        np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-12)


def test_applied_swaps_in_and_back_whatever_happens(rng):
    params = parameters(rng)
    ema = optim.ExponentialMovingAverage(params, 0.5)
    walk(rng, params)
    ema.update()
    own, versions = [p.numpy().copy() for p in params], [p.version for p in params]
    with ema.applied():
        for p, average in zip(params, ema.averages, strict=True):
            assert np.array_equal(p.numpy(), average)
        with pytest.raises(RuntimeError, match="update: expected parameters with values of their own"):
            ema.update()
        with pytest.raises(RuntimeError, match="applied: expected parameters with values of their own"), ema.applied():
            pass
    with pytest.raises(KeyError), ema.applied():
        raise KeyError
    for p, values, version in zip(params, own, versions, strict=True):
        assert np.array_equal(p.numpy(), values) and p.version > version
    ema.copy_to()
    assert all(np.array_equal(p.numpy(), average) for p, average in zip(params, ema.averages, strict=True))


def test_a_layer_computes_with_the_averages_and_training_goes_on(rng):
    layer, twin = nn.LSTM(2, 3), nn.LSTM(2, 3)
    twin.load_state_dict(layer.state_dict())
    x = rng.standard_normal((2, 4, 2)).astype(np.float32)
    ema = optim.ExponentialMovingAverage(layer.parameters(), 0.9)
    outputs = []
    for net in (layer, twin):
        optimizer = optim.Adam(net.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            net(x)[0].sum().backward()
            optimizer.step()
            if net is layer:
                ema.update()
                with ema.applied():
                    outputs.append(net(x)[0].numpy())
    assert all(np.array_equal(p.numpy(), q.numpy()) for p, q in zip(layer.parameters(), twin.parameters(), strict=True))
    for p, average in zip(twin.parameters(), ema.averages, strict=True):
        p.data = average
    assert np.array_equal(twin(x)[0].numpy(), outputs[-1])


def test_state_goes_on_bit_for_bit(rng):
    params = parameters(rng)
    ema = optim.ExponentialMovingAverage(params, 0.9, use_num_updates=True)
    for _ in range(3):
        walk(rng, params)
        ema.update()
    other = optim.ExponentialMovingAverage([Parameter(np.zeros(p.shape, np.float32)) for p in params], 0.1)
    other.load_state_dict(ema.state_dict())
    for p, q in zip(params, other.parameters, strict=True):
        p.data = q.data = rng.standard_normal(p.shape).astype(np.float32)
    for one in (ema, other):
        one.update()
    assert all(np.array_equal(a, b) for a, b in zip(ema.averages, other.averages, strict=True))
    assert other.num_updates == 4 and other.decay == 0.9


def test_follows_a_model_to_another_dtype(rng):
    layer = nn.Linear(2, 2)
    ema = optim.ExponentialMovingAverage(layer.parameters(), 0.5)
    layer.double()
    layer.weight.data = np.zeros((2, 2))
    ema.update()
    with ema.applied():
        assert layer.weight.dtype == np.float64 and layer.weight.numpy().any()
    assert not layer.weight.numpy().any()


def test_arguments_are_checked(rng):
    params = parameters(rng)
    make = optim.ExponentialMovingAverage
    for message, act in {
        "parameters: expected an iterable of tensors": lambda: make(params[0]),
        "parameters: expected at least one": lambda: make([]),
        "parameters: expected tensors": lambda: make([np.ones(3)]),
        "decay: expected a finite number >= 0 and <= 1": lambda: make(params, 1.5),
        "use_num_updates": lambda: make(params, 0.5, 1),
        "state_dict: expected a mapping": lambda: make(params).load_state_dict(3),
        "state_dict: expected an average's, with 'decay'": lambda: make(params).load_state_dict({}),
        r"shadow_params'\]: expected shapes": lambda: make(params).load_state_dict(make(params[:1]).state_dict()),
    }.items():
        with pytest.raises((TypeError, ValueError), match=message):
            act()
