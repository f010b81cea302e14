"""What all of Keras's recurrent layers share: directions, masks, states that are given, returned or remembered."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers.flow import Mask, ValidSteps, as_mask, flat, nested
from fastseq.layers.layer import Layer

Array = NDArray[Any]


class Recurring(Layer):
    """A layer that goes from step to step.

    Parameters
    ----------
    return_sequences
        Whether all outputs are returned, (B, T, H), or the last, (B, H).
    return_state
        Whether the final states are returned after the output.
    go_backwards
        Whether steps are read from the last to the first; outputs come in that order.
    stateful
        Whether a call goes on from the states in which the one before ended; see `reset_state`.
    zero_output_for_mask
        Whether a step that does not count gives zeros instead of the output before it.
    unroll
        Without an effect.
    **options
        ``implementation`` without an effect; and see `Layer`.
    """

    arguments: ClassVar[tuple[str, ...]] = (
        "return_sequences", "return_state", "go_backwards", "stateful", "zero_output_for_mask", "unroll",
    )  # fmt: skip
    supports_masking = True

    def __init__(
        self,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        unroll: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.return_sequences = checks.boolean("return_sequences", return_sequences)
        self.return_state = checks.boolean("return_state", return_state)
        self.go_backwards = checks.boolean("go_backwards", go_backwards)
        self.stateful = checks.boolean("stateful", stateful)
        self.zero_output_for_mask = checks.boolean("zero_output_for_mask", zero_output_for_mask)
        self.unroll = checks.boolean("unroll", unroll)
        self.states: list[Array] | None = None

    # -- what subclasses write ----------------------------------------------------------------------------------

    @property
    def state_sizes(self) -> Any:
        """The states' sizes, h first: a list, with lists in it where layers are stacked."""
        raise TypeError(f"{type(self).__name__}: expected a class with state_sizes, got one without")

    @property
    def output_size(self) -> int:
        """H, the size of the output."""
        return int(flat(self.state_sizes)[0])

    @property
    def state_count(self) -> int:
        """How many states there are."""
        return len(flat(self.state_sizes))

    @property
    def state_size(self) -> Any:
        """The size of the state; a list for several."""
        found = self.state_sizes
        return found[0] if len(found) == 1 else found

    def get_initial_state(self, batch_size: int | None = None) -> list[Array]:
        """Return the states that a call begins with, zeros (B, H), flat.

        Parameters
        ----------
        batch_size
            B.
        """
        rows = 1 if batch_size is None else checks.integer("batch_size", batch_size, 0)
        return [np.zeros((rows, size), self.dtype) for size in flat(self.state_sizes)]

    def run(
        self, x: Tensor, states: list[Tensor] | None, steps: ValidSteps | None, sequences: bool, zeros: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the output, and the final states.

        Parameters
        ----------
        x
            (B, T, F)
        states
            States (B, H) to begin with, flat; None for zeros.
        steps
            Which steps count; None for all.
        sequences
            Whether all outputs are wanted, or the last.
        zeros
            Whether a step that does not count gives zeros instead of the output before it.
        """
        raise TypeError(f"{type(self).__name__}: expected a class with a run method, got one without")

    # -- running ------------------------------------------------------------------------------------------------

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None) -> Any:  # type: ignore[override]
        """Return the output, and the final states (B, H) if wanted.

        Parameters
        ----------
        sequences
            (B, T, F)
        initial_state
            A list of states (B, H), h first; zeros, or what a stateful layer remembers, if None.
        mask
            Which steps count, bools (B, T), or None.
        """
        if sequences.ndim != 3:
            raise checks.value_error(f"{self.name}: input", "shape (B, T, F)", sequences._data)
        which = as_mask("mask", mask, *sequences.shape[:2])
        x: Tensor = sequences
        if self.go_backwards:
            x, which = ops.flip(x, 1), None if which is None else which[:, ::-1]
        states = self._start(initial_state, x.shape[0])
        result, final = self.run(x, states, ValidSteps.of(which), self.return_sequences, self.zero_output_for_mask)
        if self.stateful:
            self.states = [state._data.copy() for state in final]
        if not self.return_state:
            return result
        return [result, *self.arranged(final)]

    def arranged(self, states: list[Any]) -> list[Any]:
        """Return flat states in the structure of ``state_sizes``.

        Parameters
        ----------
        states
            One per size.
        """
        queue = iter(states)
        found: list[Any] = nested(self.state_sizes, lambda _: next(queue))
        return found

    def _start(self, given: Any, rows: int) -> list[Tensor] | None:
        if given is None:
            if not self.stateful or self.states is None:
                return None
            if len(self.states[0]) != rows:
                raise checks.value_error(
                    f"{self.name}: input", f"a batch size of {len(self.states[0])}, as in the call that it goes on "
                    "from (reset_states() begins anew)", f"{rows}",
                )  # fmt: skip
            return [Tensor(state) for state in self.states]
        found, sizes = flat(given), flat(self.state_sizes)
        if len(found) != len(sizes):
            raise checks.value_error("initial_state", f"{len(sizes)} state(s)", f"{len(found)}")
        states = [self._value(state) for state in found]
        for state, size in zip(states, sizes, strict=True):
            if state.shape != (rows, size):
                raise checks.value_error("initial_state", f"shape ({rows}, {size})", state._data)
        return states

    def remember_zeros(self, rows: int | None) -> None:
        """Let a stateful layer that is built for a number of rows remember zeros.

        Parameters
        ----------
        rows
            B, or None for any number.
        """
        if self.stateful and rows is not None and self.states is None:
            self.states = [np.zeros((rows, size), self.dtype) for size in flat(self.state_sizes)]

    def reset_state(self) -> None:
        """Forget the states that a stateful layer remembers: the next call starts from zeros."""
        self.states = None

    reset_states = reset_state

    def compute_mask(self, inputs: Any, mask: Any = None) -> Mask | None:
        """Return the mask of the outputs, if there is one per step."""
        return mask if self.return_sequences else None

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        rows, steps = shapes[0][:2]
        out = (rows, steps, self.output_size) if self.return_sequences else (rows, self.output_size)
        return [out, *nested(self.state_sizes, lambda size: (rows, size))] if self.return_state else out
