"""Training and prediction: the fit loop, callbacks, metrics, checkpoints."""

from __future__ import annotations

from fastseq.training.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from fastseq.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fastseq.training.history import History
from fastseq.training.loop import fit
from fastseq.training.prediction import predict

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
    "fit",
    "load_checkpoint",
    "predict",
    "save_checkpoint",
]
