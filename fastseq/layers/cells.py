"""LSTM, GRU and SimpleRNN with Keras's arguments and weights, each over the fused layer of ``fastseq.nn``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks, nn
from fastseq.layers.recurrent import RecurrentLayer
from fastseq.layers.weights import Weight
from fastseq.nn.recurrent import Recurrent

Array = NDArray[Any]


class LSTM(RecurrentLayer):
    """Long short-term memory with Keras's arguments, over `nn.LSTM`.

    Parameters
    ----------
    units
        H.
    activation
        ``"tanh"`` or ``"relu"``, which fused kernels compute.
    recurrent_activation
        ``"sigmoid"``.
    use_bias
        Whether there is a bias.
    unit_forget_bias
        Whether the forget gate's bias starts at one.
    use_cudnn
        Without an effect.
    **options
        See `RecurrentLayer`.

    Notes
    -----
    Weights: kernel (F, 4H), recurrent_kernel (H, 4H), bias (4H,), gates in the order i f c o.
    """

    arguments = ("activation", "recurrent_activation", "unit_forget_bias", "use_cudnn", *RecurrentLayer.arguments)
    memories = 2
    cell_name = "lstm_cell"
    gates = (0, 1, 2, 3)

    def __init__(
        self,
        units: int,
        activation: str = "tanh",
        recurrent_activation: str = "sigmoid",
        use_bias: bool = True,
        *,
        unit_forget_bias: bool = True,
        use_cudnn: bool | str = "auto",
        **options: Any,
    ) -> None:
        super().__init__(units, use_bias=use_bias, **options)
        self.activation = checks.choice("activation", activation, ("tanh", "relu"))
        self.recurrent_activation = checks.choice("recurrent_activation", recurrent_activation, ("sigmoid",))
        self.unit_forget_bias = checks.boolean("unit_forget_bias", unit_forget_bias)
        self.use_cudnn = use_cudnn

    def _fused(self, inputs: int) -> Recurrent:
        return nn.LSTM(inputs, self.units, bias=self.use_bias, activation=self.activation, dtype=self.dtype)

    def _bias_start(self) -> Any:
        if not self.unit_forget_bias:
            return self.bias_initializer

        def start(shape: Any, dtype: Any) -> Array:
            first, rest = self.bias_initializer((self.units,), dtype), self.bias_initializer((2 * self.units,), dtype)
            return np.concatenate([first, np.ones(self.units, dtype), rest])

        return start


class GRU(RecurrentLayer):
    """Gated recurrent units with Keras's arguments, over `nn.GRU`.

    Parameters
    ----------
    units
        H.
    activation
        ``"tanh"``, which the fused kernel computes.
    recurrent_activation
        ``"sigmoid"``.
    use_bias
        Whether there is a bias.
    reset_after
        Whether the reset gate acts on the product with h (the default, and PyTorch's form), or on h.
    use_cudnn
        Without an effect.
    **options
        See `RecurrentLayer`.

    Notes
    -----
    Weights: kernel (F, 3H), recurrent_kernel (H, 3H), bias (2, 3H), or (3H,) without ``reset_after``; gates in the
    order z r h, PyTorch's being r z n.
    """

    arguments = ("activation", "recurrent_activation", "reset_after", "use_cudnn", *RecurrentLayer.arguments)
    cell_name = "gru_cell"
    gates = (1, 0, 2)

    def __init__(
        self,
        units: int,
        activation: str = "tanh",
        recurrent_activation: str = "sigmoid",
        use_bias: bool = True,
        *,
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        **options: Any,
    ) -> None:
        super().__init__(units, use_bias=use_bias, **options)
        self.activation = checks.choice("activation", activation, ("tanh",))
        self.recurrent_activation = checks.choice("recurrent_activation", recurrent_activation, ("sigmoid",))
        self.reset_after = checks.boolean("reset_after", reset_after)
        self.use_cudnn = use_cudnn

    def _fused(self, inputs: int) -> Recurrent:
        return nn.GRU(inputs, self.units, bias=self.use_bias, reset_after=self.reset_after, dtype=self.dtype)

    def _biases(self) -> list[Weight]:
        """Return Keras's bias: two rows, one for the inputs and one for the state, with ``reset_after``."""
        if not self.reset_after:
            return super()._biases()
        rows = [self._parameter("bias_ih"), self._parameter("bias_hh")]

        def write(value: Array) -> None:
            for parameter, row in zip(rows, value, strict=True):
                parameter.data = self._from_keras(row, 0)

        def read() -> Array:
            return np.stack([self._to_keras(parameter._data, 0) for parameter in rows])

        return [self._weight("bias", rows, read, write, self.bias_initializer, self.bias_regularizer)]


class SimpleRNN(RecurrentLayer):
    """Elman's recurrent network with Keras's arguments, over `nn.RNN`.

    Parameters
    ----------
    units
        H.
    activation
        ``"tanh"`` or ``"relu"``, which the fused kernels compute.
    use_bias
        Whether there is a bias.
    **options
        See `RecurrentLayer`.

    Notes
    -----
    Weights: kernel (F, H), recurrent_kernel (H, H), bias (H,).
    """

    arguments = ("activation", *RecurrentLayer.arguments)
    cell_name = "simple_rnn_cell"

    def __init__(self, units: int, activation: str = "tanh", use_bias: bool = True, **options: Any) -> None:
        super().__init__(units, use_bias=use_bias, **options)
        self.activation = checks.choice("activation", activation, ("tanh", "relu"))

    def _fused(self, inputs: int) -> Recurrent:
        return nn.RNN(inputs, self.units, nonlinearity=self.activation, bias=self.use_bias, dtype=self.dtype)
