"""Training and prediction: the fit loop, callbacks, metrics, checkpoints."""

from __future__ import annotations

from fastseq.training.callbacks import (
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from fastseq.training.carried import CarriedState
from fastseq.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fastseq.training.history import History
from fastseq.training.loop import fit
from fastseq.training.prediction import predict
from fastseq.training.run import Callback, Run
from fastseq.training.schedules import SchedulerCallback

__all__ = [
    "CSVLogger",
    "Callback",
    "CarriedState",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "Run",
    "SchedulerCallback",
    "TerminateOnNaN",
    "fit",
    "load_checkpoint",
    "predict",
    "save_checkpoint",
]
