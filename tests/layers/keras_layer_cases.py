"""Keras's own test cases of the layers around its recurrent ones, in a short form, beside others of their kind.

After keras/src/layers/{pooling,normalization,reshaping,activations,attention,merging,convolutional}/*_test.py (Apache
2.0). As in `keras_cases` the numbers in tests/data/face_golden.npz come from running them in Keras.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.layers.keras_cases import CASES, GAPS, case, numbers


def noisy(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers around 0, no two alike."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype("float32")


def with_weights(layer: Any, x: Any, seed: int = 1) -> Any:
    """Give a layer that has seen x weights of its own; variances stay above zero."""
    layer(x)
    rng = np.random.default_rng(seed)
    found = [rng.uniform(0.3, 1.5, np.shape(weight)).astype("float32") for weight in layer.get_weights()]
    layer.set_weights(found)
    return layer


def add(name: str, run: Any) -> None:
    CASES[name] = run


def simple(name: str, kind: str, x: Any, *arguments: Any, **options: Any) -> None:
    """Add a layer without weights, on x."""
    add(name, lambda layers, _: getattr(layers, kind)(*arguments, **options)(x))


# ---- pooling over windows
for _pool in ("MaxPooling1D", "AveragePooling1D"):
    for _size, _stride, _steps in ((2, 1, 4), (2, None, 5), (3, 2, 8), (2, 3, 7), (4, 2, 7)):
        for _padding in ("valid", "same"):
            _name = f"{_pool} {_size} {_stride} {_steps} {_padding}"
            simple(_name, _pool, noisy(3, _steps, 4), _size, strides=_stride, padding=_padding)

# ---- convolution
for _options in (
    {"padding": "valid", "strides": 2},
    {"padding": "same", "strides": 2},
    {"padding": "same", "dilation_rate": 2},
    {"padding": "causal", "dilation_rate": 2},
    {"padding": "causal", "strides": 3, "activation": "relu"},
    {"padding": "same", "groups": 2, "use_bias": False},
):
    add(
        f"Conv1D {sorted(_options.items())}",
        lambda layers, _, o=_options: with_weights(layers.Conv1D(4, 3, **o), noisy(2, 9, 4))(noisy(2, 9, 4)),
    )


# ---- normalisation over the batch
def normalized(name: str, x: np.ndarray, calls: int = 2, mask: Any = None, **options: Any) -> None:
    """Add calls in training, one outside, and the weights then."""

    def run(layers, initializers):
        layer = with_weights(layers.BatchNormalization(**options), x)
        more = {} if mask is None else {"mask": np.array(mask)}
        found = [layer(x * (k + 1) + k, training=True, **more) for k in range(calls)]
        return [*found, layer(x, training=False), *layer.get_weights()]

    add(f"BatchNormalization {name}", run)


normalized("rows", noisy(6, 3) * 10 + 5)
normalized("steps", noisy(5, 4, 3) * 10 + 5)
normalized("images", noisy(3, 4, 5, 3))
normalized("momentum", noisy(5, 2, 3), momentum=0.3, epsilon=1e-2)
normalized("second axis", noisy(5, 2, 3), axis=1, momentum=0.0)
normalized("no scale", noisy(5, 4, 3), scale=False)
normalized("no center", noisy(5, 4, 3), center=False)
normalized("neither", noisy(5, 4, 3), center=False, scale=False)
normalized("mask with gaps", noisy(2, 4, 3) * 3 + 1, mask=GAPS, momentum=0.5)
normalized("mask that broadcasts", noisy(2, 4, 5, 3), mask=np.array(GAPS)[:, :, None], momentum=0.5)


@case
def batch_normalization_behind_masking(layers, initializers):
    x = noisy(4, 5, 2)
    x[:, 3:] = 0
    x[1, 0] = 0
    layer = layers.BatchNormalization(momentum=0.0)
    return [layer(layers.Masking()(x), training=True), *layer.get_weights()]


@case
def batch_normalization_frozen(layers, initializers):
    layer = with_weights(layers.BatchNormalization(), noisy(5, 4, 3))
    layer.trainable = False
    return [layer(noisy(5, 4, 3), training=True), *layer.get_weights()]


# ---- other shapes
simple("UpSampling1D", "UpSampling1D", numbers(2, 2, 3), size=2)
simple("UpSampling1D thrice", "UpSampling1D", numbers(2, 1, 5), 3)
simple("ZeroPadding1D", "ZeroPadding1D", numbers(1, 2, 3), padding=(1, 2))
simple("ZeroPadding1D one number", "ZeroPadding1D", numbers(2, 2, 3), 2)
simple("Cropping1D", "Cropping1D", numbers(3, 5, 4), (1, 2))
simple("Cropping1D one number", "Cropping1D", numbers(3, 5, 4), 1)
simple("Permute", "Permute", numbers(2, 3, 5), (2, 1))
simple("Permute of three", "Permute", numbers(2, 3, 5, 4), dims=(3, 1, 2))
simple("Reshape", "Reshape", numbers(3, 2, 4), (8, 1))
simple("Reshape with a size left out", "Reshape", numbers(3, 2, 4), (-1, 2))
simple("Flatten", "Flatten", numbers(3, 2, 4))
simple("RepeatVector", "RepeatVector", numbers(2, 5), 3)

# ---- activations
_line = np.array([-10, -5, -0.5, 0.0, 0.5, 5, 6, 7, 10], "float32")
for _options in ({"max_value": 10}, {"max_value": 6, "negative_slope": 0.5}, {"max_value": 8, "threshold": 5},
                 {"threshold": 0.5, "negative_slope": 0.1}, {}):  # fmt: skip
    simple(f"ReLU {sorted(_options.items())}", "ReLU", _line, **_options)
simple("LeakyReLU", "LeakyReLU", _line)
simple("LeakyReLU slope", "LeakyReLU", _line, negative_slope=0.7)
simple("ELU", "ELU", _line)
simple("ELU alpha", "ELU", _line, alpha=2.5)
simple("Softmax", "Softmax", noisy(2, 3, 4))
simple("Softmax axis", "Softmax", noisy(2, 3, 4), axis=1)
simple("Softmax axes", "Softmax", noisy(2, 3, 4), axis=(1, 2))
add("PReLU", lambda layers, _: with_weights(layers.PReLU(), noisy(2, 3, 4))(noisy(2, 3, 4)))
add(
    "PReLU shared",
    lambda layers, _: with_weights(layers.PReLU(shared_axes=[1, 2]), noisy(2, 5, 4, 3))(noisy(2, 5, 4, 3)),
)


@case
def softmax_with_masks(layers, initializers):
    x, some = noisy(2, 3, 4), noisy(2, 3, 4, seed=1) > 0
    some[0, 1] = False
    return [layers.Softmax()(x, mask=some), layers.Softmax(axis=(1, 2))(x, mask=some[:1])]


# ---- merging
for _kind in ("Subtract", "Maximum", "Minimum"):
    simple(_kind, _kind, [noisy(2, 3, 4), noisy(2, 3, 4, seed=1)])
    simple(f"{_kind} broadcast", _kind, [noisy(2, 3, 4), noisy(2, 1, 4, seed=1)])
simple("Maximum of three", "Maximum", [noisy(2, 3, seed=k) for k in range(3)])
for _axes, _one, _two in (
    (1, (2, 4), (2, 4)), ((1, 2), (2, 3, 4), (2, 5, 3)), (-1, (2, 3, 4), (2, 5, 4)), (1, (2, 3, 4), (2, 3)),
    ((2, 1), (2, 3, 4), (2, 4)), ((2, 3), (2, 3, 4), (2, 2, 3, 4)),
):  # fmt: skip
    for _unit in (False, True):
        _both = [noisy(*_one), noisy(*_two, seed=1)]
        simple(f"Dot {_axes} {_one} {_two} {_unit}", "Dot", _both, axes=_axes, normalize=_unit)

# ---- attention
_query, _value, _key = noisy(2, 4, 3), noisy(2, 5, 3, seed=1), noisy(2, 5, 3, seed=2)
_seen = [np.array(GAPS), np.array([[True] * 3 + [False] * 2, [False, True, True, False, True]])]
for _kind, _options in (
    ("Attention", {}), ("Attention", {"use_scale": True}), ("Attention", {"score_mode": "concat"}),
    ("Attention", {"score_mode": "concat", "use_scale": True}), ("AdditiveAttention", {"use_scale": False}),
    ("AdditiveAttention", {}),
):  # fmt: skip

    def _attend(layers, initializers, kind=_kind, options=_options):
        layer = with_weights(getattr(layers, kind)(**options), [_query, _value])
        return [
            layer([_query, _value]),
            *layer([_query, _value, _key], mask=_seen, return_attention_scores=True),
            layer([_query, _value], use_causal_mask=True),
        ]

    add(f"{_kind} {sorted(_options.items())}", _attend)
