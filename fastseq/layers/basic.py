"""Dense, Activation, Dropout, SpatialDropout1D, LayerNormalization, Embedding and Masking."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastseq import checks, nn
from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor
from fastseq.layers import activations, initializers, regularizers
from fastseq.layers.flow import Mask
from fastseq.layers.layer import Layer
from fastseq.layers.same_shape import SameShape
from fastseq.layers.weights import gamma_and_beta, stored_as


def features_of(layer: Layer, shape: Any) -> int:
    """Return the size of a shape's last axis, or raise ValueError if it is not known.

    Parameters
    ----------
    layer
        Who asks.
    shape
        Rows first.
    """
    if not shape or len(shape) < 2 or shape[-1] is None:
        raise checks.value_error(f"{layer.name}: input shape", "a known last axis (rows, ..., features)", f"{shape}")
    return int(shape[-1])


def seeded(layer: Layer, seed: Any) -> int | None:
    """Give a layer random numbers of its own if it was given a seed; return the seed.

    Parameters
    ----------
    layer
        The layer.
    seed
        An integer, or None for the package's random numbers.
    """
    if seed is None:
        return None
    layer.noise = np.random.default_rng(checks.integer("seed", seed, 0))
    return int(seed)


class Dense(Layer):
    """``activation(inputs @ kernel + bias)`` over the last axis, by `nn.Linear`.

    Parameters
    ----------
    units
        How many outputs.
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
        "units", "activation", "use_bias", "kernel_initializer", "bias_initializer", "kernel_regularizer",
        "bias_regularizer",
    )  # fmt: skip
    supports_masking = True
    fixes_features = True

    linear: nn.Linear

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.units = checks.integer("units", units, 1)
        self.activation = activations.name_of("activation", activation)
        self.use_bias = checks.boolean("use_bias", use_bias)
        self.kernel_initializer = initializers.get("kernel_initializer", kernel_initializer)
        self.bias_initializer = initializers.get("bias_initializer", bias_initializer)
        self.kernel_regularizer = regularizers.get("kernel_regularizer", kernel_regularizer)
        self.bias_regularizer = regularizers.get("bias_regularizer", bias_regularizer)

    def build(self, input_shape: Any) -> None:
        """Make the linear layer, see `Layer.build`."""
        linear = self.linear = nn.Linear(features_of(self, input_shape), self.units, self.use_bias, dtype=self.dtype)
        self.weights_built = [
            stored_as("kernel", linear.weight, self.kernel_initializer, self.kernel_regularizer, axes=(1, 0))
        ]
        if linear.bias is not None:
            self.weights_built.append(stored_as("bias", linear.bias, self.bias_initializer, self.bias_regularizer))

    def call(self, inputs: Any) -> Tensor:
        """Return the weighted sums after the activation, (..., units)."""
        return activations.apply(self.activation, self.linear(inputs))

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        return (*shapes[0][:-1], self.units)


class Activation(SameShape):
    """An activation function as a layer.

    Parameters
    ----------
    activation
        A name, or a function of a Tensor.
    **options
        See `Layer`.
    """

    arguments = ("activation",)

    def __init__(self, activation: Any, **options: Any) -> None:
        super().__init__(**options)
        self.activation = activations.name_of("activation", activation)

    def call(self, inputs: Any) -> Tensor:
        """Return the function of the inputs."""
        return activations.apply(self.activation, inputs)


class Dropout(SameShape):
    """In training, set each element to 0 with probability ``rate`` and divide the others by 1 - rate.

    Parameters
    ----------
    rate
        The probability.
    noise_shape
        Sizes of the choice, 1 where one holds for the whole axis, as in ``(None, 1, features)``; None for the input's.
    seed
        Gives the layer random numbers of its own; None draws from the package's generator.
    **options
        See `Layer`.
    """

    arguments: ClassVar[tuple[str, ...]] = ("rate", "noise_shape", "seed")
    _module: type[nn.Module] = nn.Dropout

    noisy: nn.Module

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.rate = checks.real("rate", rate, 0.0, 1.0)
        if noise_shape is not None:
            noise_shape = tuple(None if n is None else checks.integer("noise_shape", n, 1) for n in noise_shape)
        self.noise_shape = noise_shape
        self.seed = seeded(self, seed)

    def build(self, input_shape: Any) -> None:
        """Make the module, see `Layer.build`."""
        self.noisy = type(self)._module.from_config({"p": self.rate})

    def call(self, inputs: Any) -> Tensor:
        """Return the inputs, with noise in training."""
        if self.noise_shape is None or not self.training or not self.rate:
            return self.noisy(inputs)
        if len(self.noise_shape) != inputs.ndim:
            raise checks.value_error("noise_shape", f"{inputs.ndim} sizes, as of the input", f"{self.noise_shape}")
        sizes = [m if n is None else n for n, m in zip(self.noise_shape, inputs.shape, strict=True)]
        kept = nn.functional.dropout(np.ones(sizes, self.dtype), self.rate, True)
        return inputs * kept


class SpatialDropout1D(Dropout):
    """In training, drop whole features of a row over all its steps (`nn.VariationalDropout`).

    Parameters
    ----------
    rate
        The probability.
    seed
        Gives the layer random numbers of its own; None draws from the package's generator.
    **options
        See `Layer`.
    """

    arguments = ("rate", "seed")
    _module = nn.VariationalDropout

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(rate, seed=seed, **options)


