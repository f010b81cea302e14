"""Every differentiable operation: gradient against finite differences, value against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq.autograd import Tensor, ops
from tests.gradcheck import gradcheck


def draw(*shape: int, seed: int = 1, positive: bool = False) -> np.ndarray:
    """Numbers away from 0 (where abs, relu and log have their kinks) and from each other."""
    random = np.random.default_rng(seed)
    values = random.uniform(0.2, 2.0, shape)
    return np.asarray(values if positive else values * random.choice([-1.0, 1.0], shape))


UNARY = {
    "neg": np.negative, "abs": np.abs, "square": np.square, "exp": np.exp, "expm1": np.expm1, "sin": np.sin,
    "cos": np.cos, "tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "relu": lambda x: np.maximum(x, 0),
    "erf": None, "clone": lambda x: x, "log": np.log, "log1p": np.log1p, "sqrt": np.sqrt,
}  # fmt: skip
POSITIVE = {"log", "log1p", "sqrt"}


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 0, 3), (0,)])
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_operand(name, shape):
    x = draw(*shape, positive=name in POSITIVE)
    gradcheck(getattr(ops, name), x)
    if UNARY[name] is not None:
        np.testing.assert_allclose(getattr(ops, name)(x).numpy(), UNARY[name](x), rtol=1e-14)
    assert getattr(ops, name)(x.astype(np.float32)).dtype == np.float32


BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "pow": np.power,
}  # fmt: skip
BROADCAST = [((), ()), ((3,), ()), ((), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((4, 1, 3), (2, 1)), ((1,), (0,))]


@pytest.mark.parametrize(("left", "right"), [*BROADCAST, ((2, 3), (2, 3))])
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_operands_broadcast(name, left, right):
    a, b = draw(*left, seed=2, positive=name == "pow"), draw(*right, seed=3)
    gradcheck(getattr(ops, name), a, b)
    gradcheck(lambda x: getattr(ops, name)(x, b), a)
    gradcheck(lambda y: getattr(ops, name)(a, y), b)
    np.testing.assert_array_equal(getattr(ops, name)(a, b).numpy(), BINARY[name](a, b))


@pytest.mark.parametrize("name", BINARY)
def test_one_tensor_on_both_sides(name):
    if name in ("maximum", "minimum"):
        # A tie everywhere: finite differences see the identity, and so do two halves.
        gradcheck(lambda x: getattr(ops, name)(x, x), draw(3))
    gradcheck(lambda x: getattr(ops, name)(x, x * 2), draw(2, 3, positive=True))


def test_operators_take_arrays_and_numbers_on_either_side():
    a, b = draw(2, 3, positive=True), draw(3, seed=5, positive=True)
    for function in (
        lambda x: x + b, lambda x: b + x, lambda x: x - b, lambda x: b - x, lambda x: x * b, lambda x: b * x,
        lambda x: x / b, lambda x: b / x, lambda x: x**b, lambda x: b**x, lambda x: -x, lambda x: abs(x),
        lambda x: 2 + x, lambda x: x - 2, lambda x: 2 - x, lambda x: 2 * x, lambda x: x / 2, lambda x: 2 / x,
        lambda x: x**2, lambda x: x**3, lambda x: x**-1.5, lambda x: 2**x, lambda x: x**0, lambda x: x @ b,
        lambda x: np.ones((4, 2)) @ x,
    ):  # fmt: skip
        if not (np.asarray(function(a)) == 1).all():
            gradcheck(function, a)
        np.testing.assert_allclose(function(Tensor(a)).numpy(), function(a), rtol=1e-14)


def test_power_at_its_edges_follows_pytorch():
    x = Tensor(np.array([0.0, 0.0, 2.0, -2.0]), requires_grad=True)
    (x ** np.array([0.0, 1.0, 0.0, 0.0])).backward(np.ones(4))
    assert x.grad.tolist() == [0.0, 1.0, 0.0, 0.0]
    e = Tensor(np.array([0.0, 2.0]), requires_grad=True)
    (0.0**e).backward(np.ones(2))
    assert e.grad.tolist() == [0.0, 0.0]
    z = Tensor(np.zeros(2), requires_grad=True)
    (z**0).backward(np.ones(2))
    assert z.grad.tolist() == [0.0, 0.0]


def test_equal_operands_of_maximum_share_the_gradient():
    a, b = Tensor(np.array([1.0, 2.0]), requires_grad=True), Tensor(np.array([1.0, 5.0]), requires_grad=True)
    ops.maximum(a, b).backward(np.ones(2))
    assert a.grad.tolist() == [0.5, 0.0]
    assert b.grad.tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("low", "high"), [(-0.5, 0.5), (None, 0.5), (-0.5, None), (np.full(3, -0.4), 0.9), (-0.4, np.full((2, 1), 0.9))]
)
def test_clip(low, high):
    x = draw(2, 3)
    gradcheck(lambda x: ops.clip(x, low, high), x)
    np.testing.assert_array_equal(Tensor(x).clamp(low, high).numpy(), np.clip(x, low, high))


def test_clip_gives_limits_their_gradient_and_includes_the_ends():
    gradcheck(ops.clip, draw(2, 3), np.array(-0.5), np.full((1, 3), 0.5))
    x = Tensor(np.array([-1.0, 0.0, 1.0]), requires_grad=True)
    x.clip(-1, 1).backward(np.ones(3))
    assert x.grad.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="min: expected a limit"):
        x.clip()


def test_where_keeps_what_is_not_chosen_out():
    mask = np.array([True, False, True])
    gradcheck(lambda a, b: ops.where(mask, a, b), draw(2, 3), draw(3, seed=4))
    gradcheck(lambda a: ops.where(Tensor(mask), a, 0.0), draw(2, 1))
    x = Tensor(np.array([1.0, np.nan, 2.0]), requires_grad=True)
    ops.where(mask, x * x, 0.0).sum().backward()
    assert x.grad.tolist()[::2] == [2.0, 4.0]
    gradcheck(lambda a: ops.masked_fill(a, mask, -np.inf).exp(), draw(2, 3))


AXES = [None, 0, -1, 1, (0, 2), (-1, 0), ()]
REDUCTIONS = ["sum", "mean", "max", "min", "var", "std", "logsumexp"]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, axis, keepdims):
    x = draw(2, 3, 4)
    options = {"correction": 0} if axis == () and name in ("var", "std") else {}
    if not (axis == () and name in ("var", "std")):
        gradcheck(lambda x: getattr(ops, name)(x, axis, keepdims, **options), x)
    reference = {
        "logsumexp": lambda x, axis, keepdims: np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims)),
        "var": lambda x, axis, keepdims: np.var(x, axis=axis, keepdims=keepdims, ddof=0 if options else 1),
        "std": lambda x, axis, keepdims: np.std(x, axis=axis, keepdims=keepdims, ddof=0 if options else 1),
    }.get(name, getattr(np, name, None))
    expected = reference(x, axis=axis, keepdims=keepdims)
    ours = getattr(Tensor(x), name)(axis=axis, keepdims=keepdims, **options).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-14)
    torch_name = {"max": "amax", "min": "amin"}.get(name, name)  # along dim, max gives places, too
    torch_spelling = getattr(Tensor(x), torch_name)(dim=axis, keepdim=keepdims, **options).numpy()
    np.testing.assert_allclose(torch_spelling, expected, atol=1e-14)


@pytest.mark.parametrize("name", ["sum", "mean", "logsumexp", "var", "std"])
def test_reductions_of_nothing(name):
    function = getattr(ops, name)
    empty = {"sum": 0.0, "logsumexp": -np.inf}.get(name, np.nan)
    np.testing.assert_array_equal(function(np.zeros((2, 0)), 1).numpy(), [empty, empty])
    assert function(np.zeros((0, 3)), 1).shape == (0,)
    x = Tensor(np.zeros((2, 0)), requires_grad=True)
    function(x).backward()
    assert x.grad.shape == (2, 0)


def test_elements_that_tie_for_the_maximum_share_evenly():
    x = Tensor(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]), requires_grad=True)
    x.amax(1).backward(np.array([1.0, 3.0]))
    assert x.grad.tolist() == [[0.0, 0.5, 0.5], [1.0, 1.0, 1.0]]
    with pytest.raises(ValueError):
        ops.max(np.zeros((2, 0)), 1)


def test_deviation_zero_has_slope_zero():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    x.std(1).sum().backward()
    assert (x.grad.numpy() == 0).all()
    assert np.isnan(Tensor(np.ones(1)).var().item())


def test_two_spellings_at_once_are_refused():
    with pytest.raises(TypeError, match="one of the two spellings"):
        ops.sum(np.ones(3), 0, dim=0)
    for axis in (2, -3, (0, 0), (0, -2)):
        with pytest.raises(ValueError, match="axis"):
            ops.sum(np.ones((2, 3)), axis)
    for axis in (0.5, True):
        with pytest.raises(TypeError, match="axis"):
            ops.sum(np.ones((2, 3)), axis)


@pytest.mark.parametrize("axis", [0, 1, -1, -3])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "cumsum"])
def test_functions_along_an_axis(name, axis):
    x = draw(2, 3, 4)
    gradcheck(lambda x: getattr(ops, name)(x, axis), x)
    np.testing.assert_array_equal(getattr(Tensor(x), name)(dim=axis).numpy(), getattr(ops, name)(x, axis).numpy())


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_softmax_of_a_number(axis):
    assert ops.softmax(np.array(3.0), axis).numpy().tolist() == 1
    assert ops.log_softmax(np.array(-np.inf), axis).shape == () and ops.log_softmax(np.array(3.0), axis).item() == 0
    gradcheck(lambda x: (ops.softmax(x, axis), ops.log_softmax(x, axis)), np.array(0.3))
    assert ops.softmax(np.array([1, 2]), dtype=np.float32).dtype == np.float32
    gradcheck(lambda x: (ops.softmax(x, dtype=np.float64), ops.log_softmax(x, 0, dtype=np.float64)), np.arange(3.0))
    with pytest.raises(ValueError, match="axis: expected an axis in -1..0, got 1"):
        ops.softmax(np.array(3.0), 1)


def test_softmax_does_not_overflow():
    x = np.array([[1e4, 0.0, -1e4], [-np.inf, 0.0, 0.0]])
    np.testing.assert_array_equal(ops.softmax(x).numpy(), [[1, 0, 0], [0, 0.5, 0.5]])
    np.testing.assert_allclose(ops.log_softmax(x).numpy()[0], [0, -1e4, -2e4])
    assert ops.logsumexp(np.array([1e4, 1e4])).item() == pytest.approx(1e4 + np.log(2))
    assert ops.logsumexp(np.array([-np.inf, -np.inf])).item() == -np.inf
    assert ops.logsumexp(np.array([np.inf, 0.0])).item() == np.inf
    assert np.isnan(ops.softmax(np.array([np.nan, 1.0])).numpy()).all()
    assert ops.softmax(np.zeros((2, 0))).shape == (2, 0)
    wide = np.array([3e38, -3e38], np.float32)  # their difference is beyond float32, and no cause for a warning
    assert ops.softmax(wide).numpy().tolist() == [1, 0] and ops.log_softmax(wide).numpy().tolist() == [0, -np.inf]
    tiny = ops.sigmoid(np.array([-1e4, -700.0, 0.0, 1e4, np.nan], np.float64)).numpy()
    # atol: the kernels' sigmoid ends at its smallest normal value
    np.testing.assert_allclose(tiny, [0, np.exp(-700.0), 0.5, 1, np.nan], rtol=1e-14, atol=4e-308)


MATRICES = [
    ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((1, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)), ((0, 3), (3, 4)), ((2, 0), (0, 4)), ((2, 3), (3, 0)), ((0, 2, 3), (3, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), MATRICES)
def test_matmul(left, right):
    a, b = draw(*left), draw(*right, seed=7)
    gradcheck(ops.matmul, a, b)
    np.testing.assert_allclose((Tensor(a) @ Tensor(b)).numpy(), a @ b, rtol=1e-13)


def test_matmul_of_shapes_that_do_not_fit():
    for a, b in [((2, 3), (2, 3)), ((3,), (2,)), ((), (2,)), ((2,), ())]:
        with pytest.raises(ValueError, match="matmul: expected a right operand"):
            ops.matmul(np.ones(a), np.ones(b))


@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (0,), (2, 0, 3)])
def test_affine(lead):
    x, w, b = draw(*lead, 4), draw(5, 4, seed=2), draw(5, seed=3)
    gradcheck(ops.affine, x, w, b)
    gradcheck(ops.affine, x, w)
    np.testing.assert_allclose(ops.affine(x, w, b).numpy(), x @ w.T + b, rtol=1e-13)


def test_affine_names_what_does_not_fit():
    for x, w, b, message in [
        ((3, 4), (5, 3), (5,), "input: expected shape"),
        ((), (5, 3), (5,), "input: expected shape"),
        ((3, 4), (4,), (5,), "weight: expected shape"),
        ((3, 4), (5, 4), (4,), "bias: expected shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            ops.affine(np.ones(x), np.ones(w), np.ones(b))


def test_dtypes_promote_as_in_numpy_and_gradients_keep_their_own():
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    w = Tensor(np.ones((3, 3)), requires_grad=True)
    for function in (
        ops.add, ops.sub, ops.mul, ops.div, ops.pow, ops.maximum,
        lambda a, b: ops.where(np.array([True, False, True]), a[0], b[0]),
        ops.matmul, ops.affine, lambda a, b: ops.concatenate([a, b]), lambda a, b: ops.stack([a[0], b[0]]),
    ):  # fmt: skip
        x.grad = w.grad = None
        out = function(x, w) if function in (ops.matmul, ops.affine) else function(x[:, :], w[:2])
        assert out.dtype == np.float64
        out.sum().backward()
        assert x.grad.dtype == np.float32
        assert w.grad.dtype == np.float64


def test_integers_take_the_dtype_of_floats_beside_them():
    whole, single = Tensor([1, 2]), Tensor(np.ones(2, np.float32))
    assert whole.dtype == np.int64 and (whole * 2).dtype == np.int64
    for out in (whole * 0.5, whole + single, single - whole, whole / whole, whole / 2, whole**0.5, whole.mean()):
        assert out.dtype == np.float32
    for out in (whole.exp(), whole.sqrt(), whole.std(), Tensor([True, False]) * single, ops.where(whole > 1, 0.0, 1.0)):
        assert out.dtype == np.float32
    assert (whole + np.ones(2)).dtype == np.float64 and (whole / 2).tolist() == [0.5, 1]


@pytest.mark.parametrize("scalar", [2, 2.0, np.float64(2), np.float32(2), np.int64(2), True])
def test_scalars_are_weak(scalar):
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    for out in (x + scalar, scalar * x, x / scalar, scalar - x, ops.maximum(x, scalar), ops.where([True], x, scalar)):
        assert out.dtype == np.float32
    (x * scalar).sum().backward()
    assert x.grad.dtype == np.float32


def test_cast_and_its_shorthands():
    gradcheck(lambda x: ops.cast(x, np.float32).double(), np.array([0.5, -2.0]), eps=0.25, atol=1e-6)
    x = Tensor(np.array([1.5, -2.5]), requires_grad=True)
    assert x.to(np.float64) is x
    assert x.float().dtype == np.float32
    assert x.astype(np.int64).tolist() == [1, -2]
    assert not x.astype(bool).requires_grad


def test_comparisons_and_logic_give_bools_without_gradient():
    x = Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    for found, expected in [
        (x == 2, [False, True, False]),
        (x != 2, [True, False, True]),
        (x < 2, [True, False, False]),
        (2 <= x, [False, True, True]),
        (x > np.array([0, 2, 4]), [True, False, False]),
        (np.array([0, 2, 4]) >= x, [False, True, True]),
        ((x > 1) & (x < 3), [False, True, False]),
        ((x == 1) | (x == 3), [True, False, True]),
        ((x > 1) ^ (x > 2), [False, True, False]),
        (~(x > 1), [True, False, False]),
    ]:
        assert isinstance(found, Tensor)
        assert found.tolist() == expected
        assert not found.requires_grad
    assert (~Tensor([1, 2])).tolist() == [-2, -3]
    assert (x > 0).all().item() is True
    assert (x > 1).any(dim=0, keepdim=True).tolist() == [True]
    assert (x > 5).any().item() is False
    assert x.argmax().item() == 2
    assert Tensor([[1, 5], [7, 2]]).argmin(dim=1).tolist() == [0, 1]
    assert len({x, x}) == 1
