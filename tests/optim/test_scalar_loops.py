"""Each optimiser against its algorithm written out for one number in double precision, without PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastseq import optim
from fastseq.nn.module import Parameter

STEPS = 25


def rmsprop(gradients, p, lr, alpha=0.99, eps=1e-8, momentum=0.0, centered=False, weight_decay=0.0):
    v = a = b = 0.0
    for g in gradients:
        g += weight_decay * p
        v = alpha * v + (1 - alpha) * g**2
        a = alpha * a + (1 - alpha) * g if centered else 0.0
        b = momentum * b + g / (math.sqrt(v - a**2) + eps)
        p -= lr * b
    return p


def adagrad(gradients, p, lr, lr_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, weight_decay=0.0):
    total = initial_accumulator_value
    for t, g in enumerate(gradients):
        g += weight_decay * p
        total += g**2
        p -= lr / (1 + t * lr_decay) * g / (math.sqrt(total) + eps)
    return p


def nadam(gradients, p, lr, betas=(0.9, 0.999), eps=1e-8, momentum_decay=4e-3, weight_decay=0.0, decoupled=False):
    m = v = 0.0
    product = 1.0
    for t, g in enumerate(gradients, 1):
        if decoupled:
            p -= lr * weight_decay * p
        else:
            g += weight_decay * p
        mu, after = (betas[0] * (1 - 0.5 * 0.96 ** (n * momentum_decay)) for n in (t, t + 1))
        product = float(np.float32(product) * np.float32(mu))  # as PyTorch keeps it
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        mean = after * m / (1 - product * after) + (1 - mu) * g / (1 - product)
        p -= lr * mean / (math.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def radam(gradients, p, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    m = v = 0.0
    longest = 2 / (1 - betas[1]) - 1
    for t, g in enumerate(gradients, 1):
        if decoupled:
            p -= lr * weight_decay * p
        else:
            g += weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        step = m / (1 - betas[0] ** t)
        length = longest - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
        if length > 5:
            adapted = math.sqrt(1 - betas[1] ** t) / (math.sqrt(v) + eps)
            trust = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            step *= adapted * math.sqrt(trust)
        p -= lr * step
    return p


def lion(gradients, p, lr, betas=(0.9, 0.99), weight_decay=0.0):
    m = 0.0
    for g in gradients:
        direction = betas[0] * m + (1 - betas[0]) * g
        p -= lr * (math.copysign(1.0, direction) * (direction != 0) + weight_decay * p)
        m = betas[1] * m + (1 - betas[1]) * g
    return p


CASES = [
    (optim.RMSprop, rmsprop, {"lr": 0.02}),
    (optim.RMSprop, rmsprop, {"lr": 0.02, "alpha": 0.7, "eps": 1e-3, "momentum": 0.9, "weight_decay": 0.1}),
    (optim.RMSprop, rmsprop, {"lr": 0.02, "centered": True, "momentum": 0.5}),
    (optim.Adagrad, adagrad, {"lr": 0.3}),
    (optim.Adagrad, adagrad, {"lr": 0.3, "lr_decay": 0.2, "initial_accumulator_value": 0.7, "weight_decay": 0.1}),
    (optim.NAdam, nadam, {"lr": 0.1}),
    (optim.NAdam, nadam, {"lr": 0.1, "betas": (0.6, 0.9), "eps": 1e-3, "momentum_decay": 0.5, "weight_decay": 0.1}),
    (optim.NAdam, nadam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (optim.RAdam, radam, {"lr": 0.1}),
    (optim.RAdam, radam, {"lr": 0.1, "betas": (0.6, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    (optim.RAdam, radam, {"lr": 0.1, "betas": (0.9, 0.5)}),  # so short a memory that it never adapts
    (optim.RAdam, radam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (optim.Lion, lion, {"lr": 0.01}),
    (optim.Lion, lion, {"lr": 0.01, "betas": (0.5, 0.8), "weight_decay": 0.3}),
]


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "loop", "options"), CASES)
def test_follows_the_algorithm(rng, kind, loop, options, dtype, maximize):
    start, gradients = rng.standard_normal(3).astype(dtype), rng.standard_normal((STEPS, 3)).astype(dtype)
    gradients[:, 2] = 0.0  # a weight whose gradient is always zero
    p = Parameter(start.copy())
    optimizer = kind([p], maximize=maximize, **options)
    for g in gradients:
        p.grad = None
        p._accumulate(g)
        optimizer.step()
    named = {name.replace("decoupled_weight_decay", "decoupled"): value for name, value in options.items()}
    sign = -1.0 if maximize else 1.0
    expected = [loop([sign * float(g) for g in gradients[:, i]], float(start[i]), **named) for i in range(3)]
    tolerance = 2e-6 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(p.numpy(), expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


def test_radam_adapts_from_the_sixth_step_on():
    p = Parameter(np.zeros(2))
    optimizer = optim.RAdam([p], lr=0.1)
    moved = []
    for _ in range(8):
        before = p.numpy().copy()
        p.grad = None
        p._accumulate(np.array([1.0, 100.0]))
        optimizer.step()
        moved.append(before - p.numpy())
    for number, (small, large) in enumerate(moved, 1):
        assert large / small == pytest.approx(100.0 if number <= 5 else 1.0)


def test_lion_moves_every_weight_by_the_learning_rate_or_not_at_all():
    p = Parameter(np.zeros(4))
    p._accumulate(np.array([1e-30, -1e30, 0.0, np.nan]))
    optim.Lion([p], lr=0.25).step()
    assert p.tolist()[:3] == [-0.25, 0.25, 0.0] and np.isnan(p.numpy()[3])
