"""Losses over classes."""

from __future__ import annotations

from typing import Any

from fastseq.nn import functional
from tests.onnx_backend.operators import Arrays, operator, options, padded, plain

NOTHING = -100  # no class: what is ignored where nothing is said


@operator("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy_loss(attributes: dict[str, Any], inputs: Arrays) -> Arrays:
    """functional.cross_entropy, and the logarithms of the probabilities."""
    o = options(attributes, ignore_index=NOTHING, reduction="mean")
    scores, labels, weights = padded(inputs, 3)
    loss = functional.cross_entropy(scores, labels, weights, o["ignore_index"], o["reduction"])
    return plain(loss, functional.log_softmax(scores, 1))


@operator("NegativeLogLikelihoodLoss")
def negative_log_likelihood_loss(attributes: dict[str, Any], inputs: Arrays) -> Arrays:
    """functional.nll_loss."""
    o = options(attributes, ignore_index=NOTHING, reduction="mean")
    scores, labels, weights = padded(inputs, 3)
    return plain(functional.nll_loss(scores, labels, weights, o["ignore_index"], o["reduction"]))
