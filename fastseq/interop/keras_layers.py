"""Keras's layers as fastseq's: one function per class, found in ``LAYERS``; what is not in the table is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastseq import nn
from fastseq.interop.source import Source
from fastseq.nn.module import Module

Array = NDArray[Any]

#: Entries of a layer's configuration that do not change what it computes.
IGNORED = {
    "name", "trainable", "dtype", "batch_shape", "batch_input_shape", "build_config", "seed", "implementation",
    "unroll", "use_cudnn", "unit_forget_bias", "input_length", "input_dim", "ragged", "sparse", "optional",
    "input_shape", "zero_output_for_mask",
}  # fmt: skip
#: Endings of such entries' names.
ENDINGS = ("_initializer", "_regularizer", "_constraint")

ACTIVATIONS: dict[str, Callable[[], Module | None]] = {
    "linear": lambda: None, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "softmax": nn.Softmax,
    "log_softmax": nn.LogSoftmax, "gelu": nn.GELU, "silu": nn.SiLU, "swish": nn.SiLU, "elu": nn.ELU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2), "softplus": nn.Softplus,
}  # fmt: skip


class Layer:
    """One layer of a Keras model while it is turned into fastseq's.

    Parameters
    ----------
    source
        The file, to refuse with.
    kind, name
        Class and name.
    config
        The constructor's arguments.
    arrays
        Its weights, in the order of ``get_weights``.
    rank
        How many axes its input has.
    """

    def __init__(
        self, source: Source, kind: str, name: str, config: Mapping[str, Any], arrays: list[Array], rank: int
    ) -> None:
        self.source, self.kind, self.name, self.config, self.arrays, self.rank = (
            source,
            kind,
            name,
            config,
            arrays,
            rank,
        )
        self.known: set[str] = set()
        self.remarks: list[str] = []
        self._check_dtype()

    def fail(self, expected: str, found: object) -> NoReturn:
        """Refuse the file.

        Parameters
        ----------
        expected
            What this layer should have.
        found
            What it has.
        """
        self.source.fail(f"{expected} in layer {self.name!r} ({self.kind})", found)

    def _check_dtype(self) -> None:
        policy = self.config.get("dtype", "float32")
        if isinstance(policy, Mapping):
            inner = policy.get("config")
            policy = inner.get("name") if isinstance(inner, Mapping) else None
        if policy not in ("float32", "float64", None) and not (self.kind == "InputLayer" and "int" in str(policy)):
            self.fail("dtype float32 or float64", repr(policy))

    def option(self, name: str, default: Any = None, *allowed: Any) -> Any:
        """Return an argument.

        Parameters
        ----------
        name
            The argument's.
        default
            Keras's.
        *allowed
            The values that are supported; any if none are given.
        """
        self.known.add(name)
        value = self.config.get(name, default)
        if allowed and not any(type(value) is type(want) and value == want for want in allowed):
            self.fail(f"{name}={' or '.join(map(repr, allowed))}", repr(value))
        return value

    def number(self, name: str, default: Any = None) -> Any:
        """Return an argument that is a number.

        Parameters
        ----------
        name
            The argument's.
        default
            Keras's.
        """
        value = self.option(name, default)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(f"a number as {name}", repr(value))
        return value

    def finish(self, used: int) -> None:
        """Refuse arguments and arrays that nobody has asked for.

        Parameters
        ----------
        used
            How many arrays the layer has.
        """
        for name, value in self.config.items():
            ignored = name in IGNORED or name in self.known or name.endswith(ENDINGS)
            if not ignored and value not in (None, False):
                self.fail(f"no argument {name}", repr(value))
        if len(self.arrays) != used:
            self.fail(f"{used} arrays", f"{len(self.arrays)}")

    def shapes(self, *shapes: tuple[int | None, ...]) -> list[Array]:
        """Return the arrays, of these shapes.

        Parameters
        ----------
        *shapes
            One per array; None for a size that may be any.
        """
        self.finish(len(shapes))
        for values, shape in zip(self.arrays, shapes, strict=True):
            fits = len(shape) == values.ndim and all(
                want in (None, have) for want, have in zip(shape, values.shape, strict=True)
            )
            if not fits or 0 in values.shape:
                self.fail(f"an array of shape {shape}", f"{values.shape}")
        return self.arrays

    def activation(self, value: Any) -> list[Module]:
        """Return an activation function as a list of at most one layer.

        Parameters
        ----------
        value
            Its name, or Keras's description of it.
        """
        if isinstance(value, Mapping):
            word, module = value.get("config"), str(value.get("module", ""))
            if not module.startswith(("keras", "builtins")) or value.get("registered_name") not in (None, word):
                self.fail("one of Keras's own activations", repr(value.get("registered_name")))
            value = word
        if not isinstance(value, str) or value not in ACTIVATIONS:
            self.fail(f"an activation of {', '.join(ACTIVATIONS)}", repr(value))
        found = ACTIVATIONS[value]()
        return [] if found is None else [found]


Maker = Callable[[Layer], "list[Module]"]
LAYERS: dict[str, Maker] = {}


def maker(*kinds: str) -> Callable[[Maker], Maker]:
    """Put a function into the table.

    Parameters
    ----------
    *kinds
        Keras's classes.
    """

    def put(function: Maker) -> Maker:
        for kind in kinds:
            LAYERS[kind] = function
        return function

    return put


def made(layer: Layer) -> list[Module]:
    """Return fastseq's layers for one of Keras's.

    Parameters
    ----------
    layer
        The layer.
    """
    if layer.kind not in LAYERS:
        layer.fail(f"a layer of {', '.join(sorted(LAYERS))}", layer.kind)
    with layer.source.guarded(f"arguments that fit layer {layer.name!r} ({layer.kind})"):
        return LAYERS[layer.kind](layer)


def expect_steps(layer: Layer) -> None:
    """Refuse a layer whose input has no axis of steps.

    Parameters
    ----------
    layer
        The layer.
    """
    if layer.rank != 3:
        layer.fail("an input (B, T, F)", f"{layer.rank} axes")


def inner_layer(layer: Layer, name: str, arrays: list[Array]) -> Layer:
    """Return the layer inside a wrapper.

    Parameters
    ----------
    layer
        The wrapper.
    name
        The argument that it is.
    arrays
        Its part of the wrapper's arrays.
    """
    kind, label, config = described(layer.source, layer.option(name), f"{name} of layer {layer.name!r} ({layer.kind})")
    inner = Layer(layer.source, kind, label or layer.name, config, arrays, layer.rank)
    inner.remarks = layer.remarks
    return inner


def described(source: Source, entry: Any, what: str) -> tuple[str, str, dict[str, Any]]:
    """Return class, name and arguments of a layer's description.

    Parameters
    ----------
    source
        The file.
    entry
        The description.
    what
        What it is, for messages.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        source.fail(f"a description of {what}", type(entry).__name__)
    kind, config = entry.get("class_name"), entry["config"]
    module, registered = entry.get("module"), entry.get("registered_name")
    if not isinstance(kind, str):
        source.fail(f"a class for {what}", repr(kind))
    if (module is not None and not str(module).startswith("keras")) or registered not in (None, kind):
        source.fail(f"one of Keras's own classes for {what}", f"{registered or kind} of module {module}")
    label = config.get("name", entry.get("name", ""))
    return kind, label if isinstance(label, str) else "", config


