"""MultiHeadAttention: Keras's, with heads of any size, over `nn.functional.scaled_dot_product_attention`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastseq import checks, nn
from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor
from fastseq.layers import initializers, regularizers
from fastseq.layers.basic import features_of, seeded
from fastseq.layers.flow import Mask, as_mask, mask_of
from fastseq.layers.layer import Layer
from fastseq.layers.weights import Weight, stored_as


class MultiHeadAttention(Layer):
    """Attention with several heads: ``layer(query, value, key=None)``, arrays (B, T, F), (B, S, F'), (B, S, F'').

    Parameters
    ----------
    num_heads
        How many heads.
    key_dim, value_dim
        Size of each head's queries and keys, and of its values (``key_dim`` if None).
    dropout
        Probability of dropping an attention weight, in training.
    use_bias
        Whether the projections have biases.
    output_shape
        How many outputs per step; None for as many as the query has features.
    kernel_initializer, bias_initializer
        What draws the first values.
    kernel_regularizer, bias_regularizer
        Penalties, or None.
    seed
        Gives the layer random numbers of its own; None draws from the package's generator.
    **options
        See `Layer`.

    Notes
    -----
    A query that sees no key gives the output's bias; in Keras it sees all keys alike.
    """

    arguments = (
        "num_heads", "key_dim", "value_dim", "dropout", "use_bias", "outputs", "kernel_initializer",
        "bias_initializer", "kernel_regularizer", "bias_regularizer", "seed",
    )  # fmt: skip
    supports_masking = True

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attention_output: nn.Linear

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        *,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_heads = checks.integer("num_heads", num_heads, 1)
        self.key_dim = checks.integer("key_dim", key_dim, 1)
        self.value_dim = self.key_dim if value_dim is None else checks.integer("value_dim", value_dim, 1)
        self.dropout = checks.real("dropout", dropout, 0.0, 1.0)
        self.use_bias = checks.boolean("use_bias", use_bias)
        self.outputs = None if output_shape is None else _size(output_shape)
        self.kernel_initializer = initializers.get("kernel_initializer", kernel_initializer)
        self.bias_initializer = initializers.get("bias_initializer", bias_initializer)
        self.kernel_regularizer = regularizers.get("kernel_regularizer", kernel_regularizer)
        self.bias_regularizer = regularizers.get("bias_regularizer", bias_regularizer)
        self.seed = seeded(self, seed)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, see `Layer.get_config`."""
        found = super().get_config()
        found["output_shape"] = found.pop("outputs")
        return found

    def shape_arguments(self, options: dict[str, Any]) -> list[str]:
        """Return the names of further inputs, see `Layer.shape_arguments`."""
        return [name for name in ("value", "key") if options.get(name) is not None]

    def outputs_for(self, shapes: Any, options: dict[str, Any]) -> Any:
        """Return the output's shape, and that of the weights if they are wanted, see `Layer.outputs_for`."""
        found = self.compute_output_shape(*shapes)
        if not options.get("return_attention_scores"):
            return found
        return [found, (shapes[0][0], self.num_heads, shapes[0][1], shapes[1][1])]

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:  # type: ignore[override]
        """Make the four projections.

        Parameters
        ----------
        query_shape, value_shape, key_shape
            Shapes of the inputs; the key is the value if None.
        """
        heads, width = self.num_heads, features_of(self, query_shape)
        keys = features_of(self, value_shape if key_shape is None else key_shape)
        outputs = width if self.outputs is None else self.outputs
        self.weights_built = []
        for name, inputs, size in (
            ("query", width, self.key_dim),
            ("key", keys, self.key_dim),
            ("value", features_of(self, value_shape), self.value_dim),
        ):
            linear = nn.Linear(inputs, heads * size, self.use_bias, dtype=self.dtype)
            setattr(self, name, linear)
            self._add(name, linear, (inputs, heads, size), (heads, size))
        last = self.attention_output = nn.Linear(heads * self.value_dim, outputs, self.use_bias, dtype=self.dtype)
        self._add("attention_output", last, (heads, self.value_dim, outputs), (outputs,))

    def _add(self, name: str, linear: nn.Linear, kernel: tuple[int, ...], bias: tuple[int, ...]) -> None:
        found: list[Weight] = [
            stored_as(
                f"{name}/kernel", linear.weight, self.kernel_initializer, self.kernel_regularizer, axes=(1, 0),
                shape=kernel,
            )
        ]  # fmt: skip
        if linear.bias is not None:
            found.append(
                stored_as(f"{name}/bias", linear.bias, self.bias_initializer, self.bias_regularizer, shape=bias)
            )
        self.weights_built += found

    def _heads(self, x: Any, size: int) -> Tensor:
        """Return (B, T, heads * size) as (B, heads, T, size)."""
        rows, steps = x.shape[:2]
        return ops.permute(ops.reshape(x, (rows, steps, self.num_heads, size)), (0, 2, 1, 3))

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Return the attention's output (B, T, outputs), and the weights (B, heads, T, S) if wanted.

        Parameters
        ----------
        query, value, key
            The inputs; the key is the value if None.
        query_mask, value_mask, key_mask
            Which steps count; by default what the inputs bring with them.
        attention_mask
            Which query sees which key, bools (T, S), (B, T, S) or (B, heads, T, S).
        return_attention_scores
            Whether the weights are wanted.
        use_causal_mask
            Whether a query sees keys up to its own step only.
        """
        key = value if key is None else key
        for name, x in (("query", query), ("value", value), ("key", key)):
            if x.ndim != 3:
                raise checks.value_error(name, "shape (rows, steps, features)", x._data)
        q = self._heads(self.query(query), self.key_dim)
        k = self._heads(self.key(key), self.key_dim)
        v = self._heads(self.value(value), self.value_dim)
        masks = [
            mask_of(x) if given is None else given
            for x, given in ((query, query_mask), (value, value_mask), (key, key_mask))
        ]
        mask = self._mask(query, key, masks[0], masks[1:], attention_mask)
        causal = checks.boolean("use_causal_mask", use_causal_mask)
        noise = self.dropout if self.training else 0.0
        found = nn.functional.scaled_dot_product_attention(q, k, v, mask, noise, is_causal=causal)
        out = ops.reshape(ops.permute(found, (0, 2, 1, 3)), (*query.shape[:2], self.num_heads * self.value_dim))
        out = self.attention_output(out)
        return [out, self._scores(q, k, mask, causal)] if return_attention_scores else out

    def _mask(self, query: Any, key: Any, of_query: Any, of_keys: list[Any], given: Any) -> Any:
        """Return which query sees which key, bools (B, 1 or heads, T, S), or None for all."""
        rows, steps, sources = query.shape[0], query.shape[1], key.shape[1]
        found = None
        if given is not None:
            found = array(given).astype(bool)
            if found.ndim == 3:
                found = found[:, None]
            if found.ndim not in (2, 4):
                raise checks.value_error("attention_mask", f"shape ({rows}, {steps}, {sources})", array(given))
        for name, mask, size in (("query_mask", of_query, steps), *(("value_mask", one, sources) for one in of_keys)):
            part = as_mask(name, mask, rows, size)
            if part is not None:
                wide = part[:, None, :, None] if name == "query_mask" else part[:, None, None, :]
                found = wide if found is None else found & wide
        return found

    def _scores(self, q: Tensor, k: Tensor, mask: Any, causal: bool) -> Tensor:
        products = ops.matmul(q, ops.swapaxes(k, 2, 3)) * (1.0 / math.sqrt(self.key_dim))
        if causal:
            below = np.tri(q.shape[2], k.shape[2], dtype=bool)
            mask = below if mask is None else mask & below
        return ops.softmax(products if mask is None else ops.where(mask, products, q.dtype.type(-1e9)), -1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Mask | None:
        """Return the query's mask."""
        return mask_of(inputs)

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        return (*shapes[0][:-1], shapes[0][-1] if self.outputs is None else self.outputs)


def _size(value: Any) -> int:
    """Return an output's size that may come in a tuple of one."""
    single = isinstance(value, (tuple, list)) and len(value) == 1
    return checks.integer("output_shape", value[0] if single else value, 1)
