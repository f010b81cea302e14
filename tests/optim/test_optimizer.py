"""Flat buffers, parameter groups, state dicts and the errors of all optimisers."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq import optim
from fastseq.autograd.tensor import Tensor
from fastseq.nn.module import Parameter

ALL = [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad, optim.NAdam, optim.RAdam, optim.Lion]
OPTIONS = {
    optim.SGD: {"momentum": 0.9, "nesterov": True},
    optim.Adam: {"amsgrad": True},
    optim.AdamW: {"amsgrad": True},
    optim.RMSprop: {"momentum": 0.9, "centered": True},
    optim.Adagrad: {"initial_accumulator_value": 0.5, "lr_decay": 0.1},
}


def parameters(rng, dtype=np.float32):
    return [Parameter(rng.standard_normal(shape).astype(dtype)) for shape in [(3, 5), (4,), (2, 2)]]


def gradients(rng, params):
    for p in params:
        p.grad = None
        p._accumulate(rng.standard_normal(p.shape).astype(p.dtype))


def test_parameters_and_gradients_share_one_aligned_array(rng):
    params = parameters(rng)
    before = [p.numpy().copy() for p in params]
    versions = [p.version for p in params]
    optimizer = optim.Adam(params)
    (buffer,) = optimizer._buffers[0]
    for p, values, version in zip(params, before, versions, strict=True):
        assert np.array_equal(p.numpy(), values)
        assert np.shares_memory(p._data, buffer.data)
        assert p._data.ctypes.data % 64 == 0
        assert p.version > version
    gradients(rng, params)
    for p in params:
        assert np.shares_memory(p.grad._data, buffer.grad)


@pytest.mark.parametrize("kind", ALL)
def test_a_step_bumps_the_version_of_what_it_changes_only(rng, kind):
    params = parameters(rng)
    optimizer = kind(params)
    gradients(rng, params)
    params[1].grad = None
    still = params[1].numpy().copy()
    versions = [p.version for p in params]
    optimizer.step()
    assert [p.version - v for p, v in zip(params, versions, strict=True)] == [1, 0, 1]
    assert np.array_equal(params[1].numpy(), still)


def test_a_detached_tensor_taken_before_keeps_the_old_values_and_one_taken_after_follows(rng):
    params = parameters(rng)
    optimizer = optim.SGD(params, lr=0.5)
    follows = params[0].detach()
    gradients(rng, params)
    optimizer.step()
    assert np.array_equal(follows.numpy(), params[0].numpy())


def test_gradients_set_by_hand_are_used(rng):
    params = parameters(rng)
    optimizer = optim.SGD(params, lr=1.0)
    before = params[0].numpy().copy()
    gradient = np.ones((3, 5), np.float32)
    params[0].grad = Tensor(gradient)
    optimizer.step()
    np.testing.assert_array_equal(params[0].numpy(), before - 1)
    params[0].grad = Tensor(np.ones(3, np.float32))
    with pytest.raises(ValueError, match=r"grad: expected the parameter's shape \(3, 5\), got .*\(3,\)"):
        optimizer.step()


def test_two_optimizers_may_share_parameters(rng):
    params = parameters(rng)
    first, second = optim.SGD(params, lr=1.0), optim.SGD(params, lr=1.0)
    start = [p.numpy().copy() for p in params]
    for optimizer in (first, second, second, first):
        for p in params:
            p.grad = None
            p._accumulate(np.ones(p.shape, np.float32))
        optimizer.step()
    for p, values in zip(params, start, strict=True):
        np.testing.assert_allclose(p.numpy(), values - 4, rtol=1e-6)


def test_a_model_converted_to_another_dtype_keeps_its_state(rng):
    params = parameters(rng, np.float64)
    twins = [Parameter(p.numpy().astype(np.float32)) for p in params]
    for group in (params, twins):
        seeded = np.random.default_rng(5)
        optimizer = optim.Adam(group, lr=0.1)
        for step in range(6):
            if step == 3 and group is twins:
                for p in twins:
                    p._data = p._data.astype(np.float64)
                    p._grad_buffer = None
            gradients(seeded, group)
            optimizer.step()
    for p, q in zip(params, twins, strict=True):
        assert q.dtype == np.float64
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=0, atol=1e-5)


def test_parameters_whose_momenta_differ_step_apart(rng):
    """Two parameters have taken as many steps, one of them under another beta: NAdam's product tells them apart."""
    apart, alone = [Parameter(np.ones(3)) for _ in range(2)], Parameter(np.ones(3))
    both, single = optim.NAdam(apart, lr=0.1), optim.NAdam([alone], lr=0.1)
    for step in range(6):
        for optimizer in (both, single):
            optimizer.param_groups[0]["betas"] = (0.9 if step < 2 else 0.5, 0.999)
        gradient = rng.standard_normal(3)
        for p, taken in ((apart[0], step not in (2, 3)), (apart[1], step not in (0, 1)), (alone, step not in (0, 1))):
            p.grad = None
            if taken:
                p._accumulate(gradient)
        both.step()
        single.step()
    assert both._buffers[0][0].steps == [4, 4]
    assert apart[1].tolist() == alone.tolist() != apart[0].tolist()


