"""One step of a recurrent layer at a time, with PyTorch's names and shapes: LSTMCell, GRUCell, RNNCell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.recurrent import PackedLayer, recurrent
from fastseq.autograd.tensor import Tensor
from fastseq.cells.gru import GRUWeights
from fastseq.cells.lstm import LSTMWeights
from fastseq.cells.rnn import TanhWeights
from fastseq.nn import gru, init
from fastseq.nn.module import Module, Parameter
from fastseq.nn.recurrent import parameter_shapes
from fastseq.nn.rnn import cell_of

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class StepModule(Module):
    """What the three cells share: parameters, checks, and one step on the kernels of the layers.

    A subclass names its cell; its states are h and the cell's memories.
    """

    cell: ClassVar[Any]
    _config: ClassVar[tuple[str, ...]] = ("input_size", "hidden_size", "bias", "dtype")

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        self.input_size = checks.integer("input_size", input_size, 1)
        self.hidden_size = checks.integer("hidden_size", hidden_size, 1)
        self.bias = checks.boolean("bias", bias)
        kind = checks.float_dtype("dtype", dtype)
        rows = len(self.cell.spec.slots) * self.hidden_size
        checks.product_fits("hidden_size", rows, self.hidden_size)
        checks.product_fits("input_size", rows, self.input_size)
        for name, shape in parameter_shapes(self.cell, self.input_size, self.hidden_size, self.bias).items():
            setattr(self, name, Parameter(np.empty(shape, kind)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as the constructor does."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    @property
    def dtype(self) -> np.dtype:
        """The element type of the parameters."""
        parameter: Any = self._parameters["weight_ih"]
        return parameter._data.dtype

    def __getstate__(self) -> dict[str, Any]:
        """Leave packed weights behind: they are made again when needed."""
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}

    def _array(self, name: str, value: Any, shape: Sequence[Any]) -> Tensor:
        if not isinstance(value, (Tensor, np.ndarray)):
            raise checks.kind_error(name, "a NumPy array or a Tensor", value)
        if len(value.shape) != len(shape) or any(
            want not in ("B", size) for want, size in zip(shape, value.shape, strict=True)
        ):
            expected = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
            raise checks.value_error(name, f"shape ({expected})", f"shape {tuple(value.shape)}")
        if value.dtype != self.dtype:
            raise TypeError(f"{name}: expected dtype {self.dtype} like the weights, got {value.dtype}")
        return value if isinstance(value, Tensor) else Tensor(value)

    def _step(self, x: Any, states: list[tuple[str, Any]] | None) -> list[Tensor]:
        """Take one step from the given states, with their names, or from zeros."""
        alone = getattr(x, "ndim", None) == 1  # one row without an axis for rows, as PyTorch has it
        leading: tuple[Any, ...] = () if alone else ("B",)
        given = self._array("input", x, (*leading, self.input_size))
        batch = 1 if alone else given.shape[0]
        shape = (self.hidden_size,) if alone else (batch, self.hidden_size)
        checks.product_fits("input", batch, len(self.cell.spec.slots) * self.hidden_size)
        initial: list[Any] = [
            ops.reshape(self._array(name, state, shape), (1, batch, self.hidden_size)) for name, state in states or []
        ]
        key = [*map(id, self._parameters.values()), id(self.dtype)]
        known: Any = self.__dict__.get("_packed")
        if known is None or known[0] != key:
            packed = PackedLayer(self.cell, [tuple(self._parameters.get(name) for name in NAMES)])
            known = self.__dict__["_packed"] = (key, packed)
        nothing = [None] * (1 + len(self.cell.spec.memories))
        _, *last = recurrent(known[1], ops.reshape(given, (batch, 1, self.input_size)), initial or nothing, None)
        return [ops.reshape(state, shape) for state in last]


class LSTMCell(StepModule):
    """One step of long short-term memory (equations: `fastseq.cells.lstm`).

    Shape letters: B rows, F = input_size, H = hidden_size.

    Parameters
    ----------
    input_size
        F.
    hidden_size
        H.
    bias
        Whether there are the two biases ``bias_ih`` and ``bias_hh``.
    dtype
        float32 or float64.

    Notes
    -----
    Parameters are PyTorch's: ``weight_ih`` (4H, F), ``weight_hh`` (4H, H), ``bias_ih``, ``bias_hh`` (4H,), gates in the
    order i f g o. A loop of steps gives the bits of `fastseq.nn.LSTM` with the same weights; over whole sequences the
    layer is much faster, and for one step at a time without gradients `fastseq.Stream` is.
    """

    cell = LSTMWeights

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """Take one step.

        Parameters
        ----------
        input
            ndarray or Tensor (B, F), of the dtype of the weights; or (F,), and then all others are without B, too.
        hx
            The states before (h_0, c_0), each (B, H); zeros if None.

        Returns
        -------
        tuple
            The states after the step (h_1, c_1), each (B, H).

        Raises
        ------
        TypeError, ValueError
            If an argument is not an array, of another dtype than the weights, or of another shape.
        """
        states = None
        if hx is not None:
            if not isinstance(hx, (tuple, list)):
                raise checks.kind_error("hx", "a pair (h_0, c_0)", hx)
            if len(hx) != 2:
                raise checks.value_error("hx", "a pair (h_0, c_0)", f"{len(hx)} item(s)")
            states = [("h_0", hx[0]), ("c_0", hx[1])]
        h, c = self._step(input, states)
        return h, c


class PlainCell(StepModule):
    """A cell whose only state is h: what GRUCell and RNNCell share."""

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """Take one step.

        Parameters
        ----------
        input
            ndarray or Tensor (B, F), of the dtype of the weights; or (F,), and then all others are without B, too.
        hx
            The state before (B, H); zeros if None.

        Returns
        -------
        Tensor
            The state after the step (B, H).

        Raises
        ------
        TypeError, ValueError
            If an argument is not an array, of another dtype than the weights, or of another shape.
        """
        return self._step(input, None if hx is None else [("hx", hx)])[0]


class GRUCell(PlainCell):
    """One step of gated recurrent units (equations: `fastseq.cells.gru`, `fastseq.cells.gru_reset_before`).

    Shape letters: B rows, F = input_size, H = hidden_size.

    Parameters
    ----------
    input_size
        F.
    hidden_size
        H.
    bias
        Whether there are the two biases ``bias_ih`` and ``bias_hh``.
    reset_after
        Whether the reset gate acts on the product with h, as in PyTorch, or on h; see `fastseq.nn.GRU`.
    dtype
        float32 or float64.

    Notes
    -----
    Parameters are PyTorch's: ``weight_ih`` (3H, F), ``weight_hh`` (3H, H), ``bias_ih``, ``bias_hh`` (3H,), gates in the
    order r z n. A loop of steps gives the bits of `fastseq.nn.GRU` with the same weights.
    """

    cell = GRUWeights
    _config = ("input_size", "hidden_size", "bias", "reset_after", "dtype")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.cell = gru.cell_of(reset_after)  # type: ignore[misc]
        super().__init__(input_size, hidden_size, bias, dtype=dtype)
        self.reset_after = reset_after


class RNNCell(PlainCell):
    """One step of Elman's recurrent network (equations: `fastseq.cells.rnn`).

    Shape letters: B rows, F = input_size, H = hidden_size.

    Parameters
    ----------
    input_size
        F.
    hidden_size
        H.
    bias
        Whether there are the two biases ``bias_ih`` and ``bias_hh``.
    nonlinearity
        "tanh" or "relu".
    dtype
        float32 or float64.

    Notes
    -----
    Parameters are PyTorch's: ``weight_ih`` (H, F), ``weight_hh`` (H, H), ``bias_ih``, ``bias_hh`` (H,). A loop of steps
    gives the bits of `fastseq.nn.RNN` with the same weights.
    """

    cell = TanhWeights
    _config = ("input_size", "hidden_size", "bias", "nonlinearity", "dtype")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.cell = cell_of(nonlinearity)  # type: ignore[misc]
        super().__init__(input_size, hidden_size, bias, dtype=dtype)
        self.nonlinearity = nonlinearity
