"""BatchNorm1d: every feature brought to mean 0 and variance 1 over the steps of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor, make_node
from fastseq.nn import init
from fastseq.nn.module import Module, Parameter
from fastseq.nn.tokens import row_lengths, tokens_of

Array = NDArray[Any]


class BatchNorm1d(Module):
    """Return (x - mean) / sqrt(var + eps) * weight + bias, with mean and variance of each feature.

    In training they are those of the batch's valid steps, and running averages of them are kept; in evaluation they are
    the averages. PyTorch's arrays are (N, C, L), channels before time; here as everywhere in fastseq time comes first:
    (B, T, F). Parameters and buffers keep PyTorch's names, so that its ``state_dict`` fits.

    Parameters
    ----------
    num_features
        F.
    eps
        Added to the variance.
    momentum
        The share of the new batch in the running averages; None weights all batches alike.
    affine
        Whether there are weight and bias.
    track_running_stats
        Whether there are running averages; without them evaluation, too, takes the batch's numbers.
    bias
        Whether there is a bias beside the weight.
    unbiased
        Whether the running variance is that of a sample (over n - 1, as PyTorch has it) or the mean square (as Keras).
    dtype
        float32 or float64.

    Attributes
    ----------
    weight, bias : Parameter or None
        (F,), ones and zeros at first.
    running_mean, running_var : Tensor or None
        (F,), zeros and ones at first.
    num_batches_tracked : Tensor or None
        How many batches the averages have seen.

    Notes
    -----
    Ioffe and Szegedy, "Batch Normalization", 2015. In training a row depends on the rows beside it, but no bit on what
    stands past their lengths, or on the number of threads. In evaluation a step's bits depend on that step alone.
    """

    _config = ("num_features", "eps", "momentum", "affine", "track_running_stats", "bias", "unbiased", "dtype")

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        unbiased: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        size = self.num_features = checks.integer("num_features", num_features, 1)
        self.eps = checks.real("eps", eps, 0.0, open_minimum=True)
        self.momentum = None if momentum is None else checks.real("momentum", momentum, 0.0, 1.0)
        self.affine = checks.boolean("affine", affine)
        self.track_running_stats = checks.boolean("track_running_stats", track_running_stats)
        self.unbiased = checks.boolean("unbiased", unbiased)
        kind = self.dtype = checks.float_dtype("dtype", dtype)
        biased = checks.boolean("bias", bias) and self.affine
        init.expect_room(size * (self.affine + biased + 2 * self.track_running_stats))
        self.register_parameter("weight", Parameter(np.ones(size, kind)) if self.affine else None)
        self.register_parameter("bias", Parameter(np.zeros(size, kind)) if biased else None)
        tracked = self.track_running_stats
        self.register_buffer("running_mean", np.zeros(size, kind) if tracked else None)
        self.register_buffer("running_var", np.ones(size, kind) if tracked else None)
        self.register_buffer("num_batches_tracked", np.array(0, np.int64) if tracked else None)

    def reset_running_stats(self) -> None:
        """Set the running averages to mean 0 and variance 1."""
        for buffer, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
            if buffer is not None:
                _set(buffer, np.full_like(buffer._data, value))

    def reset_parameters(self) -> None:
        """Set the weight to ones, the bias to zeros, and the running averages to their beginning."""
        self.reset_running_stats()
        for parameter, value in ((self.weight, 1.0), (self.bias, 0.0)):
            if parameter is not None:
                init.constant_(parameter, value)

    def forward(self, input: Any, lengths: Any = None, *, counted: Any = None) -> Tensor:
        """Return the normalised steps.

        Parameters
        ----------
        input
            (B, T, F), or (B, F). Converted to the layer's dtype.
        lengths
            Valid steps per row of an input (B, T, F), integers (B,): what stands past them is not read and gives zeros.
        counted
            Which steps (or rows) make the batch's mean and variance, bools (B, T) or (B,); None for all valid ones. The
            others are normalised with them. Not beside ``lengths``.

        Returns
        -------
        Tensor
            Of the input's shape.

        Raises
        ------
        ValueError
            If a shape does not fit; or in training, if there is one valid step only, whose variance as a sample is
            not defined.
        """
        data = array(input)
        if data.ndim not in (2, 3) or data.shape[-1] != self.num_features:
            raise checks.value_error("input", f"shape (B, T, {self.num_features}) or (B, {self.num_features})", data)
        if data.dtype.kind not in "fiu":
            raise checks.kind_error("input", "numbers", data)
        if data.dtype != self.dtype:
            input = ops.cast(input, self.dtype)
        which = None
        if counted is not None:
            which = np.asarray(array(counted))
            if which.shape != data.shape[:-1] or which.dtype.kind != "b":
                raise checks.value_error("counted", f"bools of shape {data.shape[:-1]}", which)
            if lengths is not None:
                raise checks.value_error("counted", "None beside lengths", which)
            which = None if which.all() else which.reshape(-1)
        if data.ndim == 2:
            if lengths is not None:
                raise checks.value_error("lengths", "None for an input without steps", array(lengths))
            return self._normalized(input, which)
        tokens = tokens_of(input if isinstance(input, Tensor) else Tensor(input),
                           row_lengths("lengths", lengths, *data.shape[:2]))  # fmt: skip
        return tokens.padded(self._normalized(tokens.values, which))

    def _normalized(self, x: Any, counted: Array | None) -> Tensor:
        """Return steps (N, F) normalised, and keep the averages in training."""
        data = array(x)
        if not self.training and self.running_mean is not None:
            return self.by_averages(x)
        chosen = data if counted is None else data[counted]
        count = len(chosen)
        if not count:  # nothing to learn from, and nothing that counts
            ones, zeros = np.ones(self.num_features, self.dtype), np.zeros(self.num_features, self.dtype)
            return _scaled(x, zeros, ones, self.weight, self.bias, self.eps, None)
        if count == 1 and self.unbiased and self.training:
            raise checks.value_error("input", "more than one valid step in training", "one")
        mean = _sums(chosen) / count
        centred = chosen - mean.astype(self.dtype)
        variance = _sums(np.square(centred, out=centred)) / count
        if self.training and self.running_mean is not None:
            self._keep(mean, variance * (count / (count - 1)) if self.unbiased else variance)
        which = np.ones(len(data), bool) if counted is None else counted
        kinds = mean.astype(self.dtype), variance.astype(self.dtype)
        return _scaled(x, *kinds, self.weight, self.bias, self.eps, which)

    def by_averages(self, x: Any) -> Tensor:
        """Return steps normalised by the running averages, as in evaluation.

        Parameters
        ----------
        x
            (N, F), of the layer's dtype.
        """
        assert self.running_mean is not None and self.running_var is not None
        return _scaled(x, self.running_mean._data, self.running_var._data, self.weight, self.bias, self.eps, None)

    def _keep(self, mean: Array, variance: Array) -> None:
        """Let a batch's numbers enter the averages."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        seen = self.num_batches_tracked._data + 1
        _set(self.num_batches_tracked, np.asarray(seen))
        share = 1.0 / float(seen) if self.momentum is None else self.momentum
        for buffer, value in ((self.running_mean, mean), (self.running_var, variance)):
            before = buffer._data
            _set(buffer, ((1.0 - share) * before + share * value).astype(before.dtype))


