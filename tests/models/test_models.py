"""Sequential and Model: putting together, training, evaluating, telling, saving, and what they refuse."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import fastseq as fs
from fastseq import callbacks, layers, losses, models, nn, optim, optimizers
from fastseq.persistence import ModelFileError


@pytest.fixture(autouse=True)
def fresh():
    fs.manual_seed(0)
    models.clear_session()


def data_of(rng, rows=20, steps=6, features=3):
    x = rng.standard_normal((rows, steps, features)).astype(np.float32)
    return x, x.sum(axis=(1, 2), keepdims=True)[:, :, 0]


def small(**options):
    model = models.Sequential([layers.Input((6, 3)), layers.LSTM(4), layers.Dense(1)])
    model.compile(**{"optimizer": "adam", "loss": "mse", **options})
    return model


# ---- putting together


def test_sequential_waits_for_a_shape(rng):
    x, y = data_of(rng)
    model = models.Sequential([layers.LSTM(4, return_sequences=True), layers.GRU(3)])
    model.add(layers.Dense(1))
    assert not model.built and model.get_weights() == []
    assert model(x).shape == (20, 1) and model.built and model.input_shape == (None, 6, 3)
    by_fit = models.Sequential([layers.LSTM(4), layers.Dense(1)])
    by_fit.compile("adam", "mse")
    by_fit.fit(x, y, verbose=0)
    by_build = models.Sequential([layers.LSTM(4), layers.Dense(1)])
    by_build.build((None, 6, 3))
    first = models.Sequential([layers.LSTM(4, input_shape=(6, 3)), layers.Dense(1)])
    text = models.Sequential([layers.Embedding(9, 4, mask_zero=True), layers.LSTM(2)])
    text.build((None, 6))
    for one in (by_fit, by_build, first, text):
        assert one.built and one.count_params() > 0
    assert first.output_names == ["dense_3"] and [layer.name for layer in first.layers] == ["lstm_3", "dense_3"]


def test_sequential_takes_layers_away():
    model = small()
    last = model.pop()
    assert last.name == "dense" and model.outputs[0].shape == (None, 4)
    model.add(layers.Dense(2))
    assert model.outputs[0].shape == (None, 2) and len(model.get_weights()) == 5


def test_sequential_refuses_what_is_no_layer():
    with pytest.raises(TypeError, match="layer: expected a layer of fastseq.layers"):
        models.Sequential([nn.Linear(3, 4)])
    with pytest.raises(ValueError, match="names of their own"):
        models.Sequential([layers.Dense(3, name="a"), layers.Dense(3, name="a")])
    with pytest.raises(ValueError, match="layers with one output, not 'lstm'"):
        models.Sequential([layers.Input((3, 2)), layers.LSTM(3, return_state=True)])


def test_models_have_several_inputs_and_outputs(rng):
    left, right = layers.Input((4,), name="left"), layers.Input((None, 2), name="right")
    hidden = layers.Concatenate()([layers.Dense(3)(left), layers.LSTM(3)(right)])
    model = models.Model([left, right], {"total": layers.Dense(1)(hidden), "kind": layers.Dense(2, "softmax")(hidden)})
    a, b = rng.standard_normal((5, 4)), rng.standard_normal((5, 7, 2))
    by_list, by_name = model.predict([a, b]), model.predict({"right": b, "left": a})
    assert set(by_list) == {"total", "kind"} and by_list["kind"].shape == (5, 2)
    assert all(np.array_equal(by_list[name], by_name[name]) for name in by_list)
    assert model.input_names == ["left", "right"] and model.output_names == ["kind", "total"]  # sorted
    model.compile(
        "sgd",
        loss={"total": "mse", "kind": "sparse_categorical_crossentropy"},
        loss_weights={"total": 0.5},
        metrics={"kind": ["accuracy"]},
    )
    y = {"total": rng.standard_normal(5), "kind": rng.integers(0, 2, 5)}
    history = model.fit({"left": a, "right": b}, y, epochs=2, verbose=0).history
    assert set(history) == {"loss", "total_loss", "kind_loss", "kind_accuracy"}
    found = model.evaluate([a, b], y, return_dict=True)
    assert found["loss"] == pytest.approx(0.5 * found["total_loss"] + found["kind_loss"], rel=1e-5)
    assert model.metrics_names == list(found) == ["loss", "kind_loss", "total_loss", "kind_accuracy"]
    with pytest.raises(ValueError, match="x: expected the names left, right, got left"):
        model.predict({"left": a})
    with pytest.raises(ValueError, match="x: expected 2 items, for left, right, got 3"):
        model.predict([a, b, b])
    with pytest.raises(ValueError, match="x: expected 5 rows, as many as x, got 4"):
        model.predict([a, b[:4]])


def test_symbolic_tensors_add_and_multiply(rng):
    a = layers.Input((3,))
    model = models.Model(a, (a + a) * layers.Dense(3, kernel_initializer="identity")(a))
    x = rng.standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_allclose(model.predict(x), 2 * x * x, rtol=1e-6)
    with pytest.raises(TypeError, match="symbolic tensor is for layers"):
        np.asarray(a)


def test_a_model_is_a_layer(rng):
    inner = models.Model(entry := layers.Input((4,)), layers.Dense(3)(entry), name="inner")
    a, b = layers.Input((4,)), layers.Input((4,))
    outer = models.Model([a, b], layers.Add()([inner(a), inner(b)]))
    x = rng.standard_normal((2, 4)).astype(np.float32)
    np.testing.assert_allclose(outer.predict([x, -x]), 0, atol=1e-6)
    assert len(outer.get_weights()) == 2 and outer.get_layer("inner") is inner
    assert outer.get_layer(index=-1).name == "add"


def test_what_does_not_hang_together_is_refused():
    a, b = layers.Input((4,)), layers.Input((4,), name="other")
    with pytest.raises(ValueError, match="inputs: expected all that the outputs depend on, 'other' too"):
        models.Model(a, layers.Add()([a, b]))
    with pytest.raises(TypeError, match="outputs: expected symbolic tensors"):
        models.Model(a, np.zeros(3))
    with pytest.raises(ValueError, match="two layers named 'twice'"):
        models.Model(a, layers.Dense(3, name="twice")(layers.Dense(4, name="twice")(a)))
    with pytest.raises(ValueError, match="inputs: expected the same sizes"):
        layers.Concatenate()([layers.Input((3, 4)), layers.Input((2, 4))])
    with pytest.raises(ValueError, match=r"input shape: expected a known last axis"):
        layers.Dense(3)(layers.Input((4, None)))


def test_a_class_of_one_s_own(rng):
    class Mine(models.Model):
        def __init__(self):
            super().__init__()
            self.lstm = layers.LSTM(4)
            self.head = layers.Dense(1)

        def call(self, inputs):
            return self.head(self.lstm(inputs))

    x, y = data_of(rng)
    model = Mine()
    model.compile("adam", "mse")
    first = model.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert first[-1] < first[0] and model.predict(x).shape == (20, 1) and len(model.get_weights()) == 5
    with pytest.raises(TypeError, match="fastseq's own layers"):
        model.save("nowhere.safetensors")


# ---- data


def test_shapes_are_checked_and_single_axes_added(rng):
    x, y = data_of(rng)
    model = small()
    assert np.isfinite(model.fit(x, y[:, 0], verbose=0).history["loss"][0])  # (B,) for an output (B, 1)
    one = models.Sequential([layers.Input((6, 1)), layers.LSTM(2), layers.Dense(1)])
    assert np.array_equal(one.predict(x[:, :, 0]), one.predict(x[:, :, :1]))
    cases = [
        (lambda: model.predict(x[:, :, :2]), ValueError, r"x: expected shape \(rows, any, 3\), got an array of"),
        (lambda: model(x[:, :, :2]), ValueError, r"input_layer: expected shape \(rows, any, 3\)"),
        (lambda: model.predict(x[:0]), ValueError, "x: expected at least one row"),
        (lambda: model.fit(x, y[:5]), ValueError, "y: expected 20 rows, as many as x, got 5"),
        (lambda: model.fit(x, np.concatenate([y, y], 1)), ValueError, r"y: expected shape \('rows', 1\)"),
        (lambda: model.fit(x), TypeError, "y: expected targets, or x as a source of batches"),
        (lambda: model.fit(iter([(x, y)]), y), ValueError, "y: expected None, as x gives batches"),
        (lambda: model.fit(iter([(x, y)]), validation_split=0.5), ValueError, "validation_split: expected None, as x"),
        (lambda: model.fit(iter([x])), TypeError, r"x: expected batches \(x, y\) or \(x, y, sample_weight\)"),
        (lambda: model.fit(iter([(x,)])), TypeError, r"x: expected batches \(x, y\)"),
        (lambda: model.fit(x, y, steps_per_epoch=0), ValueError, "steps_per_epoch: expected an integer >= 1"),
        (lambda: model.fit(x, y, sample_weight=np.ones(3)), ValueError, "sample_weight: expected 20 rows"),
        (lambda: model.fit(x, y, sample_weight=np.ones((20, 3))), ValueError, r"sample_weight: expected shape \(20,\)"),
        (lambda: model.fit(x, y, class_weight=[1, 2]), TypeError, "class_weight: expected a dict"),
        (lambda: model.fit(x, y, validation_split=0.99), ValueError, "validation_split: expected a share"),
        (lambda: model.fit(x, y, validation_data=x), TypeError, "validation_data: expected"),
        (lambda: model.fit(x, y, validation_data=(x[..., :2], y)), ValueError, "validation_data: x: expected shape"),
        (lambda: model.fit(x, y, batch_size=0), ValueError, "batch_size: expected an integer >= 1"),
        (lambda: model.fit(x, y, callbacks=[print]), TypeError, "callbacks: expected callbacks"),
        (lambda: model.fit(x, np.array([["a"]] * 20)), TypeError, "y: expected an array of numbers"),
    ]  # fmt: skip
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()


def test_compile_names_what_it_does_not_know():
    model = models.Sequential([layers.Input((6, 3)), layers.LSTM(4), layers.Dense(1)])
    with pytest.raises(RuntimeError, match="call compile"):
        model.fit(np.zeros((2, 6, 3)), np.zeros(2))
    cases = [
        ({"optimizer": "adamx"}, ValueError, "optimizer: expected one of 'sgd', 'adam'"),
        ({"loss": "mean"}, ValueError, "loss: expected one of 'mse'"),
        ({"metrics": ["area"]}, ValueError, "metrics: expected one of 'accuracy'"),
        ({"weighted_metrics": ["maes"]}, ValueError, "metrics: expected one of 'accuracy'"),
        ({"metric": ["mae"]}, TypeError, "compile: expected arguments among optimizer, loss"),
        ({"loss": 3}, TypeError, "loss: expected one of mse"),
    ]
    for options, error, message in cases:
        with pytest.raises(error, match=message):
            model.compile(**options)
    model.compile("adam", run_eagerly=True, jit_compile=False)
    with pytest.raises(ValueError, match="loss: expected a loss, given to compile"):
        model.fit(np.zeros((2, 6, 3)), np.zeros(2), verbose=0)
    with pytest.raises(TypeError, match="Adam: expected arguments among beta_1.*got 'lr'"):
        optimizers.Adam(lr=1e-3)
    with pytest.raises(ValueError, match="weight_decay: expected None for SGD"):
        small(optimizer=optimizers.SGD(weight_decay=0.1)).train_on_batch(np.zeros((2, 6, 3)), np.zeros(2))


def test_the_last_rows_are_set_aside(rng):
    x, y = data_of(rng)
    one, other = small(metrics=["mae"]), small(metrics=["mae"])
    other.set_weights(one.get_weights())
    split = one.fit(x, y, validation_split=0.25, epochs=2, shuffle=False, verbose=0).history
    given = other.fit(x[:15], y[:15], validation_data=(x[15:], y[15:]), epochs=2, shuffle=False, verbose=0).history
    assert split == given and set(split) == {"loss", "mae", "val_loss", "val_mae"}


def test_validation_may_be_rare(rng):
    x, y = data_of(rng)
    history = small().fit(x, y, validation_split=0.25, epochs=5, validation_freq=2, verbose=0).history
    assert len(history["loss"]) == 5 and len(history["val_loss"]) == 2


def test_predict_does_not_depend_on_batches(rng):
    x, _ = data_of(rng)
    model = small()
    assert np.array_equal(model.predict(x), model.predict(x, batch_size=3))
    assert np.array_equal(model.predict(x)[:4], model.predict_on_batch(x[:4]))
    assert np.array_equal(model.predict(x), model(x))


def test_lengths_stand_for_a_mask(rng):
    x, y = data_of(rng)
    lengths = rng.integers(1, 7, 20)
    model = models.Sequential([layers.Input((None, 3)), layers.LSTM(4), layers.Dense(1)])
    masked = model(x, mask=np.arange(6) < lengths[:, None])
    assert np.array_equal(model(x, lengths=lengths), masked)
    rows = [row[:length] for row, length in zip(x, lengths, strict=True)]
    assert np.array_equal(fs.predict(model, rows), masked)
    fs.fit(model, rows, y, epochs=1, verbose=False)


# ---- training


def test_seeds_make_training_repeat(rng):
    x, y = data_of(rng)
    found = []
    for seed in (3, 3, 4):
        fs.manual_seed(seed)
        model = models.Sequential([layers.Input((6, 3)), layers.LSTM(4, dropout=0.3), layers.Dense(1)])
        model.compile("adam", "mse")
        found.append(model.fit(x, y, epochs=2, batch_size=4, verbose=0).history["loss"])
    assert found[0] == found[1] != found[2]


def test_shuffling_changes_the_order(rng):
    x, y = data_of(rng)
    first, second = small(), small()
    second.set_weights(first.get_weights())
    a = first.fit(x, y, batch_size=4, verbose=0).history["loss"]
    b = second.fit(x, y, batch_size=4, shuffle=False, verbose=0).history["loss"]
    assert a != b


def test_train_on_batch_is_a_step_of_fit(rng):
    x, y = data_of(rng)
    one, other = small(metrics=["mae"]), small(metrics=["mae"])
    other.set_weights(one.get_weights())
    history = one.fit(x, y, epochs=2, batch_size=20, shuffle=False, verbose=0).history
    steps = [other.train_on_batch(x, y) for _ in range(2)]
    assert [step[0] for step in steps] == history["loss"] and [step[1] for step in steps] == history["mae"]
    assert not other.training
    assert other.test_on_batch(x, y) == other.evaluate(x, y, batch_size=20)
    assert isinstance(small().train_on_batch(x, y), float)
    assert set(other.train_on_batch(x, y, return_dict=True)) == {"loss", "mae"}


def test_optimisers_go_on_and_can_be_given_whole(rng):
    x, y = data_of(rng)
    whole, parts = small(), small()
    parts.set_weights(whole.get_weights())
    whole.fit(x, y, epochs=4, shuffle=False, verbose=0)
    for _ in range(2):
        parts.fit(x, y, epochs=2, shuffle=False, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), parts.get_weights(), strict=True))
    model = models.Sequential([layers.Input((6, 3)), layers.LSTM(4), layers.Dense(1)])
    model.compile(optim.SGD(model.parameters(), lr=0.1), nn.MSELoss())
    first = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert first[-1] < first[0]


def test_the_learning_rate_can_be_seen_and_set(rng):
    x, y = data_of(rng)
    model = small(optimizer=optimizers.Adam(learning_rate=0.02))
    assert model.optimizer.learning_rate == 0.02
    model.fit(x, y, verbose=0, epochs=3, callbacks=[callbacks.LearningRateScheduler(lambda epoch, lr: lr / 2)])
    assert model.optimizer.learning_rate == 0.0025
    model.optimizer.learning_rate = 0.0
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_frozen_layers_stay_as_they_are(rng):
    x, y = data_of(rng)
    model = small()
    model.layers[0].trainable = False
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    after = model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before[:3], after[:3], strict=True))
    assert not np.array_equal(before[3], after[3])
    model.layers[0].trainable = True
    model.fit(x, y, verbose=0)
    assert not np.array_equal(after[0], model.get_weights()[0])
    model.trainable = False
    with pytest.raises(ValueError, match="at least one weight to learn"):
        model.fit(x, y, verbose=0)


def test_callbacks_see_the_model_and_stop_it(rng, tmp_path):
    x, y = data_of(rng)

    class Mine(callbacks.Callback):
        seen: list = []

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append((epoch, sorted(logs), self.run.model))

        def on_train_batch_end(self, batch, loss):
            if batch == 2:
                self.run.model.stop_training = True

    mine, model = Mine(), small()
    path = tmp_path / "best.safetensors"
    keeper = callbacks.ModelCheckpoint(path, monitor="loss", save_best_only=True)
    history = model.fit(x, y, batch_size=4, epochs=9, verbose=0, callbacks=[mine, keeper])
    assert history.epoch == [0] and mine.seen[0][0] == 0 and mine.seen[0][2] is model
    assert "loss" in mine.seen[0][1] and isinstance(fs.load(path), models.Sequential)
    early = callbacks.EarlyStopping(monitor="val_loss", patience=1, min_delta=1e9)
    assert len(small().fit(x, y, epochs=9, validation_split=0.2, verbose=0, callbacks=early).epoch) == 2


def test_verbose(rng, capsys):
    x, y = data_of(rng)
    small().fit(x, y, epochs=2, verbose=0)
    assert capsys.readouterr() == ("", "")
    small(metrics=["mae"]).fit(x, y, epochs=2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("Epoch 2/2 - ") and "mae: " in lines[1]


def test_padding_is_never_read(rng):
    """Steps that a mask leaves out change neither losses nor gradients, whatever stands there."""

    class Flagged(layers.Layer):
        def call(self, inputs):
            return inputs[0]

        def compute_mask(self, inputs, mask=None):
            return np.asarray(inputs[1]) != 0

    x, _ = data_of(rng)
    y = rng.standard_normal((20, 6, 1)).astype(np.float32)
    mask = np.arange(6) < rng.integers(1, 7, 20)[:, None]
    found = []
    for filling in (0.0, np.nan):
        fs.manual_seed(2)
        features, flags = layers.Input((6, 3)), layers.Input((6,))
        hidden = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(Flagged()([features, flags]))
        model = models.Model([features, flags], layers.Dense(1)(hidden))
        model.compile("sgd", "mse", metrics=["mae"])
        filled = np.where(mask[:, :, None], x, filling).astype(np.float32)
        targets = np.where(mask[:, :, None], y, filling).astype(np.float32)
        found.append(model.fit([filled, mask.astype(int)], targets, epochs=2, shuffle=False, verbose=0).history)
        assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert found[0] == found[1] and np.isfinite(found[0]["loss"]).all()


def test_a_nan_that_counts_stays_visible(rng):
    x, y = data_of(rng)
    x[3, 2, 1] = np.nan
    model = small()
    predicted = model.predict(x)
    assert np.isnan(predicted[3]).all() and np.isfinite(np.delete(predicted, 3, 0)).all()
    assert np.isnan(model.evaluate(x, y))


# ---- losses


def test_losses_by_hand():
    y, p = np.array([[1.0, 2.0], [3.0, 5.0]]), fs.tensor(np.array([[2.0, 2.0], [1.0, 1.0]]))
    assert losses.MeanSquaredError()(y, p).item() == pytest.approx((1 + 0 + 4 + 16) / 4)
    assert losses.MeanSquaredError(reduction="sum")(y, p).item() == pytest.approx(0.5 + 10)
    assert np.array_equal(losses.MeanSquaredError(reduction=None)(y, p), [0.5, 10])
    assert losses.MeanSquaredError()(y, p, sample_weight=np.array([2.0, 0.0])).item() == pytest.approx(0.5)
    assert losses.Huber(delta=1.0)(y, p).item() == pytest.approx((0.5 + 0 + 1.5 + 3.5) / 4)
    probabilities = fs.tensor(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]))
    expected = -(np.log(0.7) + np.log(0.1)) / 2
    assert losses.SparseCategoricalCrossentropy()(np.array([0, 1]), probabilities).item() == pytest.approx(expected)
    assert losses.CategoricalCrossentropy()(np.eye(3)[[0, 1]], probabilities).item() == pytest.approx(expected)
    ignoring = losses.SparseCategoricalCrossentropy(ignore_class=1)
    assert ignoring(np.array([0, 1]), probabilities).item() == pytest.approx(-np.log(0.7))
    assert ignoring(np.array([0, 1]), probabilities, mask=np.array([True, True])).item() == pytest.approx(-np.log(0.7))
    yes = fs.tensor(np.array([[0.9], [0.2]]))
    assert losses.BinaryCrossentropy()(np.array([[1], [0]]), yes).item() == pytest.approx(
        -(np.log(0.9) + np.log(0.8)) / 2
    )


def test_a_mask_leaves_steps_out_of_the_mean():
    y, p = np.zeros((2, 3, 1)), fs.tensor(np.arange(6.0).reshape(2, 3, 1))
    mask = np.array([[True, True, False], [True, False, False]])
    assert losses.MeanSquaredError()(y, p, mask=mask).item() == pytest.approx((0 + 1 + 9) / 3)
    assert losses.MeanSquaredError()(y, p, mask=np.zeros((2, 3), bool)).item() == 0


def test_a_softmax_that_is_sure_still_learns(rng):
    """The loss looks through the softmax, so a probability of zero has a gradient."""
    model = models.Sequential([layers.Input((1,)), layers.Dense(2, activation="softmax", use_bias=False)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.set_weights([np.array([[500.0, -500.0]], np.float32)])
    assert model.train_on_batch(np.ones((1, 1)), np.array([1])) == pytest.approx(1000, rel=1e-5)
    assert model.get_weights()[0][0, 1] > -500


def test_functions_are_losses_and_metrics(rng):
    x, y = data_of(rng)

    def mine(y_true, y_pred):
        return fs.nn.functional.mse_loss(y_pred, y_true, "none").mean(-1)

    def largest(y_true, y_pred):
        return np.abs(y_true - y_pred).max()

    one, other = small(), small(loss=mine, metrics=[largest])
    other.set_weights(one.get_weights())
    found = other.evaluate(x, y, return_dict=True)
    assert found["loss"] == pytest.approx(one.evaluate(x, y), rel=1e-6)
    assert found["largest"] == pytest.approx(np.abs(y - other.predict(x)).max())


# ---- telling and keeping


def test_summary(capsys):
    model = models.Sequential(
        [layers.Input((50, 16)), layers.Bidirectional(layers.LSTM(64, return_sequences=True)), layers.Dense(1)]
    )
    model.layers[1].trainable = False
    model.summary()
    text = capsys.readouterr().out
    for part in (
        'Model: "sequential"', "Layer (type)", "Output Shape", "Param #", "bidirectional (Bidirectional)",
        "(None, 50, 128)", "41,472", " Total params: 41,601 (162.50 KB)", " Trainable params: 41,472 (162.00 KB)",
        " Non-trainable params: 129 (516.00 B)",
    ):  # fmt: skip
        assert part in text
    assert "Connected to" not in text
    a = layers.Input((3,), name="a")
    lines: list[str] = []
    models.Model(a, layers.Add(name="sum")([a, layers.Dense(3, name="d")(a)])).summary(print_fn=lines.append)
    assert "Connected to" in lines[0] and "a[0][0], d[0][0]" in lines[0]
    unbuilt = models.Sequential([layers.LSTM(3)])
    unbuilt.summary(print_fn=lines.append, expand_nested=True, show_trainable=True)
    assert "0 (unbuilt)" in lines[1]


def build_all(rng):
    entry = layers.Input((6, 3), name="entry")
    masked = layers.Masking()(entry)
    states = layers.Bidirectional(layers.GRU(4, return_state=True))(masked)
    attended = layers.MultiHeadAttention(2, 3)(masked, masked, use_causal_mask=True)
    again = layers.LSTM(8)(attended, initial_state=[states[0], layers.Concatenate()(states[1:])])
    functional = models.Model(entry, {"a": layers.Dense(1)(again), "b": layers.Dense(2, "softmax")(states[0])})
    functional.compile(
        optimizers.RMSprop(learning_rate=0.01), loss=["mse", "sparse_categorical_crossentropy"], metrics=[None, ["acc"]]
    )
    inner = models.Sequential([layers.Input((6, 3)), layers.Conv1D(4, 3, padding="causal")])
    nested = models.Sequential([layers.Input((6, 3)), inner, layers.TimeDistributed(layers.Dense(2)), layers.Flatten()])
    nested.layers[1].trainable = False
    return [small(metrics=["mae"]), functional, nested]


def test_models_are_saved_and_loaded(rng, tmp_path):
    x, _ = data_of(rng)
    for number, model in enumerate(build_all(rng)):
        path = tmp_path / f"{number}.safetensors"
        model.save(path)
        for found in (fs.load(path), models.load_model(path), copy.deepcopy(model)):
            assert type(found) is type(model) and found.get_config() == model.get_config()
            a, b = model.predict(x), found.predict(x)
            for name in a if isinstance(a, dict) else [...]:
                assert np.array_equal(a[name], b[name])
            assert [w.path for w in found.weights] == [w.path for w in model.weights]
            assert [w.trainable for w in found.weights] == [w.trainable for w in model.weights]
        other = type(model).from_config(model.get_config())
        other.load_weights(path)
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))
        model.save_weights(tmp_path / "weights.safetensors")
        fs.load_state(other, tmp_path / "weights.safetensors")


def test_a_loaded_model_goes_on_learning(rng, tmp_path):
    x, y = data_of(rng)
    model = small(metrics=["mae"], optimizer=optimizers.Adam(learning_rate=0.03))
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "m.safetensors")
    found = fs.load(tmp_path / "m.safetensors")
    assert found.evaluate(x, y) == model.evaluate(x, y) and found.optimizer.learning_rate == 0.03
    history = found.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_what_a_file_cannot_hold_is_refused(tmp_path, rng):
    for layer in (layers.Dense(2, activation=lambda t: t * 2.0), type("Own", (layers.Dense,), {})(2)):
        model = models.Sequential([layers.Input((3,)), layer])
        with pytest.raises(TypeError, match="function of yours|fastseq's own layers"):
            model.save(tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda config: config.pop("layers"),
        lambda config: config["layers"][0].update(class_name="Layer"),
        lambda config: config["layers"][0].update(class_name="os"),
        lambda config: config["layers"][0]["config"].update(units=10**9),
        lambda config: config["layers"][0]["config"].update(unknown=1),
        lambda config: config["layers"].append(config["layers"][0]),
        lambda config: config.update(layers=3),
        lambda config: config.update(compile={"optimizer": "what"}),
        lambda config: config.update(name=3),
    ],
)
def test_a_damaged_description_is_refused(spoil, tmp_path):
    import json
    import struct

    path = tmp_path / "m.safetensors"
    small().save(path)
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    (key,) = [name for name, value in header["__metadata__"].items() if "models.Sequential" in value]
    document = json.loads(header["__metadata__"][key])
    spoil(document["model"]["config"])
    header["__metadata__"][key] = json.dumps(document)
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 8)
    path.write_bytes(struct.pack("<Q", len(packed)) + packed + raw[8 + size :])
    with pytest.raises(ModelFileError):
        fs.load(path)
