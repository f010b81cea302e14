"""Dropout: share and scale of what is kept, repeatability, gradient, modes."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq.autograd import Tensor
from fastseq.nn import functional
from fastseq.nn.dropout import Dropout, VariationalDropout
from fastseq.nn.init import manual_seed


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_right_share_is_dropped_and_the_rest_scaled(p):
    manual_seed(1)
    out = functional.dropout(np.ones(100_000, np.float32), p).numpy()
    assert np.mean(out == 0) == pytest.approx(p, abs=0.01)
    np.testing.assert_allclose(out[out != 0], 1 / (1 - p), rtol=1e-6)
    assert out.dtype == np.float32


def test_the_gradient_takes_the_same_path():
    x = Tensor(np.full((4, 5), 3.0), requires_grad=True)
    out = functional.dropout(x, 0.4)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy() * 3, out.numpy())


def test_a_seed_repeats_it_in_both_dtypes():
    results = []
    for dtype in (np.float32, np.float64, np.float32):
        manual_seed(7)
        results.append(Dropout(0.3)(np.ones((8, 8), dtype)).numpy() != 0)
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()
    assert (Dropout(0.3)(np.ones((8, 8))).numpy() != 0).tolist() != results[0].tolist()


@pytest.mark.usefixtures("threads")
def test_any_size_memory_and_number_of_threads(rng):
    for shape in ((1,), (3, 5), (7, 33), (260, 300)):
        x = rng.standard_normal(shape).astype(np.float32)
        found = []
        for count in (fs.get_num_threads(), 1):
            fs.set_num_threads(count)
            manual_seed(3)
            found.append(functional.dropout(x, 0.5).numpy())
            manual_seed(3)
            found.append(functional.dropout(np.asfortranarray(x), 0.5).numpy())
        assert len({one.tobytes() for one in found}) == 1
        assert ((found[0] == 0) | (found[0] == 2 * x)).all()


def test_nan_is_seen_even_where_it_is_dropped():
    out = functional.dropout(np.full(1000, np.nan), 0.5).numpy()
    assert np.isnan(out).all()


def test_evaluation_and_the_extremes():
    x = Tensor(np.ones((2, 3)))
    layer = Dropout(0.5)
    assert layer.training
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert (Dropout(1.0)(x).numpy() == 0).all()
    assert Dropout(0.5)(np.ones((0, 3))).shape == (0, 3)
    assert repr(Dropout.from_config(layer.config())) == "Dropout(p=0.5)"


@pytest.mark.parametrize("given", [np.ones((2, 3, 4), int), np.ones((2, 3, 4), bool)])
def test_whole_numbers_cannot_be_scaled(given):
    with pytest.raises(TypeError, match="input: expected float32 or float64, got .*(int64|bool)"):
        Dropout(0.5)(given)
    with pytest.raises(TypeError, match="x: expected float32 or float64, got .*(int64|bool)"):
        VariationalDropout(0.5)(given)
    assert Dropout(0.5).eval()(given).numpy() is given


@pytest.mark.parametrize(
    ("p", "error"), [(-0.1, ValueError), (1.1, ValueError), (np.nan, ValueError), ("a", TypeError)]
)
def test_probabilities_are_checked(p, error):
    with pytest.raises(error, match="p: expected"):
        Dropout(p)
    with pytest.raises(error, match="p: expected"):
        functional.dropout(np.ones(3), p)


@pytest.mark.parametrize("batch_first", [True, False])
def test_one_mask_for_all_steps_of_a_row(batch_first):
    layer, x = VariationalDropout(0.4, batch_first), Tensor(np.ones((50, 7, 30), np.float32), requires_grad=True)
    manual_seed(0)
    out = layer(x)
    kept = out.numpy() if batch_first else out.numpy().swapaxes(0, 1)
    assert (kept == kept[:, :1]).all()
    rows = kept[:, 0]
    assert abs((rows == 0).mean() - 0.4) < 0.06
    np.testing.assert_allclose(rows[rows != 0], 1 / 0.6, rtol=1e-6)
    assert len({row.tobytes() for row in rows}) > 5  # rows differ
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), out.numpy())
    assert layer.eval()(x) is x and VariationalDropout(0.0)(x) is x
    with pytest.raises(ValueError, match="x: expected shape"):
        layer(np.ones((3, 4)))