class LayerNormalization(SameShape):
    """Bring the last axes to mean 0 and variance 1, then scale by gamma and add beta (`nn.LayerNorm`).

    Parameters
    ----------
    axis
        The last axis, or several that end with it.
    epsilon
        Added to the variance.
    center, scale
        Whether there are beta and gamma.
    beta_initializer, gamma_initializer
        What draws the first values.
    beta_regularizer, gamma_regularizer
        Penalties, or None.
    **options
        See `Layer`.
    """

    arguments = (
        "axis", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer", "beta_regularizer",
        "gamma_regularizer",
    )  # fmt: skip

    norm: nn.LayerNorm

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.axis = [checks.integer("axis", k) for k in (axis if isinstance(axis, (list, tuple)) else [axis])]
        self.epsilon = checks.real("epsilon", epsilon, 0.0)
        self.center = checks.boolean("center", center)
        self.scale = checks.boolean("scale", scale)
        self.beta_initializer = initializers.get("beta_initializer", beta_initializer)
        self.gamma_initializer = initializers.get("gamma_initializer", gamma_initializer)
        self.beta_regularizer = regularizers.get("beta_regularizer", beta_regularizer)
        self.gamma_regularizer = regularizers.get("gamma_regularizer", gamma_regularizer)

    def build(self, input_shape: Any) -> None:
        """Make the module, see `Layer.build`."""
        rank = len(input_shape)
        chosen = sorted(k % rank if -rank <= k < rank else rank for k in self.axis)
        if not chosen or chosen != list(range(chosen[0], rank)) or chosen[0] == 0:
            raise checks.value_error(f"{self.name}: axis", f"the last axis or axes of {rank}", f"{self.axis}")
        sizes = [input_shape[k] for k in chosen]
        if None in sizes:
            raise checks.value_error(f"{self.name}: input shape", "known sizes of the axes to normalise", f"{sizes}")
        affine = self.scale or self.center
        norm = self.norm = nn.LayerNorm(sizes, self.epsilon, affine, self.center, dtype=self.dtype)
        self.weights_built = gamma_and_beta(self, norm)

    def call(self, inputs: Any) -> Tensor:
        """Return the normalised inputs."""
        return self.norm(inputs)


class Embedding(Layer):
    """A vector for each of a number of symbols (`nn.Embedding`): integers (B, T) become (B, T, output_dim).

    Parameters
    ----------
    input_dim
        How many symbols; they are numbered from 0.
    output_dim
        The vectors' size.
    embeddings_initializer
        What draws the table: U(-0.05, 0.05) by default.
    embeddings_regularizer
        A penalty on the table, or None.
    mask_zero
        Whether symbol 0 stands for padding: layers that come next get a mask.
    weights
        A list with the table, to begin with.
    **options
        See `Layer`.
    """

    arguments = ("input_dim", "output_dim", "embeddings_initializer", "embeddings_regularizer", "mask_zero")
    takes_integers = True

    table: nn.Embedding

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        *,
        mask_zero: bool = False,
        weights: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.input_dim = checks.integer("input_dim", input_dim, 1)
        self.output_dim = checks.integer("output_dim", output_dim, 1)
        self.embeddings_initializer = initializers.get("embeddings_initializer", embeddings_initializer)
        self.embeddings_regularizer = regularizers.get("embeddings_regularizer", embeddings_regularizer)
        self.mask_zero = checks.boolean("mask_zero", mask_zero)
        self.supports_masking = self.mask_zero  # type: ignore[misc]
        if weights is not None:
            self.build_from((None,))
            self.set_weights(weights if isinstance(weights, (list, tuple)) else [weights])

    def build(self, input_shape: Any = None) -> None:
        """Make the table, see `Layer.build`."""
        self.table = nn.Embedding(self.input_dim, self.output_dim, dtype=self.dtype)
        self.weights_built = [
            stored_as("embeddings", self.table.weight, self.embeddings_initializer, self.embeddings_regularizer)
        ]

    def call(self, inputs: Any) -> Tensor:
        """Return the vectors (..., output_dim); numbers with a fraction are cut to integers, as in Keras."""
        data = array(inputs)
        return self.table(data if data.dtype.kind in "iu" else data.astype(np.int64))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Mask | None:
        """Return which symbols are not 0, if 0 is padding."""
        return array(inputs) != 0 if self.mask_zero else None

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        return (*shapes[0], self.output_dim)


class Masking(SameShape):
    """Steps whose features all equal a value do not count for the layers that come next.

    Parameters
    ----------
    mask_value
        The value.
    **options
        See `Layer`.
    """

    arguments = ("mask_value",)

    def __init__(self, mask_value: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.mask_value = checks.real("mask_value", mask_value)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Mask:
        """Return which steps count (B, T)."""
        data = array(inputs)
        return (data != data.dtype.type(self.mask_value)).any(axis=-1)

    def call(self, inputs: Any) -> Tensor:
        """Return the inputs, zeros at steps that do not count."""
        return ops.where(self.compute_mask(inputs)[..., None], inputs, array(inputs).dtype.type(0))
