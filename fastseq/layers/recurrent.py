"""What Keras's recurrent layers share, over fastseq's fused ones: weights, directions, masks, states and noise.

Keras's masks are per step and may have gaps. A step that does not count leaves the state as it is, so a row's steps
that count are moved to its front, run through the fused layer with their number as its length, and moved back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastseq import checks, nn
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers import initializers, regularizers
from fastseq.layers.basic import features_of, seeded
from fastseq.layers.flow import Mask, ValidSteps, as_mask
from fastseq.layers.layer import Layer
from fastseq.layers.weights import Weight
from fastseq.nn import Parameter
from fastseq.nn.recurrent import Recurrent

Array = NDArray[Any]


class RecurrentLayer(Layer):
    """What LSTM, GRU and SimpleRNN share.

    Parameters
    ----------
    units
        H, the size of the state and the output.
    use_bias
        Whether there is a bias.
    kernel_initializer, recurrent_initializer, bias_initializer
        What draws the first values.
    kernel_regularizer, recurrent_regularizer, bias_regularizer
        Penalties, or None.
    dropout
        Probability of dropping a feature of the input, one choice for all steps of a row.
    recurrent_dropout
        Probability of dropping a unit of the state where it goes into the gates; one choice per gate for all steps
        of a call and all its rows (Keras chooses for each row), so that the fused kernel runs.
    seed
        Gives the layer random numbers of its own; None draws from the package's generator.
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
    **options
        ``unroll``, ``use_cudnn`` and ``implementation`` without an effect; and see `Layer`.
    """

    arguments: ClassVar[tuple[str, ...]] = (
        "units", "use_bias", "kernel_initializer", "recurrent_initializer", "bias_initializer", "kernel_regularizer",
        "recurrent_regularizer", "bias_regularizer", "dropout", "recurrent_dropout", "seed", "return_sequences",
        "return_state", "go_backwards", "stateful", "zero_output_for_mask",
    )  # fmt: skip
    supports_masking = True
    #: How many states there are, h first.
    state_count: ClassVar[int] = 1
    #: What Keras calls the cell, in the weights' names.
    cell_name: ClassVar[str] = ""
    #: For each of Keras's gates, in its order, which of the fused layer's it is.
    gates: ClassVar[tuple[int, ...]] = (0,)

    cell: Recurrent
    input_noise: nn.VariationalDropout

    def __init__(
        self,
        units: int,
        *,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.units = checks.integer("units", units, 1)
        self.use_bias = checks.boolean("use_bias", use_bias)
        self.kernel_initializer = initializers.get("kernel_initializer", kernel_initializer)
        self.recurrent_initializer = initializers.get("recurrent_initializer", recurrent_initializer)
        self.bias_initializer = initializers.get("bias_initializer", bias_initializer)
        self.kernel_regularizer = regularizers.get("kernel_regularizer", kernel_regularizer)
        self.recurrent_regularizer = regularizers.get("recurrent_regularizer", recurrent_regularizer)
        self.bias_regularizer = regularizers.get("bias_regularizer", bias_regularizer)
        self.dropout = checks.real("dropout", dropout, 0.0, 1.0)
        self.recurrent_dropout = checks.real("recurrent_dropout", recurrent_dropout, 0.0, 1.0)
        self.seed = seeded(self, seed)
        self.return_sequences = checks.boolean("return_sequences", return_sequences)
        self.return_state = checks.boolean("return_state", return_state)
        self.go_backwards = checks.boolean("go_backwards", go_backwards)
        self.stateful = checks.boolean("stateful", stateful)
        self.zero_output_for_mask = checks.boolean("zero_output_for_mask", zero_output_for_mask)
        self.states: list[Array] | None = None

    # -- what subclasses write ----------------------------------------------------------------------------------

    def _fused(self, inputs: int) -> Recurrent:
        """Return the fused layer for so many features."""
        raise TypeError(f"{type(self).__name__}: expected a class with a _fused method, got one without")

    def _biases(self) -> list[Weight]:
        """Return Keras's bias: one, which the fused layer's ``bias_ih`` holds, while ``bias_hh`` stays at zero."""
        inner, outer = self._parameter("bias_ih"), self._parameter("bias_hh")
        outer.data = np.zeros(outer.shape, self.dtype)
        outer.requires_grad = False

        def write(value: Array) -> None:
            inner.data = self._from_keras(value, 0)
            outer.data = np.zeros_like(value)

        def read() -> Array:
            return self._to_keras(inner._data + outer._data, 0)

        return [self._weight("bias", [inner], read, write, self._bias_start(), self.bias_regularizer)]

    def _bias_start(self) -> Any:
        """Return what draws the bias's first values."""
        return self.bias_initializer

    # -- weights ------------------------------------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Make the fused layer, see `Layer.build`."""
        if len(input_shape) != 3:
            raise checks.value_error(f"{self.name}: input shape", "(rows, steps, features)", f"{input_shape}")
        self.cell = self._fused(features_of(self, input_shape))
        self.input_noise = nn.VariationalDropout(self.dropout)
        self.weights_built = [
            self._matrix("kernel", "weight_ih", self.kernel_initializer, self.kernel_regularizer),
            self._matrix("recurrent_kernel", "weight_hh", self.recurrent_initializer, self.recurrent_regularizer),
        ]
        if self.use_bias:
            self.weights_built += self._biases()
        if self.stateful and input_shape[0] is not None and self.states is None:
            self.states = [np.zeros((input_shape[0], self.units), self.dtype) for _ in range(self.state_count)]

    def _parameter(self, name: str) -> Parameter:
        found: Any = self.cell._parameters[f"{name}_l0"]
        return found

    def _to_keras(self, values: Array, axis: int) -> Array:
        """Return an array whose axis of gates is in the fused layer's order with it in Keras's."""
        return np.concatenate([np.split(values, len(self.gates), axis)[k] for k in self.gates], axis)

    def _from_keras(self, values: Array, axis: int) -> Array:
        """Undo `_to_keras`."""
        pieces = np.split(values, len(self.gates), axis)
        return np.concatenate([pieces[self.gates.index(k)] for k in range(len(self.gates))], axis)

    def _weight(self, name: str, parameters: Sequence[Parameter], *rest: Any) -> Weight:
        return Weight(f"{self.cell_name}/{name}", parameters, *rest)

    def _matrix(self, name: str, own: str, initializer: Any, regularizer: Any) -> Weight:
        parameter = self._parameter(own)

        def write(value: Array) -> None:
            parameter.data = self._from_keras(value, 1).T

        def read() -> Array:
            return self._to_keras(parameter._data, 0).T

        return self._weight(name, [parameter], read, write, initializer, regularizer)

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
        steps = ValidSteps.of(which)
        x = self.input_noise(x)
        lengths = None
        if steps is not None:
            x, lengths = steps.closed_up(x), steps.lengths
        states = self._start(initial_state, x.shape[0])
        with self._dropping():
            out, last = self.cell(x, self._given(states), lengths=lengths)
        final = [state[0] for state in (last if isinstance(last, tuple) else (last,))]
        if self.stateful:
            self.states = [state._data.copy() for state in final]
        if self.return_sequences:
            result = out if steps is None else steps.spread_out(out, hold=not self.zero_output_for_mask)
        else:
            result = final[0]
            if steps is not None:
                shown = steps.mask[:, -1] if self.zero_output_for_mask else steps.lengths > 0
                result = ops.where(shown[:, None], result, self.dtype.type(0))
        return [result, *final] if self.return_state else result

    def _start(self, given: Any, rows: int) -> list[Tensor] | None:
        if given is None:
            if not self.stateful or self.states is None:
                return None
            if len(self.states[0]) != rows:
                raise checks.value_error(
                    f"{self.name}: input", f"{len(self.states[0])} rows, as in the call that it goes on from "
                    "(reset_states() begins anew)", f"{rows}",
                )  # fmt: skip
            return [Tensor(state) for state in self.states]
        found = list(given) if isinstance(given, (list, tuple)) else [given]
        if len(found) != self.state_count:
            raise checks.value_error("initial_state", f"{self.state_count} state(s)", f"{len(found)}")
        states = [self._value(state) for state in found]
        for state in states:
            if state.shape != (rows, self.units):
                raise checks.value_error("initial_state", f"shape ({rows}, {self.units})", state._data)
        return states

    def _given(self, states: list[Tensor] | None) -> Any:
        """Return states as the fused layer takes them."""
        if states is None:
            return None
        found = tuple(ops.unsqueeze(state, 0) for state in states)
        return found if len(found) > 1 else found[0]

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        """Leave units out of the recurrent products, in training: columns of each gate's recurrent weights."""
        if not self.training or not self.recurrent_dropout:
            yield
            return
        registry: dict[str, Any] = self.cell._parameters
        weight = registry["weight_hh_l0"]
        count, units = len(self.gates), self.units
        kept = nn.functional.dropout(np.ones((count, 1, units), self.dtype), self.recurrent_dropout, True)
        try:
            registry["weight_hh_l0"] = ops.reshape(ops.reshape(weight, (count, units, units)) * kept, weight.shape)
            yield
        finally:
            registry["weight_hh_l0"] = weight

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
        out = (rows, steps, self.units) if self.return_sequences else (rows, self.units)
        return [out] + [(rows, self.units)] * self.state_count if self.return_state else out
