"""Losses: gradients, PyTorch's values with every option, lengths, edges, bad input; functions and modules alike."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.autograd import Tensor
from fastseq.nn import functional, losses
from tests.gradcheck import gradcheck

RANDOM = np.random.default_rng(11)
X, T = RANDOM.standard_normal((4, 5, 3)) * 2, RANDOM.standard_normal((4, 5, 3))
LENGTHS = np.array([5, 2, 0, 3])
VALID = np.arange(5) < LENGTHS[:, None]
CLASSES = RANDOM.integers(0, 3, (4, 5))
WEIGHT = np.array([0.5, 2.0, 1.5])
SOFT = np.exp(T) / np.exp(T).sum(-1, keepdims=True)

ELEMENTWISE = [
    ("mse_loss", {}),
    ("l1_loss", {}),
    ("huber_loss", {}),
    ("huber_loss", {"delta": 0.4}),
    ("smooth_l1_loss", {}),
    ("smooth_l1_loss", {"beta": 0.3}),
    ("smooth_l1_loss", {"beta": 0.0}),
    ("binary_cross_entropy_with_logits", {}),
    ("binary_cross_entropy_with_logits", {"weight": WEIGHT}),
    ("binary_cross_entropy_with_logits", {"weight": np.abs(T), "pos_weight": WEIGHT}),
]
CLASSWISE = [
    ("cross_entropy", {}),
    ("cross_entropy", {"weight": WEIGHT}),
    ("cross_entropy", {"label_smoothing": 0.2}),
    ("cross_entropy", {"weight": WEIGHT, "label_smoothing": 0.2, "ignore_index": 1}),
    ("cross_entropy", {"ignore_index": 2}),
    ("nll_loss", {}),
    ("nll_loss", {"weight": WEIGHT, "ignore_index": 0}),
]
REDUCTIONS = ["mean", "sum", "none"]


def name_of(case):
    """How a case is called in a test's name."""
    return case if isinstance(case, str) else "-".join(case)


def goal(name):
    """A target that suits the loss, for the input X."""
    if name == "binary_cross_entropy_with_logits":
        return (T > 0) * 0.9
    return CLASSES if name in ("cross_entropy", "nll_loss") else T


def call(name, options, **more):
    """The loss as a function of input and target; classes are on the last axis."""
    extra = {"axis": -1} if name in ("cross_entropy", "nll_loss") else {}
    return lambda x, t, **rest: getattr(functional, name)(x, t, **options, **extra, **more, **rest)


each_loss = pytest.mark.parametrize(("name", "options"), ELEMENTWISE + CLASSWISE, ids=name_of)
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


@each_loss
@each_reduction
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
def test_gradients(name, options, reduction, lengths):
    loss = call(name, options, reduction=reduction, lengths=lengths)
    gradcheck(loss, X, goal(name))
    out = loss(X.astype(np.float32), goal(name))
    assert out.dtype == np.float32
    assert out.shape == (goal(name).shape if reduction == "none" else ())


@each_loss
@each_reduction
def test_it_is_one_node(name, options, reduction):
    x = Tensor(X.copy(), requires_grad=True)
    out = call(name, options, reduction=reduction, lengths=LENGTHS)(x, goal(name))
    assert [edge[0] is x for edge in out._node.edges] == [True]


def torch_options(torch, options):
    """Arrays as torch tensors."""
    return {key: torch.tensor(value) if isinstance(value, np.ndarray) else value for key, value in options.items()}


@each_loss
@each_reduction
def test_against_pytorch(name, options, reduction):
    torch = pytest.importorskip("torch")
    ours, theirs = Tensor(X.copy(), requires_grad=True), torch.tensor(X, requires_grad=True)
    moved = theirs.movedim(-1, 1) if name in ("cross_entropy", "nll_loss") else theirs
    found = call(name, options, reduction=reduction)(ours, goal(name))
    function = getattr(torch.nn.functional, name)
    expected = function(moved, torch.tensor(goal(name)), reduction=reduction, **torch_options(torch, options))
    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), rtol=1e-12)
    upstream = np.random.default_rng(1).standard_normal(found.shape)
    found.backward(upstream)
    expected.backward(torch.tensor(upstream))
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-11, atol=1e-14)