def test_mixed_dtypes_in_one_group(rng):
    single, double = Parameter(np.zeros(3, np.float32)), Parameter(np.zeros(3, np.float64))
    optimizer = optim.SGD([single, double], lr=0.5)
    for p in (single, double):
        p._accumulate(np.ones(3, p.dtype))
    optimizer.step()
    assert single.dtype == np.float32 and double.dtype == np.float64
    assert single.tolist() == double.tolist() == [-0.5] * 3


@pytest.mark.parametrize("kind", ALL)
def test_state_dict_resumes_bit_for_bit(rng, kind):
    options = OPTIONS.get(kind, {})
    params = parameters(rng)
    optimizer = kind(params, lr=0.1, weight_decay=0.01, **options)
    for _ in range(3):
        gradients(rng, params)
        optimizer.step()
    saved, values = optimizer.state_dict(), [p.numpy().copy() for p in params]
    twins = [Parameter(v) for v in values]
    other = kind(twins, lr=9.0)
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == 0.1
    for _ in range(4):
        fresh = [rng.standard_normal(p.shape).astype(np.float32) for p in params]
        for group, one in ((params, optimizer), (twins, other)):
            for p, g in zip(group, fresh, strict=True):
                p.grad = None
                p._accumulate(g)
            one.step()
    for p, q in zip(params, twins, strict=True):
        assert np.array_equal(p.numpy(), q.numpy())


def test_a_state_dict_that_does_not_fit_changes_nothing(rng):
    params = parameters(rng)
    optimizer = optim.Adam(params, lr=0.1)
    gradients(rng, params)
    optimizer.step()
    before = optimizer.state_dict()
    wrong = optimizer.state_dict()
    wrong["state"][2]["exp_avg"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"state_dict\['state'\]\[2\]\['exp_avg'\]: expected floats of shape \(2, 2\)"):
        optimizer.load_state_dict(wrong)
    short = optimizer.state_dict()
    short["param_groups"][0]["params"] = [0]
    with pytest.raises(ValueError, match=r"groups of \[3\] parameters, got groups of \[1\]"):
        optimizer.load_state_dict(short)
    bad = optimizer.state_dict()
    bad["param_groups"][0]["lr"] = -1.0
    with pytest.raises(ValueError, match="lr"):
        optimizer.load_state_dict(bad)
    with pytest.raises(TypeError, match="state_dict"):
        optimizer.load_state_dict([])
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for number, entry in before["state"].items():
        for name, values in entry.items():
            assert np.array_equal(after["state"][number][name], values)


