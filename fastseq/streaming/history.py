"""Layers that a stream runs behind its compiled part, and what they remember of earlier steps.

Each takes the vector of one step (C,) and returns that of its output. Those with a memory have ``reset`` and ``state``
(a tuple with one tuple of arrays per layer). The sums are those of the whole sequence at once, to the bit: the kernels
are the same, and none of their numbers depends on how many steps are there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.ops_attention import Rows, attention, full_rows
from fastseq.autograd.ops_conv import conv1d_rows
from fastseq.autograd.ops_feedforward import project
from fastseq.autograd.ops_norm import layer_norm
from fastseq.autograd.tensor import Tensor
from fastseq.nn import (
    CRF,
    AttentionPool,
    AvgPool1d,
    BatchNorm1d,
    Bidirectional,
    Conv1d,
    Embedding,
    Flatten,
    LayerNorm,
    LearnedPositions,
    MaxPool,
    MaxPool1d,
    MeanPool,
    Module,
    MultiheadAttention,
    Residual,
    Sequential,
    SinusoidalPositions,
    TransformerEncoder,
    TransformerEncoderLayer,
    WeightDrop,
)
from fastseq.nn.positions import sinusoids

WHOLE_ROWS: dict[Any, str] = {
    Bidirectional: "reads rows from both ends",
    (MeanPool, MaxPool, AttentionPool): "waits for the last step of a row",
    (MaxPool1d, AvgPool1d): "has no output at some steps",
    CRF: "weighs the tags of a whole row",
}
"""Layers that no stream can run, and why."""

State = tuple[tuple[np.ndarray, ...], ...]


def _arrays(state: Any, shapes: Sequence[tuple[int | str, ...]], dtype: Any) -> list[np.ndarray]:
    """Return copies of one layer's arrays, or raise unless they have these shapes."""
    if not isinstance(state, (tuple, list)) or len(state) != 1 or len(state[0]) != len(shapes):
        raise checks.value_error("state", f"one layer's {len(shapes)} arrays", state)
    found = []
    for number, (given, shape) in enumerate(zip(state[0], shapes, strict=True)):
        values = given.numpy() if isinstance(given, Tensor) else np.asarray(given)
        found.append(checks.array(f"state[{number}]", values, np.dtype(dtype), shape).copy())
    return found


class ConvolutionStep:
    """A causal Conv1d and the steps that its taps reach back to; zeros at first.

    Parameters
    ----------
    layer
        The layer, of stride 1.
    """

    def __init__(self, layer: Conv1d) -> None:
        self._layer = layer
        self._window = np.zeros((layer.reach + 1, layer.in_channels), layer.dtype)

    def reset(self) -> None:
        """Forget all steps."""
        self._window[:] = 0

    @property
    def state(self) -> State:
        """The steps before the next one, the latest last (reach, F)."""
        return ((self._window[1:].copy(),),)

    @state.setter
    def state(self, value: Any) -> None:
        self._window[1:] = _arrays(value, [self._window[1:].shape], self._window.dtype)[0]

    def __call__(self, x: Tensor) -> Tensor:
        """Take a step."""
        window, layer = self._window, self._layer
        window[:-1] = window[1:].copy()
        window[-1] = x.numpy()
        one = np.array([1])
        out = conv1d_rows(
            window[None], layer.weight, layer.bias, one * len(window), one, 1, 0, 1, layer.dilation, layer.groups
        )
        return ops.reshape(out, (layer.out_channels,))


