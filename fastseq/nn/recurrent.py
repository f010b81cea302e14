"""Recurrent layers: stacks of fused layers in one or two directions, with PyTorch's names, shapes and layouts."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.recurrent import PackedLayer, kernels_of, recurrent
from fastseq.autograd.tensor import Tensor
from fastseq.cells.lstm import LSTMWeights
from fastseq.cells.lstm_projected import ProjectedWeights
from fastseq.cells.lstm_relu import ReluLSTMWeights
from fastseq.nn import functional, init
from fastseq.nn.module import Module, Parameter
from fastseq.nn.packed import PackedSequence
from fastseq.nn.tokens import as_given, lone_length


def parameter_shapes(
    cell: Any, inputs: int, units: int, bias: bool, outputs: int | None = None
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of one layer in one direction, under PyTorch's names.

    Parameters
    ----------
    cell
        The cell's weights type.
    inputs
        F.
    units
        H.
    bias
        Whether there are biases.
    outputs
        P, the size of h; H if None.
    """
    width = units if outputs is None else outputs
    rows, state_rows = (len(slots) * units for slots in (cell.spec.input_rows, cell.spec.state_rows))
    shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, inputs), "weight_hh": (state_rows, width)}
    if bias and not cell.spec.standardized:
        shapes |= {"bias_ih": (rows,), "bias_hh": (state_rows,)}
    shapes = {name: shape for name, shape in shapes.items() if shape[0]}
    vectors = [name for name in cell.spec.vectors if bias or not name.startswith("bias")]
    shapes |= {name: (vectors.count(name) * units,) for name in vectors}
    return shapes | ({"weight_hr": (width, units)} if cell.spec.projects else {})


