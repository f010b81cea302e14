"""The oracle: recurrent layers and optimisers as scalar loops in float64, written from the papers.

One row at a time, one step at a time, one unit at a time; nothing is shared with the package, no array is
multiplied by an array, and the standard library's ``math`` is the only source of functions.

LSTM: S. Hochreiter and J. Schmidhuber, Long Short-Term Memory, Neural Computation 9(8), 1997, section 4, with the
forget gate of F. A. Gers, J. Schmidhuber and F. Cummins, Learning to Forget, Neural Computation 12(10), 2000,
section 3. Names and the order of the gates (input, forget, cell, output) are those of ``torch.nn.LSTM``::

    i_t = sigmoid(W_ii x_t + b_ii + W_hi h_{t-1} + b_hi)        f_t, o_t alike
    g_t = tanh(W_ig x_t + b_ig + W_hg h_{t-1} + b_hg)
    c_t = f_t c_{t-1} + i_t g_t
    h_t = o_t tanh(c_t)

GRU: K. Cho et al., Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation,
2014, section 2.3, with the reset gate as there or behind the product, and the names of ``torch.nn.GRU``; RNN: J. L.
Elman, Finding Structure in Time, Cognitive Science 14(2), 1990, as ``torch.nn.RNN`` has it.

Projections: H. Sak, A. Senior and F. Beaufays, Long Short-Term Memory Based Recurrent Neural Network Architectures
for Large Vocabulary Speech Recognition, arXiv 1402.1128, section 3.

Layer normalisation: J. L. Ba, J. R. Kiros and G. E. Hinton, Layer Normalization, arXiv 1607.06450, equations 20 to 22.

Peepholes: F. A. Gers and J. Schmidhuber, Recurrent Nets that Time and Count, 2000, section 3.

minGRU, minLSTM: L. Feng et al., Were RNNs All We Needed?, arXiv 2410.01201, sections 3.1 and 3.2.

Adam: D. P. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, 2015, algorithm 1. AdamW: I. Loshchilov
and F. Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 2. SGD with momentum: I. Sutskever et al., On
the importance of initialization and momentum in deep learning, 2013, in the form that PyTorch documents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np


def sigmoid(z: float) -> float:
    """Logistic function, written so that neither side overflows."""
    if z >= 0.0:
        return 1.0 / (1.0 + math.exp(-z))
    return math.exp(z) / (1.0 + math.exp(z))


def lstm_step(x, h, c, w_ih, w_hh, b_ih, b_hh) -> tuple[list[float], list[float]]:
    """One step of one row: lists of F, H and H numbers in, the next h and c out. Biases may be None."""
    hidden = len(h)
    h_next, c_next = [0.0] * hidden, [0.0] * hidden
    for unit in range(hidden):
        slots = []
        for gate in range(4):
            row = gate * hidden + unit
            z = 0.0 if b_ih is None else float(b_ih[row]) + float(b_hh[row])
            for k in range(len(x)):
                z += float(w_ih[row][k]) * float(x[k])
            for k in range(hidden):
                z += float(w_hh[row][k]) * float(h[k])
            slots.append(z)
        i, f, g, o = sigmoid(slots[0]), sigmoid(slots[1]), math.tanh(slots[2]), sigmoid(slots[3])
        c_next[unit] = f * float(c[unit]) + i * g
        h_next[unit] = o * math.tanh(c_next[unit])
    return h_next, c_next


def layer_norm(values: list[float]) -> list[float]:
    """Mean 0 and variance 1."""
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / len(values)
    return [(v - mean) / math.sqrt(variance + 1e-5) for v in values]


def lstm_layer_norm_step(
    x, h, c, w_ih, w_hh, b_ih, b_hh, gain_ih, gain_hh, gain_c, bias_c
) -> tuple[list[float], list[float]]:
    """One step of one row of an LSTM with layer normalisation: the biases are behind it."""
    hidden, c_next, gates = len(h), [], []
    own = layer_norm([affine(row, x, w_ih, None) for row in range(4 * hidden)])
    past = layer_norm([affine(row, h, w_hh, None) for row in range(4 * hidden)])
    for row in range(4 * hidden):
        biases = 0.0 if b_ih is None else float(b_ih[row]) + float(b_hh[row])
        gates.append(float(gain_ih[row]) * own[row] + float(gain_hh[row]) * past[row] + biases)
    for unit in range(hidden):
        new = sigmoid(gates[unit]) * math.tanh(gates[2 * hidden + unit])
        c_next.append(sigmoid(gates[hidden + unit]) * float(c[unit]) + new)
    seen = layer_norm(c_next)
    h_next = []
    for unit in range(hidden):
        inner = float(gain_c[unit]) * seen[unit] + (0.0 if bias_c is None else float(bias_c[unit]))
        h_next.append(sigmoid(gates[3 * hidden + unit]) * math.tanh(inner))
    return h_next, c_next


def lstm_projected_step(x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr) -> tuple[list[float], list[float]]:
    """One step of one row of an LSTM whose h, of P numbers, is a projection."""
    hidden, c_next, wide = len(c), [], []
    for unit in range(hidden):
        z = [affine(g * hidden + unit, x, w_ih, b_ih) + affine(g * hidden + unit, h, w_hh, b_hh) for g in range(4)]
        c_next.append(sigmoid(z[1]) * float(c[unit]) + sigmoid(z[0]) * math.tanh(z[2]))
        wide.append(sigmoid(z[3]) * math.tanh(c_next[-1]))
    return [affine(p, wide, w_hr, None) for p in range(len(h))], c_next


def affine(row: int, x, w, b) -> float:
    """One number of a matrix product plus bias."""
    z = 0.0 if b is None else float(b[row])
    for k in range(len(x)):
        z += float(w[row][k]) * float(x[k])
    return z


def gru_step(x, h, w_ih, w_hh, b_ih, b_hh) -> tuple[list[float]]:
    """One step of one row of a GRU, gates in the order reset, update, new."""
    hidden, h_next = len(h), []
    for unit in range(hidden):
        own = [affine(gate * hidden + unit, x, w_ih, b_ih) for gate in range(3)]
        past = [affine(gate * hidden + unit, h, w_hh, b_hh) for gate in range(3)]
        r, z = sigmoid(own[0] + past[0]), sigmoid(own[1] + past[1])
        n = math.tanh(own[2] + r * past[2])
        h_next.append((1.0 - z) * n + z * float(h[unit]))
    return (h_next,)


def gru_reset_before_step(x, h, w_ih, w_hh, b_ih, b_hh) -> tuple[list[float]]:
    """One step of one row of a GRU as in the paper: r acts on h before the product; reset, update, new."""
    hidden, h_next = len(h), []
    r = [sigmoid(affine(unit, x, w_ih, b_ih) + affine(unit, h, w_hh, b_hh)) for unit in range(hidden)]
    kept = [r[unit] * float(h[unit]) for unit in range(hidden)]
    for unit in range(hidden):
        z = sigmoid(affine(hidden + unit, x, w_ih, b_ih) + affine(hidden + unit, h, w_hh, b_hh))
        n = math.tanh(affine(2 * hidden + unit, x, w_ih, b_ih) + affine(2 * hidden + unit, kept, w_hh, b_hh))
        h_next.append((1.0 - z) * n + z * float(h[unit]))
    return (h_next,)


def peephole_step(x, h, c, w_ih, w_hh, b_ih, b_hh, w_ci, w_cf, w_co) -> tuple[list[float], list[float]]:
    """One step of one row of an LSTM with peepholes, gates in the order input, forget, cell, output."""
    hidden, h_next, c_next = len(h), [], []
    for unit in range(hidden):
        z = [affine(g * hidden + unit, x, w_ih, b_ih) + affine(g * hidden + unit, h, w_hh, b_hh) for g in range(4)]
        before = float(c[unit])
        i, f = sigmoid(z[0] + float(w_ci[unit]) * before), sigmoid(z[1] + float(w_cf[unit]) * before)
        c_next.append(f * before + i * math.tanh(z[2]))
        h_next.append(sigmoid(z[3] + float(w_co[unit]) * c_next[-1]) * math.tanh(c_next[-1]))
    return h_next, c_next


def min_gru_step(x, h, w_ih, w_hh, b_ih, b_hh) -> tuple[list[float]]:
    """One step of one row of a minGRU: update gate, new."""
    hidden, h_next = len(h), []
    for unit in range(hidden):
        z = sigmoid(affine(unit, x, w_ih, b_ih))
        h_next.append((1.0 - z) * float(h[unit]) + z * affine(hidden + unit, x, w_ih, b_ih))
    return (h_next,)


def min_lstm_step(x, h, w_ih, w_hh, b_ih, b_hh) -> tuple[list[float]]:
    """One step of one row of a minLSTM: forget, input, new; the gates divided by their sum."""
    hidden, h_next = len(h), []
    for unit in range(hidden):
        f, i = sigmoid(affine(unit, x, w_ih, b_ih)), sigmoid(affine(hidden + unit, x, w_ih, b_ih))
        new = affine(2 * hidden + unit, x, w_ih, b_ih)
        h_next.append(f / (f + i) * float(h[unit]) + i / (f + i) * new)
    return (h_next,)


def rnn_step(x, h, w_ih, w_hh, b_ih, b_hh) -> tuple[list[float]]:
    """One step of one row with the hyperbolic tangent."""
    return ([math.tanh(affine(u, x, w_ih, b_ih) + affine(u, h, w_hh, b_hh)) for u in range(len(h))],)


def lstm_relu_step(x, h, c, w_ih, w_hh, b_ih, b_hh) -> tuple[list[float], list[float]]:
    """One step of one row of an LSTM with the rectifier, gates in the order input, forget, cell, output."""
    hidden, h_next, c_next = len(h), [], []
    for unit in range(hidden):
        z = [affine(g * hidden + unit, x, w_ih, b_ih) + affine(g * hidden + unit, h, w_hh, b_hh) for g in range(4)]
        c_next.append(sigmoid(z[1]) * float(c[unit]) + sigmoid(z[0]) * max(0.0, z[2]))
        h_next.append(sigmoid(z[3]) * max(0.0, c_next[-1]))
    return h_next, c_next


def rnn_relu_step(x, h, w_ih, w_hh, b_ih, b_hh) -> tuple[list[float]]:
    """One step of one row with the rectifier."""
    return ([max(0.0, affine(u, x, w_ih, b_ih) + affine(u, h, w_hh, b_hh)) for u in range(len(h))],)


def lstm(
    x: np.ndarray, weights: Mapping[str, np.ndarray], *, h0: np.ndarray | None = None, c0: np.ndarray | None = None,
    **options,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """A whole stack of LSTM layers; see `layers`."""
    out, h_n, c_n = layers(lstm_step, x, weights, states=(h0, c0), **options)
    return out, h_n, c_n


def layers(
    step: Callable[..., tuple[list[float], ...]],
    x: np.ndarray,
    weights: Mapping[str, np.ndarray],
    *,
    hidden_size: int,
    states: Sequence[np.ndarray | None],
    num_layers: int = 1,
    bidirectional: bool = False,
    lengths: np.ndarray | None = None,
    more: Sequence[str] = (),
    outputs: int = 0,
) -> list[np.ndarray]:
    """A whole layer stack; ``step`` is one of the functions above, ``weights`` carry PyTorch's names.

    ``more`` names weights that the step takes behind the usual four, ``outputs`` is the size of h if it is another.

    x is (B, T, F), states are (L*D, B, H), None for zeros. Returns out (B, T, D*H), zero past each length, and the
    states after the last valid step (after step 0 for the reverse direction). A row of length 0 keeps its states.
    """
    batch, steps, _ = x.shape
    directions = 2 if bidirectional else 1
    lengths = [steps] * batch if lengths is None else [int(n) for n in lengths]
    sizes = [outputs or hidden_size, *[hidden_size] * (len(states) - 1)]
    finals = [np.zeros((num_layers * directions, batch, size)) for size in sizes]
    out = np.asarray(x, dtype=np.float64)
    for layer in range(num_layers):
        source, out = out, np.zeros((batch, steps, directions * sizes[0]))
        for direction in range(directions):
            suffix = f"l{layer}" + ("_reverse" if direction else "")
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", *more)
            own = [weights.get(f"{name}_{suffix}") for name in names]
            place = layer * directions + direction
            for row in range(batch):
                now = [
                    [0.0] * size if s is None else [float(v) for v in s[place, row]]
                    for s, size in zip(states, sizes, strict=True)
                ]
                valid = range(lengths[row])
                for t in reversed(valid) if direction else valid:
                    now = step(source[row, t], *now, *own)
                    for unit in range(sizes[0]):
                        out[row, t, direction * sizes[0] + unit] = now[0][unit]
                for final, state in zip(finals, now, strict=True):
                    final[place, row] = state
    return [out, *finals]


def sgd_step(
    parameter: list[float],
    gradient: list[float],
    buffer: list[float] | None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> tuple[list[float], list[float]]:
    """One step of SGD: the new parameter and the new momentum buffer. ``buffer`` is None before the first step."""
    new, moved = [], []
    for k, (p, g) in enumerate(zip(parameter, gradient, strict=True)):
        g = g + weight_decay * p
        b = g
        if momentum and buffer is not None:
            b = momentum * buffer[k] + (1.0 - dampening) * g
        if momentum:
            g = g + momentum * b if nesterov else b
        moved.append(b)
        new.append(p - lr * g)
    return new, moved


def adam_step(
    parameter: list[float],
    gradient: list[float],
    first: list[float],
    second: list[float],
    step: int,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> tuple[list[float], list[float], list[float]]:
    """Step number ``step`` (from 1) of Adam, or of AdamW when ``decoupled``: the new parameter and both moments."""
    new, m_new, v_new = [], [], []
    for p, g, m, v in zip(parameter, gradient, first, second, strict=True):
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1.0 - betas[0]) * g
        v = betas[1] * v + (1.0 - betas[1]) * g * g
        m_hat = m / (1.0 - betas[0] ** step)
        v_hat = v / (1.0 - betas[1] ** step)
        new.append(p - lr * m_hat / (math.sqrt(v_hat) + eps))
        m_new.append(m)
        v_new.append(v)
    return new, m_new, v_new
