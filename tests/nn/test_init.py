"""Initialisers: distributions, seeds, contexts."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from fastseq.nn import init
from fastseq.nn.module import Parameter


def test_a_seed_repeats_and_returns_the_same_generator():
    first = init.manual_seed(3)
    a = init.uniform_(np.empty(5))
    assert init.manual_seed(3) is first
    assert np.array_equal(init.uniform_(np.empty(5)), a)
    init.manual_seed(4)
    assert not np.array_equal(init.uniform_(np.empty(5)), a)
    with pytest.raises(ValueError, match="seed"):
        init.manual_seed(-1)


def test_a_seed_gives_the_same_weights_in_both_precisions():
    for fill in (init.uniform_, init.normal_, init.xavier_uniform_, init.xavier_normal_, init.orthogonal_):
        init.manual_seed(1)
        double = fill(np.empty((4, 3)))
        init.manual_seed(1)
        single = fill(np.empty((4, 3), np.float32))
        assert np.array_equal(double.astype(np.float32), single)


def test_writes_in_place_and_bumps_the_version():
    p = Parameter(np.empty((2, 2), np.float32))
    version = p.version
    assert init.ones_(p) is p
    assert p.version == version + 1 and p.tolist() == [[1, 1], [1, 1]]
    assert init.zeros_(p).tolist() == [[0, 0], [0, 0]]
    assert init.constant_(p, 2.5).tolist() == [[2.5, 2.5], [2.5, 2.5]]


def test_distributions():
    init.manual_seed(0)
    u = init.uniform_(np.empty(100_000), -2, 3)
    assert -2 <= u.min() < -1.99 and 2.99 < u.max() < 3 and abs(u.mean() - 0.5) < 0.02
    n = init.normal_(np.empty(100_000), 1, 2)
    assert abs(n.mean() - 1) < 0.03 and abs(n.std() - 2) < 0.03
    x = init.xavier_uniform_(np.empty((300, 200)), gain=2)
    bound = 2 * math.sqrt(6 / 500)
    assert 0.99 * bound < np.abs(x).max() <= bound
    assert abs(init.xavier_normal_(np.empty((300, 200))).std() - math.sqrt(2 / 500)) < 1e-3
    k = init.kaiming_uniform_(np.empty((300, 200)), a=math.sqrt(5))
    assert 0.99 / math.sqrt(200) < np.abs(k).max() <= 1 / math.sqrt(200)
    k = init.kaiming_normal_(np.empty((300, 200)), mode="fan_out", nonlinearity="relu")
    assert k.std() == pytest.approx(math.sqrt(2 / 300), rel=0.02) and abs(k.mean()) < 1e-3
    k = init.kaiming_uniform_(np.empty((300, 200)), mode="fan_out", nonlinearity="relu")
    assert 0.99 * math.sqrt(6 / 300) < np.abs(k).max() <= math.sqrt(6 / 300)


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (4, 2, 3)])
def test_orthogonal(shape):
    w = init.orthogonal_(np.empty(shape), gain=2).reshape(shape[0], -1) / 2
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)


def test_gains_are_those_of_torch():
    torch = pytest.importorskip("torch")
    for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))


def test_another_generator_in_one_context_and_thread_only():
    init.manual_seed(0)
    mine = np.random.default_rng(9)
    elsewhere = []
    with init.use_generator(mine):
        assert init.generator() is mine
        thread = threading.Thread(target=lambda: elsewhere.append(init.generator()))
        thread.start()
        thread.join()
    assert elsewhere[0] is init.generator() is not mine


def test_rebuilding_draws_and_writes_nothing_and_keeps_to_its_plan():
    state = init.generator().bit_generator.state
    values = np.full(3, 7.0)
    with init.rebuilding(init.Plan(2, 10)):
        init.uniform_(values)
        Parameter(np.zeros(6, np.float32))
        init.expect_room(4)
        with pytest.raises(ValueError, match="configuration"):
            init.expect_room(5)
        with pytest.raises(ValueError, match="configuration"):
            Parameter(np.zeros(5, np.float32))
    assert (values == 7).all() and init.generator().bit_generator.state == state
    with init.rebuilding(init.Plan(0, 10)), pytest.raises(ValueError, match="configuration"):
        Parameter(np.zeros(1, np.float32))


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="tensor: expected at least 2 axes"):
        init.xavier_uniform_(np.empty(3))
    with pytest.raises(ValueError, match="a: expected a number <= b = 1"):
        init.uniform_(np.empty(3), a=2, b=1)
    with pytest.raises(ValueError, match="val: expected a finite number"):
        init.constant_(np.empty(3), val=np.inf)
    with pytest.raises(ValueError, match="std"):
        init.normal_(np.empty(3), 0, -1)
    with pytest.raises(ValueError, match="mode"):
        init.kaiming_uniform_(np.empty((3, 3)), mode="fan")
    with pytest.raises(ValueError, match="nonlinearity"):
        init.calculate_gain("swish")
    with pytest.raises(TypeError, match="tensor: expected a Tensor or an ndarray"):
        init.zeros_([1, 2])
