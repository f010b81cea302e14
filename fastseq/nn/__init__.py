"""Layers and models with PyTorch's names, shapes and layouts."""

from __future__ import annotations

from fastseq.nn import init, utils
from fastseq.nn.containers import ModuleDict, ModuleList, Sequential
from fastseq.nn.module import Module, Parameter
from fastseq.nn.standardize import Rescale, Standardize

__all__ = ["Module", "ModuleDict", "ModuleList", "Parameter", "Rescale", "Sequential", "Standardize", "init", "utils"]
