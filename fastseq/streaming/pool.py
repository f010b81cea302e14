"""StreamPool: very many streams of one model, any of which take a step together."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from fastseq import checks, jit
from fastseq.autograd.tensor import Tensor, no_grad
from fastseq.buffers import aligned
from fastseq.cells.gru import GRUWeights
from fastseq.cells.lstm import LSTMWeights
from fastseq.cells.rnn import TanhWeights
from fastseq.nn.module import Module
from fastseq.sequence import step
from fastseq.streaming.program import translate

ROWS = 48
"""Rows that a thread takes at a time: a multiple of the tiles' rows, few enough for the cache."""
ALONE = 8
"""Streams below which no model is worth several threads."""


@cache
def kernel_of(cell: Any) -> Any:
    """Return the kernel of one step of many rows, given the weights type of the model's cells."""
    return step.make_pool_step(cell)


for _cell in (LSTMWeights, GRUWeights, TanhWeights):  # defined with the module, so that the warm-up knows them
    kernel_of(_cell)


class StreamPool:
    """Keep the states of many streams of one model, and advance any of them by one step in one call.

    Shape letters: S streams, n of them in a step, F features, C outputs, H units of a recurrent layer.

    Parameters
    ----------
    model
        What `Stream` takes. The pool keeps a copy of the weights as they are now.
    size
        S; the streams are numbered from 0.

    Raises
    ------
    TypeError
        If a layer would have to look ahead.
    ValueError
        If ``size`` is below 1.

    Notes
    -----
    A stream's numbers are those that `Stream` or the whole sequence at once would give, to the bit, whichever streams
    step with it and on however many threads. A pool belongs to one Python thread at a time: threads that share one
    hold a lock over a step and over copying its outputs.
    """

    def __init__(self, model: Module, size: int) -> None:
        self._size = checks.integer("size", size, 1)
        self._door = threading.Lock()
        self._program, self._rest = translate(model, ROWS)
        for layer in self._rest:
            if hasattr(layer, "reset"):
                raise TypeError(
                    "model: expected recurrent layers of one kind, then layers without a memory, for a pool; got "
                    f"{type(layer).__name__} behind them, whose memory Stream keeps for one stream"
                )
        program, dtype = self._program, self._program.vectors.dtype
        checks.product_fits("size", self._size, max(1, program.state_size), dtype.itemsize, itemsize=1)
        self._dtype = dtype
        self._states = np.zeros((self._size, program.state_size), dtype)
        self._marks = np.zeros(self._size, np.int64)
        self._run = kernel_of(program.cell or LSTMWeights).compiled(dtype)
        self._place = program.address
        self._work = 2.0 * program.constants.size
        self._enter(STATES=self._states.ctypes.data, MARKS=self._marks.ctypes.data, STREAMS=self._size)
        self._reserve(ROWS)
        self._employ(1)

    def _enter(self, **numbers: int) -> None:
        """Write numbers into the program's header."""
        for name, number in numbers.items():
            self._program.numbers[getattr(step, name)] = number

    def _reserve(self, rows: int) -> None:
        """Make room for the outputs of so many streams."""
        self._outputs = np.empty((rows, self._program.outputs.stop - self._program.outputs.start), self._dtype)
        self._enter(OUT=self._outputs.ctypes.data, ROOM=rows)
        self._view = self._outputs

    def _employ(self, workers: int) -> None:
        """Make room for the vectors of so many threads."""
        self._workers = workers
        self._vectors = aligned(self._program.vectors.size * workers, self._dtype)
        self._vectors[:] = 0
        self._enter(VECTORS=self._vectors.ctypes.data, WORKERS=workers)

    def __len__(self) -> int:
        """Return S."""
        return self._size

    def step(self, x: Any, ids: Any) -> np.ndarray:
        """Advance some streams by one step.

        Parameters
        ----------
        x
            Their observations (n, F); fastest as a contiguous ndarray of the model's dtype. Other real arrays and
            lists are converted.
        ids
            The streams' numbers (n,), in any order, none twice; fastest as int64.

        Returns
        -------
        ndarray
            Their outputs (n, C), in the order of ``ids``, in memory that the next step overwrites.

        Raises
        ------
        TypeError
            If x is not numeric or ``ids`` are not integers.
        ValueError
            If a shape does not fit, a number is out of range or comes twice; no state has changed.
        RuntimeError
            If another thread is in the midst of a step; no state has changed.
        """
        if not self._door.acquire(False):
            raise RuntimeError(
                "StreamPool: expected one thread at a time, got a step while another thread's is under way; hold a "
                "lock over a step and over copying its outputs"
            )
        try:
            try:
                count = len(ids)
                found = self._run(x, ids, self._place, 0) if count < ALONE else self._together(x, ids, count)
            except Exception:  # not contiguous arrays of the right types: nothing has happened yet
                x, ids = self._converted(x), self._numbers(ids)
                count = len(ids)
                found = self._together(x, ids, count)
            if found != step.FINE:
                self._settle(found, x, ids)
            if len(self._view) != count:
                self._view = self._outputs[:count]
            return self._view if not self._rest else self._finished(self._view)
        finally:
            self._door.release()

    def _together(self, x: np.ndarray, ids: np.ndarray, count: int) -> int:
        """Run on as many threads as it is worth."""
        workers = jit.get_num_threads()
        if workers != self._workers:
            self._employ(workers)
        return jit.launch(self._run, self._work * count, x, ids, self._place)

    def _settle(self, found: int, x: np.ndarray, ids: np.ndarray) -> None:
        """Make room and go on, or raise for what was wrong."""
        if found == step.NO_ROOM:
            self._reserve(len(ids))
            found = self._together(x, ids, len(ids))
        if found == step.ILL_SHAPED:
            raise checks.value_error("x", f"shape ({len(ids)}, {self._program.inputs}), a row for each of ids", x)
        if found != step.FINE:
            at, twice = divmod(found, 2)
            wanted = "numbers that come once" if twice else f"numbers in 0..{self._size - 1}"
            raise checks.value_error(f"ids[{at}]", wanted, int(ids[at]))

    def reset(self, ids: Any = None) -> None:
        """Put streams back to the initial state: zeros.

        Parameters
        ----------
        ids
            Their numbers (n,); all if None.
        """
        if ids is None:
            self._states[:] = 0
        else:
            self._states[self._checked(ids)] = 0

    def get_state(self, ids: Any) -> tuple[tuple[np.ndarray, ...], ...]:
        """Return states, as copies.

        Parameters
        ----------
        ids
            The streams' numbers (n,).

        Returns
        -------
        tuple
            Per recurrent layer h and the cell's memories (for an LSTM: c), each (n, H).
        """
        chosen = self._states[self._checked(ids)]
        return tuple(
            tuple(chosen[:, kept : kept + size].copy() for kept, size in zip(place.kept, place.sizes, strict=True))
            for place in self._program.states
        )

    def set_state(self, ids: Any, state: Sequence[Sequence[Any]]) -> None:
        """Put streams into given states.

        Parameters
        ----------
        ids
            Their numbers (n,).
        state
            As `get_state` returns it.
        """
        numbers, places = self._checked(ids), self._program.states
        if not isinstance(state, (tuple, list)) or len(state) != len(places):
            raise checks.value_error("state", f"{len(places)} layers' states", state)
        found = []
        for number, (layer, place) in enumerate(zip(state, places, strict=True)):
            if not isinstance(layer, (tuple, list)) or len(layer) != len(place.kept):
                raise checks.value_error(f"state[{number}]", f"{len(place.kept)} arrays", layer)
            for j, (given, kept, size) in enumerate(zip(layer, place.kept, place.sizes, strict=True)):
                array = given.numpy() if isinstance(given, Tensor) else np.asarray(given)
                found.append((kept, checks.array(f"state[{number}][{j}]", array, self._dtype, (numbers.size, size))))
        for kept, array in found:
            self._states[numbers, kept : kept + array.shape[1]] = array

    def _checked(self, ids: Any) -> np.ndarray:
        """Return streams' numbers, all of them in range."""
        numbers = self._numbers(ids)
        wrong = np.flatnonzero((numbers < 0) | (numbers >= self._size))
        if wrong.size:
            at = int(wrong[0])
            raise checks.value_error(f"ids[{at}]", f"numbers in 0..{self._size - 1}", int(numbers[at]))
        return numbers

    def _numbers(self, ids: Any) -> np.ndarray:
        found = checks.unmasked("ids", ids)
        if found.size == 0 and found.ndim == 1:
            return np.empty(0, np.int64)
        if found.dtype.kind not in "iu":
            raise checks.kind_error("ids", "integers (n,)", found if found.ndim else ids)
        if found.ndim != 1:
            raise checks.value_error("ids", "shape (n,)", found)
        if found.dtype == np.uint64 and (found > np.iinfo(np.int64).max).any():
            raise checks.value_error("ids", f"numbers in 0..{self._size - 1}", int(found.max()))
        return np.require(found, np.int64, ("C", "A", "W"))

    def _converted(self, x: Any) -> np.ndarray:
        found = checks.unmasked("x", x)
        if found.dtype.kind not in "fiu":
            raise checks.kind_error("x", f"numbers, shape (n, {self._program.inputs})", found if found.ndim else x)
        if found.ndim != 2:
            raise checks.value_error("x", f"shape (n, {self._program.inputs})", found)
        return np.require(found, self._dtype, ("C", "A"))

    def __reduce__(self) -> Any:
        """Refuse to be copied: addresses would be shared."""
        raise TypeError("StreamPool: cannot be copied or pickled; make one from the model and use set_state")

    def _finished(self, outputs: np.ndarray) -> np.ndarray:
        with no_grad():
            value: Any = Tensor(outputs.copy())
            for layer in self._rest:
                value = layer(value)
        return value.numpy()
