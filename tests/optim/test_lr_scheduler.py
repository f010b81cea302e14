"""Schedules against closed forms and PyTorch's, step by step; their states; their errors."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from fastseq import optim
from fastseq.nn.module import Parameter
from fastseq.optim import lr_scheduler

STEPS = 60


class Decay:
    """A function with a state of its own."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, epoch):
        return self.rate**epoch


def chained(m, o):
    return m.ChainedScheduler([m.LinearLR(o, 0.2, total_iters=9), m.ExponentialLR(o, 0.95), m.StepLR(o, 20, 0.5)])


def sequential(m, o):
    parts = [m.LinearLR(o, 0.1, total_iters=6), m.CosineAnnealingLR(o, 20), m.ExponentialLR(o, 0.9)]
    return m.SequentialLR(o, parts, [6, 31])


def sequence_of_more(m, o):
    parts = [
        m.ConstantLR(o, 0.3, 4), m.StepLR(o, 3), m.MultiStepLR(o, [2, 5], 0.5), m.LambdaLR(o, lambda e: 1 / (1 + e)),
        m.CosineAnnealingWarmRestarts(o, 4, 2), m.MultiplicativeLR(o, lambda e: 0.97), m.PolynomialLR(o, 6, 2.0),
        m.LinearLR(o, 0.5, total_iters=3),
    ]  # fmt: skip
    return m.SequentialLR(o, parts, [3, 10, 18, 22, 35, 40, 50])


CASES = {
    "step": lambda m, o: m.StepLR(o, 7, gamma=0.5),
    "step by one": lambda m, o: m.StepLR(o, 1),
    "milestones": lambda m, o: m.MultiStepLR(o, [3, 17, 17, 40], gamma=0.3),
    "milestone zero": lambda m, o: m.MultiStepLR(o, [0, 4]),
    "exponential": lambda m, o: m.ExponentialLR(o, 0.93),
    "constant": lambda m, o: m.ConstantLR(o, 0.25, 11),
    "constant defaults": lambda m, o: m.ConstantLR(o),
    "linear": lambda m, o: m.LinearLR(o, 0.1, 0.8, 25),
    "linear defaults": lambda m, o: m.LinearLR(o),
    "linear down": lambda m, o: m.LinearLR(o, 1.0, 0.0, 30),
    "polynomial": lambda m, o: m.PolynomialLR(o, 33, 1.7),
    "lambda": lambda m, o: m.LambdaLR(o, lambda e: 0.95**e),
    "lambda per group": lambda m, o: m.LambdaLR(o, [lambda e: 0.95**e, Decay(0.8)]),
    "multiplicative": lambda m, o: m.MultiplicativeLR(o, [lambda e: 0.95, lambda e: 1 - 1 / (e + 2)]),
    "cosine": lambda m, o: m.CosineAnnealingLR(o, 23, eta_min=1e-3),
    "cosine of one": lambda m, o: m.CosineAnnealingLR(o, 1),
    "restarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 7),
    "growing restarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 5, 2, eta_min=1e-4),
    "one cycle": lambda m, o: m.OneCycleLR(o, 0.5, total_steps=STEPS),
    "one linear cycle": lambda m, o: m.OneCycleLR(
        o, [0.5, 1.0], epochs=6, steps_per_epoch=10, anneal_strategy="linear"
    ),
    "one cycle of three phases": lambda m, o: m.OneCycleLR(
        o, 0.5, STEPS, pct_start=0.2, three_phase=True, base_momentum=[0.7, 0.8], div_factor=10.0, final_div_factor=99.0
    ),
    "one cycle, momentum left": lambda m, o: m.OneCycleLR(o, 0.5, STEPS, cycle_momentum=False, pct_start=0.0),
    "chained": chained,
    "sequential": sequential,
    "sequence of more": sequence_of_more,
}  # fmt: skip


def ours(kind="SGD", **options):
    """An optimiser with two parameter groups."""
    p, q = Parameter(np.ones(2)), Parameter(np.ones(3))
    return getattr(optim, kind)([{"params": [p], "lr": 0.3}, {"params": [q], "lr": 0.02}], **options)


def momenta(optimizer):
    return [group["betas"][0] if "betas" in group else group.get("momentum", 0.0) for group in optimizer.param_groups]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("kind", "options"), [("SGD", {"momentum": 0.9}), ("Adam", {})])
