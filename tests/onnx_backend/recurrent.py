"""Recurrent layers: gates put in order, directions and layouts turned into fastseq's."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from fastseq import nn
from tests.onnx_backend.operators import Arrays, Unsupported, operator, options, padded, plain


def run_layer(
    layer_of: Any,
    order: list[int],
    attributes: dict[str, Any],
    inputs: Arrays,
    states: Arrays,
    peepholes: Any = None,
) -> Arrays:
    """Outputs of a recurrent operator, computed by one layer of fastseq.

    ``layer_of(features, hidden, bidirectional=)`` makes the layer; ``order`` says for each of fastseq's gates which of
    ONNX's it is; ``inputs`` are X, W, R, B and sequence_lens; ``states`` the initial states, None for zeros;
    ``peepholes`` (D, 3 H), of i, o and f.
    Returns Y and the final states. ONNX has arrays (T, B, F) for layout 0, (B, T, F) for layout 1.
    """
    x, w, r, b, lengths = inputs
    direction, batch_first = attributes["direction"], attributes["layout"] == 1
    count, hidden = r.shape[0], r.shape[2]
    layer = layer_of(w.shape[2], hidden, bidirectional=direction != "forward")

    def gates(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values[k * hidden : (k + 1) * hidden] for k in order])

    suffixes = ["_l0"] if direction == "forward" else ["_l0", "_l0_reverse"]
    weights = {}
    for place, suffix in enumerate(suffixes):
        k = min(place, count - 1)  # where only the reverse direction counts, the other one computes the same
        biases = np.zeros((2, len(order) * hidden), x.dtype) if b is None else b[k].reshape(2, -1)
        weights |= {"weight_ih" + suffix: gates(w[k]), "weight_hh" + suffix: gates(r[k])}
        weights |= {"bias_ih" + suffix: gates(biases[0]), "bias_hh" + suffix: gates(biases[1])}
        if peepholes is not None:
            own = dict(zip("iof", np.split(peepholes[k], 3), strict=True))
            weights |= {f"weight_c{gate}{suffix}": own[gate] for gate in "ifo"}
    layer.load_state_dict(weights)

    def to_own(state: Any) -> np.ndarray:
        if state is None:
            batch = x.shape[0 if batch_first else 1]
            return np.zeros((len(suffixes), batch, hidden), x.dtype)
        state = state.swapaxes(0, 1) if batch_first else state
        return np.ascontiguousarray(np.broadcast_to(state, (len(suffixes), *state.shape[1:])))

    given = [to_own(state) for state in states]
    whole = np.ascontiguousarray(x if batch_first else x.swapaxes(0, 1))
    hx = tuple(given) if len(given) > 1 else given[0]
    out, last = layer(whole, hx, lengths=None if lengths is None else lengths.astype(np.int64))
    (y,) = plain(out)
    y = y.reshape(*y.shape[:2], len(suffixes), hidden)[:, :, -count:]
    finals = [state[-count:] for state in plain(*(last if isinstance(last, tuple) else [last]))]
    if batch_first:
        return [y, *(state.swapaxes(0, 1) for state in finals)]
    return [y.transpose(1, 2, 0, 3), *finals]


@operator("LSTM")
def lstm(attributes: dict[str, Any], inputs: Arrays) -> Arrays:
    """nn.LSTM and nn.PeepholeLSTM; ONNX's gates are i o f c."""
    o = options(attributes, hidden_size=None, direction="forward", layout=0)
    *common, initial_h, initial_c, peepholes = padded(inputs, 8)
    layer = nn.LSTM if peepholes is None else nn.PeepholeLSTM
    return run_layer(layer, [0, 2, 3, 1], o, common, [initial_h, initial_c], peepholes)


@operator("GRU")
def gru(attributes: dict[str, Any], inputs: Arrays) -> Arrays:
    """nn.GRU; ONNX's gates are z r h."""
    o = options(attributes, hidden_size=None, direction="forward", layout=0, linear_before_reset=0)
    *common, initial_h = padded(inputs, 6)
    layer = partial(nn.GRU, reset_after=bool(o["linear_before_reset"]))
    return run_layer(layer, [1, 0, 2], o, common, [initial_h])


@operator("RNN")
def rnn(attributes: dict[str, Any], inputs: Arrays) -> Arrays:
    """nn.RNN."""
    o = options(attributes, hidden_size=None, direction="forward", layout=0, activations=None)
    *common, initial_h = padded(inputs, 6)
    kinds = set(o["activations"] or [b"Tanh"])
    if len(kinds) > 1 or not kinds <= {b"Tanh", b"Relu"}:
        raise Unsupported(f"activations {kinds}")
    layer = partial(nn.RNN, nonlinearity=kinds.pop().decode().lower())
    return run_layer(layer, [0], o, common, [initial_h])
