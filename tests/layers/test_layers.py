"""Layers by themselves: building, weights, masks, noise, names, copies, and what they refuse."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import fastseq as fs
from fastseq import initializers, layers, nn, regularizers
from fastseq.layers.flow import ValidSteps, flow
from fastseq.layers.naming import name_for
from tests.gradcheck import gradcheck

KINDS = ("LSTM", "GRU", "SimpleRNN")


def x_of(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


# ---- weights


def test_weights_are_laid_out_as_keras_lays_them_out():
    shapes = {
        layers.LSTM(4): [(3, 16), (4, 16), (16,)],
        layers.GRU(4): [(3, 12), (4, 12), (2, 12)],
        layers.GRU(4, reset_after=False): [(3, 12), (4, 12), (12,)],
        layers.SimpleRNN(4): [(3, 4), (4, 4), (4,)],
        layers.LSTM(4, use_bias=False): [(3, 16), (4, 16)],
        layers.Dense(5): [(3, 5), (5,)],
        layers.LayerNormalization(): [(3,), (3,)],
        layers.LayerNormalization(center=False): [(3,)],
        layers.LayerNormalization(scale=False): [(3,)],
        layers.Conv1D(5, 2): [(2, 3, 5), (5,)],
        layers.Bidirectional(layers.LSTM(2)): [(3, 8), (2, 8), (8,)] * 2,
        layers.TimeDistributed(layers.Dense(5)): [(3, 5), (5,)],
    }
    for layer, expected in shapes.items():
        layer(np.zeros((2, 6, 3), np.float32))
        assert [weight.shape for weight in layer.get_weights()] == expected, layer
        assert layer.count_params() == sum(int(np.prod(shape)) for shape in expected)
        assert all(weight.dtype == np.float32 for weight in layer.get_weights())


@pytest.mark.parametrize("kind", KINDS)
def test_set_weights_undoes_get_weights(kind, rng):
    one, other = (getattr(layers, kind)(4, return_sequences=True) for _ in range(2))
    x = x_of(rng, 2, 5, 3)
    first, second = one(x), other(x)
    assert not np.array_equal(first, second)
    other.set_weights(one.get_weights())
    assert np.array_equal(one(x), other(x))
    values = [rng.standard_normal(w.shape).astype(np.float32) for w in one.get_weights()]
    one.set_weights(values)
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), values, strict=True))


def test_gates_are_where_keras_has_them(rng):
    """The LSTM's second block is the forget gate, the GRU's first one the update gate."""
    x = x_of(rng, 1, 1, 2)
    lstm, gru = layers.LSTM(2, return_state=True), layers.GRU(2)
    for layer in (lstm, gru):
        layer.build_from((None, 1, 2))
    kernel, recurrent, bias = (np.zeros_like(w) for w in lstm.get_weights())
    bias[2:4] = 100  # the forget gate open: c stays; the others at a half
    lstm.set_weights([kernel, recurrent, bias])
    start = [np.zeros((1, 2), np.float32), np.full((1, 2), 3.0, np.float32)]
    np.testing.assert_allclose(np.asarray(lstm(x, initial_state=start)[2]), 3.0)
    kernel, recurrent, bias = (np.zeros_like(w) for w in gru.get_weights())
    bias[0, :2] = 100  # the update gate open: h stays
    gru.set_weights([kernel, recurrent, bias])
    np.testing.assert_allclose(np.asarray(gru(x, initial_state=start[1])), 3.0)


def test_a_gru_that_resets_before_the_product(rng):
    layer = layers.GRU(5, reset_after=False, return_sequences=True)
    x = x_of(rng, 2, 4, 3)
    layer(x)
    kernel, recurrent, bias = (rng.standard_normal(w.shape).astype(np.float32) for w in layer.get_weights())
    layer.set_weights([kernel, recurrent, bias])
    h, wanted = np.zeros((2, 5)), []
    for t in range(4):  # as Keras's GRUCell has it
        own = np.split(np.einsum("bf,fu->bu", x[:, t], kernel) + bias, 3, axis=1)
        weights = np.split(recurrent, 3, axis=1)
        z, r = (1 / (1 + np.exp(-own[k] - np.einsum("bh,hu->bu", h, weights[k]))) for k in range(2))
        h = z * h + (1 - z) * np.tanh(own[2] + np.einsum("bh,hu->bu", r * h, weights[2]))
        wanted.append(h)
    np.testing.assert_allclose(np.asarray(layer(x)), np.stack(wanted, axis=1), atol=1e-6)
    again = layers.GRU.from_config(layer.get_config())
    again(x)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(layer(x)))


def test_the_forget_gate_starts_at_one():
    for flag, expected in ((True, 1.0), (False, 0.0)):
        layer = layers.LSTM(3, unit_forget_bias=flag)
        layer.build_from((None, 5, 2))
        bias = layer.get_weights()[2]
        assert np.array_equal(bias, [0] * 3 + [expected] * 3 + [0] * 6)


def test_wrong_weights_are_refused_and_change_nothing(rng):
    layer = layers.Dense(2)
    with pytest.raises(ValueError, match=r"weights: expected 0 arrays \(dense.* has not been built yet"):
        layer.set_weights([np.zeros((3, 2))])
    layer(x_of(rng, 1, 3))
    before = layer.get_weights()
    with pytest.raises(ValueError, match=r"kernel: expected shape \(3, 2\), got shape \(2, 3\)"):
        layer.set_weights([np.zeros((2, 3)), np.zeros(2)])
    with pytest.raises(ValueError, match="weights: expected 2 arrays, got 1"):
        layer.set_weights(before[:1])
    with pytest.raises(ValueError, match=r"bias: expected shape \(2,\)"):
        layer.set_weights([np.ones((3, 2)), np.zeros(3)])
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True))


def test_a_layer_is_the_module_below(rng):
    x = x_of(rng, 3, 5, 4)
    lstm = layers.LSTM(6, return_sequences=True)
    out = lstm(x)
    assert isinstance(lstm.cell, nn.LSTM)
    assert np.array_equal(out, lstm.cell(x)[0])
    assert not lstm.cell.bias_hh_l0.requires_grad and not lstm.cell.bias_hh_l0.numpy().any()
    dense = layers.Dense(2, activation="relu")
    assert np.array_equal(dense(out), nn.functional.relu(dense.linear(out)))


def test_trainable_freezes(rng):
    layer = layers.Bidirectional(layers.LSTM(2))
    layer(x_of(rng, 1, 3, 2))
    assert len(layer.trainable_weights) == 6
    layer.trainable = False
    assert not layer.trainable_weights and len(layer.non_trainable_weights) == 6
    assert not any(p.requires_grad for p in layer.parameters())
    layer.trainable = True
    assert len(layer.trainable_weights) == 6 and not layer.forward_layer.cell.bias_hh_l0.requires_grad
    late = layers.Dense(2, trainable=False)
    late(x_of(rng, 1, 3))
    assert not late.trainable_weights


def test_copies_share_nothing(rng):
    x = x_of(rng, 2, 5, 3)
    for layer in (layers.GRU(4, dropout=0.1, name="mine"), layers.Bidirectional(layers.LSTM(2), merge_mode="sum")):
        out = np.array(layer(x))
        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert twin.name == layer.name and np.array_equal(twin(x), out)
            twin.set_weights([weight + 1 for weight in twin.get_weights()])
            assert not np.array_equal(twin(x), out) and np.array_equal(layer(x), out)


def test_float64(rng):
    layer = layers.LSTM(3, dtype="float64", return_sequences=True)
    out = layer(rng.standard_normal((2, 4, 3)))
    assert out.dtype == np.float64 and all(w.dtype == np.float64 for w in layer.get_weights())


# ---- masks


@pytest.mark.parametrize("kind", KINDS)
def test_masked_gradients(kind, rng):
    """Finite differences through gaps, both directions, carried outputs and states."""
    layer = getattr(layers, kind)(2, return_sequences=True, return_state=True, go_backwards=True, dtype="float64")
    x = rng.standard_normal((3, 4, 2))
    mask = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]], bool)
    layer(x, mask=mask)
    learnt = [p for p in layer.parameters() if p.requires_grad]
    gradcheck(lambda x: layer(x, mask=mask), x, parameters=learnt)
    layer.return_sequences = False
    gradcheck(lambda x, h: layer(x, mask=mask, initial_state=[h] * layer.state_count), x, rng.standard_normal((3, 2)))


@pytest.mark.parametrize("kind", KINDS)
def test_steps_that_do_not_count_are_never_read(kind, rng):
    x = x_of(rng, 5, 6, 3)
    mask = rng.random((5, 6)) < 0.6
    mask[0] = False
    layer = layers.Bidirectional(getattr(layers, kind)(4, return_sequences=True))
    clean = np.array(layer(np.where(mask[:, :, None], x, 0).astype(np.float32), mask=mask))
    spoilt = np.array(layer(np.where(mask[:, :, None], x, np.nan).astype(np.float32), mask=mask))
    assert np.array_equal(clean, spoilt)
    for row in range(5):  # and a row's bits are its own
        alone = np.array(layer(x[row : row + 1], mask=mask[row : row + 1]))
        assert np.array_equal(alone[0], clean[row])


def test_a_row_with_gaps_is_the_row_without_them(rng):
    x = x_of(rng, 1, 7, 3)
    mask = np.array([[True, False, True, True, False, False, True]])
    layer = layers.LSTM(4, return_sequences=True, return_state=True)
    out, h, c = layer(x, mask=mask)
    short, short_h, short_c = layer(x[:, mask[0]])
    assert np.array_equal(np.asarray(out)[0, mask[0]], np.asarray(short)[0])
    assert np.array_equal(h, short_h) and np.array_equal(c, short_c)
    assert np.array_equal(np.asarray(out)[0, 1], np.asarray(out)[0, 0])  # a gap repeats what came before


def test_masks_travel(rng):
    tokens = np.array([[3, 1, 0, 0], [2, 2, 2, 0]])
    embedded = layers.Embedding(5, 4, mask_zero=True)(tokens)
    assert np.array_equal(embedded.mask, tokens != 0)
    kept = layers.Dense(3)(layers.Dropout(0.5)(layers.LayerNormalization()(embedded)))
    assert np.array_equal(kept.mask, tokens != 0)
    lstm = layers.LSTM(3, return_sequences=True)
    hidden = lstm(kept)
    assert np.array_equal(hidden.mask, tokens != 0)
    assert np.array_equal(hidden, lstm(np.asarray(kept), mask=tokens != 0))
    assert layers.LSTM(3)(kept).mask is None and layers.Flatten()(np.asarray(kept)).mask is None
    assert layers.Embedding(5, 4)(tokens).mask is None
    merged = layers.Concatenate()([embedded, layers.Masking(9.0)(np.where(tokens == 3, 9.0, 1.0)[:, :, None])])
    assert np.array_equal(merged.mask, (tokens != 0) | (tokens != 3))
    mean = layers.GlobalAveragePooling1D()(embedded)
    np.testing.assert_allclose(np.asarray(mean)[0], np.asarray(embedded)[0, :2].mean(0), rtol=1e-6)
    with pytest.warns(UserWarning, match="takes no masks"):
        assert layers.Flatten()(embedded).mask is None


def test_masking_compares_with_its_value():
    x = np.array([[[1, 2], [7, 7], [7, 0]]], np.float32)
    out = layers.Masking(mask_value=7)(x)
    assert np.array_equal(out.mask, [[True, False, True]])
    assert np.array_equal(np.asarray(out)[0, 1], [0, 0])


def test_what_a_mask_says():
    assert ValidSteps.of(None) is None and ValidSteps.of(np.ones((2, 3), bool)) is None
    right = ValidSteps.of(np.array([[True, True, False], [False, False, False]]))
    assert right.order is None and np.array_equal(right.lengths, [2, 0])
    gaps = ValidSteps.of(np.array([[False, True, True]]))
    assert np.array_equal(gaps.order, [[1, 2, 0]]) and np.array_equal(gaps.lengths, [2])


def test_a_wrong_mask_is_refused(rng):
    layer, x = layers.LSTM(2), x_of(rng, 2, 4, 3)
    with pytest.raises(ValueError, match=r"mask: expected bools of shape \(2, 4\)"):
        layer(x, mask=np.ones((2, 5), bool))
    with pytest.raises(TypeError, match="mask: expected bools"):
        layer(x, mask=np.full((2, 4), "a"))
    timed = layers.TimeDistributed(layers.Dense(2))
    for wrong in (np.ones((2, 5), bool), np.ones((3, 4), bool), np.ones((2, 5, 1), bool)):
        with pytest.raises(ValueError, match=r"mask: expected shape \(2, 4, \.\.\.\)"):
            timed(x, mask=wrong)
    assert timed(x, mask=np.ones((2, 4, 2), bool)).shape == (2, 4, 2)


# ---- states


def test_stateful_goes_on_where_it_ended(rng):
    x = x_of(rng, 2, 6, 3)
    layer = layers.GRU(4, stateful=True)
    whole = layers.GRU(4)
    whole(x)
    layer(x[:, :1])
    layer.reset_states()
    whole.set_weights(layer.get_weights())
    layer(x[:, :2])
    assert np.array_equal(layer(x[:, 2:]), whole(x))
    with pytest.raises(ValueError, match="expected a batch size of 2, as in the call"):
        layer(x[:1])


def test_initial_states_are_checked(rng):
    layer, x = layers.LSTM(2), x_of(rng, 3, 4, 2)
    with pytest.raises(ValueError, match=r"initial_state: expected 2 state\(s\), got 1"):
        layer(x, initial_state=[np.zeros((3, 2))])
    with pytest.raises(ValueError, match=r"initial_state: expected shape \(3, 2\)"):
        layer(x, initial_state=[np.zeros((3, 3)), np.zeros((3, 2))])
    with pytest.raises(ValueError, match=r"initial_state: expected 4 states"):
        layers.Bidirectional(layers.LSTM(2))(x, initial_state=[np.zeros((3, 2))] * 2)


# ---- noise


def test_noise_is_for_training_only(rng):
    x = x_of(rng, 4, 5, 3)
    for layer in (
        layers.Dropout(0.5), layers.SpatialDropout1D(0.5), layers.LSTM(4, dropout=0.5),
        layers.GRU(4, recurrent_dropout=0.5), layers.MultiHeadAttention(2, 3, dropout=0.5),
    ):  # fmt: skip
        given = (x, x) if isinstance(layer, layers.MultiHeadAttention) else (x,)
        quiet = np.array(layer(*given))
        assert np.array_equal(quiet, layer(*given))
        fs.manual_seed(1)
        noisy = np.array(layer(*given, training=True))
        assert not np.array_equal(noisy, quiet)
        fs.manual_seed(1)
        assert np.array_equal(layer(*given, training=True), noisy)
        assert np.array_equal(layer(*given), quiet)


def test_a_layer_with_a_seed_has_numbers_of_its_own(rng):
    x = x_of(rng, 4, 50)
    first, second = (np.asarray(layers.Dropout(0.5, seed=3)(x, training=True)) for _ in range(2))
    assert np.array_equal(first, second)


def test_input_dropout_is_one_choice_for_all_steps():
    layer = layers.SimpleRNN(
        1, dropout=0.5, kernel_initializer="ones", recurrent_initializer="zeros", return_sequences=True
    )
    out = np.asarray(layer(np.full((200, 6, 1), 0.5, np.float32), training=True))
    assert (out == out[:, :1]).all()
    kept = out[:, 0, 0] != 0
    np.testing.assert_allclose(out[kept, 0, 0], np.tanh(1.0), rtol=1e-6)
    assert 60 < kept.sum() < 140


def test_recurrent_dropout_leaves_units_out_of_the_products():
    layer = layers.SimpleRNN(
        200, recurrent_dropout=0.5, kernel_initializer="zeros", recurrent_initializer="identity", activation="relu"
    )
    start = np.ones((3, 200), np.float32)
    out = np.asarray(layer(np.zeros((3, 1, 1), np.float32), initial_state=start, training=True))
    assert set(np.unique(out)) == {0.0, 2.0} and 60 < (out[0] > 0).sum() < 140
    assert np.array_equal(layer(np.zeros((3, 1, 1), np.float32), initial_state=start), start)
    weight = layer.cell._parameters["weight_hh_l0"]
    assert isinstance(weight, nn.Parameter)


# ---- initialisers and regularisers


def test_defaults_are_keras_s():
    fs.manual_seed(0)
    layer = layers.LSTM(64)
    layer.build_from((None, 5, 100))
    kernel, recurrent, _ = layer.get_weights()
    bound = np.sqrt(6 / (100 + 256))
    assert 0.98 * bound < np.abs(kernel).max() <= bound and abs(kernel.std() - bound / np.sqrt(3)) < 0.01
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(64), atol=1e-5)
    table = layers.Embedding(100, 50)
    table(np.zeros((1, 1), int))
    assert 0.0499 < np.abs(table.get_weights()[0]).max() <= 0.05


@pytest.mark.parametrize(
    ("name", "std", "limit"),
    [
        ("glorot_uniform", np.sqrt(2 / 500), np.sqrt(6 / 500)),
        ("glorot_normal", np.sqrt(2 / 500), 2 * np.sqrt(2 / 500) / 0.8796),
        ("he_uniform", np.sqrt(2 / 300), np.sqrt(6 / 300)),
        ("he_normal", np.sqrt(2 / 300), 2 * np.sqrt(2 / 300) / 0.8796),
        ("lecun_uniform", np.sqrt(1 / 300), np.sqrt(3 / 300)),
        ("lecun_normal", np.sqrt(1 / 300), 2 * np.sqrt(1 / 300) / 0.8796),
        ("random_normal", 0.05, 1.0),
        ("truncated_normal", 0.05 * 0.8796, 0.1),
        ("random_uniform", 0.05 / np.sqrt(3), 0.05),
    ],
)
def test_distributions(name, std, limit):
    fs.manual_seed(5)
    values = initializers.get("kernel_initializer", name)((300, 200))
    assert values.dtype == np.float32 and abs(values.mean()) < 0.01 * std * 10
    assert abs(values.std() / std - 1) < 0.02 and np.abs(values).max() <= limit * 1.0001


def test_initialisers_by_object_name_and_function():
    assert np.array_equal(initializers.Constant(0.3)((2, 2)), np.full((2, 2), np.float32(0.3)))
    assert np.array_equal(initializers.Identity(gain=2.0)((3, 3)), 2 * np.eye(3))
    assert np.array_equal(initializers.GlorotUniform(seed=1)((3, 3)), initializers.GlorotUniform(seed=1)((3, 3)))
    layer = layers.Dense(3, kernel_initializer=lambda shape, dtype: np.full(shape, 2, dtype))
    layer(np.zeros((1, 2), np.float32))
    assert np.array_equal(layer.get_weights()[0], np.full((2, 3), 2))
    with pytest.raises(ValueError, match="kernel_initializer: expected one of 'zeros'"):
        layers.Dense(3, kernel_initializer="best")
    with pytest.raises(TypeError, match="RandomNormal: expected arguments among mean, stddev, seed, got 'std'"):
        initializers.RandomNormal(std=1.0)


def test_penalties(rng):
    layer = layers.Dense(2, kernel_regularizer=regularizers.L1L2(l1=0.1, l2=0.2), bias_regularizer="l2")
    layer(x_of(rng, 1, 3))
    kernel, bias = (rng.standard_normal(w.shape).astype(np.float32) for w in layer.get_weights())
    layer.set_weights([kernel, bias])
    first, second = (float(loss) for loss in layer.losses)
    assert first == pytest.approx(0.1 * np.abs(kernel).sum() + 0.2 * (kernel**2).sum(), rel=1e-5)
    assert second == pytest.approx(0.01 * (bias**2).sum(), rel=1e-5)


# ---- arguments


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.LSTM(4, untis=3), TypeError, "LSTM: expected arguments among units, activation.*got 'untis'"),
        (lambda: layers.LSTM(0), ValueError, "units: expected an integer >= 1, got 0"),
        (lambda: layers.LSTM(4, activation="elu"), ValueError, "activation: expected one of 'tanh', 'relu'"),
        (lambda: layers.GRU(4, recurrent_activation="tanh"), ValueError, "recurrent_activation: expected one of 'sig"),
        (lambda: layers.SimpleRNN(4, activation="sigmoid"), ValueError, "activation: expected one of 'tanh', 'relu'"),
        (lambda: layers.LSTM(4, kernel_constraint="norm"), ValueError, "kernel_constraint: expected one of 'non_neg'"),
        (lambda: layers.LSTM(4, gamma_constraint="non_neg"), TypeError, "expected arguments among .*, got 'gamma_con"),
        (lambda: layers.Dense(4, activity_regularizer="l3"), ValueError, "activity_regularizer: expected one of 'l1'"),
        (lambda: layers.Dense(4, activation="swoosh"), ValueError, "activation: expected one of 'linear'"),
        (lambda: layers.Dense("4"), TypeError, "units: expected an integer, got '4'"),
        (lambda: layers.Dense(4, name="a.b"), ValueError, "name: expected a non-empty name without dots"),
        (lambda: layers.Dropout(1.5), ValueError, "rate: expected"),
        (lambda: layers.Conv1D(4, 3, padding="full"), ValueError, "padding: expected one of"),
        (
            lambda: layers.Conv1D(4, 3, data_format="channels_first"),
            ValueError,
            "data_format: expected 'channels_last'",
        ),
        (lambda: layers.Bidirectional(layers.Dense(3)), TypeError, "layer: expected a recurrent layer"),
        (lambda: layers.Bidirectional(layers.LSTM(3), merge_mode="max"), ValueError, "merge_mode: expected one of"),
        (lambda: layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(3)), ValueError, "go_backwards"),
        (lambda: layers.TimeDistributed(3), TypeError, "layer: expected a layer"),
        (lambda: layers.Input((3, 0)), ValueError, "shape: expected an integer >= 1"),
        (lambda: layers.Input(), TypeError, "shape: expected sizes without rows"),
        (lambda: layers.LayerNormalization(axis=1)(np.zeros((2, 3, 4))), ValueError, "axis: expected the last axis"),
        (lambda: layers.LSTM(4)(np.zeros((2, 3))), ValueError, r"input shape: expected \(rows, steps, features\)"),
        (lambda: layers.Add()(np.zeros((2, 3))), ValueError, "inputs: expected a list of two tensors"),
        (lambda: layers.Dense(3)(), TypeError, "expected an input, got none"),
    ],
)
def test_arguments_that_do_not_fit_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_arguments_without_an_effect_are_taken():
    layers.LSTM(3, unroll=True, use_cudnn="auto", implementation=1, kernel_constraint=None, activity_regularizer=None)
    layers.Embedding(3, 4, input_length=10)
    layers.GlobalAveragePooling1D(data_format="channels_last")


def test_names_are_counted_as_keras_counts():
    fs.models.clear_session()
    assert [name_for(kind, None) for kind in ("LSTM", "LSTM", "SimpleRNN", "MultiHeadAttention", "Conv1D")] == [
        "lstm", "lstm_1", "simple_rnn", "multi_head_attention", "conv1d",
    ]  # fmt: skip
    assert name_for("GlobalAveragePooling1D", None) == "global_average_pooling1d"
    assert name_for("LSTM", "mine") == "mine"


def test_configurations_build_the_same_layer_again():
    for layer in (
        layers.LSTM(3, dropout=0.1, kernel_initializer="he_normal", name="a", return_state=True),
        layers.GRU(3, recurrent_regularizer="l2", go_backwards=True),
        layers.Bidirectional(layers.SimpleRNN(3, activation="relu"), merge_mode=None),
        layers.TimeDistributed(layers.Dense(3, activation="softmax")),
        layers.Conv1D(3, 2, strides=2, padding="same"),
        layers.MultiHeadAttention(2, 3, value_dim=4, output_shape=5),
        layers.Embedding(5, 3, mask_zero=True),
    ):
        config = layer.get_config()
        assert type(layer).from_config(config).get_config() == config


# ---- flow


def test_a_leaf_keeps_its_gradient():
    leaf = fs.tensor([[1.0, 2.0]], requires_grad=True)
    out = layers.Dropout(0.3)(leaf)  # hands its input on
    (out * 3.0).sum().backward()
    assert np.array_equal(leaf.grad.numpy(), [[3.0, 3.0]])
    marked = flow(leaf)
    assert not marked.is_leaf


def test_attention_scores(rng):
    x = x_of(rng, 2, 4, 6)
    layer = layers.MultiHeadAttention(3, 2)
    out, scores = layer(x, x, return_attention_scores=True, use_causal_mask=True)
    assert out.shape == (2, 4, 6) and scores.shape == (2, 3, 4, 4)
    np.testing.assert_allclose(np.asarray(scores).sum(-1), 1, rtol=1e-5)
    assert not np.triu(np.asarray(scores)[0, 0], 1).any()
    seen = np.array([[True, True, False, False]] * 4)
    cut = layer(x, x[:, :2])
    np.testing.assert_allclose(np.asarray(layer(x, x, attention_mask=seen)), np.asarray(cut), rtol=1e-5, atol=1e-6)


def test_a_layer_of_one_s_own(rng):
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight((input_shape[-1],), initializer="ones", name="factor")

        def call(self, inputs):
            return inputs * self.factor

    layer = Scale()
    x = x_of(rng, 2, 3)
    assert np.array_equal(layer(x), x)
    layer.set_weights([np.array([1.0, 2.0, 3.0])])
    assert np.array_equal(layer(x), x * np.float32([1, 2, 3]))
    assert layer.weights[0].path == f"{layer.name}/factor"
    symbol = layer(layers.Input((3,)))
    assert symbol.shape == (None, 3)