def test_every_step_is_pytorchs(case, kind, options):
    torch = pytest.importorskip("torch")
    p, q = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    theirs = getattr(torch.optim, kind)([{"params": [p], "lr": 0.3}, {"params": [q], "lr": 0.02}], **options)
    mine = ours(kind, **options)
    theirs.step()
    schedule, reference = CASES[case](lr_scheduler, mine), CASES[case](torch.optim.lr_scheduler, theirs)
    for step in range(STEPS):
        np.testing.assert_allclose(schedule.get_last_lr(), reference.get_last_lr(), rtol=1e-11, atol=1e-17)
        assert [group["lr"] for group in mine.param_groups] == schedule.get_last_lr(), step
        np.testing.assert_allclose(momenta(mine), momenta(theirs), rtol=1e-12)
        theirs.step()
        schedule.step()
        reference.step()


@pytest.mark.parametrize("case", CASES)
def test_goes_on_from_its_state(case):
    optimizer = ours("Adam")
    schedule = CASES[case](lr_scheduler, optimizer)
    for _ in range(17):
        schedule.step()
    saved = json.loads(json.dumps([schedule.state_dict(), optimizer.state_dict()], default=str))
    if "milestones" in saved[0]:  # JSON turns numbers that are keys into text; checkpoints do not
        saved[0]["milestones"] = schedule.state_dict()["milestones"]
    for state in saved[0].get("_schedulers", []):
        if "milestones" in state:
            state["milestones"] = {int(m): n for m, n in state["milestones"].items()}
    rest = []
    for _ in range(STEPS - 17):
        schedule.step()
        rest.append((schedule.get_last_lr(), momenta(optimizer)))
    again = ours("Adam")
    other = CASES[case](lr_scheduler, again)
    again.load_state_dict(saved[1])
    other.load_state_dict(saved[0])
    for expected in rest:
        other.step()
        assert (other.get_last_lr(), momenta(again)) == expected


@pytest.mark.parametrize("case", sorted(set(CASES) - {"lambda per group"}))
def test_takes_up_pytorchs_state(case):
    torch = pytest.importorskip("torch")
    p, q = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    theirs = torch.optim.Adam([{"params": [p], "lr": 0.3}, {"params": [q], "lr": 0.02}])
    reference = CASES[case](torch.optim.lr_scheduler, theirs)
    for _ in range(17):
        theirs.step()
        reference.step()
    mine = ours("Adam")
    schedule = CASES[case](lr_scheduler, mine)
    mine.load_state_dict(theirs.state_dict())
    schedule.load_state_dict(reference.state_dict())
    for _ in range(STEPS - 17):
        np.testing.assert_allclose(schedule.get_last_lr(), reference.get_last_lr(), rtol=1e-11, atol=1e-17)
        theirs.step()
        schedule.step()
        reference.step()


def rates(schedule, steps=STEPS):
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr())
        schedule.step()
    return np.array(found)


def test_closed_forms():
    """The recursions against one formula each, for both groups."""
    base, t = np.array([0.3, 0.02]), np.arange(STEPS)[:, None]
    half = 1 + np.cos(np.pi * t / 23)
    expected = {
        "step": base * 0.5 ** (t // 7),
        "milestones": base * 0.3 ** ((t >= 3) + 2 * (t >= 17) + (t >= 40)),
        "exponential": base * 0.93**t,
        "constant": base * np.where(t < 11, 0.25, 1.0),
        "linear": base * (0.1 + 0.7 * np.minimum(t, 25) / 25),
        "polynomial": base * (1 - np.minimum(t, 33) / 33) ** 1.7,
        "lambda": base * 0.95**t,
        "cosine": 1e-3 + (base - 1e-3) * half / 2,
        "restarts": base * (1 + np.cos(np.pi * (t % 7) / 7)) / 2,
        "chained": base * (0.2 + 0.8 * np.minimum(t, 9) / 9) * 0.95**t * 0.5 ** (t // 20),
    }
    for case, wanted in expected.items():
        found = rates(CASES[case](lr_scheduler, ours()))
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-16, err_msg=case)


def test_growing_restarts_and_jumps():
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(ours(), T_0=5, T_mult=2)
    tops = np.flatnonzero(rates(schedule)[:, 0] == 0.3)
    assert tops.tolist() == [0, 5, 15, 35]
    schedule.step(15.25)  # a quarter of an epoch into a period of twenty
    assert schedule.get_last_lr()[0] == pytest.approx(0.15 * (1 + math.cos(math.pi * 0.25 / 20)))
    assert schedule.last_epoch == 15
    schedule.step()
    assert schedule.last_epoch == 16 and schedule.T_cur == 1.25
    schedule.step(0)
    assert schedule.get_last_lr() == [0.3, 0.02]


def test_one_cycle_goes_up_and_down_and_ends():
    optimizer = ours("SGD", momentum=0.9)
    schedule = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=20, pct_start=0.25)
    found = rates(schedule, 20)[:, 0]
    assert found[0] == pytest.approx(1 / 25) and found.argmax() == 4 and found[4] == pytest.approx(1.0)
    assert found[-1] == pytest.approx(1 / 25e4)
    with pytest.raises(ValueError, match="step: expected at most 20 steps"):
        schedule.step()
    few = lr_scheduler.OneCycleLR(ours(), 1.0, total_steps=10, pct_start=0.1, cycle_momentum=False)
    assert few.get_last_lr() == [1.0, 1.0]  # it rises in no step at all