class Recurrent(Module):
    """What all recurrent layers share: parameters, checks, directions, stacking and dropout between layers.

    A subclass names its cell; its states are h and the cell's memories.
    """

    cell: ClassVar[Any]
    proj_size = 0
    _config: ClassVar[tuple[str, ...]] = (
        "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "dtype",
    )  # fmt: skip

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.input_size = checks.integer("input_size", input_size, 1)
        self.hidden_size = checks.integer("hidden_size", hidden_size, 1)
        self.num_layers = checks.integer("num_layers", num_layers, 1)
        self.bias = checks.boolean("bias", bias)
        self.batch_first = checks.boolean("batch_first", batch_first)
        self.dropout = checks.real("dropout", dropout, 0.0, 1.0)
        self.bidirectional = checks.boolean("bidirectional", bidirectional)
        kind = checks.float_dtype("dtype", dtype)
        rows = len(self.cell.spec.slots) * self.hidden_size
        checks.product_fits("hidden_size", rows, self.hidden_size)
        checks.product_fits("input_size", rows, self.input_size)
        for layer in range(self.num_layers):
            inputs = self.input_size if layer == 0 else self.output_size * self.num_directions
            shapes = parameter_shapes(self.cell, inputs, self.hidden_size, self.bias, self.output_size)
            for suffix in self._suffixes(layer):
                for name, shape in shapes.items():
                    setattr(self, name + suffix, Parameter(np.empty(shape, kind)))
        self.reset_parameters()

    @property
    def num_directions(self) -> int:
        """One, or two if bidirectional."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """The size of h, and so of one direction's outputs."""
        return self.proj_size or self.hidden_size

    @property
    def dtype(self) -> np.dtype:
        """The element type of the parameters."""
        parameter: Any = self._parameters["weight_ih_l0"]
        return parameter._data.dtype

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction, as PyTorch lists them."""
        suffixes = [suffix for layer in range(self.num_layers) for suffix in self._suffixes(layer)]
        own = self._parameters.items()
        return [[p for name, p in own if p is not None and name.endswith(suffix)] for suffix in suffixes]

    def flatten_parameters(self) -> None:
        """Do nothing: PyTorch's GPU code wants its weights in one piece, fastseq packs them by itself."""

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as the constructor does."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.num_directions]

    def packed(self, layer: int) -> PackedLayer:
        """Return a layer's parameters as the kernels want them; packed anew only when they have changed.

        Parameters
        ----------
        layer
            The layer's number, from 0.
        """
        key = [*map(id, self._parameters.values()), id(self.dtype)]
        known: Any = self.__dict__.get("_packed")
        if known is None or known[0] != key:
            vectors = list(dict.fromkeys(self.cell.spec.vectors))
            names = ["weight_ih", "weight_hh"]
            names += ["", ""] if self.cell.spec.standardized else ["bias_ih", "bias_hh"]  # then they are vectors
            names += vectors
            names += ["weight_hr"] if self.cell.spec.projects else []
            layers = [
                PackedLayer(self.cell, [tuple(self._parameters.get(n + s) for n in names) for s in self._suffixes(k)])
                for k in range(self.num_layers)
            ]
            known = self.__dict__["_packed"] = (key, layers)
        return known[1][layer]

    def __getstate__(self) -> dict[str, Any]:
        """Leave packed weights behind: they are made again when needed."""
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}

    def _input(self, x: Any) -> Tensor:
        if not isinstance(x, (Tensor, np.ndarray)):
            raise checks.kind_error("x", "a NumPy array or a Tensor", x)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            shape = f"shape ({'B, T' if self.batch_first else 'T, B'}, {self.input_size}) or (T, {self.input_size})"
            raise checks.value_error("x", shape, f"shape {tuple(x.shape)}")
        if x.dtype != self.dtype:
            raise TypeError(f"x: expected dtype {self.dtype} like the weights, got {x.dtype}; convert with astype")
        tensor = x if isinstance(x, Tensor) else Tensor(x)
        if x.ndim == 2:
            return ops.reshape(tensor, (1, *x.shape))
        return tensor if self.batch_first else ops.transpose(tensor, 0, 1)

    def _state(self, name: str, state: Any, rows: tuple[int, ...], size: int) -> Tensor:
        if not isinstance(state, (Tensor, np.ndarray)):
            raise checks.kind_error(name, "a NumPy array or a Tensor", state)
        shape = (self.num_layers * self.num_directions, *rows, size)
        if tuple(state.shape) != shape:
            raise checks.value_error(name, f"shape {shape}", f"shape {tuple(state.shape)}")
        if state.dtype != self.dtype:
            raise TypeError(f"{name}: expected dtype {self.dtype} like the weights, got {state.dtype}")
        tensor = state if isinstance(state, Tensor) else Tensor(state)
        return tensor if rows else ops.reshape(tensor, (shape[0], 1, size))

    def _run(self, x: Any, states: list[tuple[str, Any]] | None, lengths: Any) -> tuple[Tensor, list[Tensor]]:
        """Run all layers; ``states`` are the initial ones with their names, or None for zeros."""
        sequence = self._input(x)
        batch, steps = sequence.shape[:2]
        alone = x.ndim == 2  # one row without an axis for rows, as PyTorch has it
        directions = self.num_directions
        if lengths is not None:
            lengths = lone_length(lengths) if alone else lengths
            lengths = checks.lengths("lengths", lengths._data if isinstance(lengths, Tensor) else lengths, batch, steps)
        checks.product_fits("x", batch, steps, len(self.cell.spec.slots) * self.hidden_size, directions)
        sizes = [self.output_size, *[self.hidden_size] * len(self.cell.spec.memories)]
        given = [
            self._state(name, state, () if alone else (batch,), size)
            for (name, state), size in zip(states or [], sizes, strict=False)
        ]
        initial: list[Any] = given or [None] * (1 + len(self.cell.spec.memories))
        if self.num_layers == 1:
            sequence, *last = recurrent(self.packed(0), sequence, initial, lengths)
            return self._results(sequence, last, alone) if alone or not self.batch_first else (sequence, last)
        finals: list[Any] = [[] for _ in initial]
        for layer in range(self.num_layers):
            if layer and self.training and self.dropout:
                sequence = functional.dropout(sequence, self.dropout, training=True)
            part = slice(layer * directions, (layer + 1) * directions)
            own = [None if s is None else s[part] for s in initial]
            sequence, *last = recurrent(self.packed(layer), sequence, own, lengths)
            for collected, state in zip(finals, last, strict=True):
                collected.append(state)
        return self._results(sequence, [ops.concatenate(states, 0) for states in finals], alone)

    def _results(self, out: Tensor, last: list[Tensor], alone: bool) -> tuple[Tensor, list[Tensor]]:
        """Return outputs (B, T, ...) and final states with the axes that the caller's arrays have."""
        states = [ops.reshape(s, (s.shape[0], s.shape[2])) for s in last] if alone else last
        return as_given(out, alone, self.batch_first), states


def no_projections(proj_size: Any) -> None:
    """Raise, as PyTorch does, where a layer other than LSTM is asked for projections.

    Parameters
    ----------
    proj_size
        What was asked for.

    Raises
    ------
    ValueError
        Unless it is 0.
    """
    if checks.integer("proj_size", proj_size, 0):
        raise checks.value_error("proj_size", "0: only LSTM has projections", proj_size)


