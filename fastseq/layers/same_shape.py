"""The base of layers whose output has the shape of their input, and whose steps count where those of the input do."""

from __future__ import annotations

from typing import Any

from fastseq.layers.layer import Layer


class SameShape(Layer):
    """A layer that changes numbers and neither shapes nor masks."""

    supports_masking = True

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        return shapes[0]
