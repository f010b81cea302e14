"""fit: what is learnt, what data are taken, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn, optim
from fastseq.nn import functional
from fastseq.training import Callback
from fastseq.training.loop import OPTIMIZERS


def network(features=2, out=1, pool=True, seed=0, dropout=0.0):
    fs.manual_seed(seed)
    layers = [nn.LSTM(features, 8), *([nn.LastStep()] if pool else []), nn.Dropout(dropout), nn.Linear(8, out)]
    return nn.Sequential(*layers)


def ragged(rng, rows=60, features=2, longest=9):
    return [rng.standard_normal((int(n), features)).astype(np.float32) for n in rng.integers(1, longest, rows)]


class Watch(Callback):
    """Remembers the batches' losses."""

    def on_train_begin(self):
        self.losses = []

    def on_train_batch_end(self, batch, loss):
        self.losses.append(loss)


def quiet(model, x, y, **options):
    return fs.fit(model, x, y, verbose=False, **({"epochs": 2, "random_state": 0} | options))


def weights(model):
    return {name: t.numpy().copy() for name, t in model.state_dict().items()}


def same(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_learns_a_sum_over_ragged_rows(rng):
    x = ragged(rng, 400)
    y = np.array([row[:, 0].mean() for row in x])
    model = network()
    history = quiet(model, x, y, epochs=25, learning_rate=0.02, validation_split=0.25, metrics=["mae", "rmse"])
    assert history.history["val_loss"][-1] < 0.05 * np.var(y)
    assert set(history.history) == {"loss", "mae", "rmse", "val_loss", "val_mae", "val_rmse", "lr", "seconds"}
    assert history.epoch == list(range(25)) and len(history.history["seconds"]) == 25
    assert history.history["val_rmse"][-1] == pytest.approx(math.sqrt(history.history["val_loss"][-1]), rel=1e-5)
    assert history.history["lr"] == [0.02] * 25
    assert "25 epochs" in repr(history) and not history.interrupted and not history.stopped


def test_learns_classes(rng):
    x = ragged(rng, 300)
    y = np.array([int(row[-1, 0] > 0) for row in x])
    for loss, out, target in (("cross_entropy", 2, y), ("bce", 1, y), ("bce", 1, y.astype(bool))):
        history = quiet(network(out=out), x, target, loss=loss, epochs=15, learning_rate=0.02, metrics="accuracy")
        assert history.history["accuracy"][-1] > 0.93


@pytest.mark.parametrize("loss", ["mse", "mae", "l1", "huber", "bce"])
@pytest.mark.parametrize("optimizer", ["adam", "nadam", "sgd", optim.SGD])
def test_named_losses_and_optimizers(rng, loss, optimizer):
    x, y = rng.standard_normal((40, 5, 2)), (rng.standard_normal(40) > 0).astype(float)
    history = quiet(network(), x, y, loss=loss, optimizer=optimizer, epochs=8, learning_rate=0.01)
    assert history.history["loss"][-1] < history.history["loss"][0]


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_named_optimizer_learns(rng, optimizer):
    x = rng.standard_normal((40, 5, 2))
    rate = None if optimizer == "lbfgs" else 0.003 if optimizer == "lion" else 0.02
    history = quiet(network(), x, x[:, :, 0].mean(1), optimizer=optimizer, epochs=10, batch_size=40, learning_rate=rate)
    assert history.history["loss"][-1] < 0.95 * history.history["loss"][0]


def test_one_target_per_step_counts_valid_steps_only(rng):
    x = ragged(rng, 50)
    y = [row.sum(axis=1, keepdims=True) for row in x]
    model = network(pool=False)
    one_batch = quiet(model, x, y, batch_size=50, epochs=1, metrics=["mse"]).history
    steps = np.concatenate([fs.predict(network(pool=False), [row])[0] for row in x])
    expected = np.mean(np.square(steps - np.concatenate(y)))
    assert one_batch["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert one_batch["mse"][0] == pytest.approx(expected, rel=1e-5)
    assert quiet(model, x, [row[:, 0] for row in y], epochs=1).history["loss"]  # (T,) for outputs (T, 1)


def padded(rows, fill):
    data = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), fill, np.float32)
    for target, row in zip(data, rows, strict=True):
        target[: len(row)] = row
    return data, np.array([len(row) for row in rows])


