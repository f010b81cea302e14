"""LSTMCell, GRUCell and SimpleRNNCell: one step of the layers of these names."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers.cells import GRU, LSTM, SimpleRNN
from fastseq.layers.layer import Layer
from fastseq.layers.recurrent import RecurrentLayer
from fastseq.layers.recurring import Recurring

Array = NDArray[Any]


class Cell(Layer):
    """One step of a recurrent layer.

    Parameters
    ----------
    units
        H.
    *args
        As in the layer.
    name, trainable, dtype
        As in `Layer`.
    **options
        As in the layer, without what concerns several steps.
    """

    kind: ClassVar[type[RecurrentLayer]]
    layer: RecurrentLayer

    def __init__(
        self, units: int, *args: Any, name: str | None = None, trainable: bool = True, dtype: Any = None,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        for option in Recurring.arguments:
            if option in options:
                raise TypeError(f"{type(self).__name__}: expected arguments of one step, got {option!r}, RNN's")
        self.layer = self.kind(units, *args, name=self.name, dtype=dtype, **options)

    @property
    def units(self) -> int:
        """H."""
        return self.layer.units

    @property
    def state_size(self) -> int | list[int]:
        """The size of the state; a list for several."""
        found: int | list[int] = self.layer.state_size
        return found

    @property
    def output_size(self) -> int:
        """H."""
        return self.layer.units

    def __getattr__(self, name: str) -> Any:
        """Look up weights by Keras's names, such as ``cell.kernel``."""
        layer = self.__dict__.get("_modules", {}).get("layer")
        for weight in () if layer is None else layer.weights_built:
            if weight.name == name:
                return weight
        return super().__getattr__(name)

    def get_initial_state(self, batch_size: int | None = None) -> list[Array]:
        """Return zeros (B, H), one array per state.

        Parameters
        ----------
        batch_size
            B.
        """
        return self.layer.get_initial_state(batch_size)

    def build(self, input_shape: Any) -> None:
        """Make the weights, see `Layer.build`; the shape is (rows, features)."""
        if len(input_shape) != 2:
            raise checks.value_error(f"{self.name}: input shape", "(rows, features)", f"{input_shape}")
        self.layer.build_from((input_shape[0], None, input_shape[1]))

    def call(self, inputs: Any, states: Any) -> tuple[Tensor, list[Tensor]]:  # type: ignore[override]
        """Return the output (B, H), and the new states.

        Parameters
        ----------
        inputs
            (B, F)
        states
            A list of states (B, H), h first.
        """
        given = self.layer._start(states, inputs.shape[0])
        return self.layer.run(ops.unsqueeze(inputs, 1), given, None, False, False)

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shapes, see `Layer.compute_output_shape`."""
        rows = shapes[0][0]
        return [(rows, self.units), [(rows, size) for size in self.layer.state_sizes]]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, see `Layer.get_config`."""
        found = self.layer.get_config() | super().get_config()
        return {name: value for name, value in found.items() if name not in Recurring.arguments}


class LSTMCell(Cell):
    """One step of `LSTM`: ``cell(inputs, [h, c])`` returns h and [h, c].

    Parameters
    ----------
    units
        H.
    *args, **options
        As in `LSTM`, without what concerns several steps.
    """

    kind = LSTM


class GRUCell(Cell):
    """One step of `GRU`: ``cell(inputs, [h])`` returns h and [h].

    Parameters
    ----------
    units
        H.
    *args, **options
        As in `GRU`, without what concerns several steps.
    """

    kind = GRU


class SimpleRNNCell(Cell):
    """One step of `SimpleRNN`: ``cell(inputs, [h])`` returns h and [h].

    Parameters
    ----------
    units
        H.
    *args, **options
        As in `SimpleRNN`, without what concerns several steps.
    """

    kind = SimpleRNN