class AttentionStep:
    """Causal self-attention, and the keys and values of all steps so far; they grow with the stream.

    Parameters
    ----------
    layer
        The layer.
    """

    def __init__(self, layer: MultiheadAttention) -> None:
        self._layer = layer
        self._count = 0
        self._kept = [np.empty((16, layer.embed_dim), layer.dtype) for _ in range(2)]

    def reset(self) -> None:
        """Forget all steps."""
        self._count = 0

    @property
    def state(self) -> State:
        """Keys and values (t, E) of the t steps so far."""
        return (tuple(kept[: self._count].copy() for kept in self._kept),)

    @state.setter
    def state(self, value: Any) -> None:
        shape = "t", self._layer.embed_dim
        keys, values = _arrays(value, [shape, shape], self._layer.dtype)
        if len(keys) != len(values):
            raise checks.value_error("state", "as many values as keys", values)
        self._kept, self._count = [keys, values], len(keys)

    def __call__(self, x: Tensor) -> Tensor:
        """Take a step."""
        return ops.reshape(self.attend(ops.reshape(x, (1, -1))), (-1,))

    def attend(self, x: Tensor) -> Tensor:
        """Let the token of a step (1, E) look at itself and at all before it.

        Parameters
        ----------
        x
            (1, E)

        Returns
        -------
        Tensor
            (1, E)
        """
        layer, size, at = self._layer, self._layer.embed_dim, self._count
        joint = project(x, layer.in_proj_weight, layer.in_proj_bias).numpy()
        for place, kept in enumerate(self._kept):
            if at == len(kept):
                kept = self._kept[place] = np.concatenate([kept, np.empty((max(16, at), size), layer.dtype)])
            kept[at] = joint[0, (1 + place) * size : (2 + place) * size]
        self._count = at + 1
        keys, values = (kept[: at + 1] for kept in self._kept)
        seen = Rows(np.zeros(1, np.int64), np.array([at + 1]), at + 1)
        out, _ = attention(joint[:, :size], keys, values, full_rows(1, 1), seen, layer.num_heads)
        return project(out, layer.out_proj.weight, layer.out_proj.bias)


class EncoderStep:
    """Causal Transformer encoder layers, each with the keys and values of all steps so far.

    Parameters
    ----------
    layers
        The layers.
    norm
        The normalisation of the output, or None.
    """

    def __init__(self, layers: Sequence[TransformerEncoderLayer], norm: LayerNorm | None = None) -> None:
        self._layers = [(layer, AttentionStep(layer.self_attn)) for layer in layers]
        self._norm = norm

    def reset(self) -> None:
        """Forget all steps."""
        for _, memory in self._layers:
            memory.reset()

    @property
    def state(self) -> State:
        """Per layer keys and values (t, E) of the t steps so far."""
        return tuple(memory.state[0] for _, memory in self._layers)

    @state.setter
    def state(self, value: Any) -> None:
        if not isinstance(value, (tuple, list)) or len(value) != len(self._layers):
            raise checks.value_error("state", f"{len(self._layers)} layers' states", value)
        for (_, memory), part in zip(self._layers, value, strict=True):
            memory.state = (part,)

    def __call__(self, x: Tensor) -> Tensor:
        """Take a step."""
        x = ops.reshape(x, (1, -1))
        for layer, memory in self._layers:
            x = layer.run(x, memory.attend, training=False)
        if self._norm is not None:
            x = layer_norm(x, self._norm.normalized_shape, self._norm.weight, self._norm.bias, self._norm.eps)
        return ops.reshape(x, (-1,))


class PositionStep:
    """Positions, and the number of the next step.

    Parameters
    ----------
    layer
        The layer.
    """

    def __init__(self, layer: SinusoidalPositions | LearnedPositions) -> None:
        self._layer = layer
        self._table = np.empty((0, layer.features), layer.dtype)
        if isinstance(layer, LearnedPositions):
            self._table = layer.weight._data.copy()
        self._count = 0

    def reset(self) -> None:
        """Go back to the first step."""
        self._count = 0

    @property
    def state(self) -> State:
        """How many steps there were, an array of one integer."""
        return ((np.array([self._count]),),)

    @state.setter
    def state(self, value: Any) -> None:
        self._count = checks.integer("state", int(_arrays(value, [(1,)], np.int64)[0][0]), 0)

    def __call__(self, x: Tensor) -> Tensor:
        """Take a step."""
        if self._count >= len(self._table):
            if isinstance(self._layer, LearnedPositions):
                raise checks.value_error("x", f"at most max_steps = {len(self._table)} steps", f"{self._count + 1}")
            self._table = sinusoids(max(64, 2 * self._count), self._layer.features, self._layer.dtype)
        self._count += 1
        return x + self._table[self._count - 1]


