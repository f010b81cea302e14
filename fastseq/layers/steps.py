"""Conv1D and pooling over steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastseq import checks, nn
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers import activations, initializers, regularizers
from fastseq.layers.basic import features_of
from fastseq.layers.flow import ValidSteps, as_mask
from fastseq.layers.layer import Layer
from fastseq.layers.weights import stored_as


class Conv1D(Layer):
    """Convolution over time by `nn.Conv1d`: (B, T, F) becomes (B, T', filters).

    Parameters
    ----------
    filters
        How many outputs per step.
    kernel_size
        How many taps.
    strides
        Steps from one output to the next.
    padding
        ``"valid"``, ``"same"`` or ``"causal"``.
    dilation_rate
        Steps from one tap to the next.
    groups
        Into how many groups features are split.
    activation
        A name, a function of a Tensor, or None.
    use_bias
        Whether there is a bias.
    kernel_initializer, bias_initializer
        What draws the first values.
    kernel_regularizer, bias_regularizer
        Penalties, or None.
    **options
        See `Layer`.
    """

    arguments = (
        "filters", "kernel_size", "strides", "padding", "dilation_rate", "groups", "activation", "use_bias",
        "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer",
    )  # fmt: skip

    fixes_features = True

    conv: nn.Conv1d

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        padding: str = "valid",
        *,
        dilation_rate: int = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters = checks.integer("filters", filters, 1)
        self.kernel_size = checks.single("kernel_size", kernel_size, 1)
        self.strides = checks.single("strides", strides, 1)
        self.padding = checks.choice("padding", padding, ("valid", "same", "causal"))
        self.dilation_rate = checks.single("dilation_rate", dilation_rate, 1)
        self.groups = checks.integer("groups", groups, 1)
        self.activation = activations.name_of("activation", activation)
        self.use_bias = checks.boolean("use_bias", use_bias)
        self.kernel_initializer = initializers.get("kernel_initializer", kernel_initializer)
        self.bias_initializer = initializers.get("bias_initializer", bias_initializer)
        self.kernel_regularizer = regularizers.get("kernel_regularizer", kernel_regularizer)
        self.bias_regularizer = regularizers.get("bias_regularizer", bias_regularizer)

    def build(self, input_shape: Any) -> None:
        """Make the convolution, see `Layer.build`."""
        conv = self.conv = nn.Conv1d(
            features_of(self, input_shape), self.filters, self.kernel_size, self.strides, 0, self.dilation_rate,
            self.groups, self.use_bias, causal=self.padding == "causal", dtype=self.dtype,
        )  # fmt: skip
        self.weights_built = [
            stored_as("kernel", conv.weight, self.kernel_initializer, self.kernel_regularizer, axes=(2, 1, 0))
        ]
        if conv.bias is not None:
            self.weights_built.append(stored_as("bias", conv.bias, self.bias_initializer, self.bias_regularizer))

    def _zeros(self, steps: int) -> int:
        """Return how many zeros ``"same"`` adds: as many as give ceil(T / strides) outputs."""
        return max(0, (-(-steps // self.strides) - 1) * self.strides + self.conv.reach + 1 - steps)

    def call(self, inputs: Any) -> Tensor:
        """Return (B, T', filters)."""
        if self.padding == "same" and (missing := self._zeros(inputs.shape[1])):
            rows, _, features = inputs.shape
            before = np.zeros((rows, missing // 2, features), self.dtype)
            behind = np.zeros((rows, missing - missing // 2, features), self.dtype)
            inputs = ops.concatenate([before, inputs, behind], 1)
        return activations.apply(self.activation, self.conv(inputs))

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        rows, steps, _ = shapes[0]
        if steps is not None:
            reach = self.dilation_rate * (self.kernel_size - 1) if self.padding == "valid" else 0
            if steps <= reach:
                raise checks.value_error(f"{self.name}: input shape", f"at least {reach + 1} steps", f"{shapes[0]}")
            steps = -(-(steps - reach) // self.strides)
        return (rows, steps, self.filters)


class GlobalAveragePooling1D(Layer):
    """Return the mean over the steps that count, by `nn.MeanPool`: (B, T, F) becomes (B, F).

    Parameters
    ----------
    keepdims
        Whether an axis of one step stays.
    **options
        See `Layer`.

    Notes
    -----
    A row without a step that counts gives zeros; Keras divides 0 by 0.
    """

    arguments = ("keepdims",)
    supports_masking = True
    _module: type[nn.Module] = nn.MeanPool

    pool: nn.Module

    def __init__(self, *, keepdims: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.keepdims = checks.boolean("keepdims", keepdims)

    def build(self, input_shape: Any) -> None:
        """Make the module, see `Layer.build`."""
        self.pool = type(self)._module()

    def call(self, inputs: Any, mask: Any = None) -> Tensor:
        """Return (B, F), or (B, 1, F) with ``keepdims``."""
        steps = ValidSteps.of(as_mask("mask", mask, *inputs.shape[:2]))
        found = self.pool(inputs) if steps is None else self.pool(steps.closed_up(inputs), lengths=steps.lengths)
        return ops.unsqueeze(found, 1) if self.keepdims else found

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None: there are no steps any more."""

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        rows, _, features = shapes[0]
        return (rows, 1, features) if self.keepdims else (rows, features)


class GlobalMaxPooling1D(GlobalAveragePooling1D):
    """Return the largest value of each feature over the steps that count, by `nn.MaxPool`.

    Parameters
    ----------
    keepdims
        Whether an axis of one step stays.
    **options
        See `Layer`.
    """

    _module = nn.MaxPool

    def __init__(self, *, keepdims: bool = False, **options: Any) -> None:
        super().__init__(keepdims=keepdims, **options)
