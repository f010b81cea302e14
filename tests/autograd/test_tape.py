"""The tape: order, accumulation, freeing, modes, threads, depth, and random graphs against PyTorch."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastseq.autograd import Tensor, enable_grad, is_grad_enabled, make_node, no_grad, ops


def leaf(*values: float, dtype: type = np.float64) -> Tensor:
    """A leaf that requires grad."""
    return Tensor(np.array(values, dtype), requires_grad=True)


def test_a_diamond_is_visited_once_and_adds_up():
    x = leaf(3.0)
    a = x * 2
    b = a * a + a * a * a + a
    b.backward()
    assert x.grad.item() == 2 * (2 * 6 + 3 * 36 + 1)


def test_gradients_accumulate_in_leaves_until_they_are_cleared():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert x.grad is first
    assert x.grad.tolist() == [5.0, 7.0]
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    assert not x.grad.requires_grad


def test_the_gradient_given_is_neither_kept_nor_changed():
    x = leaf(1.0, 2.0)
    g = np.array([1.0, 1.0])
    x.backward(g)
    x.backward(g)
    y = x + 0
    y.backward(g)
    (y.detach() + x + x).backward(g)
    assert g.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [5.0, 5.0]


def test_a_graph_runs_backward_once():
    x = leaf(2.0)
    shared = x * x
    first, second = shared * 2, shared * 3
    first.backward()
    for again in (first, second):
        with pytest.raises(RuntimeError, match="freed"):
            again.backward()
    assert x.grad.item() == 8.0


def test_what_backward_needs():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="does not"):
        Tensor([1.0]).backward()
    with pytest.raises(ValueError, match="gradient: expected an array of shape"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"gradient: expected shape \(2,\)"):
        (x * 2).backward(np.ones((2, 1)))
    with pytest.raises(TypeError, match="gradient: expected real numbers"):
        (x * 2).backward(np.ones(2, complex))
    (x[:1] * 2).backward()
    (x * 2).backward(Tensor([1, 1]))
    assert x.grad.tolist() == [4.0, 2.0]


def test_an_array_changed_since_the_forward_pass_is_noticed():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    out = (x * w).sum()
    with no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()
    fine = (x + w).sum()
    with no_grad():
        w.add_(1)
    fine.backward()
    y = x.exp()
    y.detach().zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward(np.ones(2))


def test_no_grad_as_context_and_decorator():
    x = leaf(1.0)

    @no_grad()
    def inside():
        assert not is_grad_enabled()
        with enable_grad():
            assert is_grad_enabled()
            assert (x * 2).requires_grad
        return x * 2

    @enable_grad()
    def again():
        return x * 2

    assert not inside().requires_grad
    assert is_grad_enabled()
    switch = no_grad()
    with switch, switch:
        assert again().requires_grad
        assert not is_grad_enabled()
    assert is_grad_enabled()
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert is_grad_enabled()
    assert inside.__name__ == "inside"


def test_no_grad_holds_for_its_own_thread_only():
    x = leaf(1.0)
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
        assert not (x * 2).requires_grad
    assert seen == [True]


def test_threads_may_accumulate_in_the_same_leaf():
    x = Tensor(np.zeros(20_000), requires_grad=True)

    def work():
        for _ in range(20):
            (x * 1.0).sum().backward()

    crowd = [threading.Thread(target=work) for _ in range(4)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    assert (x.grad.numpy() == 80).all()


@pytest.mark.parametrize("keep", [False, True])
def test_long_chains_need_no_recursion(keep):
    x = leaf(1.0)
    y = x
    kept = []
    for _ in range(10_000):
        y = y + 1
        if keep:
            kept.append(y)
    y.backward()
    assert x.grad.item() == 1.0


def test_a_long_chain_that_nobody_wants_comes_apart_without_recursion():
    y = leaf(1.0)
    for _ in range(100_000):
        y = (y + 1) * 1.0
    del y


def test_a_graph_is_freed_without_the_garbage_collector():
    x = Tensor(np.ones(3), requires_grad=True)
    gc.disable()
    try:
        middle = (x * 2).exp()
        seen = weakref.ref(middle)
        out = (middle * middle).sum()
        held = weakref.ref(out)
        out.backward()
        del middle, out
        assert seen() is None
        assert held() is None
    finally:
        gc.enable()


def test_make_node_with_several_outputs():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    received = []

    def backward(grads):
        received.append(grads)
        total, product, count = grads
        assert count is None
        d_total = 0 if total is None else total
        d_product = 0 if product is None else product
        return d_total + d_product * b.numpy(), d_total + d_product * a.numpy(), None

    total, product, count = make_node(
        (a, b, None), (a.numpy() + b.numpy(), a.numpy() * b.numpy(), np.array(2)), backward
    )
    assert total.requires_grad
    assert product.requires_grad
    assert not count.requires_grad
    (product * 2 + product).sum().backward()
    assert received[0][0] is None
    assert a.grad.tolist() == [9.0, 12.0]
    assert b.grad.tolist() == [3.0, 6.0]
    with pytest.raises(RuntimeError, match="freed"):
        total.sum().backward()


def test_make_node_records_only_what_can_matter():
    def backward(grads):
        raise AssertionError("never called")

    plain = make_node((Tensor([1.0]),), (np.ones(1),), backward)
    assert not plain[0].requires_grad
    with no_grad():
        assert not make_node((leaf(1.0),), (np.ones(1),), backward)[0].requires_grad
    x = leaf(1.0)
    out, unused = make_node((x, np.ones(1)), (np.ones(1), np.ones(1)), lambda grads: (None, None))
    out.backward()
    assert x.grad is None
    y = leaf(1.0, 2.0)
    (bad,) = make_node((y,), (np.ones(2),), lambda grads: (np.ones((2, 1)),))
    with pytest.raises(ValueError, match=r"gradient: expected shape \(2,\)"):
        bad.backward(np.ones(2))


def test_make_node_guards_inputs_unless_it_saves_none():
    x = leaf(1.0)
    for saves in (True, False):
        (out,) = make_node((x,), (x.numpy() * 2,), lambda grads: (grads[0] * 2,), saves=saves)
        with no_grad():
            x.add_(1)
        if saves:
            with pytest.raises(RuntimeError, match="changed in place"):
                out.backward()
        else:
            out.backward()
    assert x.grad.item() == 2.0


def test_gradients_land_in_a_buffer_where_there_is_one():
    flat = np.full(3, 9.0, np.float32)
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    x._grad_buffer = flat[1:]
    (x * np.array([2.0, 3.0])).sum().backward()
    assert flat.tolist() == [9.0, 2.0, 3.0]
    assert x.grad.numpy().base is flat
    (x * 2).sum().backward()
    assert flat.tolist() == [9.0, 4.0, 5.0]
    x.grad = None
    x.sum().backward()
    assert flat.tolist() == [9.0, 1.0, 1.0]


def test_nan_and_infinity_flow_through_gradients_without_warnings():
    x = leaf(0.0, np.nan, -1.0, np.inf)
    with np.errstate(all="ignore"):
        y = ops.sqrt(x) + x.log() + x.relu()
    y.sum().backward()
    assert np.isinf(x.grad.numpy()[0])
    assert np.isnan(x.grad.numpy()[1])


def test_gradients_arrive_in_the_leaf_s_own_dtype():
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    ((x * np.ones(3)).sum() + x.sum() + (x.double() * 2).sum()).backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [4.0, 4.0, 4.0]


UNARY = ["tanh", "sigmoid", "exp", "sin", "abs", "square", "relu"]
BINARY = ["add", "sub", "mul", "maximum", "div"]
STEP = st.one_of(
    st.tuples(st.sampled_from(UNARY), st.integers(0, 50), st.just(0)),
    st.tuples(st.sampled_from([*BINARY, "matmul"]), st.integers(0, 50), st.integers(0, 50)),
    st.tuples(
        st.sampled_from(["softmax", "cumsum", "transpose", "row", "mean"]), st.integers(0, 50), st.integers(0, 1)
    ),
)


@given(steps=st.lists(STEP, min_size=1, max_size=12), seed=st.integers(0, 1000))
def test_random_graphs_agree_with_pytorch(steps, seed):
    torch = pytest.importorskip("torch")
    start = np.random.default_rng(seed).standard_normal((3, 3, 3)) * 0.5
    leaves = [Tensor(a.copy(), requires_grad=True) for a in start]
    theirs = [torch.tensor(a, requires_grad=True) for a in start]
    ours, others = list(leaves), list(theirs)
    for name, i, j in steps:
        x, t = ours[i % len(ours)], others[i % len(others)]
        y, u = ours[j % len(ours)], others[j % len(others)]
        if name in UNARY:
            found, expected = getattr(x, name)(), getattr(t, name)()
        elif name == "div":
            found, expected = x / (y * y + 1), t / (u * u + 1)
        elif name in BINARY or name == "matmul":
            found, expected = getattr(ops, name)(x, y), getattr(torch, name)(t, u)
        elif name == "transpose":
            found, expected = x.transpose(0, 1), t.transpose(0, 1)
        elif name == "row":
            found, expected = x[j] + x, t[j] + t
        elif name == "mean":
            found, expected = x.mean(dim=j, keepdim=True) * x, t.mean(dim=j, keepdim=True) * t
        else:
            found, expected = getattr(x, name)(dim=j), getattr(t, name)(dim=j)
        found, expected = found.tanh(), expected.tanh()  # keeps long chains from overflowing
        ours.append(found)
        others.append(expected)
    sum((y * (k + 1)).sum() for k, y in enumerate(ours)).backward()
    sum((t * (k + 1)).sum() for k, t in enumerate(others)).backward()
    for mine, other in zip(leaves, theirs, strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-9, atol=1e-10)