@each_reduction
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weight"])
def test_probabilities_as_inputs(reduction, weight):
    p, t = SOFT, (T > 0) * 0.9 + 0.05
    by_hand = -(np.ones(3) if weight is None else weight) * (t * np.log(p) + (1 - t) * np.log(1 - p))
    found = functional.binary_cross_entropy(p, t, weight, reduction).numpy()
    np.testing.assert_allclose(found, by_hand if reduction == "none" else getattr(np, reduction)(by_hand), rtol=1e-12)
    for lengths in (None, LENGTHS):
        gradcheck(lambda p, t, n=lengths: functional.binary_cross_entropy(p, t, weight, reduction, lengths=n), p, t)
    padded = np.where(VALID[:, :, None], p, np.nan)
    valid = functional.binary_cross_entropy(padded, t, weight, "none", lengths=LENGTHS).numpy()
    np.testing.assert_allclose(valid, by_hand * VALID[:, :, None], rtol=1e-12)


def test_certain_probabilities():
    p = Tensor(np.array([0.0, 1.0, 0.0, 1.0], np.float32), requires_grad=True)
    out = functional.binary_cross_entropy(p, np.array([0, 0, 1, 1]), reduction="none")
    out.sum().backward()
    np.testing.assert_array_equal(out.numpy(), [0, 100, 100, 0])  # PyTorch's values
    np.testing.assert_allclose(p.grad.numpy(), [0, 1e12, -1e12, 0], rtol=1e-6)
    assert np.isnan(functional.binary_cross_entropy(np.array([np.nan]), np.array([0.5])).numpy())
    for wrong in (-0.1, 1.5):
        with pytest.raises(ValueError, match="input: expected probabilities in 0..1"):
            losses.BCELoss()(np.array([0.5, wrong]), np.zeros(2))
    made = losses.BCELoss.from_config(losses.BCELoss(WEIGHT, "sum").config())
    want = functional.binary_cross_entropy(SOFT, T > 0, WEIGHT, "sum").item()
    assert made(SOFT, T > 0).item() == pytest.approx(want, rel=1e-6)  # weights come back in float32


@pytest.mark.parametrize("shape", [(3,), (4, 3), (4, 3, 5), (2, 3, 2, 2)])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_classes_stand_where_pytorch_has_them(name, shape, rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal(shape)
    t = rng.integers(0, 3, shape[:1] + shape[2:] if len(shape) > 1 else ())
    found = getattr(functional, name)(x, t).item()
    expected = getattr(torch.nn.functional, name)(torch.tensor(x), torch.tensor(t)).item()
    assert found == pytest.approx(expected, rel=1e-12)
    gradcheck(lambda x: getattr(functional, name)(x, t), x)


@each_reduction
@pytest.mark.parametrize("options", [{}, {"weight": WEIGHT}, {"label_smoothing": 0.3, "weight": WEIGHT}], ids=len)
def test_probabilities_as_targets(reduction, options):
    torch = pytest.importorskip("torch")
    found = functional.cross_entropy(X, SOFT, reduction=reduction, axis=-1, **options)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(X).movedim(-1, 1), torch.tensor(SOFT).movedim(-1, 1), reduction=reduction,
        **torch_options(torch, options),
    )  # fmt: skip
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)
    for lengths in (None, LENGTHS):
        loss = call("cross_entropy", options, reduction=reduction, lengths=lengths)
        gradcheck(loss, X, SOFT)


@each_loss
def test_with_lengths_only_valid_steps_count(name, options):
    full = call(name, options)
    cut = {key: value[VALID] if getattr(value, "shape", ()) == X.shape else value for key, value in options.items()}
    rows = call(name, cut)(X[VALID], goal(name)[VALID])
    with_lengths = full(X, goal(name), lengths=LENGTHS)
    assert with_lengths.item() == pytest.approx(rows.item(), rel=1e-12)
    total = call(name, options, reduction="sum")(X, goal(name), lengths=LENGTHS).item()
    assert total == pytest.approx(call(name, cut, reduction="sum")(X[VALID], goal(name)[VALID]).item(), rel=1e-12)
    each = call(name, options, reduction="none")(X, goal(name), lengths=LENGTHS).numpy()
    assert (each[~VALID] == 0).all()
    whole = full(X, goal(name), lengths=[5, 5, 5, 5]).item()
    assert whole == full(X, goal(name)).item()


