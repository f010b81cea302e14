"""Losses for predicted distributions as modules, with PyTorch's names and arguments, and ``lengths``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.nn.functional_likelihoods import gaussian_nll_loss, kl_div, poisson_nll_loss, quantile_loss, quantiles_of
from fastseq.nn.functional_reduction import REDUCTIONS
from fastseq.nn.module import Module


class GaussianNLLLoss(Module):
    """Normal distributions with predicted variances, see ``functional.gaussian_nll_loss``.

    Parameters
    ----------
    full
        Whether to add log(2 pi) / 2.
    eps
        Variances below it count as it, > 0.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    """

    _config = ("full", "eps", "reduction")

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__()
        self.full = checks.boolean("full", full)
        self.eps = checks.real("eps", eps, 0.0, open_minimum=True)
        self.reduction = checks.choice("reduction", reduction, REDUCTIONS)

    def forward(self, input: Any, target: Any, var: Any, lengths: Any = None) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input, target
            Predicted means and what they should be, of one shape, or broadcast to the input's; (B, T, ...) with
            ``lengths``.
        var
            Variances >= 0 of the same shape, or with 1 instead of one axis, or without the last.
        lengths
            Valid steps per row, integers (B,); None means all.

        Returns
        -------
        Tensor
            A scalar, or the input's shape with ``reduction="none"``.

        Raises
        ------
        ValueError
            If the shapes do not fit, or a variance that counts is negative.
        """
        return gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction, lengths=lengths)


class PoissonNLLLoss(Module):
    """Counts with predicted rates, see ``functional.poisson_nll_loss``.

    Parameters
    ----------
    log_input
        Whether the input holds logarithms of rates.
    full
        Whether to add Stirling's approximation of log(target!) where target > 1.
    eps
        Added to rates before their logarithm is taken, > 0.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    """

    _config = ("log_input", "full", "eps", "reduction")

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean") -> None:
        super().__init__()
        self.log_input = checks.boolean("log_input", log_input)
        self.full = checks.boolean("full", full)
        self.eps = checks.real("eps", eps, 0.0, open_minimum=True)
        self.reduction = checks.choice("reduction", reduction, REDUCTIONS)

    def forward(self, input: Any, target: Any, lengths: Any = None) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input, target
            Rates or their logarithms, and counts, of one shape; (B, T, ...) with ``lengths``.
        lengths
            Valid steps per row, integers (B,); None means all.

        Returns
        -------
        Tensor
            A scalar, or the input's shape with ``reduction="none"``.

        Raises
        ------
        ValueError
            If the shapes do not fit, or a length is not in 0..T.
        """
        return poisson_nll_loss(input, target, self.log_input, self.full, self.eps, self.reduction, lengths=lengths)


class KLDivLoss(Module):
    """How far distributions are from predicted ones, see ``functional.kl_div``.

    Parameters
    ----------
    reduction
        ``"mean"``, ``"batchmean"``, ``"sum"`` or ``"none"``.
    log_target
        Whether the target holds log probabilities.
    """

    _config = ("reduction", "log_target")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__()
        self.reduction = checks.choice("reduction", reduction, (*REDUCTIONS, "batchmean"))
        self.log_target = checks.boolean("log_target", log_target)

    def forward(self, input: Any, target: Any, lengths: Any = None) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input, target
            Log probabilities, and probabilities or their logarithms, of one shape; (B, T, ...) with ``lengths``.
        lengths
            Valid steps per row, integers (B,); None means all.

        Returns
        -------
        Tensor
            A scalar, or the input's shape with ``reduction="none"``.

        Raises
        ------
        ValueError
            If the shapes do not fit, or a length is not in 0..T.
        """
        return kl_div(input, target, self.reduction, self.log_target, lengths=lengths)


class QuantileLoss(Module):
    """The pinball loss of predicted quantiles, see ``functional.quantile_loss``.

    Parameters
    ----------
    quantiles
        Q numbers between 0 and 1 for inputs (..., Q); or one number for inputs of the target's shape.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    """

    _config = ("quantiles", "reduction")

    def __init__(self, quantiles: float | Sequence[float] = (0.1, 0.5, 0.9), reduction: str = "mean") -> None:
        super().__init__()
        self.quantiles = quantiles_of(quantiles)
        self.reduction = checks.choice("reduction", reduction, REDUCTIONS)

    def forward(self, input: Any, target: Any, lengths: Any = None) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input
            Predicted quantiles (..., Q); (B, T, Q) with ``lengths``.
        target
            The input's shape without its last axis, or with 1 there.
        lengths
            Valid steps per row, integers (B,); None means all.

        Returns
        -------
        Tensor
            A scalar, or the input's shape with ``reduction="none"``.

        Raises
        ------
        ValueError
            If the shapes do not fit, or a length is not in 0..T.
        """
        return quantile_loss(input, target, self.quantiles, self.reduction, lengths=lengths)