class Plain(Recurrent):
    """A recurrent layer whose only state is h: what GRU and RNN share."""

    def forward(self, x: Any, hx: Any = None, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """Run over a padded batch.

        Parameters
        ----------
        x
            ndarray or Tensor (B, T, F), of the dtype of the weights; what stands past a row's length is never read. Or
            one row (T, F), whatever ``batch_first`` is: all others are without B, too, then. Or a PackedSequence of
            ``nn.utils.rnn``: the outputs are one, too, then.
        hx
            Initial state h_0 (N * D, B, H); zeros if None.
        lengths
            Valid steps of each row, integers in 0..T (B,), in any order; None if all are T. A number for one row.

        Returns
        -------
        tuple
            Outputs (B, T, D * H), zeros past a row's length; and h_n (N * D, B, H), the state after each row's last
            valid step (the reverse direction's after its first step). A row of length 0 keeps its initial state.

        Raises
        ------
        TypeError
            If an argument is not an array or of another dtype than the weights; if lengths are not integers.
        ValueError
            If a shape does not fit or a length is out of range.
        """
        if isinstance(x, PackedSequence):
            return x.through(self, hx)  # type: ignore[return-value]
        out, (h_n,) = self._run(x, None if hx is None else [("hx", hx)], lengths)
        return out, h_n


class WithMemory(Recurrent):
    """A recurrent layer whose states are h and a memory c: what LSTM and its kin share."""

    def forward(self, x: Any, hx: Any = None, lengths: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run over a padded batch.

        Parameters
        ----------
        x
            ndarray or Tensor (B, T, F), of the dtype of the weights; what stands past a row's length is never read. Or
            one row (T, F), whatever ``batch_first`` is: all others are without B, too, then. Or a PackedSequence of
            ``nn.utils.rnn``: the outputs are one, too, then.
        hx
            Initial states h_0 (N * D, B, P) and c_0 (N * D, B, H), P being H without projections; zeros if None.
        lengths
            Valid steps of each row, integers in 0..T (B,), in any order; None if all are T. A number for one row.

        Returns
        -------
        tuple
            Outputs (B, T, D * P), zeros past a row's length; and h_n (N * D, B, P), c_n (N * D, B, H), the states after
            each row's last valid step (the reverse direction's after its first step). A row of length 0 keeps its
            initial state.

        Raises
        ------
        TypeError
            If an argument is not an array or of another dtype than the weights; if lengths are not integers.
        ValueError
            If a shape does not fit or a length is out of range.
        """
        if isinstance(x, PackedSequence):
            return x.through(self, hx)  # type: ignore[return-value]
        states = None
        if hx is not None:
            if not isinstance(hx, (tuple, list)):
                raise checks.kind_error("hx", "a pair (h_0, c_0)", hx)
            if len(hx) != 2:
                raise checks.value_error("hx", "a pair (h_0, c_0)", f"{len(hx)} item(s)")
            states = [("h_0", hx[0]), ("c_0", hx[1])]
        out, (h_n, c_n) = self._run(x, states, lengths)
        return out, (h_n, c_n)


class LSTM(WithMemory):
    """Long short-term memory, fused over time (equations: `fastseq.cells.lstm`, `fastseq.cells.lstm_projected`).

    Shape letters: B rows, T steps, F = input_size, H = hidden_size, N = num_layers, D = 2 if bidirectional else 1.

    Parameters
    ----------
    input_size
        F.
    hidden_size
        H.
    num_layers
        Number of stacked layers; each reads the outputs of the one before.
    bias
        Whether there are the two biases ``bias_ih`` and ``bias_hh``.
    batch_first
        Whether arrays are (B, T, F), which is the default here, or (T, B, F) as PyTorch's default is.
    dropout
        Probability of dropping an output between layers, while training.
    bidirectional
        Whether a second direction reads each row from its last valid step to its first.
    proj_size
        P, the size that h is projected to, less than H; 0 for no projections.
    activation
        What squashes the candidate and the memory: "tanh", or "relu" (`fastseq.cells.lstm_relu`), which Keras offers,
        PyTorch does not; without projections only.
    dtype
        float32 or float64.

    Notes
    -----
    Parameters carry PyTorch's names and layouts: ``weight_ih_l{k}[_reverse]`` (4H, F or H * D), ``weight_hh`` (4H, H),
    ``bias_ih``, ``bias_hh`` (4H,), gates in the order i f g o, drawn from U(-1/sqrt(H), 1/sqrt(H)). With projections
    there is ``weight_hr`` (P, H), and P stands for H in the sizes of outputs, of h and of what reads them.
    A row's results have the same bits whatever its neighbours, its padding, the batch size and the number of threads.
    """

    cell = LSTMWeights
    _config = (*WithMemory._config[:-1], "proj_size", "activation", "dtype")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        activation: str = "tanh",
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.proj_size = checks.integer("proj_size", proj_size, 0)
        self.activation = checks.choice("activation", activation, ("tanh", "relu"))
        if activation == "relu":
            if self.proj_size:
                raise checks.value_error("activation", "'tanh' where there are projections", activation)
            self.cell = ReluLSTMWeights  # type: ignore[misc, assignment]
        if self.proj_size:
            if self.proj_size >= checks.integer("hidden_size", hidden_size, 1):
                raise checks.value_error("proj_size", f"less than hidden_size = {hidden_size}", proj_size)
            self.cell = ProjectedWeights  # type: ignore[misc, assignment]
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype=dtype)


kernels_of(LSTMWeights)  # defined with the module, so that the warm-up knows them
