"""Gated recurrent units with PyTorch's names, shapes and layouts."""

from __future__ import annotations

from fastseq.autograd.recurrent import kernels_of
from fastseq.cells.gru import GRUWeights
from fastseq.nn.recurrent import Plain


class GRU(Plain):
    """Gated recurrent units, fused over time (equations: `fastseq.cells.gru`).

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
    dtype
        float32 or float64.

    Notes
    -----
    Parameters carry PyTorch's names and layouts: ``weight_ih_l{k}[_reverse]`` (3H, F or H * D), ``weight_hh`` (3H, H),
    ``bias_ih``, ``bias_hh`` (3H,), gates in the order r z n, drawn from U(-1/sqrt(H), 1/sqrt(H)). As in PyTorch, the
    reset gate acts on the product with h, its bias included.
    A row's results have the same bits whatever its neighbours, its padding, the batch size and the number of threads.
    """

    cell = GRUWeights


kernels_of(GRUWeights)  # defined with the module, so that the warm-up knows them
