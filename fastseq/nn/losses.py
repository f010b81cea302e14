"""Losses as modules, with PyTorch's names and arguments, and ``lengths`` for rows of unequal length."""

from __future__ import annotations

from typing import Any, ClassVar

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.nn import functional
from fastseq.nn.functional_reduction import REDUCTIONS
from fastseq.nn.module import Module


class _Loss(Module):
    _config: ClassVar[tuple[str, ...]] = ("reduction",)

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = checks.choice("reduction", reduction, REDUCTIONS)


class MSELoss(_Loss):
    """The squared differences, see ``functional.mse_loss``.

    Parameters
    ----------
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any, lengths: Any = None) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input, target
            Predictions and what they should be, of one shape; (B, T, ...) with ``lengths``.
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
        return functional.mse_loss(input, target, self.reduction, lengths=lengths)


class L1Loss(_Loss):
    """The absolute differences, see ``functional.l1_loss``.

    Parameters
    ----------
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any, lengths: Any = None) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input, target
            Predictions and what they should be, of one shape; (B, T, ...) with ``lengths``.
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
        return functional.l1_loss(input, target, self.reduction, lengths=lengths)


class HuberLoss(_Loss):
    """Squares of small differences, absolute values of large ones, see ``functional.huber_loss``.

    Parameters
    ----------
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    delta
        Where the square ends, > 0.
    """

    _config = ("reduction", "delta")

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = checks.real("delta", delta, 0.0, open_minimum=True)

    def forward(self, input: Any, target: Any, lengths: Any = None) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input, target
            Predictions and what they should be, of one shape; (B, T, ...) with ``lengths``.
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
        return functional.huber_loss(input, target, self.reduction, self.delta, lengths=lengths)


class SmoothL1Loss(_Loss):
    """The Huber loss divided by its bend, see ``functional.smooth_l1_loss``.

    Parameters
    ----------
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    beta
        Where the square ends, >= 0.
    """

    _config = ("reduction", "beta")

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = checks.real("beta", beta, 0.0)

    def forward(self, input: Any, target: Any, lengths: Any = None) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input, target
            Predictions and what they should be, of one shape; (B, T, ...) with ``lengths``.
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
        return functional.smooth_l1_loss(input, target, self.reduction, self.beta, lengths=lengths)


class _WeightedLoss(_Loss):
    """A loss whose optional factors are buffers, and travel in ``config`` as lists."""

    _factors: ClassVar[tuple[str, ...]] = ("weight",)

    def _register(self, **factors: Any) -> None:
        for name, value in factors.items():
            self.register_buffer(name, None if value is None else Tensor(value))

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain JSON values."""
        return {
            name: None if value is None else value.tolist() if name in self._factors else value
            for name, value in ((name, getattr(self, name)) for name in self._config)
        }


class CrossEntropyLoss(_WeightedLoss):
    """Minus the log of softmax at the target class, see ``functional.cross_entropy``.

    Parameters
    ----------
    weight
        A factor per class (C,).
    ignore_index
        Predictions with this target do not count.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    label_smoothing
        How much of the target is spread evenly over all classes, in 0..1.
    axis
        Where the classes are. None for axis 1, PyTorch's, or the last with ``lengths``.
    """

    _config = ("weight", "ignore_index", "reduction", "label_smoothing", "axis")

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        axis: int | None = None,
    ) -> None:
        super().__init__(reduction)
        self._register(weight=weight)
        self.ignore_index = checks.integer("ignore_index", ignore_index)
        self.label_smoothing = checks.real("label_smoothing", label_smoothing, 0.0, 1.0)
        self.axis = None if axis is None else checks.integer("axis", axis)

    def forward(self, input: Any, target: Any, lengths: Any = None) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input
            Logits (B, C), (B, C, T, ...), or with ``axis`` or ``lengths`` (B, T, C).
        target
            Integer classes, the input's shape without the axis of classes; or probabilities of the input's shape.
        lengths
            Valid steps per row, integers (B,); None means all.

        Returns
        -------
        Tensor
            A scalar, or the target's shape with ``reduction="none"``.

        Raises
        ------
        TypeError
            If the target is neither integer nor probabilities.
        ValueError
            If the shapes do not fit, or a class that counts does not exist.
        """
        return functional.cross_entropy(
            input,
            target,
            self.weight,
            self.ignore_index,
            self.reduction,
            self.label_smoothing,
            axis=self.axis,
            lengths=lengths,
        )


class NLLLoss(_WeightedLoss):
    """Minus the log probability at the target class, see ``functional.nll_loss``.

    Parameters
    ----------
    weight
        A factor per class (C,).
    ignore_index
        Predictions with this target do not count.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    axis
        Where the classes are. None for axis 1, PyTorch's, or the last with ``lengths``.
    """

    _config = ("weight", "ignore_index", "reduction", "axis")

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", *, axis: int | None = None
    ) -> None:
        super().__init__(reduction)
        self._register(weight=weight)
        self.ignore_index = checks.integer("ignore_index", ignore_index)
        self.axis = None if axis is None else checks.integer("axis", axis)

    def forward(self, input: Any, target: Any, lengths: Any = None) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input
            Log probabilities (B, C), (B, C, T, ...), or with ``axis`` or ``lengths`` (B, T, C).
        target
            Integer classes, the input's shape without the axis of classes.
        lengths
            Valid steps per row, integers (B,); None means all.

        Returns
        -------
        Tensor
            A scalar, or the target's shape with ``reduction="none"``.

        Raises
        ------
        TypeError
            If the target is not of integers.
        ValueError
            If the shapes do not fit, or a class that counts does not exist.
        """
        return functional.nll_loss(
            input, target, self.weight, self.ignore_index, self.reduction, axis=self.axis, lengths=lengths
        )


class BCELoss(_WeightedLoss):
    """Binary cross entropy of probabilities, see ``functional.binary_cross_entropy``.

    Parameters
    ----------
    weight
        A factor per element, broadcast.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    """

    _config = ("weight", "reduction")

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._register(weight=weight)

    def forward(self, input: Any, target: Any, lengths: Any = None) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input, target
            Probabilities, predicted and true, of one shape; (B, T, ...) with ``lengths``.
        lengths
            Valid steps per row, integers (B,); None means all.

        Returns
        -------
        Tensor
            A scalar, or the input's shape with ``reduction="none"``.

        Raises
        ------
        ValueError
            If the shapes do not fit, or an input that counts is not in 0..1.
        """
        return functional.binary_cross_entropy(input, target, self.weight, self.reduction, lengths=lengths)


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross entropy from logits, see ``functional.binary_cross_entropy_with_logits``.

    Parameters
    ----------
    weight
        A factor per element, broadcast.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    pos_weight
        A factor on the positive term, broadcast.
    """

    _config = ("weight", "reduction", "pos_weight")
    _factors = ("weight", "pos_weight")

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self._register(weight=weight, pos_weight=pos_weight)

    def forward(self, input: Any, target: Any, lengths: Any = None) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input
            Logits, any shape; (B, T, ...) with ``lengths``.
        target
            Probabilities of the positive class, the same shape.
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
        return functional.binary_cross_entropy_with_logits(
            input, target, self.weight, self.reduction, self.pos_weight, lengths=lengths
        )
