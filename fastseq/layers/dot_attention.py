"""Dot, Attention and AdditiveAttention: products of sequences with sequences, without projections."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from fastseq import checks, nn
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers.basic import features_of, seeded
from fastseq.layers.flow import Mask, as_mask
from fastseq.layers.layer import Layer
from fastseq.layers.merging import Merge

#: Keras's least length to divide by.
_EPSILON = 1e-7


class Dot(Merge):
    """Return the products of two inputs, summed along one axis of each.

    Parameters
    ----------
    axes
        The axis of both, or one for each; not that of the rows.
    normalize
        Whether vectors along those axes are brought to length 1 before.
    **options
        See `Layer`.
    """

    arguments = ("axes", "normalize")

    def __init__(self, axes: Any, normalize: bool = False, **options: Any) -> None:
        super().__init__(**options)
        pair = isinstance(axes, (tuple, list))
        if pair and len(axes) != 2:
            raise checks.value_error("axes", "an integer or two", f"{axes}")
        self.axes: Any = [checks.integer("axes", k) for k in axes] if pair else checks.integer("axes", axes)
        self.normalize = checks.boolean("normalize", normalize)

    def _places(self, shapes: Any) -> list[int]:
        """Return the axis of each input, counted from 0."""
        if len(shapes) != 2:
            raise checks.value_error(f"{self.name}: inputs", "a list of two tensors", f"{len(shapes)}")
        axes = self.axes if isinstance(self.axes, list) else [self.axes] * 2
        found = []
        for k, shape in zip(axes, shapes, strict=True):
            if not -len(shape) < k < len(shape) or k == 0:
                raise checks.value_error("axes", f"axes of {shapes[0]} and {shapes[1]} behind the rows", f"{self.axes}")
            found.append(k % len(shape))
        sizes = [shape[k] for shape, k in zip(shapes, found, strict=True)]
        if None not in sizes and sizes[0] != sizes[1]:
            raise checks.value_error(
                f"{self.name}: inputs", "axes of one size to sum along", f"{sizes[0]} and {sizes[1]}"
            )
        return found

    def build(self, input_shape: Any) -> None:
        """Check that there are two inputs that fit, see `Layer.build`."""
        super().build(input_shape)
        self._places(input_shape)

    def call(self, inputs: Any) -> Tensor:
        """Return the sums of products: the axes of the first input that are left, then those of the second."""
        one, two = inputs
        first, second = self._places([one.shape, two.shape])
        if self.normalize:
            one, two = (nn.functional.normalize(x, dim=k, eps=_EPSILON) for x, k in ((one, first), (two, second)))
        ahead = [k for k in range(one.ndim) if k != first]
        behind = [k for k in range(1, two.ndim) if k != second]
        shape = [one.shape[k] for k in ahead] + [two.shape[k] for k in behind]
        rows, depth = one.shape[0], one.shape[first]
        left = ops.reshape(ops.permute(one, (*ahead, first)), (rows, math.prod(shape[1 : len(ahead)]), depth))
        right = ops.reshape(ops.permute(two, (0, second, *behind)), (rows, depth, math.prod(shape[len(ahead) :])))
        return ops.reshape(ops.matmul(left, right), shape if len(shape) > 1 else (rows, 1))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None, as in Keras."""

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        first, second = self._places(shapes[0])
        one, two = map(list, shapes[0])
        del one[first], two[second]
        found = one + two[1:]
        return tuple(found if len(found) > 1 else [*found, 1])


