"""Minimal gated units: minGRU and minLSTM."""

from __future__ import annotations

from fastseq.cells.minimal import MinGRUWeights, MinLSTMWeights
from fastseq.nn.recurrent import Plain


class MinGRU(Plain):
    """Gated recurrent units whose gate sees the input only, fused over time (equations: `fastseq.cells.minimal`).

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
        Whether there is the bias ``bias_ih``.
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
    Parameters: ``weight_ih_l{k}[_reverse]`` (2H, F or H * D) and ``bias_ih`` (2H,), rows in the order z n, drawn from
    U(-1/sqrt(H), 1/sqrt(H)). There is no product with h.
    A row's results have the same bits whatever its neighbours, its padding, the batch size and the number of threads.
    """

    cell = MinGRUWeights


class MinLSTM(Plain):
    """Long short-term memory whose gates see the input only, fused over time (equations: `fastseq.cells.minimal`).

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
        Whether there is the bias ``bias_ih``.
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
    Parameters: ``weight_ih_l{k}[_reverse]`` (3H, F or H * D) and ``bias_ih`` (3H,), rows in the order f i n, drawn from
    U(-1/sqrt(H), 1/sqrt(H)). There is no product with h.
    A row's results have the same bits whatever its neighbours, its padding, the batch size and the number of threads.
    """

    cell = MinLSTMWeights