# -- step by step -------------------------------------------------------------------------------------------------


@maker("TimeDistributed")
def time_distributed(layer: Layer) -> list[Module]:
    """Return the inner layer, which works step by step anyway.

    Parameters
    ----------
    layer
        The layer.
    """
    expect_steps(layer)
    inner = inner_layer(layer, "layer", layer.arrays)
    layer.finish(len(layer.arrays))
    if inner.kind not in BY_STEP:
        layer.fail(f"a layer of {', '.join(sorted(BY_STEP))}", inner.kind)
    inner.rank = 2
    return made(inner)


@maker("Dense")
def dense(layer: Layer) -> list[Module]:
    """Return a weighted sum and an activation.

    Parameters
    ----------
    layer
        The layer.
    """
    units, bias = layer.number("units"), layer.option("use_bias", True, True, False)
    after = layer.activation(layer.option("activation", "linear") or "linear")
    kernel, *rest = layer.shapes((None, units), *([(units,)] if bias else []))
    found = nn.Linear(kernel.shape[0], kernel.shape[1], bool(bias), dtype=kernel.dtype)
    found.load_state_dict({"weight": kernel.T} | ({"bias": rest[0]} if bias else {}))
    return [found, *after]


@maker("Embedding")
def embedding(layer: Layer) -> list[Module]:
    """Return a table of vectors.

    Parameters
    ----------
    layer
        The layer.
    """
    rows, size = layer.number("input_dim"), layer.number("output_dim")
    if layer.option("mask_zero", False, True, False):
        remark_on_masks(layer)
    (table,) = layer.shapes((rows, size))
    found = nn.Embedding(rows, size, dtype=table.dtype)
    found.load_state_dict({"weight": table})
    return [found]


def remark_on_masks(layer: Layer) -> None:
    """Say that masks are lengths here.

    Parameters
    ----------
    layer
        The layer that makes a mask.
    """
    layer.remarks.append(
        f"layer {layer.name!r} ({layer.kind}) masks steps by their values; give the model lengths= instead"
    )


@maker("Masking")
def masking(layer: Layer) -> list[Module]:
    """Return nothing, and say that lengths take a mask's place.

    Parameters
    ----------
    layer
        The layer.
    """
    layer.option("mask_value")
    layer.shapes()
    remark_on_masks(layer)
    return []


