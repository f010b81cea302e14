"""Optimisers with PyTorch's names and semantics."""

from __future__ import annotations

from fastseq.optim.adam import Adam, AdamW
from fastseq.optim.optimizer import Optimizer
from fastseq.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
