"""Losses of predicted distributions: scalar loops, gradients, PyTorch's values, lengths, edges, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastseq.autograd import Tensor
from fastseq.nn import functional, losses_likelihood
from tests.gradcheck import gradcheck

RANDOM = np.random.default_rng(12)
X, T = RANDOM.standard_normal((4, 5, 3)) * 2, RANDOM.standard_normal((4, 5, 3))
VAR = RANDOM.uniform(0.2, 3.0, (4, 5, 3))
COUNTS = RANDOM.integers(0, 6, (4, 5, 3)).astype(float)
RATES = RANDOM.uniform(0.1, 4.0, (4, 5, 3))
LOGS = X - np.log(np.exp(X).sum(-1, keepdims=True))
SHARES = np.exp(T) / np.exp(T).sum(-1, keepdims=True)
QUANTILES = (0.1, 0.5, 0.75)
LENGTHS = np.array([5, 2, 0, 3])
VALID = np.arange(5) < LENGTHS[:, None]
REDUCTIONS = ["mean", "sum", "none"]

# The loss, its options, its arrays, and one element by hand.
CASES = {
    "gaussian": ("gaussian_nll_loss", {}, (X, T, VAR), lambda x, t, v: 0.5 * (math.log(v) + (x - t) ** 2 / v)),
    "gaussian full": (
        "gaussian_nll_loss",
        {"full": True},
        (X, T, VAR),
        lambda x, t, v: -math.log(math.exp(-((x - t) ** 2) / 2 / v) / math.sqrt(2 * math.pi * v)),
    ),
    "gaussian one variance": (
        "gaussian_nll_loss",
        {},
        (X, T, VAR[..., :1]),
        lambda x, t, v: 0.5 * (math.log(v) + (x - t) ** 2 / v),
    ),
    "gaussian no axis": (
        "gaussian_nll_loss",
        {},
        (X, T, VAR[..., 0]),
        lambda x, t, v: 0.5 * (math.log(v) + (x - t) ** 2 / v),
    ),
    "poisson": ("poisson_nll_loss", {}, (X, COUNTS), lambda x, t: math.exp(x) - t * x),
    "poisson rates": (
        "poisson_nll_loss",
        {"log_input": False},
        (RATES, COUNTS),
        lambda x, t: x - t * math.log(x + 1e-8),
    ),
    "poisson full": (
        "poisson_nll_loss",
        {"full": True},
        (X, COUNTS * 1.1),
        lambda x, t: math.exp(x) - t * x + (t * math.log(t) - t + 0.5 * math.log(2 * math.pi * t) if t > 1 else 0),
    ),
    "divergence": ("kl_div", {}, (LOGS, SHARES), lambda x, t: t * (math.log(t) - x)),
    "divergence logs": ("kl_div", {"log_target": True}, (LOGS, np.log(SHARES)), lambda x, t: math.exp(t) * (t - x)),
    "quantile": (
        "quantile_loss",
        {"quantiles": 0.3},
        (X, T),
        lambda x, t: 0.3 * (t - x) if t > x else 0.7 * (x - t),
    ),
}
each_case = pytest.mark.parametrize("case", CASES)
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


def by_hand(case: str, reduction: str, lengths=None):
    """The loss, one element after the other."""
    _, _, arrays, one = CASES[case]
    wide = [a[..., None] if a.ndim == 2 else a for a in arrays]
    values = np.zeros(X.shape)
    count = 0
    for b, t, f in np.ndindex(X.shape):
        if lengths is None or t < lengths[b]:
            values[b, t, f] = one(*(a[b, t, f % a.shape[2]] for a in wide))
            count += 1
    return values if reduction == "none" else values.sum() / (count if reduction == "mean" else 1)


def call(case, **more):
    """The loss as a function of its arrays."""
    name, options, *_ = CASES[case]
    return lambda *arrays, **rest: getattr(functional, name)(*arrays, **options, **more, **rest)


@each_case
@each_reduction
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
def test_values_and_gradients(case, reduction, lengths):
    arrays = CASES[case][2]
    loss = call(case, reduction=reduction, lengths=lengths)
    np.testing.assert_allclose(loss(*arrays).numpy(), by_hand(case, reduction, lengths), rtol=1e-12, atol=1e-15)
    gradcheck(loss, *arrays)
    out = loss(*(a.astype(np.float32) for a in arrays))
    assert out.dtype == np.float32
    leaf = Tensor(arrays[0].copy(), requires_grad=True)
    assert [edge[0] is leaf for edge in loss(leaf, *arrays[1:])._node.edges] == [True]


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@pytest.mark.parametrize("case", [case for case in CASES if case != "quantile"])
@each_reduction
def test_against_pytorch(case, reduction):
    torch = pytest.importorskip("torch")
    name, options, arrays, _ = CASES[case]
    ours = [Tensor(a.copy(), requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    found = call(case, reduction=reduction)(*ours)
    expected = getattr(torch.nn.functional, name)(*theirs, reduction=reduction, **options)
    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    upstream = np.random.default_rng(1).standard_normal(found.shape)
    found.backward(upstream)
    expected.backward(torch.tensor(upstream))
    for one, other in zip(ours, theirs, strict=True):
        # PyTorch's Stirling term has no gradient at counts of 0, where it does not count
        there = ~np.isnan(other.grad.numpy()) | (case != "poisson full")
        np.testing.assert_allclose(one.grad.numpy()[there], other.grad.numpy()[there], rtol=1e-11, atol=1e-14)


@each_case
@each_reduction
@pytest.mark.parametrize("junk", [np.nan, np.inf, -1e300])
def test_padding_may_hold_anything(case, reduction, junk):
    results = []
    for fill in (None, junk):
        arrays = [a.copy() for a in CASES[case][2]]
        if fill is not None:
            for a in arrays:
                a[~VALID] = fill
        leaves = [Tensor(a, requires_grad=True) for a in arrays]
        out = call(case, reduction=reduction, lengths=LENGTHS)(*leaves)
        out.backward(np.ones(out.shape))
        results.append([out.numpy(), *(leaf.grad.numpy() for leaf in leaves)])
        assert all((leaf.grad.numpy()[~VALID] == 0).all() for leaf in leaves)
    for clean, dirty in zip(*results, strict=True):
        np.testing.assert_array_equal(clean, dirty)
        assert np.isfinite(clean).all()


@each_case
def test_nothing_counts_or_nothing_is_there(case):
    arrays = CASES[case][2]
    assert np.isnan(call(case)(*arrays, lengths=np.zeros(4, int)).item())
    assert call(case, reduction="sum")(*arrays, lengths=np.zeros(4, int)).item() == 0
    for cut in (slice(0), (slice(None), slice(0))):
        assert np.isnan(call(case)(*(a[cut] for a in arrays)).item())


@each_case
def test_a_nan_that_counts_is_seen(case):
    arrays = [a.copy() for a in CASES[case][2]]
    arrays[0][0, 1, 2] = np.nan
    out = call(case, reduction="none", lengths=LENGTHS)(*arrays).numpy()
    assert np.argwhere(np.isnan(out)).tolist() == [[0, 1, 2]]


def test_several_quantiles():
    target = T[..., 0]
    q = np.array(QUANTILES)
    error = target[..., None] - X
    expected = np.where(error > 0, q * error, (q - 1) * error)
    for shaped in (target, target[..., None]):
        for lengths in (None, LENGTHS):
            for reduction in REDUCTIONS:
                loss = lambda x, t, r=reduction, n=lengths: functional.quantile_loss(x, t, QUANTILES, r, lengths=n)  # noqa: E731
                gradcheck(loss, X, shaped)
            kept = expected if lengths is None else expected[VALID]
            assert functional.quantile_loss(X, shaped, q, lengths=lengths).item() == pytest.approx(kept.mean())
    row = functional.quantile_loss(X[0, 0], target[0, 0], list(QUANTILES), "none")
    np.testing.assert_allclose(row.numpy(), expected[0, 0], rtol=1e-15)


def test_the_median_s_gradient_is_zero_where_it_hits():
    x = Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    functional.quantile_loss(x, np.array([1.0, 3.0, 2.0]), 0.2, "sum").backward()
    assert x.grad.tolist() == [0.0, -0.2, 0.8]


def test_quantiles_are_learnt():
    values = np.sort(np.random.default_rng(0).exponential(size=2001))
    guess = Tensor(np.zeros(3), requires_grad=True)
    for step in range(400):
        wide = guess + np.zeros((len(values), 3))
        functional.quantile_loss(wide, values, QUANTILES, "sum").backward()
        guess.data = guess.numpy() - 0.002 / (1 + step / 40) * guess.grad.numpy()
        guess.grad = None
    np.testing.assert_allclose(guess.numpy(), np.quantile(values, QUANTILES), atol=0.01)


def test_divergence_of_certain_distributions():
    sure, logs = np.array([[1.0, 0.0]]), np.log(np.array([[0.25, 0.75]]))
    assert functional.kl_div(logs, sure, "sum").item() == pytest.approx(math.log(4))
    with np.errstate(divide="ignore"):
        impossible = np.log(sure)
    assert functional.kl_div(impossible, sure, "sum").item() == 0
    assert functional.kl_div(impossible, impossible, "sum", log_target=True).item() == 0
    leaf = Tensor(impossible, requires_grad=True)
    functional.kl_div(logs, leaf, "sum", log_target=True).backward()
    assert np.isfinite(leaf.grad.numpy()).all()


def test_batchmean_divides_by_the_rows():
    whole = functional.kl_div(LOGS, SHARES, "sum").item()
    assert functional.kl_div(LOGS, SHARES, "batchmean").item() == pytest.approx(whole / 4)
    gradcheck(lambda x, t: functional.kl_div(x, t, "batchmean"), LOGS, SHARES)
    torch = pytest.importorskip("torch")
    expected = torch.nn.functional.kl_div(torch.tensor(LOGS), torch.tensor(SHARES), reduction="batchmean").item()
    assert functional.kl_div(LOGS, SHARES, "batchmean").item() == pytest.approx(expected, rel=1e-12)


@each_reduction
@pytest.mark.parametrize("shared", [VAR[:1], VAR[:, :1], VAR[..., :1]], ids=["rows", "steps", "features"])
def test_variances_that_elements_share(shared, reduction):
    for lengths in (None, LENGTHS):
        leaf, whole = (Tensor(np.array(v), requires_grad=True) for v in (shared, np.broadcast_to(shared, X.shape)))
        found = [functional.gaussian_nll_loss(X, T, v, reduction=reduction, lengths=lengths) for v in (leaf, whole)]
        np.testing.assert_array_equal(*(out.numpy() for out in found))
        for out in found:
            out.sum().backward()
        axis = next(k for k, n in enumerate(shared.shape) if n == 1)
        np.testing.assert_allclose(leaf.grad.numpy(), whole.grad.numpy().sum(axis, keepdims=True), rtol=1e-13)


@each_reduction
@pytest.mark.parametrize("shape", [(), (3,), (5, 1), (4, 1, 3)])
def test_targets_that_elements_share(shape, reduction):
    target = np.random.default_rng(3).standard_normal(shape)
    whole = np.array(np.broadcast_to(target, X.shape))
    for lengths in (None, LENGTHS):
        given = {"reduction": reduction, "lengths": lengths}
        found = functional.gaussian_nll_loss(X, target, VAR, **given)
        np.testing.assert_array_equal(found.numpy(), functional.gaussian_nll_loss(X, whole, VAR, **given).numpy())
        gradcheck(lambda t, given=given: functional.gaussian_nll_loss(X, t, VAR, **given), target)


def test_small_variances_count_as_eps():
    x, t = np.array([1.0, 2.0]), np.array([1.5, 2.5])
    var = Tensor(np.array([0.0, 1e-9]), requires_grad=True)
    out = functional.gaussian_nll_loss(x, t, var, eps=0.5, reduction="none")
    np.testing.assert_allclose(out.numpy(), 0.5 * (math.log(0.5) + 0.25 / 0.5))
    out.backward(np.ones(2))
    np.testing.assert_allclose(var.grad.numpy(), 0.5 * (1 / 0.5 - 0.25 / 0.25))
    assert functional.gaussian_nll_loss(x, t, 2.0).item() == functional.gaussian_nll_loss(x, t, [2.0, 2.0]).item()


@pytest.mark.parametrize(
    ("name", "arguments", "options", "error", "message"),
    [
        ("gaussian_nll_loss", (X, T, VAR[:2]), {}, ValueError, r"var: expected shape \(4, 5, 3\), that with 1 instead"),
        ("gaussian_nll_loss", (X, T, VAR[:1, :1]), {}, ValueError, "var: expected shape .*instead of one axis"),
        ("gaussian_nll_loss", (X, T, -VAR), {}, ValueError, "var: expected variances >= 0"),
        ("gaussian_nll_loss", (X, T[:, :2], VAR), {}, ValueError, r"target: expected shape .*that broadcasts to it"),
        ("gaussian_nll_loss", (X[:, :1], T, VAR[:, :1]), {}, ValueError, r"target: expected shape .*broadcasts to it"),
        ("gaussian_nll_loss", (X, T, VAR), {"eps": 0.0}, ValueError, "eps: expected a finite number > 0"),
        ("gaussian_nll_loss", (X.astype(int), T, VAR), {}, TypeError, "input: expected float32 or float64"),
        ("poisson_nll_loss", (X, COUNTS[0]), {}, ValueError, "target: expected shape"),
        ("poisson_nll_loss", (X, COUNTS), {"full": 1}, TypeError, "full: expected True or False"),
        ("poisson_nll_loss", (X, COUNTS), {"reduction": "batchmean"}, ValueError, "reduction: expected one of"),
        ("kl_div", (X, SHARES), {"reduction": "average"}, ValueError, "reduction: expected one of .*'batchmean'"),
        ("kl_div", (X, SHARES[0]), {}, ValueError, "target: expected shape"),
        ("quantile_loss", (X, T[..., 0], (0.5, 0.9)), {}, ValueError, r"input: expected shape \(..., 2\)"),
        ("quantile_loss", (X, T, QUANTILES), {}, ValueError, r"target: expected shape \(4, 5\)"),
        ("quantile_loss", (X, T, (0.5, 1.0, 0.1)), {}, ValueError, r"quantiles\[1\]: expected a finite number > 0"),
        ("quantile_loss", (X, T, ()), {}, ValueError, "quantiles: expected at least one"),
        ("quantile_loss", (X, T, "0.5"), {}, TypeError, "quantiles: expected a number or numbers"),
        ("quantile_loss", (X[0, 0], T[0, 0, 0], QUANTILES), {"lengths": [1]}, ValueError, "lengths: expected None"),
    ],
)
def test_bad_arguments_are_named(name, arguments, options, error, message):
    with pytest.raises(error, match=message):
        getattr(functional, name)(*arguments, **options)


MODULES = [
    (losses_likelihood.GaussianNLLLoss(full=True, eps=0.1, reduction="sum"), (X, T, VAR)),
    (losses_likelihood.PoissonNLLLoss(False, True, 1e-4, "sum"), (RATES, COUNTS)),
    (losses_likelihood.KLDivLoss("batchmean", True), (LOGS, np.log(SHARES))),
    (losses_likelihood.QuantileLoss([0.1, 0.5, 0.75], "sum"), (X, T[..., 0])),
    (losses_likelihood.QuantileLoss(0.3), (X, T)),
]
NAMES = ["gaussian_nll_loss", "poisson_nll_loss", "kl_div", "quantile_loss", "quantile_loss"]


@pytest.mark.parametrize(("module", "arrays", "name"), [(*m, n) for m, n in zip(MODULES, NAMES, strict=True)], ids=str)
def test_modules_are_their_functions(module, arrays, name):
    options = {key: getattr(module, key) for key in module._config}
    for lengths in (None, LENGTHS):
        expected = getattr(functional, name)(*arrays, lengths=lengths, **options).item()
        assert module(*arrays, lengths=lengths).item() == expected
        twin = type(module).from_config(module.config())
        assert twin(*arrays, lengths=lengths).item() == expected
    assert repr(twin) == repr(module)
    assert module.uses_lengths