def test_arrays_with_lengths_are_the_same_as_lists(rng):
    x = ragged(rng)
    steps = [row.cumsum(axis=0)[:, :1] for row in x]
    data, lengths = padded(x, np.nan)
    for model_of, y_list, y_array in (
        (lambda: network(), np.array([row.sum() for row in x]), np.array([row.sum() for row in x])),
        (lambda: network(pool=False), steps, padded(steps, np.nan)[0]),
    ):
        one, other = model_of(), model_of()
        a = quiet(one, x, y_list, validation_split=0.2).history
        b = quiet(other, data, y_array, lengths=lengths, validation_split=0.2).history
        assert a["loss"] == b["loss"] and a["val_loss"] == b["val_loss"]
        assert same(weights(one), weights(other))


def test_an_array_with_as_many_targets_per_row_as_steps_is_told_apart_by_the_models_output(rng):
    data, lengths = padded(ragged(rng), 0)
    y = rng.standard_normal(data.shape[:2])
    per_row = network(out=data.shape[1])
    history = quiet(per_row, data, y, lengths=lengths, batch_size=len(y), epochs=1).history
    expected = np.mean(np.square(fs.predict(network(out=data.shape[1]), data, lengths=lengths) - y))
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    history = quiet(network(pool=False), data, y, lengths=lengths, batch_size=len(y), epochs=1).history
    valid = np.arange(data.shape[1]) < lengths[:, None]
    out = fs.predict(network(pool=False), data, lengths=lengths)[:, :, 0]
    assert history["loss"][0] == pytest.approx(np.mean(np.square(out - y)[valid]), rel=1e-5)