class NestedStep:
    """Layers with a stream of their own; in a residual, their output is added to the input.

    Parameters
    ----------
    stream
        A Stream.
    residual
        Whether it is in a residual.
    """

    def __init__(self, stream: Any, residual: bool) -> None:
        self._stream, self._residual = stream, residual

    def reset(self) -> None:
        """Go back to the initial state."""
        self._stream.reset()

    @property
    def state(self) -> State:
        """The stream's state."""
        return self._stream.state

    @state.setter
    def state(self, value: Any) -> None:
        self._stream.state = value

    def __call__(self, x: Tensor) -> Tensor:
        """Take a step."""
        out = Tensor(np.array(self._stream.step(x.numpy())))
        return x + out if self._residual else out


def nested(layers: Sequence[tuple[str, Module]]) -> NestedStep:
    """Return layers with a stream of their own.

    Parameters
    ----------
    layers
        Their names and the layers.
    """
    from fastseq.streaming.stream import Stream  # here, since a stream is made of these in turn

    return NestedStep(Stream(Sequential(*(layer for _, layer in layers))), residual=False)


def _lookup(layer: Embedding) -> Callable[[Tensor], Tensor]:
    """Return the look-up of one index (1,)."""
    table = layer.weight._data.copy()

    def look(x: Tensor) -> Tensor:
        number = x.numpy()[0]
        if not 0 <= number < len(table) or number != int(number):
            raise checks.value_error("x", f"an index in 0..{len(table) - 1}", str(number))
        return Tensor(table[int(number)])

    return look


def step_of(layer: Module, place: str) -> Callable[[Tensor], Tensor]:
    """Return what runs a layer, one step at a time, behind the compiled part of a stream.

    Parameters
    ----------
    layer
        The layer.
    place
        Where it stands, for the message.

    Raises
    ------
    TypeError
        If it would have to know steps to come, or has no output at some steps.
    """
    from fastseq.streaming.stream import Stream

    def refuse(why: str) -> TypeError:
        return TypeError(f"{place}: expected a layer that looks back only, got {type(layer).__name__}{why}")

    if isinstance(layer, Conv1d):
        if not layer.causal:
            raise refuse(", which sees steps to come (with causal=True it does not)")
        if layer.stride > 1:
            raise refuse(f" of stride {layer.stride}, which has no output at some steps")
        return ConvolutionStep(layer)
    if isinstance(layer, (MultiheadAttention, TransformerEncoderLayer, TransformerEncoder)):
        several: list[Any] = list(layer.layers) if isinstance(layer, TransformerEncoder) else [layer]
        if not all(one.causal for one in several):
            raise refuse(", which looks at all steps of a row (with causal=True it does not)")
        if not isinstance(layer, MultiheadAttention):
            return EncoderStep(several, layer.norm if isinstance(layer, TransformerEncoder) else None)
        if layer.in_proj_weight is None:
            raise refuse(" whose keys have other features than its queries")
        if layer.add_bias_kv or layer.add_zero_attn:
            raise refuse(" with extra keys")
        return AttentionStep(layer)
    if isinstance(layer, (SinusoidalPositions, LearnedPositions)):
        return PositionStep(layer)
    if isinstance(layer, Residual):
        return NestedStep(Stream(layer.layer), residual=True)
    if isinstance(layer, WeightDrop):
        return NestedStep(Stream(layer.layer), residual=False)
    if isinstance(layer, Embedding):
        return _lookup(layer)
    if isinstance(layer, BatchNorm1d):
        if not layer.track_running_stats:
            raise refuse(" without running averages, which takes whole batches")
        return lambda x: ops.reshape(layer.by_averages(ops.reshape(x, (1, -1))), x.shape)
    if isinstance(layer, Flatten):
        raise refuse(", which puts the steps of a row together")
    if layer.uses_lengths and not isinstance(layer, LayerNorm):
        if not type(layer).__module__.startswith("fastseq.nn"):
            raise refuse(", whose layers a stream cannot see: put layers of fastseq.nn in a Sequential")
        why = next((why for kinds, why in WHOLE_ROWS.items() if isinstance(layer, kinds)), "takes whole rows")
        raise refuse(f", which {why}")
    return layer
