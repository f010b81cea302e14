"""Input: where a model begins."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastseq import checks
from fastseq.layers import symbolic
from fastseq.layers.layer import Layer


class InputLayer(Layer):
    """The place of a model's input; hands it on.

    Parameters
    ----------
    shape
        Sizes without rows; None for what is known only when there are data.
    batch_size
        How many rows there always are, or None.
    dtype
        The name of the element type, ``"int32"`` or ``"int64"`` for symbols.
    batch_shape
        ``batch_size`` and ``shape`` in one.
    **options
        See `Layer`.
    """

    supports_masking = True
    takes_integers = True

    def __init__(
        self, shape: Any = None, batch_size: int | None = None, dtype: Any = None, *, batch_shape: Any = None,
        **options: Any,
    ) -> None:  # fmt: skip
        if batch_shape is not None:
            if shape is not None or batch_size is not None:
                raise checks.value_error("batch_shape", "None beside shape or batch_size", f"{batch_shape}")
            batch_size, *shape = batch_shape
        if shape is None:
            shape = options.pop("input_shape", None)  # as Keras 2 called it
        self.element = np.dtype("float32" if dtype is None else dtype).name
        super().__init__(dtype=self.element if self.element == "float64" else None, **options)
        sizes = (shape,) if isinstance(shape, int) else shape
        if not isinstance(sizes, (tuple, list)):
            raise checks.kind_error("shape", "sizes without rows, such as (steps, features)", shape)
        whole = (batch_size, *sizes)
        self.batch_shape = tuple(None if n is None else checks.integer("shape", n, 1) for n in whole)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return the inputs."""
        return inputs

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        return self.batch_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, see `Layer.get_config`."""
        rows, *sizes = self.batch_shape
        return {**super().get_config(), "dtype": self.element, "shape": sizes, "batch_size": rows}


def Input(
    shape: Any = None, batch_size: int | None = None, dtype: Any = None, name: str | None = None,
    batch_shape: Any = None, **options: Any,
) -> symbolic.KerasTensor:  # fmt: skip
    """Return the symbolic tensor that a model begins with.

    Parameters
    ----------
    shape
        Sizes without rows: ``(steps, features)``, ``(None, features)`` for any number of steps.
    batch_size
        How many rows there always are, or None.
    dtype
        The name of the element type; float32 if None.
    name
        The input's name.
    batch_shape
        ``batch_size`` and ``shape`` in one.
    **options
        Refused, but for Keras's defaults.

    Returns
    -------
    KerasTensor
    """
    layer = InputLayer(shape, batch_size, dtype, batch_shape=batch_shape, name=name, **options)
    node = symbolic.Node(layer, (), {})
    found = symbolic.KerasTensor(layer.batch_shape, layer.element, node, 0)
    node.outputs = [found]
    layer.nodes.append(node)
    return found
