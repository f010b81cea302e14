"""MaxPooling1D and AveragePooling1D: pooling over windows of steps."""

from __future__ import annotations

from typing import Any

from fastseq import checks, nn
from fastseq.autograd.tensor import Tensor
from fastseq.layers.layer import Layer
from fastseq.nn.window_pooling import WindowPool


class MaxPooling1D(Layer):
    """Return the largest value of each feature in windows of steps (`nn.MaxPool1d`): (B, T, F) becomes (B, T', F).

    Parameters
    ----------
    pool_size
        Steps of a window.
    strides
        Steps from one window to the next; ``pool_size`` if None.
    padding
        ``"valid"``, or ``"same"`` for ceil(T / strides) outputs.
    **options
        See `Layer`.
    """

    arguments = ("pool_size", "strides", "padding")

    pool: WindowPool

    def __init__(self, pool_size: int = 2, strides: Any = None, padding: str = "valid", **options: Any) -> None:
        super().__init__(**options)
        self.pool_size = checks.single("pool_size", pool_size, 1)
        self.strides = self.pool_size if strides is None else checks.single("strides", strides, 1)
        self.padding = checks.choice("padding", padding.lower() if isinstance(padding, str) else padding,
                                     ("valid", "same"))  # fmt: skip
        self.pool = self._module(0 if self.padding == "valid" else "same")

    def _module(self, padding: Any) -> WindowPool:
        return nn.MaxPool1d(self.pool_size, self.strides, padding)

    def call(self, inputs: Any) -> Tensor:
        """Return (B, T', F)."""
        if inputs.ndim != 3:
            raise checks.value_error(f"{self.name}: input", "shape (rows, steps, features)", inputs._data)
        found: Tensor = self.pool(inputs)
        return found

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        if len(shapes[0]) != 3:
            raise checks.value_error(f"{self.name}: input shape", "(rows, steps, features)", f"{shapes[0]}")
        rows, steps, features = shapes[0]
        if steps is not None:
            least = 1 if self.padding == "same" else self.pool_size
            if steps < least:
                raise checks.value_error(f"{self.name}: input shape", f"at least {least} steps", f"{shapes[0]}")
            steps = int(self.pool.output_lengths(steps))
        return (rows, steps, features)


class AveragePooling1D(MaxPooling1D):
    """Return the mean of each feature in windows of steps (`nn.AvgPool1d`): (B, T, F) becomes (B, T', F).

    Parameters
    ----------
    pool_size
        Steps of a window.
    strides
        Steps from one window to the next; ``pool_size`` if None.
    padding
        ``"valid"``, or ``"same"`` for ceil(T / strides) outputs; what is added then does not count.
    **options
        See `Layer`.
    """

    def _module(self, padding: Any) -> WindowPool:
        return nn.AvgPool1d(self.pool_size, self.strides, padding, count_include_pad=False)
