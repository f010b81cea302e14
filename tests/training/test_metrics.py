"""Measures of fit: by hand, beside scikit-learn, cut to lengths, by name in fit, bad input."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

import fastseq as fs
from fastseq.autograd import Tensor
from fastseq.training import metrics

RANDOM = np.random.default_rng(5)
TRUE, FOUND = RANDOM.standard_normal((4, 6, 2)), RANDOM.standard_normal((4, 6, 2))
CLASSES, SCORES = RANDOM.integers(0, 4, (4, 6)), RANDOM.standard_normal((4, 6, 4))
LENGTHS = np.array([6, 2, 0, 3])
VALID = np.arange(6) < LENGTHS[:, None]

OF_NUMBERS = {"mae": metrics.mae, "mse": metrics.mse, "rmse": metrics.rmse, "r2": metrics.r2}
OF_CLASSES = {
    "accuracy": metrics.accuracy,
    "top_k": lambda *a, **o: metrics.top_k_accuracy(*a, k=2, **o),
    "f1_macro": metrics.f1,
    "f1_micro": lambda *a, **o: metrics.f1(*a, average="micro", **o),
    "f1_weighted": lambda *a, **o: metrics.f1(*a, average="weighted", **o),
    "perplexity": metrics.perplexity,
}
EACH = [(name, measure, TRUE, FOUND) for name, measure in OF_NUMBERS.items()]
EACH += [(name, measure, CLASSES, SCORES) for name, measure in OF_CLASSES.items()]
each_measure = pytest.mark.parametrize(("name", "measure", "true", "found"), EACH, ids=[case[0] for case in EACH])


def test_on_paper():
    true, found = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 1.0])
    assert metrics.mae(true, found) == pytest.approx(4 / 3)
    assert metrics.mse(true, found) == pytest.approx(10 / 3)
    assert metrics.rmse(true, found) == pytest.approx(math.sqrt(10 / 3))
    assert metrics.r2(true, found) == pytest.approx(1 - 10 / (14 / 3))
    classes = np.array([0, 0, 1, 2])
    scores = np.log([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.4, 0.35, 0.25]])
    assert metrics.accuracy(classes, scores) == 0.5
    assert metrics.top_k_accuracy(classes, scores, k=2) == 0.5
    assert metrics.top_k_accuracy(classes, scores, k=3) == 1
    assert metrics.confusion_matrix(classes, scores).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    # precision and recall: 1/2 1/2, 1/2 1, 0 0
    assert metrics.f1(classes, scores) == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert metrics.f1(classes, scores, average="weighted") == pytest.approx((2 * 1 / 2 + 2 / 3) / 4)
    assert metrics.f1(classes, scores, average="micro") == pytest.approx(0.5)
    assert metrics.perplexity(classes, scores) == pytest.approx((0.5 * 0.2 * 0.8 * 0.25) ** -0.25)
    assert metrics.perplexity(np.array([0, -100, 1, 2]), scores) == pytest.approx((0.5 * 0.8 * 0.25) ** (-1 / 3))


def test_beside_scikit_learn():
    theirs = pytest.importorskip("sklearn.metrics")
    flat, chosen, scores = CLASSES.ravel(), SCORES.argmax(-1).ravel(), SCORES.reshape(-1, 4)
    assert metrics.accuracy(CLASSES, SCORES) == theirs.accuracy_score(flat, chosen)
    for k in (1, 2, 3):
        assert metrics.top_k_accuracy(CLASSES, SCORES, k=k) == theirs.top_k_accuracy_score(flat, scores, k=k)
    assert metrics.perplexity(CLASSES, SCORES) == pytest.approx(
        math.exp(theirs.log_loss(flat, np.exp(scores) / np.exp(scores).sum(1, keepdims=True)))
    )
    pairs = TRUE.reshape(-1, 2), FOUND.reshape(-1, 2)
    assert metrics.mae(TRUE, FOUND) == pytest.approx(theirs.mean_absolute_error(*pairs))
    assert metrics.mse(TRUE, FOUND) == pytest.approx(theirs.mean_squared_error(*pairs))
    assert metrics.r2(*pairs) == pytest.approx(theirs.r2_score(*pairs))


@each_measure
def test_padding_counts_for_nothing(name, measure, true, found):
    dirty_true, dirty_found = true.copy(), found.copy()
    dirty_true[~VALID] = -7
    dirty_found[~VALID] = np.nan
    expected = measure(true[VALID], found[VALID])
    assert np.isfinite(expected) and expected != measure(true, found)
    assert measure(dirty_true, dirty_found, lengths=LENGTHS) == expected
    assert measure(Tensor(true), Tensor(found), lengths=Tensor(LENGTHS)) == expected
    matrix = metrics.confusion_matrix(np.where(VALID, CLASSES, 99), SCORES, lengths=LENGTHS)
    assert matrix.shape == (4, 4) and matrix.sum() == 11


@each_measure
def test_of_nothing_the_mean_is_nan(name, measure, true, found):
    assert np.isnan(measure(true[:0], found[:0]))
    assert np.isnan(measure(true, found, lengths=[0, 0, 0, 0]))


@each_measure
def test_shapes_must_fit(name, measure, true, found):
    with pytest.raises(ValueError, match="y_pred: expected"):
        measure(true, found[:, :5])
    with pytest.raises(ValueError, match="y_pred: expected"):
        measure(true, found[:3], lengths=LENGTHS)
    with pytest.raises(TypeError, match="y_true: expected numbers"):
        measure(np.array(["a"]), found)
    with pytest.raises(ValueError, match="lengths: expected 0 <= length <= 6"):
        measure(true, found, lengths=[7, 0, 0, 0])


def test_logits_of_two_classes():
    true, logits = np.array([0, 1, 1, 0]), np.array([[-1.0], [2.0], [-3.0], [4.0]])
    for shaped in (logits, logits[:, 0]):
        assert metrics.accuracy(true, shaped) == 0.5
        assert metrics.accuracy(true[:, None].astype(np.float32), logits) == 0.5
        assert metrics.confusion_matrix(true, shaped).tolist() == [[1, 1], [1, 1]]
        assert metrics.f1(true.astype(np.float32), shaped, average="micro") == 0.5


def test_a_nan_score_is_no_right_answer():
    scores = np.array([[np.nan, 1.0, 0.0], [0.0, 1.0, np.nan]])
    assert metrics.top_k_accuracy(np.array([0, 1]), scores, k=1) == 0
    assert metrics.top_k_accuracy(np.array([0, 1]), scores, k=2) == 0.5


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="average: expected one of"):
        metrics.f1(CLASSES, SCORES, average="binary")
    with pytest.raises(ValueError, match="k: expected an integer >= 1"):
        metrics.top_k_accuracy(CLASSES, SCORES, k=0)
    with pytest.raises(ValueError, match=r"y_true: expected classes in 0..3, got 4"):
        metrics.perplexity(CLASSES + 1, SCORES)
    with pytest.raises(ValueError, match=r"y_true: expected classes in 0..2, got 3"):
        metrics.confusion_matrix(CLASSES, SCORES, num_classes=3)
    with pytest.raises(TypeError, match="y_true: expected integer classes"):
        metrics.perplexity(TRUE[..., 0], SCORES)


def test_by_name_in_fit():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, 5, 2))
    classes, lengths = rng.integers(0, 6, (24, 5)), rng.integers(1, 6, 24)
    names = ["accuracy", "top_5_accuracy", "f1_macro", "f1_micro", "f1_weighted", "perplexity"]
    model = fs.nn.Linear(2, 6)

    class PerStep(fs.nn.Module):
        def __init__(self):
            self.layer = model

        def forward(self, x, lengths=None):
            return self.layer(x)

    options = {"epochs": 2, "verbose": False, "random_state": 0}
    found = fs.fit(PerStep(), x, classes, lengths=lengths, loss="cross_entropy", metrics=names, **options).history
    assert all(len(found[name]) == 2 and np.isfinite(found[name]).all() for name in names)
    assert found["perplexity"][0] == pytest.approx(math.exp(found["loss"][0]), rel=1e-5)
    assert found["f1_micro"] == pytest.approx(found["accuracy"])
    model = fs.nn.Linear(2, 1)
    found = fs.fit(PerStep(), x, x.sum(-1, keepdims=True), metrics=["r2", "mae", "rmse"], **options).history
    assert found["rmse"][0] == pytest.approx(math.sqrt(found["loss"][0]), rel=1e-5) and found["r2"][1] > found["r2"][0]


def test_what_is_missing_is_named_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    for name in ("r2", "f1_macro"):
        with pytest.raises(ImportError, match=r'sklearn.metrics is needed here.*"fastseq-numba\[demo\]"'):
            metrics.resolve(name)
    assert metrics.resolve(["mae", "accuracy", "perplexity"])