@maker("LayerNormalization")
def layer_norm(layer: Layer) -> list[Module]:
    """Return a normalisation over the features.

    Parameters
    ----------
    layer
        The layer.
    """
    axis = layer.number("axis", -1)
    if axis not in (-1, layer.rank - 1):
        layer.fail("axis=-1, the features", repr(axis))
    eps = layer.number("epsilon", 1e-3)
    layer.option("rms_scaling", False, False)
    center, scale = (layer.option(name, True, True, False) for name in ("center", "scale"))
    if not (center or scale):
        layer.fail("center or scale", "neither")
    arrays = layer.shapes(*[(None,)] * (center + scale))
    size, kind = arrays[0].shape[0], arrays[0].dtype
    found = nn.LayerNorm(size, float(eps), bias=center, dtype=kind)
    load_normalization(found, center, scale, arrays)
    return [found]


def load_normalization(found: Any, center: bool, scale: bool, arrays: Sequence[Any], **averages: Any) -> None:
    """Write Keras's gamma and beta into a normalisation, whose weight is ones that do not learn without a gamma.

    Parameters
    ----------
    found
        The module.
    center, scale
        Whether there are beta and gamma.
    arrays
        Those of the two that there are, gamma first.
    **averages
        What else its state consists of.
    """
    state = dict(averages)
    if found.weight is not None:
        state["weight"] = arrays[0] if scale else np.ones_like(found.weight._data)
    if center:
        state["bias"] = arrays[int(scale)]
    found.load_state_dict(state)
    if not scale and found.weight is not None:
        found.weight.requires_grad = False


@maker("Conv1D")
def conv(layer: Layer) -> list[Module]:
    """Return a convolution over steps.

    Parameters
    ----------
    layer
        The layer.
    """
    expect_steps(layer)
    layer.option("data_format", "channels_last", "channels_last")
    filters, size, groups = layer.number("filters"), layer.number("kernel_size"), layer.number("groups", 1)
    stride, dilation = layer.number("strides", 1), layer.number("dilation_rate", 1)
    padding = layer.option("padding", "valid", "valid", "same", "causal")
    bias = layer.option("use_bias", True, True, False)
    after = layer.activation(layer.option("activation", "linear") or "linear")
    layer.known.add("rank")
    kernel, *rest = layer.shapes((size, None, filters), *([(filters,)] if bias else []))
    found = nn.Conv1d(
        kernel.shape[1] * groups, filters, size, stride, 0 if padding == "causal" else padding, dilation, groups,
        bool(bias), causal=padding == "causal", dtype=kernel.dtype,
    )  # fmt: skip
    found.load_state_dict(
        {"weight": np.ascontiguousarray(kernel.transpose(2, 1, 0))} | ({"bias": rest[0]} if bias else {})
    )
    return [found, *after]


@maker("GlobalAveragePooling1D", "GlobalMaxPooling1D")
def pooling(layer: Layer) -> list[Module]:
    """Return the mean or the maximum over steps.

    Parameters
    ----------
    layer
        The layer.
    """
    expect_steps(layer)
    layer.option("data_format", "channels_last", "channels_last")
    layer.option("keepdims", False, False)
    layer.shapes()
    return [nn.MeanPool() if layer.kind == "GlobalAveragePooling1D" else nn.MaxPool()]


@maker("Dropout", "SpatialDropout1D")
def dropout(layer: Layer) -> list[Module]:
    """Return dropout.

    Parameters
    ----------
    layer
        The layer.
    """
    rate = float(layer.number("rate"))
    layer.option("noise_shape", None, None)
    layer.known.add("data_format")
    layer.shapes()
    return [nn.Dropout(rate) if layer.kind == "Dropout" else nn.VariationalDropout(rate)]


@maker("Activation", "ReLU", "LeakyReLU", "ELU", "Softmax")
def activation(layer: Layer) -> list[Module]:
    """Return an activation function.

    Parameters
    ----------
    layer
        The layer.
    """
    if layer.kind == "Activation":
        found = layer.activation(layer.option("activation"))
    elif layer.kind == "LeakyReLU":
        found = [
            nn.LeakyReLU(float(layer.number("negative_slope" if "negative_slope" in layer.config else "alpha", 0.3)))
        ]
    elif layer.kind == "ELU":
        found = [nn.ELU(float(layer.number("alpha", 1.0)))]
    elif layer.kind == "Softmax":
        axis = layer.number("axis", -1)
        if axis not in (-1, layer.rank - 1):
            layer.fail("axis=-1, the features", repr(axis))
        found = [nn.Softmax()]
    else:
        layer.option("max_value", None, None)
        if layer.number("threshold", 0.0) != 0:
            layer.fail("threshold=0", repr(layer.config.get("threshold")))
        slope = float(layer.number("negative_slope", 0.0))
        found = [nn.LeakyReLU(slope) if slope else nn.ReLU()]
    layer.shapes()
    return found


#: What TimeDistributed may wrap.
BY_STEP = {"Dense", "Dropout", "Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "LayerNormalization"}
