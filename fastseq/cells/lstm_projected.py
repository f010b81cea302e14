"""Long short-term memory whose h is a projection of what the gates make.

    i f g o and c as in `fastseq.cells.lstm`
    h = W_hr (o * tanh(c))

so that h, and with it the recurrent product, may be smaller than the memory: a second product in each step.

Sak, Senior & Beaufays, Long Short-Term Memory Based Recurrent Neural Network Architectures for Large Vocabulary Speech
Recognition, arXiv 1402.1128, 2014, equations 1 to 7 without peepholes, as in PyTorch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastseq.cells import lstm
from fastseq.cells.contract import CellSpec, define


class ProjectedWeights(NamedTuple):
    """Weights of the layer as gate panels."""

    panels: Any
    spec = CellSpec(slots=("i", "f", "g", "o"), memories=("c",), second="h")  # type: ignore[misc]


def step(weights, slots, h, memory):
    """Advance one step; what is returned for h goes into the product."""
    return lstm.step(weights, slots, h, memory)


def step_backward(weights, gates, h, memory, d_h, d_memory):
    """Go back one step; h before it was seen through the slots only."""
    return lstm.step_backward(weights, gates, h, memory, d_h, d_memory)


define(ProjectedWeights, step, step_backward)
