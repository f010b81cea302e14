"""Gated recurrent units with PyTorch's names, shapes and layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd.recurrent import kernels_of
from fastseq.cells.gru import GRUWeights
from fastseq.cells.gru_reset_before import GRUResetBeforeWeights
from fastseq.nn.recurrent import Plain, no_projections


def cell_of(reset_after: Any) -> Any:
    """Return the weights type of the cell whose reset gate acts on the product with h, or on h.

    Parameters
    ----------
    reset_after
        Whether it acts on the product.

    Raises
    ------
    TypeError
        If it is not a boolean.
    """
    return GRUWeights if checks.boolean("reset_after", reset_after) else GRUResetBeforeWeights


class GRU(Plain):
    """Gated recurrent units, fused over time (equations: `fastseq.cells.gru`, `fastseq.cells.gru_reset_before`).

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
    reset_after
        Whether the reset gate acts on the product with h, its bias included, as in PyTorch; or on h itself, before the
        product, as in the original paper, in Keras with ``reset_after=False`` and in ONNX by default.
    proj_size
        0: only `LSTM` has projections.
    dtype
        float32 or float64.

    Notes
    -----
    Parameters carry PyTorch's names and layouts: ``weight_ih_l{k}[_reverse]`` (3H, F or H * D), ``weight_hh`` (3H, H),
    ``bias_ih``, ``bias_hh`` (3H,), gates in the order r z n, drawn from U(-1/sqrt(H), 1/sqrt(H)).
    Without ``reset_after`` the two biases of n are simply added, like those of r and z: Keras, which has a single one,
    is the same with ``bias_hh`` at zero.
    A row's results have the same bits whatever its neighbours, its padding, the batch size and the number of threads.
    """

    cell = GRUWeights
    _config = (*Plain._config[:-1], "reset_after", "dtype")

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
        reset_after: bool = True,
        proj_size: int = 0,
        dtype: DTypeLike = np.float32,
    ) -> None:
        no_projections(proj_size)
        self.cell = cell_of(reset_after)  # type: ignore[misc]
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype=dtype)
        self.reset_after = reset_after


kernels_of(GRUWeights)  # defined with the module, so that the warm-up knows them; the others are made when used
