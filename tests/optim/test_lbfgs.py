"""L-BFGS: what it minimises, when it stops, what it leaves behind."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq import nn, optim
from fastseq.autograd.tensor import Tensor
from fastseq.nn.module import Parameter


def rosenbrock(*parameters):
    """The valley of Rosenbrock over all numbers of the parameters; its minimum is 0 at ones."""
    x = parameters[0].reshape(-1)
    if len(parameters) > 1:
        from fastseq.autograd import ops

        x = ops.concatenate([p.reshape(-1) for p in parameters], 0)
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def closure_of(optimizer, loss, *parameters):
    def closure():
        closure.calls += 1
        optimizer.zero_grad()
        found = loss(*parameters)
        found.backward()
        return found

    closure.calls = 0
    return closure


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-5), (np.float32, 5e-2)])
def test_finds_the_minimum_of_rosenbrocks_valley(dtype, tolerance):
    parameters = [Parameter(np.full((2, 2), -1.2, dtype)), Parameter(np.zeros(3, dtype))]
    optimizer = optim.LBFGS(parameters, max_iter=200)
    closure = closure_of(optimizer, rosenbrock, *parameters)
    first = optimizer.step(closure)
    assert isinstance(first, Tensor)
    assert first.item() == pytest.approx(rosenbrock(Tensor(np.r_[np.full(4, -1.2), np.zeros(3)])).item())
    for p in parameters:
        assert p.dtype == dtype
        np.testing.assert_allclose(p.numpy(), 1.0, atol=tolerance)
    assert optimizer.func_evals == closure.calls and 0 < optimizer.n_iter <= 200 and optimizer.message


def test_is_scipys_own_answer_on_a_linear_regression(rng):
    from scipy.optimize import minimize

    x, y = rng.standard_normal((40, 5)), rng.standard_normal(40)
    expected = minimize(
        lambda w: (np.mean((x @ w - y) ** 2), 2 * x.T @ (x @ w - y) / 40), np.zeros(5), jac=True, method="L-BFGS-B"
    ).x
    model = nn.Linear(5, 1, bias=False, dtype=np.float64)
    model.weight.data = np.zeros((1, 5))
    optimizer = optim.LBFGS(model.parameters(), max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x)[:, 0], y)
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(model.weight.numpy()[0], expected, atol=1e-5)
    np.testing.assert_allclose(model.weight.numpy()[0], np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-6)


def test_limits_of_iterations_and_evaluations():
    for options, most in (({"max_iter": 3}, 3), ({"max_iter": 50, "max_eval": 4}, 4)):
        p = Parameter(np.array([-1.2, 1.0]))
        optimizer = optim.LBFGS([p], **options)
        optimizer.step(closure_of(optimizer, rosenbrock, p))
        assert optimizer.n_iter <= most and not np.allclose(p.numpy(), 1.0)
    p = Parameter(np.array([-1.2, 1.0]))
    optimizer = optim.LBFGS([p], max_iter=10)
    losses = [optimizer.step(closure_of(optimizer, rosenbrock, p)).item() for _ in range(10)]
    assert all(after <= before for before, after in zip(losses, losses[1:], strict=False))
    assert losses[-1] < 1e-6 < losses[0]  # a step starts where the last one ended
    before = optimizer.func_evals
    p.data = np.ones(2)
    optimizer.step(closure_of(optimizer, rosenbrock, p))
    assert optimizer.func_evals == before + 1 and p.tolist() == [1.0, 1.0]  # no gradient, no iteration


def test_parameters_without_a_gradient_stay():
    p, still = Parameter(np.array([-1.2, 1.0])), Parameter(np.array([3.0]))
    optimizer = optim.LBFGS([still, p], max_iter=100)
    optimizer.step(closure_of(optimizer, rosenbrock, p))
    np.testing.assert_allclose(p.numpy(), 1.0, atol=1e-5)
    assert still.tolist() == [3.0]


def test_losses_that_are_not_finite():
    p = Parameter(np.array([np.nan, 1.0]))
    optimizer = optim.LBFGS([p])
    assert np.isnan(optimizer.step(closure_of(optimizer, rosenbrock, p)).item())
    assert np.isnan(p.numpy()).tolist() == [True, False] and "not finite" in optimizer.message

    q = Parameter(np.array([0.5]))
    optimizer = optim.LBFGS([q], max_iter=50)
    # The slope leads towards 0 and beyond it, where the logarithm does not exist.
    with np.errstate(invalid="ignore", divide="ignore"):
        optimizer.step(closure_of(optimizer, lambda w: (w.log() + 3 * w * w).sum(), q))
    assert np.isfinite(q.numpy()).all() and np.log(q.item()) + 3 * q.item() ** 2 <= np.log(0.5) + 0.75


def test_weights_it_writes_count_as_written(rng):
    lstm = nn.LSTM(2, 3, dtype=np.float64)
    x, y = rng.standard_normal((4, 5, 2)), rng.standard_normal((4, 5, 3))
    optimizer = optim.LBFGS(lstm.parameters(), max_iter=30)
    versions = [p.version for p in lstm.parameters()]

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(lstm(x)[0], y)
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert all(p.version > version for p, version in zip(lstm.parameters(), versions, strict=True))
    assert nn.functional.mse_loss(lstm(x)[0], y).item() < 0.8 * first.item()


def test_state_dict_keeps_options(rng):
    p = Parameter(np.array([-1.2, 1.0]))
    optimizer = optim.LBFGS([p], max_iter=7, max_eval=9, history_size=4)
    optimizer.step(closure_of(optimizer, rosenbrock, p))
    other = optim.LBFGS([p])
    other.load_state_dict(optimizer.state_dict())
    group = other.state_dict()["param_groups"][0]
    assert (group["max_iter"], group["max_eval"], group["history_size"]) == (7, 9, 4)
    assert "lr" not in group


def test_arguments_are_checked():
    p, q = Parameter(np.ones(2)), Parameter(np.ones(1))
    with pytest.raises(TypeError, match="closure: expected a function that computes loss and gradients"):
        optim.LBFGS([p]).step()
    with pytest.raises(ValueError, match="param_group: expected one group of parameters"):
        optim.LBFGS([{"params": p}, {"params": q}])
    for name, wrong in (("max_iter", 0), ("max_eval", 0), ("history_size", 0), ("tolerance_grad", -1.0)):
        with pytest.raises(ValueError, match=name):
            optim.LBFGS([p], **{name: wrong})
    with pytest.raises(ValueError, match="lr: expected 1: the line search"):
        optim.LBFGS([p], 0.5)
    with pytest.raises(ValueError, match="line_search_fn: expected one of 'strong_wolfe'"):
        optim.LBFGS([p], line_search_fn="armijo")
    assert optim.LBFGS([p], 1, 9, line_search_fn="strong_wolfe").param_groups[0]["max_iter"] == 9
    with pytest.raises(TypeError, match="max_iter: expected an integer"):
        optim.LBFGS([p], max_iter=2.0)