def test_losses_of_ones_own(rng):
    x = ragged(rng)
    y = [row[:, :1] for row in x]

    def plain(prediction, target):
        assert prediction.shape == target.shape == (int(sum(map(len, x))), 1)
        return functional.mse_loss(prediction, target)

    def masked(prediction, target, lengths):
        return functional.mse_loss(prediction, target, lengths=lengths)

    found = [
        quiet(network(pool=False), x, y, loss=loss, batch_size=60).history["loss"] for loss in ("mse", plain, masked)
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    assert found[2] == found[0]
    assert quiet(network(), x, np.ones(60), loss=nn.MSELoss()).history["loss"]
    with pytest.raises(TypeError, match="loss: expected a function that returns a Tensor of one number"):
        quiet(network(), x, np.ones(60), loss=lambda p, t: 3.0)


def test_functions_get_integer_targets_as_they_are(rng):
    seen = []

    def loss(prediction, target):
        seen.append(target.dtype)
        return functional.cross_entropy(prediction, target)

    quiet(network(out=3), ragged(rng), rng.integers(0, 3, 60).astype(np.int16), loss=loss, epochs=1)
    assert set(seen) == {np.dtype(np.int64)}


def test_a_model_in_double_precision_computes_in_it(rng):
    model = network().double()
    quiet(model, ragged(rng), np.ones(60))
    assert fs.predict(model, ragged(rng)).dtype == np.float64


def test_the_same_seed_gives_the_same_bits(rng):
    x, y = ragged(rng), rng.standard_normal(60)
    found = []
    for seed in (1, 1, 2):
        model = network(dropout=0.5)
        history = quiet(model, x, y, random_state=seed, validation_split=0.3).history
        found.append((weights(model), history["loss"] + history["val_loss"]))
    assert same(found[0][0], found[1][0]) and found[0][1] == found[1][1]
    assert found[0][1] != found[2][1]
    generator = np.random.default_rng(1)
    model = network(dropout=0.5)
    quiet(model, x, y, random_state=generator, validation_split=0.3)
    assert same(found[0][0], weights(model))


def test_without_a_seed_manual_seed_decides(rng):
    x, y = ragged(rng), rng.standard_normal(60)
    found = []
    for _ in range(2):
        model = network()  # seeds the package
        quiet(model, x, y, random_state=None)
        found.append(weights(model))
    assert same(*found)
    quiet(model, x, y, random_state=None)


def test_training_does_not_disturb_the_packages_generator(rng):
    x, y = ragged(rng), rng.standard_normal(60)
    model = network(dropout=0.5)
    state = fs.nn.init.generator().bit_generator.state
    quiet(model, x, y, random_state=3)
    assert fs.nn.init.generator().bit_generator.state == state


class Recorder(nn.Module):
    """Remembers which rows and lengths it is given; a row's first value is its number."""

    def __init__(self):
        self.weight = nn.Parameter(np.ones(1, np.float32))
        self.seen = []

    def forward(self, x, lengths=None):
        if self.training:
            self.seen.append((x[:, 0, 0].astype(int).tolist(), x.shape, None if lengths is None else lengths.tolist()))
        return fs.Tensor(x[:, 0, :1]) * self.weight


def numbered(lengths):
    return [np.full((n, 1), i, np.float32) for i, n in enumerate(lengths)]


def test_every_epoch_takes_every_row_once_padded_to_the_batchs_longest(rng):
    lengths = rng.integers(1, 30, 103).tolist()
    model = Recorder()
    quiet(model, numbered(lengths), np.zeros(103), batch_size=8, epochs=2, learning_rate=0)
    assert len(model.seen) == 2 * 13
    for epoch in (model.seen[:13], model.seen[13:]):
        assert sorted(i for rows, _, _ in epoch for i in rows) == list(range(103))
        for rows, shape, given in epoch:
            assert given == [lengths[i] for i in rows] and shape[1] == max(given)
    assert model.seen[:13] != model.seen[13:]


def test_without_shuffling_rows_come_in_order():
    model = Recorder()
    quiet(model, numbered([3] * 10), np.zeros(10), batch_size=4, epochs=1, shuffle=False, validation_split=0.2)
    assert [rows for rows, _, _ in model.seen] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert model.seen[0][2] is None  # rows of one length: no lengths


def test_rows_set_aside_are_not_trained_on(rng):
    model = Recorder()
    quiet(model, numbered(rng.integers(1, 9, 50)), np.zeros(50), validation_split=0.2, epochs=3)
    trained = {i for rows, _, _ in model.seen for i in rows}
    assert len(trained) == 40


def test_validation_data_are_scored_in_evaluation_mode_without_dropout(rng):
    x, y = ragged(rng), rng.standard_normal(60)
    data, lengths = padded(x, 0)
    model = network(dropout=0.5)
    a = quiet(model, x, y, validation_data=(x, y)).history
    assert a["val_loss"][-1] == pytest.approx(np.mean(np.square(fs.predict(model, x)[:, 0] - y)), rel=1e-5)
    b = quiet(network(dropout=0.5), x, y, validation_data=(data, y, lengths)).history
    assert a["val_loss"] == b["val_loss"]


def test_modes_are_given_back(rng):
    model = network()
    model.eval()
    model[0].training = True
    quiet(model, ragged(rng), np.ones(60))
    assert [module.training for module in model.modules()] == [False, True, False, False, False]


def test_optimizer_objects_and_frozen_parameters(rng):
    x, y = ragged(rng), np.ones(60)
    model = network()
    model[0].requires_grad_(False)
    before = weights(model)
    optimizer = optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    quiet(model, x, y, optimizer=optimizer, learning_rate=0.01)
    assert optimizer.param_groups[0]["lr"] == 0.01
    after = weights(model)
    assert all(np.array_equal(before[n], after[n]) == n.startswith("0.") for n in before)
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="model: expected at least one parameter to learn"):
        quiet(model, x, y)


def test_clipping(rng):
    x, y = ragged(rng), 1e4 * np.ones(60)
    for options in ({"clip_norm": 1e-3}, {"clip_value": 1e-5}):
        model = network()
        before = weights(model)
        quiet(model, x, y, optimizer="sgd", learning_rate=1.0, epochs=1, batch_size=60, **options)
        moved = np.sqrt(sum(np.square(after - before[n]).sum() for n, after in weights(model).items()))
        assert 0 < moved < 2e-3


