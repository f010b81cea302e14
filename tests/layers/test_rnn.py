"""RNN with cells: Keras's own cases with cells of one's own, and fastseq's cells beside the fused layers."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq import layers, models


class OneState(layers.Layer):
    """The cell of keras/src/layers/rnn/rnn_test.py."""

    def __init__(self, units, state_size=None, **options):
        super().__init__(**options)
        self.units, self.state_size = units, state_size or units

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units), initializer="ones", name="kernel")
        self.recurrent_kernel = self.add_weight((self.units, self.units), initializer="ones", name="recurrent_kernel")

    def call(self, inputs, states):
        output = inputs @ self.kernel + states[0] @ self.recurrent_kernel
        return output, [output]


class TwoStates(OneState):
    def __init__(self, units, **options):
        super().__init__(units, [units, units], **options)
        self.output_size = units

    def call(self, inputs, states):
        one = inputs @ self.kernel + states[0] @ self.recurrent_kernel
        return one + one, [one, one]


def numbers(*shape):
    return np.arange(np.prod(shape)).reshape(shape).astype(np.float32)


def test_cells_of_one_s_own_give_keras_s_numbers():
    """The expected numbers stand in keras/src/layers/rnn/{rnn,stacked_rnn_cells}_test.py."""
    x = np.ones((1, 2, 3))
    assert np.array_equal(layers.RNN(OneState(2))(x), [[9, 9]])
    assert np.array_equal(layers.RNN(OneState(2, [2]), return_sequences=True)(x), [[[3, 3], [9, 9]]])
    out, one, two = layers.RNN(TwoStates(2), return_state=True)(x)
    assert np.array_equal(out, [[18, 18]]) and np.array_equal(one, [[9, 9]]) and np.array_equal(two, one)
    given = layers.RNN(OneState(2))(np.ones((2, 3, 2)), initial_state=np.ones((2, 2)))
    assert np.array_equal(given, [[22, 22], [22, 22]])
    stateful = layers.RNN(TwoStates(2), stateful=True)
    stateful(x)
    assert np.array_equal(stateful(x), [[90, 90]])
    stateful.reset_state()
    assert np.array_equal(stateful(x), [[18, 18]])
    assert np.array_equal(layers.RNN(OneState(2), go_backwards=True)(numbers(2, 3, 4)), [[202, 202], [538, 538]])
    stack = layers.RNN([OneState(3), OneState(2)], return_state=True)
    out, one, two = stack(numbers(2, 3, 4))
    assert np.array_equal(out, [[786, 786], [4386, 4386]]) and np.array_equal(two, out)
    assert np.array_equal(one, [[158] * 3, [782] * 3])
    stateful = layers.RNN([TwoStates(3), TwoStates(2)], stateful=True)
    stateful(numbers(2, 3, 4))
    assert np.array_equal(stateful(numbers(2, 3, 4)), [[136368, 136368], [692784, 692784]])


def test_masks_hold_the_states_of_cells_of_one_s_own():
    """The expected numbers stand in keras/src/layers/rnn/rnn_test.py."""
    x = numbers(2, 4, 3)
    mask = np.array([[True, True, True, False], [True, True, False, False]])
    x[~mask] = np.nan  # never read
    rnn = layers.RNN(OneState(2))
    out = rnn(x, mask=mask)
    assert np.array_equal(out, [[57, 57], [126, 126]])
    out.sum().backward()
    assert all(np.isfinite(parameter.grad.numpy()).all() for parameter in rnn.parameters())
    out = layers.RNN(OneState(2), return_sequences=True)(x, mask=mask)
    rows = [[3, 18, 57, 57], [39, 126, 126, 126]]
    assert np.array_equal(np.asarray(out)[..., 0], rows)
    out = layers.RNN(OneState(2), return_sequences=True, zero_output_for_mask=True)(x, mask=mask)
    assert np.array_equal(np.asarray(out)[..., 0], np.where(mask, rows, 0))
    left = mask[:, ::-1]
    out = layers.RNN(OneState(2), return_sequences=True)(x[:, ::-1][:, :, ::-1], mask=left)
    assert np.array_equal(np.asarray(out)[:, 0, 0], [0, 0])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_cells_are_steps_of_the_layers(kind, rng):
    x = rng.standard_normal((3, 5, 4)).astype(np.float32)
    mask = np.array([[True] * 5, [True, False, True, True, False], [False] * 5])
    layer, cell = getattr(layers, kind)(6, return_sequences=True), getattr(layers, f"{kind}Cell")(6)
    rnn = layers.RNN(cell, return_sequences=True)
    rnn(x), layer(x)
    rnn.set_weights(layer.get_weights())
    assert np.array_equal(rnn(x), layer(x)) and np.array_equal(rnn(x, mask=mask), layer(x, mask=mask))
    states = cell.get_initial_state(batch_size=3)
    for t in range(5):
        out, states = cell(x[:, t], states)
        assert np.array_equal(out, np.asarray(layer(x))[:, t])
    assert cell.kernel.shape == layer.weights[0].shape and cell.output_size == 6
    assert layer.state_size == cell.state_size == rnn.state_size
    assert [state.shape for state in layer.get_initial_state(3)] == [(3, 6)] * layer.state_count
    again = layers.RNN.from_config(rnn.get_config())
    assert again.get_config() == rnn.get_config() and [w.name for w in rnn.weights] == [w.name for w in layer.weights]


def test_stacked_cells_are_layers_one_above_the_other(rng):
    x = rng.standard_normal((3, 5, 4)).astype(np.float32)
    rnn = layers.RNN([layers.LSTMCell(6), layers.GRUCell(2)], return_state=True)
    out, (h, c), last = rnn(x)
    assert rnn.compute_output_shape((3, 5, 4)) == [(3, 2), [(3, 6), (3, 6)], (3, 2)]
    chain = models.Sequential([layers.LSTM(6, return_sequences=True), layers.GRU(2)])
    chain.build((None, 5, 4))
    chain.set_weights(rnn.get_weights())
    assert np.array_equal(out, chain.predict(x)) and np.array_equal(out, last) and h.shape == c.shape
    loop = layers.RNN([OneState(3), layers.GRUCell(2)])  # one of them is not ours: step by step
    assert loop(x).shape == (3, 2)
    symbols = rnn(layers.Input((5, 4)))
    model = models.Model(symbols[0].node.inputs[0], [symbols[0], symbols[1][1]])
    assert np.array_equal(model.predict(x)[1], c)


def test_rnn_learns_and_is_kept(rng, tmp_path):
    x, y = rng.standard_normal((12, 5, 3)).astype(np.float32), rng.standard_normal((12, 1))
    own = models.Sequential([layers.Input((5, 3)), layers.RNN(OneState(4)), layers.Dense(1)])
    both = layers.Bidirectional(layers.RNN(layers.LSTMCell(4, dropout=0.1, recurrent_dropout=0.1)))
    ours = models.Sequential([layers.Input((5, 3)), both, layers.Dense(1)])
    for model in (own, ours):
        model.set_weights([0.2 * rng.standard_normal(weight.shape) for weight in model.weights])
        model.compile("adam", "mse")
        before = model.evaluate(x, y)
        model.fit(x, y, epochs=20, verbose=0)
        assert model.evaluate(x, y) < before
    ours.save(tmp_path / "model.keras")
    assert np.array_equal(models.load_model(tmp_path / "model.keras").predict(x), ours.predict(x))
    with pytest.raises(TypeError, match="a file cannot hold a class of yours"):
        own.save(tmp_path / "own.keras")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.RNN(layers.Dense(3)), TypeError, r"cell: expected a cell: a layer with call\(inputs, states\)"),
        (lambda: layers.RNN([layers.LSTMCell(3), 4]), TypeError, "cells: expected a cell"),
        (lambda: layers.RNN([]), TypeError, "cells: expected a list of cells"),
        (lambda: layers.LSTMCell(3, return_sequences=True), TypeError, "expected arguments of one step"),
        (lambda: layers.RNN(layers.LSTMCell(3))(np.zeros((2, 3))), ValueError, r"expected \(rows, steps, features\)"),
        (lambda: layers.LSTMCell(3)(np.zeros((2, 3)), [np.zeros((2, 3))]), ValueError, r"expected 2 state\(s\), got 1"),
    ],
)  # fmt: skip
def test_what_is_no_cell_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