@each_loss
@each_reduction
@pytest.mark.parametrize("junk", [np.nan, np.inf, -1e300])
def test_padding_may_hold_anything(name, options, reduction, junk):
    results = []
    for x, t in ((X, goal(name)), (np.where(VALID[..., None], X, junk), goal(name))):
        t = t.copy()
        t[~VALID] = 99 if t.dtype.kind == "i" else junk
        leaf = Tensor(x.copy(), requires_grad=True)
        out = call(name, options, reduction=reduction, lengths=LENGTHS)(leaf, t)
        out.backward(np.ones(out.shape))
        results.append((out.numpy(), leaf.grad.numpy()))
        assert (leaf.grad.numpy()[~VALID] == 0).all()
        assert np.isfinite(out.numpy()).all()
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@each_loss
def test_when_nothing_counts_the_mean_is_nan_and_the_gradient_zero(name, options):
    leaf = Tensor(X.copy(), requires_grad=True)
    out = call(name, options)(leaf, goal(name), lengths=np.zeros(4, int))
    assert np.isnan(out.item())
    out.backward()
    assert (leaf.grad.numpy() == 0).all()
    assert call(name, options, reduction="sum")(X, goal(name), lengths=np.zeros(4, int)).item() == 0


@each_loss
def test_nothing_at_all(name, options):
    cut = {key: value for key, value in options.items() if getattr(value, "shape", ()) != X.shape}
    for empty in (X[:0], X[:, :0]):
        t = goal(name)[:0] if len(empty) == 0 else goal(name)[:, :0]
        assert np.isnan(call(name, cut)(empty, t).item())
        assert call(name, cut, reduction="none")(empty, t).numel() == 0


def test_ignored_targets_count_for_nothing():
    x = X.reshape(-1, 3).copy()
    t = CLASSES.reshape(-1).copy()
    t[::2] = -100
    x[::2] = np.nan
    assert functional.cross_entropy(x, t).item() == functional.cross_entropy(x[1::2], t[1::2]).item()
    assert np.isnan(functional.nll_loss(x, np.full_like(t, -100)).item())


def test_large_logits_are_exact():
    x = np.array([1e4, -1e4, 800.0], np.float32)
    t = np.array([0.0, 1.0, 1.0], np.float32)
    out = functional.binary_cross_entropy_with_logits(x, t, reduction="none")
    assert out.tolist() == [1e4, 1e4, 0.0]
    logits = Tensor(np.array([[1e4, 0.0], [0.0, 1e4]], np.float32), requires_grad=True)
    loss = functional.cross_entropy(logits, np.array([1, 1]), reduction="sum")
    assert loss.item() == 1e4
    loss.backward()
    assert logits.grad.tolist() == [[1.0, -1.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    "name", ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "binary_cross_entropy_with_logits"]
)
def test_nothing_is_broadcast(name):
    function = getattr(functional, name)
    for left, right in [((4, 1), (4,)), ((4,), (4, 1)), ((4, 3), (3,)), ((4,), ()), ((1,), (4,))]:
        with pytest.raises(ValueError, match=r"target: expected shape \(.*nothing is broadcast.*got an array of shape"):
            function(np.ones(left), np.ones(right))
    with pytest.raises(TypeError, match="input: expected float32 or float64"):
        function(np.ones(3, int), np.ones(3))
    with pytest.raises(ValueError, match="reduction: expected one of"):
        function(np.ones(3), np.ones(3), reduction="average")
    with pytest.raises(ValueError, match="lengths: expected None"):
        function(np.ones(3), np.ones(3), lengths=[1, 1, 1])
    for lengths in ([6, 1, 1, 1], [1, 1], [-1, 0, 0, 0]):
        with pytest.raises(ValueError, match="length"):
            function(X, T, lengths=lengths)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_targets_of_classes_are_checked(name):
    function = getattr(functional, name)
    for arguments, error, message in [
        ((X[0], CLASSES[0].astype(float)), TypeError, r"target: expected integer classes of shape \(5,\)"),
        ((X[0], CLASSES[0][:4]), ValueError, r"target: expected shape \(5,\).*axis 1.*got an array of shape \(4,\)"),
        ((X, CLASSES), ValueError, r"target: expected shape \(4, 3\)"),
        ((X[0], CLASSES[0] + 3), ValueError, r"target: expected classes in 0..2, got"),
        ((X[0], CLASSES[0] - 5), ValueError, r"target: expected classes in 0..2, got"),
        ((X[0], CLASSES[0], np.ones(4)), ValueError, r"weight: expected shape \(3,\)"),
        ((X[0].astype(int), CLASSES[0]), TypeError, "input: expected float32 or float64"),
        ((np.array(1.0), np.array(0)), ValueError, "input: expected an axis of classes"),
    ]:
        with pytest.raises(error, match=message):
            function(*arguments)
    with pytest.raises(ValueError, match="axis: expected an axis"):
        function(X[0], CLASSES[0], axis=2)
    with pytest.raises(ValueError, match="lengths: expected None"):
        function(X[0], CLASSES[0], lengths=[1] * 5)


