"""Optimisers, learning rate schedules and averages of weights, with PyTorch's names and semantics."""

from __future__ import annotations

from fastseq.optim import lr_scheduler
from fastseq.optim.adagrad import Adagrad
from fastseq.optim.adam import Adam, AdamW
from fastseq.optim.averaging import ExponentialMovingAverage
from fastseq.optim.lbfgs import LBFGS
from fastseq.optim.lion import Lion
from fastseq.optim.nadam import NAdam
from fastseq.optim.optimizer import Optimizer
from fastseq.optim.radam import RAdam
from fastseq.optim.rmsprop import RMSprop
from fastseq.optim.sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "ExponentialMovingAverage",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "lr_scheduler",
]
