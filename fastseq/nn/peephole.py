"""Long short-term memory with peepholes."""

from __future__ import annotations

from fastseq.cells.peephole import PeepholeWeights
from fastseq.nn.recurrent import WithMemory


class PeepholeLSTM(WithMemory):
    """Long short-term memory whose gates see the memory, fused over time (equations: `fastseq.cells.peephole`).

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
    Parameters are those of `LSTM` and, per layer and direction, ``weight_ci_l{k}[_reverse]``, ``weight_cf``,
    ``weight_co`` (H,): by how much each unit's input, forget and output gate see its memory; all drawn from
    U(-1/sqrt(H), 1/sqrt(H)).
    A row's results have the same bits whatever its neighbours, its padding, the batch size and the number of threads.
    """

    cell = PeepholeWeights
