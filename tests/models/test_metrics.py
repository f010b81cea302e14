"""Metrics and losses as objects and functions: numbers of Keras's own tests, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq import layers, losses, metrics, models

TRUE, SAID = np.array([0, 0, 1, 1]), np.array([0, 0.5, 0.3, 0.9])


def test_counted_metrics():
    """As keras/src/metrics/confusion_metrics_test.py has them."""
    assert metrics.AUC(num_thresholds=3)(TRUE, SAID) == pytest.approx(0.75)
    assert metrics.AUC(num_thresholds=3)(TRUE, SAID, sample_weight=[1, 0, 0, 1]) == pytest.approx(1.0)
    assert metrics.Precision()([0, 1, 1, 1], [1, 0, 1, 1]) == pytest.approx(2 / 3)
    assert metrics.Recall()([0, 1, 1, 1], [1, 0, 1, 1]) == pytest.approx(2 / 3)
    assert metrics.Precision(thresholds=0.2)(TRUE, SAID) == pytest.approx(2 / 3)
    assert metrics.Recall()(TRUE, SAID) == 0.5 and metrics.Recall()(TRUE, np.zeros(4)) == 0
    assert metrics.Precision()(TRUE, np.zeros(4)) == 0  # nothing is taken for yes


def test_classes():
    one_hot, said = np.array([[0, 0, 1], [0, 1, 0]]), np.array([[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    assert metrics.CategoricalAccuracy()(one_hot, said) == 0.5
    assert metrics.CategoricalAccuracy()(one_hot, said, sample_weight=[0.7, 0.3]) == pytest.approx(0.3)
    assert metrics.SparseCategoricalAccuracy()([2, 1], said, [0.7, 0.3]) == pytest.approx(0.3)
    for k, share in ((1, 0.5), (2, 1.0), (5, 1.0)):
        assert metrics.TopKCategoricalAccuracy(k=k)(one_hot, said) == share
        assert metrics.SparseTopKCategoricalAccuracy(k=k)([2, 1], said) == share
    assert metrics.TopKCategoricalAccuracy(k=1)(one_hot, said, [0.7, 0.3]) == pytest.approx(0.3)
    assert metrics.Accuracy()([[1], [2], [3], [4]], [[0], [2], [3], [4]]) == 0.75
    assert metrics.BinaryAccuracy(threshold=0.2)(TRUE, SAID) == 0.75
    assert metrics.SparseCategoricalCrossentropy()([1, 2], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]) == pytest.approx(
        1.1769, abs=1e-4
    )
    logits = metrics.BinaryCrossentropy(from_logits=True)([[1, 0]], [[2.0, -1.0]])
    assert logits == pytest.approx(np.log1p(np.exp([-2.0, -1.0])).mean())


def test_states_go_from_batch_to_batch():
    metric = metrics.MeanSquaredError()
    assert metric.result() == 0
    metric.update_state([0.0, 1.0], [1.0, 1.0])
    assert metric.result() == 0.5
    metric.update_state([0.0, 0.0], [3.0, 0.0], sample_weight=[2.0, 0.0])
    assert metric.result() == pytest.approx((1 + 0 + 18) / 4)
    metric.reset_state()
    assert metric([[1.0, 2.0]], [[1.0, 4.0]]) == 2
    assert metrics.RootMeanSquaredError()([0.0, 0.0], [3.0, 5.0], [1.0, 0.0]) == 3
    again = metrics.AUC.from_config(metrics.AUC(num_thresholds=5, name="area").get_config())
    assert again.name == "area" and len(again.thresholds) == 5
    with pytest.raises(ValueError, match="sample_weight: expected None for r2_score, which is no mean"):
        metrics.R2Score()([[1.0], [2.0]], [[1.0], [2.0]], [1.0, 2.0])


def test_metrics_of_one_s_own(rng):
    class Largest(metrics.Metric):
        """As one writes it for Keras."""

        def __init__(self, name="largest", **options):
            super().__init__(name=name, **options)
            self.found = 0.0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.found = max(self.found, float(np.abs(np.asarray(y_true) - np.asarray(y_pred)).max()))

        def result(self):
            return self.found

        def reset_state(self):
            self.found = 0.0

    class Bias(metrics.Metric):
        def measure(self, y_true, y_pred, weights=None):
            return metrics.mean(y_pred - y_true, weights)

    x, y = rng.standard_normal((9, 3)).astype(np.float32), rng.standard_normal((9, 1)).astype(np.float32)
    model = models.Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[Largest(), Bias()], weighted_metrics=[Bias(name="weighed"), "mae"])
    weights = np.arange(9.0)
    found = model.evaluate(x, y, batch_size=4, sample_weight=weights, return_dict=True)
    errors = model.predict(x) - y
    assert found["largest"] == pytest.approx(np.abs(errors).max(), rel=1e-6)
    assert found["bias"] == pytest.approx(errors.mean(), rel=1e-5)
    assert found["weighed"] == pytest.approx((errors[:, 0] * weights).sum() / 36, rel=1e-5)
    assert found["mae"] == pytest.approx((np.abs(errors[:, 0]) * weights).sum() / 36, rel=1e-5)


def test_weighted_metrics_leave_padding_out(rng):
    x = rng.standard_normal((4, 5, 2)).astype(np.float32)
    x[:, 3:] = 0
    y, weights = rng.standard_normal((4, 5, 1)).astype(np.float32), np.arange(1.0, 5.0)
    model = models.Sequential(
        [layers.Input((5, 2)), layers.Masking(), layers.LSTM(3, return_sequences=True), layers.Dense(1)]
    )
    model.compile("sgd", "mse", weighted_metrics=["mae"])
    found = model.evaluate(x, y, sample_weight=weights, return_dict=True)["mae"]
    errors = np.abs(model.predict(x) - y)[:, :3, 0]
    assert found == pytest.approx((errors * weights[:, None]).sum() / (3 * weights.sum()), rel=1e-5)


def test_losses_by_hand():
    true, said = np.array([[1.0, 0, 1], [0, 1, 1]]), np.array([[0.5, 0.25, 0.8], [0.1, 0.6, 0.4]])
    np.testing.assert_allclose(losses.kl_divergence(true, said), [np.log(2) + np.log(1.25), -np.log(0.24)], rtol=1e-5)
    np.testing.assert_allclose(losses.hinge(true, said), [(0.5 + 1.25 + 0.2) / 3, (1.1 + 0.4 + 0.6) / 3])
    np.testing.assert_allclose(
        losses.SquaredHinge(reduction="sum")(true, said), np.square([0.5, 1.25, 0.2, 1.1, 0.4, 0.6]).sum() / 3
    )
    np.testing.assert_allclose(losses.categorical_hinge(true, said), [0.0, 0.1], atol=1e-12)
    poisson = said - true * np.log(said + 1e-7)
    np.testing.assert_allclose(losses.Poisson()(true, said), poisson.mean())
    cosine = -(true * said).sum(1) / np.linalg.norm(true, axis=1) / np.linalg.norm(said, axis=1)
    np.testing.assert_allclose(losses.cosine_similarity(true, said), cosine)
    np.testing.assert_allclose(losses.mean_squared_error(true, said), np.square(true - said).mean(axis=1))
    weighed = losses.MeanSquaredError(reduction="mean_with_sample_weight")
    np.testing.assert_allclose(weighed(true, said, [3.0, 1.0]), np.square(true - said).mean(axis=1) @ [0.75, 0.25])
    assert float(losses.MeanAbsoluteError(reduction="mean")([[1], [2]], [[3], [2]])) == 1.0  # whole numbers, too
    again = losses.Huber.from_config(losses.Huber(delta=2.0, reduction="sum").get_config())
    assert (again.delta, again.reduction) == (2.0, "sum")
    for wrong, message in ((lambda: losses.BinaryCrossentropy(axis=1), "axis: expected -1"),
                           (lambda: losses.Hinge(reduction="max"), "reduction: expected one of")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            wrong()
    with pytest.raises(AttributeError, match="fastseq.losses has no attribute 'Dice'; it has MeanSquaredError"):
        losses.Dice  # noqa: B018
    with pytest.raises(AttributeError, match="fastseq.metrics has no attribute 'MeanIoU'; it has MeanSquaredError"):
        metrics.MeanIoU  # noqa: B018


def test_a_loss_of_one_s_own_uses_keras_s_functions(rng):
    def both(y_true, y_pred):
        return losses.mean_squared_error(y_true, y_pred) + losses.mean_absolute_error(y_true, y_pred) * 0.5

    x, y = rng.standard_normal((8, 3)).astype(np.float32), rng.standard_normal((8, 1)).astype(np.float32)
    model = models.Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile("sgd", loss={"dense": [both]} if model.output_names == ["dense"] else both)
    errors = model.predict(x) - y
    assert model.evaluate(x, y) == pytest.approx((errors**2).mean() + 0.5 * np.abs(errors).mean(), rel=1e-5)
    history = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]
