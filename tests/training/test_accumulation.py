"""Gradients accumulated over batches are those of the large batch."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn, optim
from fastseq.training import Callback


def network(pool=True, out=1):
    fs.manual_seed(0)
    layers = [nn.LSTM(2, 5, dtype=np.float64), *([nn.LastStep()] if pool else []), nn.Linear(5, out, dtype=np.float64)]
    return nn.Sequential(*layers)


def ragged(rng, rows):
    return [rng.standard_normal((int(n), 2)) for n in rng.integers(1, 9, rows)]


def fitted(net, x, y, **options):
    options = {"epochs": 3, "shuffle": False, "verbose": False, "learning_rate": 0.05} | options
    return fs.fit(net, x, y, **options).history["loss"]


def assert_same(one, other):
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rows", [24, 22])  # the last batch is full, or shorter than the others
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_equals_the_large_batch(rng, rows, optimizer):
    x, y = ragged(rng, rows), rng.standard_normal(rows)
    large, small = network(), network()
    expected = fitted(large, x, y, batch_size=12, optimizer=optimizer)
    found = fitted(small, x, y, batch_size=4, accumulate=3, optimizer=optimizer)
    assert_same(large, small)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_counts_valid_steps_where_there_is_a_target_for_each(rng, loss):
    x = ragged(rng, 20)
    y = [row.cumsum(0)[:, :1] for row in x]
    if loss == "cross_entropy":
        y = [(row[:, 0] > 0).astype(int) for row in y]
    large, small = network(False, 2 if loss != "mse" else 1), network(False, 2 if loss != "mse" else 1)
    expected = fitted(large, x, y, batch_size=20, loss=loss, clip_norm=0.1)
    found = fitted(small, x, y, batch_size=3, accumulate=7, loss=loss, clip_norm=0.1)
    assert_same(large, small)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_batches_without_a_step_do_not_count(rng):
    x = [rng.standard_normal((4, 2)), np.zeros((0, 2)), np.zeros((0, 2)), rng.standard_normal((6, 2))]
    y = [row[:, :1] for row in x]
    large, small = network(False), network(False)
    fitted(large, x, y, batch_size=4)
    fitted(small, x, y, batch_size=1, accumulate=4)
    assert_same(large, small)
    assert all(np.isfinite(p.numpy()).all() for p in small.parameters())


def test_callbacks_see_every_batch_and_every_step(rng):
    seen = []

    class Watch(Callback):
        def on_train_batch_end(self, batch, loss):
            seen.append(batch)

        def on_optimizer_step(self):
            seen.append("step")

    fitted(network(), ragged(rng, 20), rng.standard_normal(20), batch_size=4, accumulate=3, epochs=1, callbacks=Watch())
    assert seen == ["step", 0, 1, 2, "step", 3, 4]


def test_one_is_no_accumulation(rng):
    x, y = ragged(rng, 20), rng.standard_normal(20)
    one, other = network(), network()
    assert fitted(one, x, y, batch_size=6) == fitted(other, x, y, batch_size=6, accumulate=1)
    assert all(np.array_equal(p.numpy(), q.numpy()) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def test_lbfgs_learns_from_all_rows_at_once(rng):
    x, y = ragged(rng, 40), rng.standard_normal(40)
    y = np.array([row[:, 0].mean() for row in x])
    whole, parts = network(), network()
    losses = fitted(whole, x, y, batch_size=40, optimizer="lbfgs", learning_rate=None, epochs=6)
    assert losses[-1] < 0.05 * losses[0]
    found = fitted(parts, x, y, batch_size=8, accumulate=5, optimizer="lbfgs", learning_rate=None, epochs=1)
    assert found[0] == pytest.approx(losses[0])


def test_lbfgs_has_no_rate_and_takes_gradients_as_they_are(rng):
    x, y = rng.standard_normal((8, 3, 2)), rng.standard_normal(8)
    net = network()
    history = fs.fit(net, x, y, optimizer="lbfgs", epochs=1, verbose=False)
    rated = "optimizer: expected one with a learning rate"
    assert np.isnan(history.history["lr"]).all()
    for options, message in (
        ({"learning_rate": 0.1}, "learning_rate: expected None for LBFGS"),
        ({"clip_norm": 1.0}, "clip_norm: expected None for LBFGS"),
        ({"callbacks": fs.training.LearningRateScheduler(lambda e, r: 0.1)}, rated),
        ({"scheduler": lambda o: optim.lr_scheduler.StepLR(o, 2)}, rated),
    ):
        with pytest.raises(ValueError, match=message):
            fs.fit(net, x, y, verbose=False, **({"optimizer": "lbfgs"} | options))
    with pytest.raises(ValueError, match="learning_rate: expected None for LBFGS"):
        fs.fit(net, x, y, verbose=False, optimizer=optim.LBFGS(net.parameters()), learning_rate=0.1)


@pytest.mark.parametrize("wrong", [0, -1])
def test_arguments_are_checked(rng, wrong):
    with pytest.raises(ValueError, match="accumulate: expected an integer >= 1"):
        fitted(network(), ragged(rng, 4), np.zeros(4), accumulate=wrong)


@pytest.mark.parametrize("loss", ["cross_entropy", nn.CrossEntropyLoss(ignore_index=7, axis=-1)])
@pytest.mark.parametrize("per_step", [True, False])
def test_an_epoch_s_loss_is_the_mean_over_the_targets_that_count(rng, loss, per_step):
    """A batch whose targets are all left out counts for nothing, one with few for little."""
    ignored = -100 if loss == "cross_entropy" else 7
    x = rng.standard_normal((12, 5, 2))
    y = rng.integers(0, 3, (12, 5) if per_step else 12)
    y[:4] = ignored
    y[5:7] = ignored
    net = network(not per_step, 3)
    wanted = nn.functional.cross_entropy(net(x), y, ignore_index=ignored, axis=-1).item()
    options = {"loss": loss, "batch_size": 4, "optimizer": "sgd", "learning_rate": 0.0, "epochs": 1}
    history = fs.fit(net, x, y, validation_data=(x, y), shuffle=False, verbose=False, **options).history
    np.testing.assert_allclose([history["loss"][0], history["val_loss"][0]], wanted, rtol=1e-12)
    assert np.isfinite(fitted(net, x, y, loss=loss, batch_size=4, accumulate=2)).all()
    assert all(np.isfinite(p.numpy()).all() for p in net.parameters())
