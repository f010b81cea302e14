"""Weights and models of PyTorch, Keras and ONNX, in and out."""

from __future__ import annotations

from fastseq.interop import (  # noqa: F401 - they fill tables
    keras_recurrent,
    keras_steps,
    onnx_rules_recurrent,
    onnx_rules_shapes,
)
from fastseq.interop.keras_models import from_keras, to_keras_weights
from fastseq.interop.onnx_reader import from_onnx
from fastseq.interop.onnx_writer import to_onnx
from fastseq.interop.torch_models import from_torch, to_torch

__all__ = ["from_keras", "from_onnx", "from_torch", "to_keras_weights", "to_onnx", "to_torch"]