def test_a_warm_up_may_begin_at_once_with_another_schedule_nested():
    """Combined schedules inside a sequence start where their turn begins."""
    m, optimizer = lr_scheduler, ours()
    inner = m.SequentialLR(optimizer, [m.ConstantLR(optimizer, 0.5, 100), m.StepLR(optimizer, 2, 0.1)], [3])
    both = m.ChainedScheduler([m.ExponentialLR(optimizer, 0.5), m.ConstantLR(optimizer, 0.1, 2)])
    schedule = m.SequentialLR(optimizer, [inner, both], [6])
    found = rates(schedule, 11)[:, 0] / 0.3
    np.testing.assert_allclose(found, [0.5, 0.5, 0.5, 1, 1, 0.1, 0.1, 0.05, 0.25, 0.125, 0.0625])


def test_plateau():
    optimizer = ours()
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1, min_lr=[0.1, 0.0])
    numbers = [5, 4, 4, 4, 4, 4, 4, 3, 3, 3, math.nan, 3]
    found = []
    for number in numbers:
        schedule.step(number)
        found.append(schedule.get_last_lr()[0])
    assert found == [0.3, 0.3, 0.3, 0.15, 0.15, 0.15, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    assert optimizer.param_groups[1]["lr"] == pytest.approx(0.02 / 8)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("options", [{}, {"patience": 0}, {"patience": 2, "cooldown": 3, "min_lr": 1e-3, "eps": 1e-3}])
def test_plateau_is_pytorchs(rng, mode, threshold_mode, options):
    torch = pytest.importorskip("torch")
    p, q = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    theirs, mine = torch.optim.SGD([{"params": [p], "lr": 0.3}, {"params": [q], "lr": 0.02}]), ours()
    options = {"mode": mode, "threshold_mode": threshold_mode, "threshold": 0.01, "factor": 0.6} | options
    schedule = lr_scheduler.ReduceLROnPlateau(mine, **options)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for step in range(80):
        if step == 40:
            again = lr_scheduler.ReduceLROnPlateau(mine)
            again.load_state_dict(reference.state_dict())
            schedule = again
        number = 1.0 + rng.standard_normal() * 0.1 + (0.02 if mode == "max" else -0.02) * min(step, 30)
        schedule.step(number)
        reference.step(number)
        assert schedule.get_last_lr() == reference.get_last_lr()


def test_functions_with_a_state_keep_it():
    optimizer = ours()
    schedule = lr_scheduler.LambdaLR(optimizer, [lambda e: 1.0, Decay(0.8)])
    saved = schedule.state_dict()
    assert saved["lr_lambdas"] == [None, {"rate": 0.8}]
    other = lr_scheduler.LambdaLR(ours(), [lambda e: 1.0, Decay(0.1)])
    other.load_state_dict(saved)
    other.step()
    assert other.get_last_lr() == pytest.approx([0.3, 0.016])


def test_last_epoch_goes_on_after_an_epoch():
    optimizer = ours()
    first = lr_scheduler.ExponentialLR(optimizer, 0.5)
    for _ in range(3):
        first.step()
    second = lr_scheduler.ExponentialLR(optimizer, 0.5, last_epoch=first.last_epoch - 1)
    assert second.get_last_lr() == first.get_last_lr() and second.last_epoch == 3
    with pytest.raises(ValueError, match=r"optimizer.param_groups\[0\]: expected an 'initial_lr'"):
        lr_scheduler.StepLR(ours(), 3, last_epoch=2)


def test_each_group_learns_at_its_own_rate():
    p, q = Parameter(np.zeros(1)), Parameter(np.zeros(1))
    optimizer = optim.SGD([{"params": [p], "lr": 1.0}, {"params": [q], "lr": 0.1}])
    schedule = lr_scheduler.LambdaLR(optimizer, [lambda e: 0.5**e, lambda e: 1.0])
    for _ in range(4):
        optimizer.zero_grad()
        for parameter in (p, q):
            parameter._accumulate(np.ones(1))
        optimizer.step()
        schedule.step()
    assert p.item() == pytest.approx(-1.875) and q.item() == pytest.approx(-0.4)


def test_groups_added_later_are_an_error():
    optimizer = ours()
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.add_param_group({"params": Parameter(np.ones(1))})
    schedule.step()  # it multiplies what there is
    assert len(schedule.get_last_lr()) == 3
    schedule = lr_scheduler.LambdaLR(optimizer, lambda e: 1.0)
    optimizer.add_param_group({"params": Parameter(np.ones(1))})
    with pytest.raises(ValueError, match=r"optimizer: expected the 3 parameter group\(s\) it had at first, got 4"):
        schedule.step()


def test_arguments_are_checked():
    m, o = lr_scheduler, ours()
    wrong = {
        "optimizer: expected an Optimizer": lambda: m.StepLR(3, 4),
        "step_size: expected an integer >= 1": lambda: m.StepLR(o, 0),
        "gamma": lambda: m.ExponentialLR(o, -1.0),
        "milestones": lambda: m.MultiStepLR(o, [3.5]),
        "factor": lambda: m.ConstantLR(o, 1.5),
        "start_factor": lambda: m.LinearLR(o, 0.0),
        "total_iters": lambda: m.LinearLR(o, total_iters=0),
        "lr_lambda: expected a function of the epoch": lambda: m.LambdaLR(o, 0.5),
        "lr_lambda: expected a function, or 2, one per parameter group, got 1": lambda: m.LambdaLR(o, [lambda e: 1.0]),
        "T_max": lambda: m.CosineAnnealingLR(o, 0),
        "T_0": lambda: m.CosineAnnealingWarmRestarts(o, 0),
        "T_mult": lambda: m.CosineAnnealingWarmRestarts(o, 3, 1.5),
        "total_steps: expected a number, or epochs and steps_per_epoch": lambda: m.OneCycleLR(o, 0.1),
        "max_lr: expected a number, or 2": lambda: m.OneCycleLR(o, [0.1], 10),
        "anneal_strategy": lambda: m.OneCycleLR(o, 0.1, 10, anneal_strategy="square"),
        "cycle_momentum: expected False for Adagrad": lambda: m.OneCycleLR(ours("Adagrad"), 0.1, 10),
        "mode": lambda: m.ReduceLROnPlateau(o, "up"),
        "factor: ": lambda: m.ReduceLROnPlateau(o, factor=1.0),
        "schedulers: expected at least one": lambda: m.ChainedScheduler([]),
        "schedulers: expected schedules over this optimizer": lambda: m.SequentialLR(o, [m.StepLR(ours(), 3)], []),
        "schedulers: expected schedules that need no number": lambda: m.ChainedScheduler([m.ReduceLROnPlateau(o)]),
        "schedulers: expected LRSchedulers": lambda: m.ChainedScheduler([3]),
        "milestones: expected 0, one fewer": lambda: m.SequentialLR(o, [m.StepLR(o, 3)], [4]),
        "milestones: expected ascending": lambda: m.SequentialLR(o, [m.StepLR(o, 3) for _ in range(3)], [4, 2]),
        "epoch": lambda: m.CosineAnnealingWarmRestarts(o, 3).step(-1),
        "last_epoch": lambda: m.StepLR(o, 3, last_epoch=-2),
    }
    for message, act in wrong.items():
        with pytest.raises((TypeError, ValueError), match=message):
            act()
    p = Parameter(np.ones(2))
    with pytest.raises(ValueError, match="optimizer: expected one with a learning rate, got LBFGS"):
        m.StepLR(optim.LBFGS([p]), 3)
    with pytest.raises(TypeError, match="LRScheduler: expected a class with a get_lr method"):
        m.LRScheduler(o)


def test_states_are_checked():
    schedule = lr_scheduler.StepLR(ours(), 3)
    before = schedule.state_dict()
    with pytest.raises(TypeError, match="state_dict: expected a mapping"):
        schedule.load_state_dict([])
    with pytest.raises(ValueError, match="state_dict: expected one of this kind of schedule, with 'gamma'"):
        schedule.load_state_dict({name: value for name, value in before.items() if name != "gamma"})
    with pytest.raises(ValueError, match=r"state_dict\['base_lrs'\]: expected something like \[0.3, 0.02\], got"):
        schedule.load_state_dict({**before, "last_epoch": 5, "base_lrs": ["a"]})
    assert schedule.state_dict() == before
    both = CASES["chained"](lr_scheduler, ours())
    with pytest.raises(ValueError, match="state_dict: expected 3 schedulers, got 0"):
        both.load_state_dict({**both.state_dict(), "_schedulers": []})
