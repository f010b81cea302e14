"""SGD, Adam and AdamW follow PyTorch's over twenty steps, whatever the options."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastseq import optim
from fastseq.nn.module import Parameter

torch = pytest.importorskip("torch")

SHAPES = [(7, 3), (5,), (1,), (4, 2, 3), (33,)]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-10}
OPTIONS: list[tuple[str, dict]] = [
    ("SGD", {"lr": 0.1, "momentum": m, "weight_decay": w, "nesterov": n, "dampening": d, "maximize": up})
    for m, w, n, d, up in itertools.product((0.0, 0.9), (0.0, 0.05), (False, True), (0.0, 0.3), (False, True))
    if not (n and (m == 0 or d != 0))
] + [
    (name, {"lr": 0.02, "weight_decay": w, "amsgrad": a, "maximize": up, "betas": b, "eps": e})
    for name, w, a, up, (b, e) in itertools.product(
        ("Adam", "AdamW"), (0.0, 0.05), (False, True), (False, True), (((0.9, 0.999), 1e-8), ((0.5, 0.8), 1e-3))
    )
]


def pair(rng, dtype):
    """The same parameters twice: ours and PyTorch's."""
    values = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    ours = [Parameter(v.copy()) for v in values]
    theirs = [torch.nn.Parameter(torch.from_numpy(v.copy())) for v in values]
    return ours, theirs


def give(ours, theirs, gradients):
    """Set the same gradients on both; None for none."""
    for p, q, g in zip(ours, theirs, gradients, strict=True):
        p.grad = q.grad = None
        if g is not None:
            p._accumulate(g.copy())
            q.grad = torch.from_numpy(g.copy())


def assert_close(ours, theirs, dtype):
    """Equal relative to the largest entry of all: a single weight may be on its way through zero."""
    expected = [q.detach().numpy() for q in theirs]
    largest = max(np.abs(values).max() for values in expected)
    for p, values in zip(ours, expected, strict=True):
        np.testing.assert_allclose(p.numpy(), values, rtol=0, atol=TOLERANCE[dtype] * largest)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_twenty_steps(rng, name, options, dtype):
    ours, theirs = pair(rng, dtype)
    mine, reference = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(20):
        gradients = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
        # Some parameters get their first gradient late, some miss a few.
        gradients = [
            None if (i == 1 and step < 3) or (i == 3 and step % 4 == 1) else g for i, g in enumerate(gradients)
        ]
        give(ours, theirs, gradients)
        mine.step()
        reference.step()
        assert_close(ours, theirs, dtype)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_groups_added_parameters_and_changed_rates(rng, name):
    dtype = np.float64
    ours, theirs = pair(rng, dtype)
    optimizers = []
    for module, parameters in ((optim, ours), (torch.optim, theirs)):
        optimizer = getattr(module, name)(
            [{"params": parameters[:2], "lr": 0.3}, {"params": parameters[2:4], "weight_decay": 0.1}], lr=0.01
        )
        optimizers.append(optimizer)
    for step in range(20):
        if step == 7:
            for optimizer, parameters in zip(optimizers, (ours, theirs), strict=True):
                optimizer.add_param_group({"params": parameters[4], "lr": 0.05})
        if step == 11:
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] *= 0.1
        give(ours, theirs, [rng.standard_normal(shape) for shape in SHAPES])
        for optimizer in optimizers:
            optimizer.step()
        assert_close(ours, theirs, dtype)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_takes_over_the_state_of_a_torch_optimizer(rng, name):
    ours, theirs = pair(rng, np.float64)
    options = {"lr": 0.1, "momentum": 0.9} if name == "SGD" else {"lr": 0.1}
    reference = getattr(torch.optim, name)(theirs, **options)
    for _ in range(5):
        give(ours, theirs, [rng.standard_normal(shape) for shape in SHAPES])
        reference.step()
    for p, q in zip(ours, theirs, strict=True):
        p.data = q.detach().numpy()
    mine = getattr(optim, name)(ours, lr=5.0)
    mine.load_state_dict(reference.state_dict())
    for _ in range(5):
        give(ours, theirs, [rng.standard_normal(shape) for shape in SHAPES])
        mine.step()
        reference.step()
    assert_close(ours, theirs, np.float64)
