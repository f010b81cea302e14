"""What scoring asks of a model: how many features it reads, in which dtype, and its predictions for a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import no_grad
from fastseq.nn import Embedding, LayerNorm, Module, Rescale, Standardize
from fastseq.scoring.errors import ScoringError

_SIZES = ("input_size", "in_features", "in_channels", "embed_dim", "d_model")
"""What layers call the number of features that they read."""


class Network:
    """A model as scoring sees it.

    Parameters
    ----------
    model
        A Module, or a function of (x, lengths) that returns what a Module would.

    Attributes
    ----------
    input_size
        How many features it reads, None where it does not say: a class or function of the user's.
    dtype
        What the features are converted to.
    takes_lengths
        Whether rows of unequal length may stand in one batch.
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        if not callable(model):
            raise checks.kind_error("model", "a model, or the path of one that fastseq.save wrote", model)
        if getattr(model, "built", True) is False:
            raise ScoringError("model: expected one with weights, found one that was saved before it was built")
        self._model = model
        self._modules = list(model.modules()) if isinstance(model, Module) else []
        shape = _input_shape(model)
        first = _first_layer(model)
        #: A model of token numbers takes integers (B, T).
        self._tokens = isinstance(first, Embedding) or (shape is not None and len(shape) == 2)
        self.input_size = 1 if self._tokens else shape[-1] if shape is not None else _size(first)
        self.dtype = np.dtype(np.float64) if self._tokens else _dtype(model)
        # Models of Keras's face may have layers that drop masks: they get rows of one length, without padding.
        self.takes_lengths = not isinstance(model, Module) or (shape is None and model.uses_lengths)

    def predict(self, x: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[Any]:
        """Return the predictions for some series.

        Parameters
        ----------
        x
            Features (B, T, F), zeros past the end of a series.
        lengths
            Steps of each series (B,); all T if the model does not take them.

        Returns
        -------
        ndarray
            (B, C)

        Raises
        ------
        ScoringError
            If the model returns something else.
        ValueError
            If the model refuses the series.
        """
        if self._tokens:
            if (x != np.floor(x)).any():
                raise ValueError("expected whole numbers of tokens, got fractions")
            x = x[:, :, 0].astype(np.int64)
        with self._evaluating():
            found = self._model(x, lengths=lengths) if self.takes_lengths else self._model(x)
        found = found[0] if isinstance(found, tuple) else found  # a recurrent layer's states stand behind its output
        found = np.asarray(found.numpy() if hasattr(found, "numpy") else found)
        if found.ndim == 3 and found.shape[:2] == x.shape[:2]:
            found = found[np.arange(len(x)), lengths - 1]
        if found.ndim == 1 and len(found) == len(x):
            found = found[:, None]
        if found.ndim != 2 or len(found) != len(x) or not found.shape[1] or found.dtype.kind not in "fiub":
            raise ScoringError(
                f"model: expected predictions of shape ({len(x)}, C) or ({len(x)}, {x.shape[1]}, C), "
                f"found {found.shape} of {found.dtype}"
            )
        return found

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Switch the model to evaluation without gradients, and every module of it back to its mode afterwards."""
        modes = [module.training for module in self._modules]
        if self._modules:
            self._modules[0].eval()
        try:
            with no_grad():
                yield
        finally:
            for module, mode in zip(self._modules, modes, strict=True):
                module.training = mode


def _input_shape(model: Any) -> tuple[int | None, ...] | None:
    """Return the shape, rows first, that a model of Keras's face is built for."""
    shape = getattr(model, "input_shape", None)
    if not shape or not isinstance(model, Module):  # a class of the user's has none
        return None
    if not isinstance(shape, tuple) or len(shape) not in (2, 3):
        raise ScoringError(f"model: expected one input of shape (rows, steps, features), found {shape}")
    return shape


def _first_layer(model: Any) -> Module | None:
    """Return the layer that reads the features; None where only the model knows, a class of the user's."""
    if not isinstance(model, Module) or not type(model).__module__.startswith("fastseq."):
        return None
    if isinstance(model, Embedding) or _size(model) is not None:
        return model
    for child in model.children():
        found = _first_layer(child)
        if found is not None:
            return found
    return None


def _size(layer: Module | None) -> int | None:
    """Return how many features a layer says that it reads."""
    if isinstance(layer, (Standardize, Rescale)) and layer.features > 1:
        return layer.features
    if isinstance(layer, LayerNorm) and len(layer.normalized_shape) == 1:
        return layer.normalized_shape[0]
    sizes = (getattr(layer, name, None) for name in _SIZES)
    return next((size for size in sizes if isinstance(size, int)), None)


def _dtype(model: Any) -> np.dtype:
    """Return the dtype of a model's first parameter, float32 where it has none."""
    parameters = model.parameters() if hasattr(model, "parameters") else ()
    return next((np.dtype(parameter.dtype) for parameter in parameters), np.dtype(np.float32))
