"""Keras on TensorFlow: a recurrent layer inside ``tf.function``, and ``train_on_batch`` for whole training steps.

Keras has one bias per slot where PyTorch has two, so that under Adam its bias learns half as fast: of training steps
the first loss is compared, before the two part; the same layer's gradients are, in the training passes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.adapters import Results, Run, gradients
from benchmarks.peers.tasks import CLIP_NORM, LEARNING_RATE, Problem, Task, suffixes

PACKAGES = ("keras", "tensorflow")
CELLS = {"LSTM": "LSTM", "GRU": "GRU", "RNN": "SimpleRNN"}


NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def limit_threads(threads: int) -> None:
    """Set the size of both pools, before TensorFlow starts them."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def swapped(task: Task, rows: np.ndarray) -> np.ndarray:
    """A GRU's gates from PyTorch's order r z n to Keras's z r h, or back; the others' orders are the same."""
    if task.cell != "GRU":
        return rows
    r, z, n = np.split(rows, 3)
    return np.concatenate([z, r, n])


def weights_of(task: Task, problem: Problem, end: str) -> list[np.ndarray]:
    """Kernel (F, 4H), recurrent kernel (H, 4H) and bias, for a GRU (2, 3H)."""
    found = {name: swapped(task, problem.weights[f"{name}{end}"]) for name in NAMES}
    biases = found["bias_ih"], found["bias_hh"]
    bias = np.stack(biases) if task.cell == "GRU" else biases[0] + biases[1]
    return [found["weight_ih"].T, found["weight_hh"].T, bias]


def layer(task: Task, problem: Problem) -> Any:
    """The layer with the task's weights."""
    import keras

    found = getattr(keras.layers, CELLS[task.cell])(task.hidden, return_sequences=True)
    found.build((task.batch, task.steps, task.features))
    found.set_weights(weights_of(task, problem, "_l0"))
    return found


def inference(task: Task, problem: Problem) -> Run:
    """The layer inside ``tf.function``: less overhead than ``predict``."""
    import tensorflow as tf

    lstm, x = layer(task, problem), tf.constant(problem.x)
    run = tf.function(lambda x: lstm(x, training=False))

    def call() -> Any:
        return run(x)

    return Run(call, lambda: {"out": call().numpy()})


def training(task: Task, problem: Problem) -> Run:
    """Forward and a gradient tape inside ``tf.function``; a mask where lengths differ."""
    import tensorflow as tf

    lstm, x, d_out = layer(task, problem), tf.constant(problem.x), tf.constant(problem.d_out)
    valid = np.arange(task.steps)[None, :] < problem.lengths[:, None]
    mask = tf.constant(valid) if task.ragged else None

    @tf.function
    def run(x: Any, d_out: Any) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = lstm(x, training=True, mask=mask)
        variables = [variable.value for variable in lstm.trainable_variables]
        return out, tape.gradient(out, [x, *variables], output_gradients=d_out)

    def call() -> tuple:
        return run(x, d_out)

    def results() -> Results:
        out, (d_x, d_kernel, d_recurrent, d_bias) = call()
        d_biases = d_bias.numpy().reshape(-1, d_kernel.shape[1])
        arrays = d_kernel.numpy().T, d_recurrent.numpy().T, d_biases[0], d_biases[-1]
        grads = {f"{name}_l0": swapped(task, array) for name, array in zip(NAMES, arrays, strict=True)}
        # Keras repeats the last valid output in padding
        return {"out": np.where(valid[:, :, None], out.numpy(), 0), "d_x": d_x.numpy()} | gradients(task, grads)

    return Run(call, results)


def update(task: Task, problem: Problem) -> Run:
    """``train_on_batch`` of a functional model."""
    import keras

    def network(dropout: float) -> Any:
        value = given = keras.Input((task.steps, task.features))
        for number, ends in enumerate(suffixes(task)):
            if number and dropout:
                value = keras.layers.Dropout(dropout)(value)
            lstm = keras.layers.LSTM(task.hidden, return_sequences=True)
            wrapped = keras.layers.Bidirectional(lstm) if len(ends) == 2 else lstm
            value = wrapped(value)
            wrapped.set_weights([array for end in ends for array in weights_of(task, problem, end)])
        head = keras.layers.Dense(1)
        model = keras.Model(given, head(value[:, -1]))
        head.set_weights([problem.weights["fc.weight"].T, problem.weights["fc.bias"]])
        adam = keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-8, global_clipnorm=CLIP_NORM)
        model.compile(optimizer=adam, loss="mse")
        return model

    model, done = network(task.dropout), 0

    def call() -> Any:
        nonlocal done
        at = done % len(problem.x)
        done += 1
        return model.train_on_batch(problem.x[at], problem.y[at])

    def results() -> Results:
        return {"losses": np.array([network(0.0).train_on_batch(problem.x[0], problem.y[0])], np.float64)}

    return Run(call, results)


WAYS = {
    "inference": {"keras": inference},
    "training": {"keras": training},
    "ragged training": {"keras masked": training},
    "update": {"keras": update},
}