def test_an_interrupt_leaves_a_usable_model_and_the_history(rng):
    class Interrupt(Callback):
        def on_train_batch_end(self, batch, loss):
            if self.run.history.epoch == [0, 1] and batch == 1:
                raise KeyboardInterrupt

    model, x = network(), ragged(rng)
    history = quiet(model, x, np.ones(60), epochs=10, callbacks=[Interrupt()])
    assert history.interrupted and history.epoch == [0, 1]
    assert np.isfinite(fs.predict(model, x)).all()


def test_a_bar_with_losses(rng, capsys):
    fs.fit(network(), ragged(rng), np.ones(60), epochs=2, validation_split=0.2, verbose=True, random_state=0)
    shown = capsys.readouterr().err
    assert "epoch 2/2" in shown and "val_loss=" in shown and "4/4" in shown
    fs.fit(network(), ragged(rng), np.ones(60), epochs=1, verbose=0)
    assert capsys.readouterr().err == ""


def test_empty_rows_and_no_epochs(rng):
    x = [np.zeros((0, 2)), rng.standard_normal((3, 2)), np.zeros((0, 2))]
    assert np.isfinite(quiet(network(), x, np.ones(3), batch_size=1).history["loss"]).all()
    y = [np.zeros((len(row), 1)) for row in x]
    assert np.isfinite(quiet(network(pool=False), x, y, batch_size=3).history["loss"]).all()
    assert quiet(network(), x, np.ones(3), epochs=0).history == {}


