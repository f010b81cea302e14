"""Optimisers, learning rate schedules and averages of weights, with PyTorch's names and semantics."""

from __future__ import annotations

from typing import Any

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

#: Where to look for what PyTorch has under a name that is not here.
_ELSEWHERE = {
    "swa_utils": ": ExponentialMovingAverage averages weights, fastseq.fit(ema=...) too",
    **dict.fromkeys(
        ("ASGD", "Adadelta", "Adafactor", "Adamax", "Rprop", "SparseAdam"),
        ": there are Adagrad, Adam, AdamW, LBFGS, Lion, NAdam, RAdam, RMSprop, SGD",
    ),
}


def __getattr__(name: str) -> Any:
    """Say what there is instead of a name that is not here."""
    raise AttributeError(f"module 'fastseq.optim' has no attribute {name!r}{_ELSEWHERE.get(name, '')}")
