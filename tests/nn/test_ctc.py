"""CTC: every alignment by hand, PyTorch's values and gradients, float64 differences, padding, edges, bad input."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import fastseq as fs
from fastseq.autograd import Tensor
from fastseq.nn import CTCLoss, functional
from tests.gradcheck import gradcheck


def logs(rng, *shape, scale=1.0):
    """Log probabilities."""
    x = rng.standard_normal(shape) * scale
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def collapsed(path, blank):
    """Labels that a path of classes stands for: repetitions once, then no blanks."""
    once = [c for k, c in enumerate(path) if k == 0 or c != path[k - 1]]
    return [c for c in once if c != blank]


def by_hand(row, labels, blank):
    """Minus the log of the sum over all paths (T, C) that stand for the labels."""
    total = 0.0
    for path in itertools.product(range(row.shape[1]), repeat=len(row)):
        if collapsed(path, blank) == list(labels):
            total += math.exp(sum(row[t, c] for t, c in enumerate(path)))
    return -math.log(total) if total else math.inf


@pytest.mark.parametrize("blank", [0, 1, 2])
def test_every_alignment_counted_one_by_one(blank, rng):
    symbols = [c for c in range(3) if c != blank]
    found, expected = [], []
    for steps in range(6):
        row = logs(rng, steps, 3, scale=2.0)
        for count in range(4):
            for labels in itertools.product(symbols, repeat=count):
                out = functional.ctc_loss(row, np.array(labels, int), steps, count, blank, "none")
                assert out.shape == ()
                found.append(out.item())
                expected.append(by_hand(row, labels, blank))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    assert np.isinf(found).any()


def test_two_steps_on_paper():
    row = np.log(np.array([[0.6, 0.4], [0.3, 0.7]]))
    # "a" is aa, a-, -a: 0.4 * 0.7 + 0.4 * 0.3 + 0.6 * 0.7
    assert functional.ctc_loss(row, [1], 2, 1).item() == pytest.approx(-math.log(0.82))
    assert functional.ctc_loss(row, [], 2, 0).item() == pytest.approx(-math.log(0.18))


def test_gradients(rng):
    x = rng.standard_normal((7, 4, 3))
    targets = np.array([[1, 1, 2], [2, 1, 99], [99, 99, 99], [1, 2, 1]])
    inputs, counts = np.array([7, 5, 3, 6]), np.array([3, 2, 0, 3])
    for reduction in ("none", "sum", "mean"):
        # not normalised: the derivative of the value itself
        gradcheck(lambda x, r=reduction: functional.ctc_loss(x, targets, inputs, counts, 0, r), x)
        gradcheck(
            lambda x, r=reduction: functional.ctc_loss(
                x.log_softmax(dim=-1), targets, inputs, counts, 0, r, batch_first=True
            ),
            x.swapaxes(0, 1),
        )
    gradcheck(lambda x: functional.ctc_loss(x, [1, 1], 6, 2), x[:, 0])
    leaf = Tensor(x, requires_grad=True)
    assert [edge[0] is leaf for edge in functional.ctc_loss(leaf, targets, inputs, counts)._node.edges] == [True]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_pytorch(dtype, rng):
    torch = pytest.importorskip("torch")
    exact = dtype == "float64"
    for trial in range(200):
        rows, steps, classes = rng.integers(1, 5), rng.integers(1, 20), rng.integers(2, 7)
        blank = int(rng.integers(0, classes))
        reduction = ("none", "mean", "sum")[trial % 3]
        inputs = rng.integers(1, steps + 1, rows)
        counts = np.array([rng.integers(0, n + 1) for n in inputs])
        symbols = np.array([c for c in range(classes) if c != blank])
        targets = symbols[rng.integers(0, classes - 1, (rows, max(1, counts.max())))]
        if trial % 2:
            targets = np.concatenate([row[:n] for row, n in zip(targets, counts, strict=True)])
        x = (rng.standard_normal((steps, rows, classes)) * 3).astype(dtype)
        ours, theirs = Tensor(x.copy(), requires_grad=True), torch.tensor(x, requires_grad=True)
        options = {"blank": blank, "reduction": reduction, "zero_infinity": True}
        found = functional.ctc_loss(ours.log_softmax(dim=-1), targets, inputs, counts, **options)
        expected = torch.nn.functional.ctc_loss(
            theirs.log_softmax(-1), *(torch.tensor(a) for a in (targets, inputs, counts)), **options
        )
        atol = 1e-12 if exact else 1e-6  # a loss near 0 is a difference of logarithms around 10
        np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), rtol=1e-10 if exact else 1e-5, atol=atol)
        upstream = rng.standard_normal(found.shape).astype(dtype)
        found.backward(upstream)
        expected.backward(torch.tensor(upstream))
        # torch keeps float32 sums of float32 logarithms of up to -100
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), atol=1e-10 if exact else 1e-4)


def test_rows_that_cannot_be_aligned(rng):
    x = logs(rng, 3, 2, 4)
    arguments = np.array([[1, 1], [2, 3]]), [2, 3], [2, 2]  # 1 1 needs three steps
    leaf = Tensor(x, requires_grad=True)
    out = functional.ctc_loss(leaf, *arguments, reduction="none")
    assert out.numpy()[0] == np.inf and np.isfinite(out.numpy()[1])
    out.backward(np.ones(2))
    grad = leaf.grad.numpy()
    assert np.isnan(grad[:2, 0]).all() and (grad[2, 0] == 0).all() and np.isfinite(grad[:, 1]).all()
    leaf.grad = None
    quiet = functional.ctc_loss(leaf, *arguments, reduction="none", zero_infinity=True)
    quiet.backward(np.ones(2))
    assert quiet.numpy()[0] == 0 and quiet.numpy()[1] == out.numpy()[1]
    assert (leaf.grad.numpy()[:, 0] == 0).all() and (leaf.grad.numpy()[:, 1] == grad[:, 1]).all()
    assert functional.ctc_loss(x, *arguments).item() == np.inf


def test_lengths_of_zero(rng):
    x = logs(rng, 3, 3, 4)
    out = functional.ctc_loss(x, np.array([[1], [1], [1]]), [0, 0, 3], [0, 1, 0], reduction="none")
    assert out.tolist() == [0.0, np.inf, pytest.approx(-x[:, 2, 0].sum())]
    assert np.isnan(functional.ctc_loss(x[:, :0], np.zeros((0, 1), int), [], []).item())
    assert functional.ctc_loss(x[:, :0], np.zeros((0, 1), int), [], [], reduction="sum").item() == 0


def test_impossible_classes_are_no_trouble():
    with np.errstate(divide="ignore"):
        row = np.log(np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]))
    leaf = Tensor(row, requires_grad=True)
    out = functional.ctc_loss(leaf, [1], 3, 1, reduction="sum")
    assert out.item() == pytest.approx(-math.log(0.5))
    out.backward()
    np.testing.assert_allclose(leaf.grad.numpy(), [[-0.5, -0.5, 0], [0, -1, 0], [-1, 0, 0]], atol=1e-15)


def test_long_rows_keep_their_digits(rng):
    """Sums of logarithms that float32 holds to four digits only; far-off states, whose exponentials underflow."""
    x = logs(rng, 2000, 1, 5, scale=5.0)
    targets = rng.integers(1, 5, (1, 300))
    leaves = [Tensor(x.astype(dtype), requires_grad=True) for dtype in (np.float32, np.float64)]
    for leaf in leaves:
        functional.ctc_loss(leaf, targets, [2000], [300], reduction="sum").backward()
    np.testing.assert_allclose(leaves[0].grad.numpy(), leaves[1].grad.numpy(), atol=2e-6)
    # every step has one class
    np.testing.assert_allclose(leaves[1].grad.numpy().sum(-1), -1, rtol=1e-9)


@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf])
def test_padding_nan_and_neighbours(junk, rng):
    x = logs(rng, 4, 9, 5).astype(np.float32)
    inputs, counts = np.array([9, 4, 0, 6]), np.array([3, 1, 0, 2])
    targets = rng.integers(1, 5, (4, 3))
    valid = np.arange(9) < inputs[:, None]
    dirty = np.where(valid[..., None], x, np.float32(junk))
    strange = np.where(np.arange(3) < counts[:, None], targets, -7)
    results = []
    for data, labels in ((x, targets), (dirty, strange)):
        leaf = Tensor(data.copy(), requires_grad=True)
        out = functional.ctc_loss(leaf, labels, inputs, counts, reduction="none", batch_first=True)
        out.backward(np.array([1.0, np.inf, 2.0, 3.0], np.float32))
        assert (leaf.grad.numpy()[~valid] == 0).all()
        results.append((out.numpy(), leaf.grad.numpy()))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    alone = functional.ctc_loss(x[3, :6], targets[3, :2], 6, 2, reduction="none")
    assert alone.numpy().tobytes() == results[0][0][3].tobytes()
    x[1, 2] = np.nan
    leaf = Tensor(x, requires_grad=True)
    out = functional.ctc_loss(leaf, targets, inputs, counts, reduction="none", batch_first=True)
    out.backward(np.ones(4))
    assert np.isnan(out.numpy()).tolist() == [False, True, False, False]
    assert np.isnan(leaf.grad.numpy()[1]).any() and np.isfinite(leaf.grad.numpy()[[0, 2, 3]]).all()


@pytest.mark.usefixtures("threads")
def test_the_number_of_threads_changes_no_bit(rng):
    x = logs(rng, 60, 16, 30).astype(np.float32)
    targets = rng.integers(1, 30, (16, 20))
    results = []
    for count in (1, fs.get_num_threads()):
        fs.set_num_threads(count)
        leaf = Tensor(x, requires_grad=True)
        out = functional.ctc_loss(leaf, targets, np.full(16, 60), np.full(16, 20))
        out.backward()
        results.append((out.numpy().tobytes(), leaf.grad.numpy().tobytes()))
    assert results[0] == results[1]


X = np.zeros((3, 2, 4))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X[0, 0], [1], 1, 1), {}, ValueError, r"log_probs: expected shape \(T, B, C\) or \(T, C\)"),
        ((X.astype(int), [[1], [1]], [3, 3], [1, 1]), {}, TypeError, "log_probs: expected float32 or float64"),
        ((X, [[1.0], [1.0]], [3, 3], [1, 1]), {}, TypeError, "targets: expected integer classes"),
        ((X, [[1], [1], [1]], [3, 3], [1, 1]), {}, ValueError, r"targets: expected shape \(2, S\)"),
        ((X, [1, 2, 3], [3, 3], [1, 1]), {}, ValueError, "targets: expected 2 targets, the sum of target_lengths"),
        ((X, [[1], [0]], [3, 3], [1, 1]), {}, ValueError, r"targets: expected classes in 0..3 other than blank \(0\)"),
        ((X, [[1], [4]], [3, 3], [1, 1]), {}, ValueError, "targets: expected classes in 0..3"),
        ((X, [[1], [1]], [3, 4], [1, 1]), {}, ValueError, "input_lengths: expected 0 <= length <= 3"),
        ((X, [[1], [1]], [3], [1, 1]), {}, ValueError, r"input_lengths: expected integers of shape \(2,\)"),
        ((X, [[1], [1]], [3.0, 3.0], [1, 1]), {}, TypeError, "input_lengths: expected integers"),
        ((X, [[1], [1]], [3, 3], [1, 2]), {}, ValueError, "target_lengths: expected 0 <= length <= 1"),
        ((X, [[1], [1]], [3, 3], [1, 1]), {"blank": 4}, ValueError, "blank: expected an integer >= 0 and <= 3"),
        ((X, [[1], [1]], [3, 3], [1, 1]), {"reduction": "all"}, ValueError, "reduction: expected one of"),
        ((X, [[1], [1]], [3, 3], [1, 1]), {"zero_infinity": 1}, TypeError, "zero_infinity: expected True or False"),
    ],
)
def test_bad_arguments_are_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        functional.ctc_loss(*arguments, **options)


def test_the_module_is_its_function(rng):
    x = logs(rng, 2, 6, 4)
    module = CTCLoss(3, "sum", True, batch_first=True)
    arguments = np.array([[0, 1], [2, 2]]), [6, 2], [2, 2]
    expected = functional.ctc_loss(x, *arguments, 3, "sum", True, batch_first=True).item()
    twin = CTCLoss.from_config(module.config())
    assert module(x, *arguments).item() == twin(x, *arguments).item() == expected
    assert repr(twin) == repr(module)


def test_labels_without_times_are_learnt():
    """The times of three events are found from their order alone."""
    rng = np.random.default_rng(0)
    fs.manual_seed(0)
    labels = rng.integers(1, 4, (64, 3))
    x = rng.standard_normal((64, 12, 4)).astype(np.float32) * 0.1
    for row, three in zip(x, labels, strict=True):
        for place, label in zip(np.sort(rng.choice(6, 3, replace=False)) * 2, three, strict=True):
            row[place, label] += 2
    layer = fs.nn.Linear(4, 4)
    optimizer = fs.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(120):
        optimizer.zero_grad()
        out = layer(x).log_softmax(dim=-1)
        loss = functional.ctc_loss(out, labels, np.full(64, 12), np.full(64, 3), batch_first=True)
        loss.backward()
        optimizer.step()
    found = [collapsed(row, 0) for row in out.numpy().argmax(-1).tolist()]
    assert np.mean([a == b.tolist() for a, b in zip(found, labels, strict=True)]) > 0.9