class NoLengths(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(2, 1)

    def forward(self, x):
        return self.fc(x[:, -1])


BAD = {
    "x of two axes": (
        {"x": np.zeros((4, 5))},
        ValueError,
        r"x: expected shape \(B, T, F\).*got shape \(4, 5\).*x\[:, :, None\]",
    ),
    "x of text": ({"x": np.array([["a"]])}, TypeError, "x: expected numbers"),
    "x no array": ({"x": 3}, TypeError, r"x: expected an array \(B, T, F\) or a list"),
    "x empty": ({"x": []}, ValueError, "x: expected at least one row"),
    "x no rows": ({"x": np.zeros((0, 5, 2))}, ValueError, "x: expected at least one row"),
    "rows that differ": (
        {"x": [np.zeros((3, 2)), np.zeros((3, 1))], "y": np.zeros(2)},
        ValueError,
        r"x\[1\]: expected shape \(T, 2\)",
    ),
    "rows of one axis": ({"x": [np.zeros(3)]}, ValueError, r"x\[0\]: expected shape \(T, F\)"),
    "wrong features": ({"x": np.zeros((4, 5, 3))}, ValueError, r"x: expected shape \(B, T, 2\)"),
    "NaN in x": (
        {"x": np.full((4, 5, 2), np.nan)},
        ValueError,
        "x: expected finite numbers, got nan in row 0, step 0, feature 0",
    ),
    "lengths with a list": ({"x": [np.zeros((3, 2))] * 4, "lengths": [3] * 4}, ValueError, "lengths: expected None"),
    "lengths too long": ({"lengths": [5, 5, 6, 5]}, ValueError, "lengths: expected 0 <= length <= 5, got 6 in row 2"),
    "lengths of floats": ({"lengths": [5.0] * 4}, TypeError, "lengths"),
    "y too short": ({"y": np.zeros(3)}, ValueError, "y: expected 4 rows, as many as x, got 3"),
    "y of another shape": (
        {"y": np.zeros((4, 2))},
        ValueError,
        r"y: expected shape \(B, 1\), as the model's output, got .*2",
    ),
    "inf in y": ({"y": np.array([0, np.inf, 0, 0])}, ValueError, "y: expected finite numbers, got inf in row 1"),
    "y of text": ({"y": ["a", "b", "c", "d"]}, TypeError, r"y\[0\]: expected numbers"),
    "y per step of other lengths": (
        {"x": [np.zeros((n, 2)) for n in (1, 2, 3, 4)], "y": [np.zeros(n) for n in (1, 2, 2, 4)]},
        ValueError,
        r"y\[2\]: expected shape \(3\), one per step",
    ),
    "class out of range": (
        {"y": np.array([0, 1, 2, 0]), "loss": "cross_entropy"},
        ValueError,
        "target: expected classes in 0..0",
    ),
    "loss": ({"loss": "mape"}, ValueError, "loss: expected one of 'mse', 'mae'"),
    "loss no function": ({"loss": 3}, TypeError, "loss: expected one of"),
    "optimizer": ({"optimizer": "tiger"}, ValueError, "optimizer: expected one of 'sgd', 'adam', 'adamw'"),
    "optimizer no optimizer": ({"optimizer": dict}, TypeError, "optimizer: expected one of"),
    "learning rate": ({"learning_rate": -1}, ValueError, "learning_rate: expected a finite number >= 0"),
    "epochs": ({"epochs": 1.5}, TypeError, "epochs: expected an integer"),
    "batch size": ({"batch_size": 0}, ValueError, "batch_size: expected an integer >= 1"),
    "split": ({"validation_split": 1.0}, ValueError, "validation_split: expected a finite number >= 0 and < 1"),
    "split of nothing": ({"validation_split": 0.01}, ValueError, "validation_split: expected a share that leaves rows"),
    "two validations": (
        {"validation_split": 0.5, "validation_data": (np.zeros((4, 5, 2)), np.zeros(4))},
        ValueError,
        "validation_split: expected 0 where validation_data",
    ),
    "validation data": ({"validation_data": 3}, TypeError, r"validation_data: expected \(x, y\)"),
    "validation data with NaN": (
        {"validation_data": (np.full((1, 1, 2), np.nan), [0.0])},
        ValueError,
        r"validation_data\[0\]: expected finite numbers",
    ),
    "metric": ({"metrics": ["mape"]}, ValueError, "metrics: expected one of 'mae'"),
    "metric no function": ({"metrics": [3]}, TypeError, "metrics: expected one of"),
    "metric's name": ({"metrics": {"val_x": max}}, ValueError, "metrics: expected functions under names"),
    "callback": ({"callbacks": [print]}, TypeError, "callbacks: expected Callback objects"),
    "patience alone": ({"patience": 3}, ValueError, "patience: expected validation_data or a validation_split"),
    "clip_norm": ({"clip_norm": 0}, ValueError, "clip_norm: expected a finite number > 0"),
    "clip_value": ({"clip_value": "1"}, TypeError, "clip_value: expected a number"),
    "random state": ({"random_state": "x"}, TypeError, "random_state: expected an integer"),
    "shuffle": ({"shuffle": 1}, TypeError, "shuffle: expected True or False"),
    "model": ({"model": print}, TypeError, "model: expected a fastseq.nn.Module"),
    "ragged rows without lengths": (
        {"model": NoLengths(), "lengths": [5, 4, 3, 2]},
        TypeError,
        "model: expected a forward that takes lengths.*got NoLengths",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_named_before_anything_is_trained(case):
    changes, kind, message = BAD[case]
    arguments = {"model": network(), "x": np.zeros((4, 5, 2)), "y": np.zeros(4)} | changes
    before = weights(arguments["model"]) if isinstance(arguments["model"], nn.Module) else {}
    with pytest.raises(kind, match=message):
        quiet(**arguments)
    if before:
        assert same(before, weights(arguments["model"]))


def test_what_stands_past_a_rows_end_may_be_anything(rng):
    x = rng.standard_normal((4, 5, 2))
    y = rng.standard_normal((4, 5, 1))
    x[1, 3:], y[1, 3:] = np.nan, np.inf
    quiet(network(pool=False), x, y, lengths=[5, 3, 5, 5])
    y[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"y: expected finite numbers, got nan in row 1 at \(2, 0\)"):
        quiet(network(pool=False), x, y, lengths=[5, 3, 5, 5])
    y = rng.standard_normal((4, 5))
    y[1, 4] = np.nan
    with pytest.raises(ValueError, match=r"y: expected finite numbers, got nan in row 1 at \(4,\)"):
        quiet(network(out=5), x, y, lengths=[5, 3, 5, 5])
