"""Simple recurrent networks with PyTorch's names, shapes and layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd.recurrent import kernels_of
from fastseq.cells.rnn import ReluWeights, TanhWeights
from fastseq.nn.recurrent import Plain, no_projections

CELLS = {"tanh": TanhWeights, "relu": ReluWeights}


def cell_of(nonlinearity: Any) -> Any:
    """Return the weights type of the cell with a nonlinearity.

    Parameters
    ----------
    nonlinearity
        "tanh" or "relu".

    Raises
    ------
    TypeError, ValueError
        If it is something else.
    """
    return CELLS[checks.choice("nonlinearity", nonlinearity, tuple(CELLS))]


class RNN(Plain):
    """Elman's recurrent network, fused over time (equations: `fastseq.cells.rnn`).

    Shape letters: B rows, T steps, F = input_size, H = hidden_size, N = num_layers, D = 2 if bidirectional else 1.

    Parameters
    ----------
    input_size
        F.
    hidden_size
        H.
    num_layers
        Number of stacked layers; each reads the outputs of the one before.
    nonlinearity
        "tanh" or "relu".
    bias
        Whether there are the two biases ``bias_ih`` and ``bias_hh``.
    batch_first
        Whether arrays are (B, T, F), which is the default here, or (T, B, F) as PyTorch's default is.
    dropout
        Probability of dropping an output between layers, while training.
    bidirectional
        Whether a second direction reads each row from its last valid step to its first.
    proj_size
        0: only `LSTM` has projections.
    dtype
        float32 or float64.

    Notes
    -----
    Parameters carry PyTorch's names and layouts: ``weight_ih_l{k}[_reverse]`` (H, F or H * D), ``weight_hh`` (H, H),
    ``bias_ih``, ``bias_hh`` (H,), drawn from U(-1/sqrt(H), 1/sqrt(H)).
    A row's results have the same bits whatever its neighbours, its padding, the batch size and the number of threads.
    """

    cell = TanhWeights
    _config = (*Plain._config[:3], "nonlinearity", *Plain._config[3:])

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        proj_size: int = 0,
        dtype: DTypeLike = np.float32,
    ) -> None:
        no_projections(proj_size)
        self.cell = cell_of(nonlinearity)  # type: ignore[misc]
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype=dtype)
        self.nonlinearity = nonlinearity


kernels_of(TanhWeights)  # defined with the module, so that the warm-up knows them; the rectifier's are made when used
