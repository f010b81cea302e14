"""Long short-term memory with layer normalisation."""

from __future__ import annotations

from fastseq.cells.lstm_layer_norm import LayerNormWeights
from fastseq.nn import init
from fastseq.nn.recurrent import WithMemory


class LayerNormLSTM(WithMemory):
    """Long short-term memory with layer normalisation, fused over time (equations: `fastseq.cells.lstm_layer_norm`).

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
        Whether the normalisations have the biases ``bias_ih``, ``bias_hh`` and ``bias_c``.
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
    The variant is that of the paper's appendix: the products with the input and with h are normalised apart, each over
    its 4H numbers, and the memory is before its tanh, while what is carried on is not normalised.
    Parameters: ``weight_ih_l{k}[_reverse]`` (4H, F or H * D) and ``weight_hh`` (4H, H), gates in the order i f g o,
    drawn from U(-1/sqrt(H), 1/sqrt(H)); gains ``gain_ih``, ``gain_hh`` (4H,) and ``gain_c`` (H,), which start at one;
    biases ``bias_ih``, ``bias_hh`` (4H,) and ``bias_c`` (H,), which start at zero. 1e-5 is added to each variance.
    A row's results have the same bits whatever its neighbours, its padding, the batch size and the number of threads.
    """

    cell = LayerNormWeights

    def reset_parameters(self) -> None:
        """Draw the weights anew; gains become ones, biases zeros."""
        super().reset_parameters()
        for name, parameter in self.named_parameters():
            if name.startswith("gain"):
                init.ones_(parameter)
            elif name.startswith("bias"):
                init.zeros_(parameter)
