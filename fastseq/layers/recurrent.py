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
from fastseq.layers.flow import ValidSteps
from fastseq.layers.recurring import Recurring
from fastseq.layers.weights import Weight
from fastseq.nn import Parameter
from fastseq.nn.recurrent import Recurrent

Array = NDArray[Any]


class RecurrentLayer(Recurring):
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
    **options
        See `Recurring`.
    """

    arguments: ClassVar[tuple[str, ...]] = (
        "units", "use_bias", "kernel_initializer", "recurrent_initializer", "bias_initializer", "kernel_regularizer",
        "recurrent_regularizer", "bias_regularizer", "dropout", "recurrent_dropout", "seed", *Recurring.arguments,
    )  # fmt: skip
    fixes_features = True
    #: How many states there are, h first.
    memories: ClassVar[int] = 1
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
        self.remember_zeros(input_shape[0])

    @property
    def state_sizes(self) -> list[int]:
        """The states' sizes, see `Recurring.state_sizes`."""
        return [self.units] * self.memories

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

    def run(
        self, x: Tensor, states: list[Tensor] | None, steps: ValidSteps | None, sequences: bool, zeros: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the output, and the final states, see `Recurring.run`."""
        x, lengths = self.input_noise(x), None
        if steps is not None:
            x, lengths = steps.closed_up(x), steps.lengths
        with self._dropping():
            out, last = self.cell(x, self._given(states), lengths=lengths)
        final = [state[0] for state in (last if isinstance(last, tuple) else (last,))]
        if sequences:
            return out if steps is None else steps.spread_out(out, hold=not zeros), final
        result = final[0]
        if steps is not None:
            shown = steps.mask[:, -1] if zeros else steps.lengths > 0
            result = ops.where(shown[:, None], result, self.dtype.type(0))
        return result, final

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
