"""The backward driver with a linear cell, exactly; buffers hold canaries and garbage, and it does not matter."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq import buffers
from fastseq.autograd.recurrent import PackedLayer, recurrent
from fastseq.autograd.tensor import Tensor
from fastseq.jit import kernels
from tests.sequence.linear_cell import LinearWeights, case, expected, run
from tests.sequence.test_forward import SIZES, each_cell

CANARY = -12345.0
MARGIN = 64


class GuardedMemory:
    """Hands out buffers and scratch of exactly the size asked for, full of NaN, between canaries."""

    def __init__(self) -> None:
        self.taken: list[np.ndarray] = []

    def __call__(self, size, dtype):
        whole = np.full(size + 2 * MARGIN, CANARY, dtype)
        whole[MARGIN : MARGIN + size] = np.nan
        self.taken.append(whole)
        return whole[MARGIN : MARGIN + size]

    def check(self) -> None:
        assert self.taken
        for whole in self.taken:
            assert (whole[:MARGIN] == CANARY).all() and (whole[-MARGIN:] == CANARY).all()


@pytest.fixture
def guarded(monkeypatch) -> GuardedMemory:
    memory = GuardedMemory()
    monkeypatch.setattr(buffers, "aligned", memory)
    monkeypatch.setattr(buffers, "scratch", memory)
    return memory


@each_cell
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("sizes", SIZES)
def test_all_gradients_are_exact(sizes, directions, cell, rng, guarded):
    given = case(rng, *sizes, directions, cell)
    got, want = run(given), expected(given)
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
    guarded.check()


@each_cell
def test_more_pairs_than_a_product_takes_at_a_time(cell, rng, guarded):
    # several chunks of pairs, of inputs and of units, none of them full
    given = case(rng, 70, 3, 101, 99, 2, cell)
    got, want = run(given), expected(given)
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
    guarded.check()


@each_cell
@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
def test_any_number_of_tasks(count, cell, rng, guarded, shards):
    # weight gradients are cut by blocks, then by rows of a panel: few blocks for many threads, and the reverse
    shards(count)
    for sizes in ((9, 3, 4, 5), (20, 2, 3, 70)):
        given = case(rng, *sizes, 2, cell)
        got, want = run(given), expected(given)
        for name in want:
            np.testing.assert_array_equal(got[name], want[name], err_msg=name)
    guarded.check()


def test_a_number_of_threads_that_changes_during_a_pass(rng, guarded, shards, monkeypatch):
    # another Python thread may set it at any time; buffers are as large as it was when the pass began
    launch = kernels.launch

    def launch_and_change(*arguments):
        result = launch(*arguments)
        shards(64)
        return result

    shards(1)
    monkeypatch.setattr(kernels, "launch", launch_and_change)
    monkeypatch.setitem(globals(), "MARGIN", 1 << 17)  # tasks too many would write far behind the end
    given = case(rng, 9, 3, 4, 5, 2)
    got, want = run(given), expected(given)
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
    guarded.check()


def test_gradients_of_the_padding_are_zeros(rng):
    given = case(rng, 9, 5, 3, 4, 2)
    padding = np.arange(5) >= given.lengths[:, None]
    assert padding.any() and not run(given)["d_x"][padding].any()


def test_upstream_gradients_at_the_padding_are_not_read(rng):
    given = case(rng, 9, 5, 3, 4, 2)
    d_out = given.upstream[0].copy()
    d_out[np.arange(5) >= given.lengths[:, None]] = np.nan
    layer = PackedLayer(LinearWeights, [tuple(Tensor(w, requires_grad=True) for w in d) for d in given.directions])
    x = Tensor(given.x, requires_grad=True)
    out, _, _ = recurrent(layer, x, [None, None], given.lengths)
    out.backward(d_out)
    assert np.isfinite(x.grad.numpy()).all()
    assert all(np.isfinite(p.grad.numpy()).all() for p in layer.parameters)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_each_output_alone(which, rng):
    given = case(rng, 7, 4, 3, 9, 2)
    upstream = [g if k == which else np.zeros_like(g) for k, g in enumerate(given.upstream)]
    given = given._replace(upstream=tuple(upstream))
    want = expected(given)
    layer = PackedLayer(LinearWeights, [tuple(Tensor(w, requires_grad=True) for w in d) for d in given.directions])
    x, h, m = (Tensor(v, requires_grad=True) for v in (given.x, *given.initial))
    recurrent(layer, x, [h, m], given.lengths)[which].backward(given.upstream[which])
    for name, tensor in {"d_x": x, "d_h": h, "d_m": m, "d_w_ih_0": layer.parameters[0]}.items():
        np.testing.assert_array_equal(tensor.grad.numpy(), want[name], err_msg=name)


def test_an_input_that_needs_no_gradient_gets_none(rng):
    given = case(rng, 7, 4, 3, 9, 2)
    layer = PackedLayer(LinearWeights, [tuple(Tensor(w, requires_grad=True) for w in d) for d in given.directions])
    x = Tensor(given.x)
    out, _, _ = recurrent(layer, x, [Tensor(s) for s in given.initial], given.lengths)
    out.backward(given.upstream[0])
    assert x.grad is None
    zeros = tuple(np.zeros_like(g) for g in given.upstream[1:])
    want = expected(given._replace(upstream=(given.upstream[0], *zeros)))
    for d in range(2):
        for n, name in enumerate(("w_ih", "w_hh", "b_ih", "b_hh")):
            got = layer.parameters[4 * d + n].grad.numpy()
            np.testing.assert_array_equal(got, want[f"d_{name}_{d}"], err_msg=name)
