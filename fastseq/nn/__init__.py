"""Layers and models with PyTorch's names, shapes and layouts."""

from __future__ import annotations

from fastseq.nn import init
from fastseq.nn.containers import ModuleDict, ModuleList, Sequential
from fastseq.nn.module import Module, Parameter

__all__ = ["Module", "ModuleDict", "ModuleList", "Parameter", "Sequential", "init"]