def test_zero_grad_and_closure(rng):
    params = parameters(rng)
    optimizer = optim.SGD(params, lr=0.5)
    gradients(rng, params)
    optimizer.zero_grad(set_to_none=False)
    assert all((p.grad.numpy() == 0).all() for p in params)
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)

    def closure():
        gradients(rng, params)
        return 3.0

    assert optimizer.step(closure) == 3.0
    assert optim.SGD(params).step() is None


def test_not_a_number_stays_visible(rng):
    params = [Parameter(np.ones(4, np.float32))]
    optimizer = optim.Adam(params)
    params[0]._accumulate(np.array([1, np.nan, np.inf, 0], np.float32))
    optimizer.step()
    assert np.isnan(params[0].numpy()).tolist() == [False, True, True, False]


@pytest.mark.parametrize("kind", ALL)
def test_parameters_are_checked(rng, kind):
    p = Parameter(np.ones(2, np.float32))
    with pytest.raises(TypeError, match="params: expected an iterable of parameters or of dicts, got Parameter"):
        kind(p)
    with pytest.raises(ValueError, match="params: expected at least one parameter, got none"):
        kind([])
    with pytest.raises(ValueError, match="params: expected each parameter once"):
        kind([p, p])
    with pytest.raises(TypeError, match="params: expected tensors, got an array"):
        kind([np.ones(2)])
    with pytest.raises(TypeError, match="params: expected float32 or float64, got int64"):
        kind([Tensor(np.arange(3))])
    with pytest.raises(ValueError, match="param_group: expected options among lr, .*, got speed"):
        kind([{"params": [p], "speed": 3}])
    with pytest.raises(TypeError, match='param_group: expected a dict with "params"'):
        kind([{"lr": 3}])
    with pytest.raises(ValueError, match="lr: expected a finite number >= 0"):
        kind([p], lr=-0.1)
    with pytest.raises(ValueError, match="lr: expected a finite number >= 0"):
        kind([p], lr=float("nan"))
    with pytest.raises(TypeError, match="lr: expected a number"):
        kind([p], lr="fast")
    with pytest.raises(ValueError, match="weight_decay"):
        kind([p], weight_decay=-1)


def test_options_are_checked():
    p = Parameter(np.ones(2, np.float32))
    with pytest.raises(ValueError, match="nesterov: expected momentum > 0 and dampening 0"):
        optim.SGD([p], nesterov=True)
    with pytest.raises(ValueError, match="momentum"):
        optim.SGD([p], momentum=-0.1)
    with pytest.raises(ValueError, match=r"betas\[1\]: expected a finite number >= 0 and < 1"):
        optim.Adam([p], betas=(0.9, 1.0))
    with pytest.raises(TypeError, match="betas: expected two numbers"):
        optim.Adam([p], betas=0.9)
    with pytest.raises(ValueError, match="eps"):
        optim.AdamW([p], eps=-1e-8)
    with pytest.raises(TypeError, match="amsgrad: expected True or False"):
        optim.Adam([p], amsgrad=1)
    with pytest.raises(ValueError, match=r"betas\[0\]"):
        optim.Lion([p], betas=(-0.1, 0.9))
    for kind, name in ((optim.RMSprop, "alpha"), (optim.RMSprop, "momentum"), (optim.Adagrad, "lr_decay")):
        with pytest.raises(ValueError, match=f"{name}: expected a finite number >= 0"):
            kind([p], **{name: -0.1})
    with pytest.raises(ValueError, match="initial_accumulator_value"):
        optim.Adagrad([p], initial_accumulator_value=-1.0)
    with pytest.raises(ValueError, match="momentum_decay"):
        optim.NAdam([p], momentum_decay=-1.0)
    for kind, name in ((optim.RMSprop, "centered"), (optim.RAdam, "decoupled_weight_decay")):
        with pytest.raises(TypeError, match=f"{name}: expected True or False"):
            kind([p], **{name: 1})
    assert "lr=0.001" in repr(optim.Adam([p]))
