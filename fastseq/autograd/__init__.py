"""Gradients: Tensor, the tape, and differentiable operations on arrays."""

from __future__ import annotations

from fastseq.autograd.mode import enable_grad, is_grad_enabled, no_grad
from fastseq.autograd.tensor import Tensor, make_node

__all__ = ["Tensor", "enable_grad", "is_grad_enabled", "make_node", "no_grad"]
