"""Keras's layers of convolutional models around recurrent ones as fastseq's: pooling, batch normalisation, noise."""

from __future__ import annotations

import numpy as np

from fastseq import nn
from fastseq.interop.keras_layers import Layer, expect_steps, load_normalization, maker
from fastseq.nn.module import Module


@maker("MaxPooling1D", "AveragePooling1D")
def window_pooling(layer: Layer) -> list[Module]:
    """Return pooling over windows of steps.

    Parameters
    ----------
    layer
        The layer.
    """
    expect_steps(layer)
    layer.option("data_format", "channels_last", "channels_last")
    size, padding = layer.number("pool_size"), layer.option("padding", "valid", "valid", "same")
    strides = size if layer.option("strides") is None else layer.number("strides")
    layer.shapes()
    before = "same" if padding == "same" else 0
    if layer.kind == "MaxPooling1D":
        return [nn.MaxPool1d(size, strides, before)]
    return [nn.AvgPool1d(size, strides, before, count_include_pad=False)]


@maker("BatchNormalization")
def batch_norm(layer: Layer) -> list[Module]:
    """Return a normalisation over the batch, with its moving averages.

    Parameters
    ----------
    layer
        The layer.
    """
    axis = layer.option("axis", -1)
    if (axis[0] if isinstance(axis, list) and len(axis) == 1 else axis) not in (-1, layer.rank - 1):
        layer.fail("axis=-1, the features", repr(axis))
    momentum, eps = layer.number("momentum", 0.99), layer.number("epsilon", 1e-3)
    for name in ("renorm", "synchronized"):
        layer.option(name, False, False)
    layer.known |= {"renorm_clipping", "renorm_momentum"}
    center, scale = (layer.option(name, True, True, False) for name in ("center", "scale"))
    arrays = layer.shapes(*[(None,)] * (center + scale + 2))
    size, kind = arrays[-1].shape[0], arrays[-1].dtype
    found = nn.BatchNorm1d(
        size, float(eps), 1.0 - float(momentum), center or scale, bias=center, unbiased=False, dtype=kind
    )
    mean, variance = arrays[-2:]
    load_normalization(
        found, center, scale, arrays, running_mean=mean, running_var=variance, num_batches_tracked=np.array(0, np.int64)
    )
    return [found]


@maker("PReLU")
def prelu(layer: Layer) -> list[Module]:
    """Return an activation function with a slope per feature that is learnt.

    Parameters
    ----------
    layer
        The layer.
    """
    layer.option("shared_axes")
    (alpha,) = layer.shapes((1,) * (layer.rank - 2) + (None,))
    found = nn.PReLU(alpha.shape[-1], dtype=alpha.dtype)
    found.load_state_dict({"weight": alpha.reshape(-1)})
    return [found]


@maker("Flatten")
def flatten(layer: Layer) -> list[Module]:
    """Return what makes one axis of steps and features.

    Parameters
    ----------
    layer
        The layer.
    """
    layer.option("data_format", "channels_last", "channels_last")
    layer.shapes()
    return [nn.Flatten()]


@maker("GaussianNoise", "GaussianDropout")
def noise(layer: Layer) -> list[Module]:
    """Return nothing, and say that there is no such noise.

    Parameters
    ----------
    layer
        The layer.
    """
    layer.number("stddev" if layer.kind == "GaussianNoise" else "rate")
    layer.shapes()
    layer.remarks.append(f"layer {layer.name!r} ({layer.kind}) acts in training only and is left out")
    return []
