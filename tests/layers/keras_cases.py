"""Keras's own test cases of its recurrent layers, as functions of the modules ``layers`` and ``initializers``.

After keras/src/layers/rnn/{lstm,gru,simple_rnn,bidirectional,time_distributed}_test.py (Apache 2.0): the layers, inputs
and constant initialisers are theirs. The numbers in tests/data/face_golden.npz come from running them in Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CASES: dict[str, Callable[[Any, Any], Any]] = {}

RIGHT = [[True, True, True, False], [True, True, False, False]]
LEFT = [[False, True, True, True], [False, False, True, True]]
GAPS = [[True, True, False, True], [True, False, False, True]]
EMPTY = [[False, False, False, False], [True, False, False, True]]


def case(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    CASES[function.__name__] = function
    return function


def numbers(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype("float32")


def constant(initializers: Any, kernel: float = 0.01, recurrent: float = 0.02, bias: float = 0.03) -> dict[str, Any]:
    made = initializers.Constant
    return {
        "kernel_initializer": made(kernel),
        "recurrent_initializer": made(recurrent),
        "bias_initializer": made(bias),
    }


def each(kind: str) -> None:
    """Add the cases that LSTM, GRU and SimpleRNN share."""

    def build(layers, initializers, units, **options):
        return getattr(layers, kind)(units, **constant(initializers), **options)

    def add(name: str, units: int, x: np.ndarray, call: dict[str, Any], **options: Any) -> None:
        def run(layers, initializers):
            return build(layers, initializers, units, **options)(x, **call)

        CASES[f"{kind}_{name}"] = run

    states = 2 if kind == "LSTM" else 1
    start = [numbers(2, 2) for _ in range(states)]
    initial = {"initial_state": start if kind == "LSTM" else start[0]}
    add("correctness", 3, numbers(3, 6, 4), {})
    add("go_backwards", 3, numbers(3, 6, 4), {}, go_backwards=True)
    add("unroll", 3, numbers(3, 6, 4), {}, unroll=True)
    add("no_bias", 3, numbers(3, 6, 4), {}, use_bias=False)
    add("initial_state", 2, numbers(2, 4, 3), initial)
    add("initial_state_backwards", 2, numbers(2, 4, 3), initial, go_backwards=True)
    add("return_state", 2, numbers(2, 4, 3), initial, return_state=True)
    add("return_both", 2, numbers(2, 4, 3), initial, return_state=True, return_sequences=True, go_backwards=True)
    for name, mask in (("right", RIGHT), ("left", LEFT), ("gaps", GAPS), ("empty", EMPTY)):
        masked = {"mask": np.array(mask)}
        add(f"mask_{name}", 2, numbers(2, 4, 3), masked)
        add(f"mask_{name}_sequences", 2, numbers(2, 4, 3), masked, return_sequences=True)
        add(f"mask_{name}_zero", 2, numbers(2, 4, 3), masked, return_sequences=True, zero_output_for_mask=True)
        add(f"mask_{name}_last_zero", 2, numbers(2, 4, 3), masked, zero_output_for_mask=True)
        add(f"mask_{name}_backwards", 2, numbers(2, 4, 3), masked, go_backwards=True)
        add(f"mask_{name}_state", 2, numbers(2, 4, 3), {**masked, **initial}, return_state=True)

    def statefulness(layers, initializers):
        layer = build(layers, initializers, 4, stateful=True)
        layer(numbers(2, 3, 4))
        second = layer(numbers(2, 3, 4))
        layer.reset_state()
        layer(numbers(2, 3, 4))
        return [second, layer(numbers(2, 3, 4))]

    CASES[f"{kind}_statefulness"] = statefulness


for _kind in ("LSTM", "GRU", "SimpleRNN"):
    each(_kind)


@case
def LSTM_no_unit_forget_bias(layers, initializers):
    return layers.LSTM(3, **constant(initializers), unit_forget_bias=False)(numbers(3, 6, 4))


@case
def bidirectional(layers, initializers):
    forward = layers.SimpleRNN(2, **constant(initializers))
    return layers.Bidirectional(layer=forward)(numbers(2, 3, 4))


@case
def bidirectional_ave(layers, initializers):
    return layers.Bidirectional(layers.SimpleRNN(2, **constant(initializers)), merge_mode="ave")(numbers(2, 3, 4))


@case
def bidirectional_apart(layers, initializers):
    return layers.Bidirectional(layers.SimpleRNN(2, **constant(initializers)), merge_mode=None)(numbers(2, 3, 4))


@case
def bidirectional_mul_of_two(layers, initializers):
    back = layers.SimpleRNN(2, **constant(initializers, 0.03, 0.02, 0.01), go_backwards=True)
    forward = layers.SimpleRNN(2, **constant(initializers))
    return layers.Bidirectional(layer=forward, backward_layer=back, merge_mode="mul")(numbers(2, 3, 4))


@case
def bidirectional_sum_of_sequences(layers, initializers):
    forward = layers.GRU(2, **constant(initializers), return_sequences=True)
    return layers.Bidirectional(layer=forward, merge_mode="sum")(numbers(2, 3, 4))


@case
def bidirectional_statefulness(layers, initializers):
    layer = layers.Bidirectional(layers.LSTM(2, **constant(initializers), stateful=True))
    layer(numbers(2, 4, 3))
    second = layer(numbers(2, 4, 3))
    layer.reset_state()
    layer(numbers(2, 4, 3))
    return [second, layer(numbers(2, 4, 3))]


@case
def bidirectional_initial_state(layers, initializers):
    states = [numbers(2, 2) * k for k in (1, 2, 3, 4)]
    return layers.Bidirectional(layers.LSTM(2, **constant(initializers)))(numbers(2, 4, 3), initial_state=states)


@case
def bidirectional_masking(layers, initializers):
    layer = layers.Bidirectional(layers.GRU(2, **constant(initializers)))
    return layer(numbers(2, 4, 3), mask=np.array(GAPS))


@case
def bidirectional_masking_sequences(layers, initializers):
    layer = layers.Bidirectional(layers.GRU(2, **constant(initializers), return_sequences=True))
    return layer(numbers(2, 4, 3), mask=np.array(GAPS))


@case
def bidirectional_return_state(layers, initializers):
    return layers.Bidirectional(layers.LSTM(2, **constant(initializers), return_state=True))(numbers(2, 4, 3))


@case
def time_distributed(layers, initializers):
    dense = layers.Dense(1, kernel_initializer=initializers.Constant(0.01), use_bias=False)
    return layers.TimeDistributed(layer=dense)(numbers(3, 2, 4))


@case
def time_distributed_lstm(layers, initializers):
    return layers.TimeDistributed(layers.LSTM(2, **constant(initializers)))(numbers(2, 2, 3, 4))