def _set(buffer: Tensor, values: Array) -> None:
    buffer._data = values
    buffer._version[0] += 1


def _sums(x: Array) -> Array:
    """Return the sums over rows in double precision, one row after the other."""
    return np.add.reduce(np.ascontiguousarray(x), axis=0, dtype=np.float64)


def _scaled(
    x: Any, mean: Array, variance: Array, weight: Parameter | None, bias: Parameter | None, eps: float,
    counted: Array | None,
) -> Tensor:  # fmt: skip
    """Return (x - mean) / sqrt(variance + eps) * weight + bias as one node.

    Parameters
    ----------
    x
        (N, F)
    mean, variance
        (F,)
    weight, bias
        (F,), or None.
    eps
        Added to the variance.
    counted
        Which rows mean and variance were computed from, bools (N,), so that gradients go through them; None where they
        are constants.
    """
    data = array(x)
    dtype = data.dtype
    share = (1.0 / np.sqrt(variance.astype(np.float64) + eps)).astype(dtype)
    out = (data - mean) * share
    if weight is not None:
        out *= weight._data
    if bias is not None:
        out += bias._data
    some = counted is not None and not counted.all()

    def back(grads: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        g: Any = grads[0]
        centred = data - mean
        product = g * centred
        if some:  # a NaN in a step that does not count, and gets no gradient, is nobody's
            product = np.where(g == 0, dtype.type(0), product)
        sum_product, sum_g = _sums(product) * share, _sums(g)
        scale = share if weight is None else share * weight._data
        d_x = np.multiply(g, scale, out=product)
        if counted is not None:
            count = int(np.count_nonzero(counted))
            centred *= (scale * sum_product / count * share).astype(dtype)
            centred += (scale * sum_g / count).astype(dtype)
            d_x -= np.where(counted[:, None], centred, dtype.type(0)) if some else centred
        return (
            d_x,
            None if weight is None else sum_product.astype(dtype),
            None if bias is None else sum_g.astype(dtype),
        )

    return make_node((x, weight, bias), (out,), back, fresh=True)[0]