def test_options_are_checked():
    for function, options, message in [
        (functional.huber_loss, {"delta": 0.0}, "delta"),
        (functional.smooth_l1_loss, {"beta": -1.0}, "beta"),
        (functional.binary_cross_entropy_with_logits, {"weight": np.ones(4)}, "weight: expected a shape"),
        (
            functional.binary_cross_entropy_with_logits,
            {"pos_weight": np.ones((2, 4, 5, 3))},
            "pos_weight: expected a shape",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            function(X, T, **options)
    with pytest.raises(ValueError, match="label_smoothing"):
        functional.cross_entropy(X[0], CLASSES[0], label_smoothing=1.5)
    with pytest.raises(ValueError, match="ignore_index: expected none >= 0 where targets are probabilities, got 1"):
        functional.cross_entropy(X[0], np.full(X[0].shape, 0.1), ignore_index=1)


def test_targets_keep_to_the_input_s_dtype():
    x = X.astype(np.float32)
    assert functional.mse_loss(x, T).dtype == np.float32
    assert functional.mse_loss(x, np.ones_like(CLASSES).repeat(3).reshape(X.shape)).dtype == np.float32
    assert functional.binary_cross_entropy_with_logits(x, T > 0).dtype == np.float32
    goal_leaf = Tensor(T.copy(), requires_grad=True)
    functional.mse_loss(x, goal_leaf).backward()
    assert goal_leaf.grad.dtype == np.float64


MODULES = [
    (losses.MSELoss("sum"), "mse_loss", {}),
    (losses.L1Loss("sum"), "l1_loss", {}),
    (losses.HuberLoss("sum", 0.5), "huber_loss", {"delta": 0.5}),
    (losses.SmoothL1Loss("sum", 0.5), "smooth_l1_loss", {"beta": 0.5}),
    (
        losses.BCEWithLogitsLoss(WEIGHT, "sum", [1.0, 2.0, 3.0]),
        "binary_cross_entropy_with_logits",
        {"weight": WEIGHT, "pos_weight": np.array([1.0, 2.0, 3.0])},
    ),
    (
        losses.CrossEntropyLoss(WEIGHT, 1, "sum", 0.1, axis=-1),
        "cross_entropy",
        {"weight": WEIGHT, "ignore_index": 1, "label_smoothing": 0.1},
    ),
    (losses.NLLLoss(WEIGHT, 1, "sum", axis=-1), "nll_loss", {"weight": WEIGHT, "ignore_index": 1}),
]


@pytest.mark.parametrize(("module", "name", "options"), MODULES, ids=lambda value: type(value).__name__)
def test_modules_are_their_functions(module, name, options):
    for lengths in (None, LENGTHS):
        expected = call(name, options, reduction="sum")(X, goal(name), lengths=lengths).item()
        assert module(X, goal(name), lengths=lengths).item() == expected
        twin = type(module).from_config(module.config())
        assert twin(X, goal(name), lengths=lengths).item() == expected
    assert repr(twin) == repr(module)
    assert module.uses_lengths
    assert not list(module.parameters())
    with pytest.raises(ValueError, match="reduction: expected one of"):
        type(module)(reduction="average")


def test_a_class_weight_is_part_of_the_state():
    module = losses.CrossEntropyLoss(WEIGHT)
    assert list(module.state_dict()) == ["weight"]
    assert list(losses.CrossEntropyLoss().state_dict()) == []
    assert losses.CrossEntropyLoss()(X[0], CLASSES[0]).item() == functional.cross_entropy(X[0], CLASSES[0]).item()