class Attention(Layer):
    """Return means of values under weights softmax(scores), where a score says how a query and a key agree.

    It is called on a list [query, value] or [query, value, key], (B, T, F) and (B, S, F).

    Parameters
    ----------
    use_scale
        Whether scores have a factor that is learnt.
    score_mode
        ``"dot"`` for products, ``"concat"`` for sums of tanh(query + key).
    dropout
        The probability of dropping a weight, in training.
    seed
        Gives the layer random numbers of its own; None draws from the package's generator.
    **options
        See `Layer`.

    Notes
    -----
    Luong et al., 2015. A query that sees no value gives zeros; Keras gives a mean over all values.
    """

    arguments: ClassVar[tuple[str, ...]] = ("use_scale", "score_mode", "dropout", "seed")
    supports_masking = True

    def __init__(
        self, use_scale: bool = False, score_mode: str = "dot", dropout: float = 0.0, seed: int | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        self.use_scale = checks.boolean("use_scale", use_scale)
        self.score_mode = checks.choice("score_mode", score_mode, ("dot", "concat"))
        self.dropout = checks.real("dropout", dropout, 0.0, 1.0)
        self.seed = seeded(self, seed)

    def _checked(self, shapes: Any) -> Any:
        if not isinstance(shapes, (list, tuple)) or len(shapes) not in (2, 3) or isinstance(shapes[0], int):
            raise checks.value_error(
                f"{self.name}: inputs", "a list [query, value] or [query, value, key]", f"{shapes}"
            )
        if any(shape is None or len(shape) != 3 for shape in shapes):
            raise checks.value_error(f"{self.name}: inputs", "shapes (rows, steps, features)", f"{shapes}")
        return shapes

    def build(self, input_shape: Any) -> None:
        """Make the factors, see `Layer.build`."""
        self._checked(input_shape)
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight")

    def _scores(self, query: Any, key: Any) -> Tensor:
        """Return how queries and keys agree (B, T, S)."""
        if self.score_mode == "dot":
            return ops.matmul(query * self.scale if self.use_scale else query, ops.swapaxes(key, 1, 2))
        both = ops.add(ops.unsqueeze(query, 2), ops.unsqueeze(key, 1))
        return ops.sum(ops.tanh(both * self.scale if self.use_scale else both), -1) * self.concat_score_weight

    def call(
        self, inputs: Any, mask: Any = None, return_attention_scores: bool = False, use_causal_mask: bool = False
    ) -> Any:
        """Return the means (B, T, F), and the weights (B, T, S) if wanted.

        Parameters
        ----------
        inputs
            [query, value] or [query, value, key]; the key is the value if it is left out.
        mask
            [of the query's steps, of the value's], bools (B, T) and (B, S) or None; or None.
        return_attention_scores
            Whether the weights are wanted.
        use_causal_mask
            Whether a query sees values up to its own step only.
        """
        self._checked([tuple(x.shape) for x in inputs])
        query, value, *rest = inputs
        key = rest[0] if rest else value
        if mask is not None and not isinstance(mask, (list, tuple)):
            raise checks.kind_error("mask", "a list [query mask, value mask] or None", mask)
        given = [None, None] if mask is None else list(mask)
        rows, steps, sources = query.shape[0], query.shape[1], value.shape[1]
        shown = as_mask("mask of value", given[1], rows, sources)
        seen = None if shown is None else shown[:, None, :]
        if checks.boolean("use_causal_mask", use_causal_mask):
            below = np.tri(steps, sources, dtype=bool)[None]
            seen = below if seen is None else seen & below
        scores = self._scores(query, key)
        if seen is not None:
            scores = ops.where(seen, scores, scores.dtype.type(-np.inf))
        weights = ops.softmax(scores, -1)
        if seen is not None and not (some := seen.any(axis=-1, keepdims=True)).all():
            weights = ops.where(some, weights, weights.dtype.type(0))
        if seen is not None:  # what is not seen may hold anything
            value = value if shown is None else ops.where(shown[:, :, None], value, value.dtype.type(0))
        found = ops.matmul(nn.functional.dropout(weights, self.dropout, self.training), value)
        of_query = as_mask("mask of query", given[0], rows, steps)
        if of_query is not None:
            found = ops.where(of_query[:, :, None], found, found.dtype.type(0))
        return [found, weights] if return_attention_scores else found

    def compute_mask(self, inputs: Any, mask: Any = None) -> Mask | None:
        """Return the query's mask."""
        return mask[0] if isinstance(mask, (list, tuple)) else None

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        found = self._checked(shapes[0])
        return (*found[0][:-1], found[1][-1])

    def outputs_for(self, shapes: Any, options: dict[str, Any]) -> Any:
        """Return the output's shape, and that of the weights if they are wanted, see `Layer.outputs_for`."""
        found = self.compute_output_shape(*shapes)
        if not options.get("return_attention_scores"):
            return found
        return [found, (*shapes[0][0][:-1], shapes[0][1][1])]


class AdditiveAttention(Attention):
    """Return means of values under weights softmax(scores), with scores sum(scale * tanh(query + key)).

    Parameters
    ----------
    use_scale
        Whether there is a scale per feature that is learnt; else it is 1.
    dropout
        The probability of dropping a weight, in training.
    seed
        Gives the layer random numbers of its own; None draws from the package's generator.
    **options
        See `Layer`.

    Notes
    -----
    Bahdanau et al., 2015.
    """

    arguments = ("use_scale", "dropout", "seed")

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, seed: int | None = None, **options: Any) -> None:
        super().__init__(use_scale, dropout=dropout, seed=seed, **options)

    def build(self, input_shape: Any) -> None:
        """Make the scale, see `Layer.build`."""
        self._checked(input_shape)
        if self.use_scale:
            self.scale = self.add_weight((features_of(self, input_shape[0]),), "glorot_uniform", name="scale")

    def _scores(self, query: Any, key: Any) -> Tensor:
        """Return how queries and keys agree (B, T, S)."""
        both = ops.tanh(ops.add(ops.unsqueeze(query, 2), ops.unsqueeze(key, 1)))
        return ops.sum(both * self.scale if self.use_scale else both, -1)
