"""The equations of one step of each cell, and of its gradient, in PyTorch's gate orders.

``a_x`` is what the input gives, biases included, and ``a_h`` what h gives: only a GRU needs to tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

States = tuple[np.ndarray, ...]


class Cell(NamedTuple):
    """``step(a_x, a_h, states)`` returns the new states, h first, and what ``back`` needs.

    ``back(kept, d_states)`` returns the gradients of a_x, of a_h, and of the states where they enter otherwise.
    """

    states: int
    step: Callable[..., tuple[States, Any]]
    back: Callable[..., tuple[np.ndarray, np.ndarray, States]]


def sigmoid(a: np.ndarray) -> np.ndarray:
    """The logistic function, without overflow."""
    return 0.5 * np.tanh(0.5 * a) + 0.5


def lstm(a_x: np.ndarray, a_h: np.ndarray, states: States) -> tuple[States, Any]:
    """Gates i f g o."""
    i, f, g, o = np.split(a_x + a_h, 4, axis=-1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * states[1] + i * g
    tanh_c = np.tanh(c)
    return (o * tanh_c, c), (i, f, g, o, states[1], tanh_c)


def lstm_back(kept: Any, d_states: States) -> tuple[np.ndarray, np.ndarray, States]:
    """Back through an LSTM's step."""
    i, f, g, o, c, tanh_c = kept
    d_h, d_c = d_states
    d_c = d_c + d_h * o * (1 - tanh_c * tanh_c)
    slots = [d_c * g * i * (1 - i), d_c * c * f * (1 - f), d_c * i * (1 - g * g), d_h * tanh_c * o * (1 - o)]
    d_a = np.concatenate(slots, axis=-1)
    return d_a, d_a, (np.zeros_like(d_h), d_c * f)


def gru(a_x: np.ndarray, a_h: np.ndarray, states: States) -> tuple[States, Any]:
    """Gates r z n; the reset gate acts on the product with h."""
    (r_x, z_x, n_x), (r_h, z_h, n_h) = np.split(a_x, 3, axis=-1), np.split(a_h, 3, axis=-1)
    r, z = sigmoid(r_x + r_h), sigmoid(z_x + z_h)
    n = np.tanh(n_x + r * n_h)
    return ((1 - z) * n + z * states[0],), (r, z, n, n_h, states[0])


def gru_back(kept: Any, d_states: States) -> tuple[np.ndarray, np.ndarray, States]:
    """Back through a GRU's step."""
    r, z, n, n_h, h = kept
    (d_h,) = d_states
    d_n = d_h * (1 - z) * (1 - n * n)
    d_r, d_z = d_n * n_h * r * (1 - r), d_h * (h - n) * z * (1 - z)
    return np.concatenate([d_r, d_z, d_n], axis=-1), np.concatenate([d_r, d_z, d_n * r], axis=-1), (d_h * z,)


def rnn(a_x: np.ndarray, a_h: np.ndarray, states: States) -> tuple[States, Any]:
    """A hyperbolic tangent."""
    h = np.tanh(a_x + a_h)
    return (h,), h


def rnn_back(kept: Any, d_states: States) -> tuple[np.ndarray, np.ndarray, States]:
    """Back through a plain step."""
    d_a = d_states[0] * (1 - kept * kept)
    return d_a, d_a, (np.zeros_like(d_a),)


def min_gru(a_x: np.ndarray, a_h: np.ndarray, states: States) -> tuple[States, Any]:
    """Gates z n, of the input alone."""
    z, n = np.split(a_x, 2, axis=-1)
    z = sigmoid(z)
    return ((1 - z) * states[0] + z * n,), (z, n, states[0])


def min_gru_back(kept: Any, d_states: States) -> tuple[np.ndarray, np.ndarray, States]:
    """Back through a minimal step."""
    z, n, h = kept
    (d_h,) = d_states
    d_a = np.concatenate([d_h * (n - h) * z * (1 - z), d_h * z], axis=-1)
    return d_a, d_a, (d_h * (1 - z),)


CELLS = {
    "LSTM": Cell(2, lstm, lstm_back),
    "GRU": Cell(1, gru, gru_back),
    "RNN": Cell(1, rnn, rnn_back),
    "MinGRU": Cell(1, min_gru, min_gru_back),
}
