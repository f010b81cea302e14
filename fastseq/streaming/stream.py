"""Stream: a model that answers one observation at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd.tensor import Tensor, no_grad
from fastseq.cells.gru import GRUWeights
from fastseq.cells.lstm import LSTMWeights
from fastseq.cells.rnn import TanhWeights
from fastseq.nn.module import Module
from fastseq.sequence.step import make_step
from fastseq.streaming.program import translate


@cache
def kernel_of(cell: Any) -> Any:
    """Return the kernel of one step, given the weights type of the model's cells."""
    return make_step(cell)


for _cell in (LSTMWeights, GRUWeights, TanhWeights):  # defined with the module, so that the warm-up knows them
    kernel_of(_cell)


class Stream:
    """Run a model one step at a time: the numbers are those of the whole sequence at once, to the bit.

    Parameters
    ----------
    model
        A Sequential of unidirectional recurrent layers and layers that act on each step by itself (Linear, MLP,
        activations, Standardize, Rescale, LayerNorm, Embedding; Dropout passes), or one such layer; or of causal
        Conv1d, attention and Transformer encoders, positions and Residual, which remember what they need. LastStep
        passes too: in a stream, the latest step is the last. The stream keeps a copy of the weights of recurrent and
        dense layers as they are now.

    Raises
    ------
    TypeError
        If a layer would have to look ahead.

    Notes
    -----
    Up to the first layer other than recurrent ones, Linear, MLP, Standardize, Rescale and activations, a step is a
    single call into compiled code and allocates nothing; the array that it returns is overwritten by the next step.
    From there on layers are called one by one. Keys and values of attention grow with the stream.
    A stream belongs to one thread at a time; other Python threads wait for the microseconds of a step.
    For many streams of one model see `StreamPool`.
    """

    __slots__ = ("_dtype", "_output", "_place", "_program", "_rest", "_run")

    def __init__(self, model: Module) -> None:
        self._program, self._rest = translate(model)
        self._dtype = self._program.vectors.dtype
        self._run = kernel_of(self._program.cell or LSTMWeights).compiled(self._dtype)
        self._place = self._program.address
        self._output = self._program.vectors[self._program.outputs]

    def __reduce__(self) -> Any:
        """Refuse to be copied: addresses would be shared."""
        raise TypeError("Stream: cannot be copied or pickled; make one from the model and assign the state")

    def step(self, x: Any) -> np.ndarray:
        """Take one observation and return the model's output for it.

        Parameters
        ----------
        x
            The features of one step (F,); fastest as a contiguous ndarray of the model's dtype. Other real arrays and
            lists are converted.

        Returns
        -------
        ndarray
            (C,), in memory that the next step overwrites: copy what you keep.

        Raises
        ------
        TypeError
            If x is not numeric.
        ValueError
            If x has not F entries; the state is unchanged.
        """
        try:
            fits = self._run(x, self._place)
        except Exception:  # not a contiguous vector of the model's dtype: nothing has happened yet
            fits = self._run(self._converted(x), self._place)
        if not fits:
            raise checks.value_error("x", f"shape ({self._program.inputs},)", x)
        return self._output if not self._rest else self._finished()

    def reset(self) -> None:
        """Go back to the initial state: zeros."""
        for place in self._program.states:
            for offset, size in zip(place.places, place.sizes, strict=True):
                self._program.vectors[offset : offset + size] = 0
        for memory in self._memories():
            memory.reset()

    def _memories(self) -> list[Any]:
        """Return the layers behind the compiled part that remember something."""
        return [layer for layer in self._rest if hasattr(layer, "reset")]

    @property
    def state(self) -> tuple[tuple[np.ndarray, ...], ...]:
        """The state as copies; assign a value of the same form to go on from there.

        Per recurrent layer h and the cell's memories (for an LSTM: c), each (H,). Behind them come the steps that a
        causal Conv1d reaches back to (reach, F), keys and values of causal attention (t, E), the number of steps so
        far of positions (1,), layer by layer.
        """
        own = tuple(
            tuple(
                self._program.vectors[offset : offset + size].copy()
                for offset, size in zip(place.places, place.sizes, strict=True)
            )
            for place in self._program.states
        )
        return own + tuple(part for memory in self._memories() for part in memory.state)

    @state.setter
    def state(self, value: Sequence[Sequence[Any]]) -> None:
        places, memories = self._program.states, self._memories()
        parts = [len(memory.state) for memory in memories]
        if not isinstance(value, (tuple, list)) or len(value) != len(places) + sum(parts):
            raise checks.value_error("state", f"{len(places) + sum(parts)} layers' states", value)
        arrays = []
        for number, (layer, place) in enumerate(zip(value, places, strict=False)):
            if not isinstance(layer, (tuple, list)) or len(layer) != len(place.places):
                raise checks.value_error(f"state[{number}]", f"{len(place.places)} arrays", layer)
            for j, (given, size) in enumerate(zip(layer, place.sizes, strict=True)):
                found = given.numpy() if isinstance(given, Tensor) else np.asarray(given)
                arrays.append(checks.array(f"state[{number}][{j}]", found, self._dtype, (size,)))
        at = len(places)
        for memory, count in zip(memories, parts, strict=True):
            memory.state = tuple(value[at : at + count])
            at += count
        offsets = [offset for place in places for offset in place.places]
        for offset, array in zip(offsets, arrays, strict=True):
            self._program.vectors[offset : offset + array.size] = array

    def _converted(self, x: Any) -> np.ndarray:
        found = checks.unmasked("x", x)
        if found.dtype.kind not in "fiu":
            raise checks.kind_error("x", f"numbers, shape ({self._program.inputs},)", found if found.ndim else x)
        if found.shape != (self._program.inputs,):
            raise checks.value_error("x", f"shape ({self._program.inputs},)", found)
        return np.require(found, self._dtype, ("C", "A"))

    def _finished(self) -> np.ndarray:
        with no_grad():
            value: Any = Tensor(self._output.copy())
            for layer in self._rest:
                value = layer(value)
        return value.numpy()
