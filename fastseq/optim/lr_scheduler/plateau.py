"""The schedule that looks at a number: lower the learning rate when it no longer gets better."""

from __future__ import annotations

import math
from typing import Any

from fastseq import checks
from fastseq.optim.lr_scheduler.base import LRScheduler, check_optimizer, per_group
from fastseq.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """Lower the learning rates when a number has not become better for more than ``patience`` epochs.

    Parameters
    ----------
    optimizer
        Whose learning rates it sets.
    mode
        ``"min"`` or ``"max"``: which way is better.
    factor
        What the learning rates are multiplied by, in 0..1, below 1.
    patience
        How many epochs without improvement are let pass.
    threshold
        By how much the number must get better to count.
    threshold_mode
        ``"rel"``: as a share of the best so far; ``"abs"``: as it is.
    cooldown
        How many epochs after lowering are not counted.
    min_lr
        Where lowering ends, a number or one for each parameter group.
    eps
        A change of a learning rate that is not larger than this is left out.
    """

    _state = (
        "factor", "min_lrs", "patience", "cooldown", "eps", "last_epoch", "_last_lr", "mode", "threshold",
        "threshold_mode", "best", "cooldown_counter", "num_bad_epochs",
    )  # fmt: skip

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        self.optimizer = check_optimizer(optimizer)
        self.mode = checks.choice("mode", mode, ("min", "max"))
        self.factor = checks.real("factor", factor, 0.0, 1.0, open_maximum=True)
        self.patience = checks.integer("patience", patience, 0)
        self.threshold = checks.real("threshold", threshold, 0.0)
        self.threshold_mode = checks.choice("threshold_mode", threshold_mode, ("rel", "abs"))
        self.cooldown = checks.integer("cooldown", cooldown, 0)
        self.min_lrs = per_group("min_lr", min_lr, optimizer)
        self.eps = checks.real("eps", eps, 0.0)
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = self.num_bad_epochs = 0
        self._last_lr = self._present()

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Look at an epoch's number.

        Parameters
        ----------
        metrics
            The number, or a Tensor of one. A NaN is never better.
        """
        value = float(metrics)
        self.last_epoch += 1
        if self._improves(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._set(self.get_lr())
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._present()

    def get_lr(self) -> list[float]:
        """Compute the groups' learning rates, lowered."""
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            raise checks.value_error(
                "optimizer", f"the {len(self.min_lrs)} parameter group(s) it had", f"{len(groups)}"
            )
        lowered = [max(lr * self.factor, least) for lr, least in zip(self._present(), self.min_lrs, strict=True)]
        return [new if lr - new > self.eps else lr for lr, new in zip(self._present(), lowered, strict=True)]

    def _improves(self, value: float) -> bool:
        sign = 1.0 if self.mode == "min" else -1.0
        if self.threshold_mode == "rel":
            return sign * value < sign * (self.best * (1.0 - sign * self.threshold))
        return sign * value < sign * self.best - self.threshold
