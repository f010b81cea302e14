"""Layers by class name: how they are written into a configuration, and built from it."""

from __future__ import annotations

from typing import Any

from fastseq import checks, layers
from fastseq.layers.layer import Layer

_models: dict[str, type[Layer]] = {}


def register(name: str, kind: type[Layer]) -> None:
    """Let a kind of model stand among layers.

    Parameters
    ----------
    name
        What configurations call it.
    kind
        Its class.
    """
    _models[name] = kind


def describe(layer: Layer) -> dict[str, Any]:
    """Return a layer's class and configuration as JSON values.

    Parameters
    ----------
    layer
        One of fastseq's own.

    Raises
    ------
    TypeError
        If it is a class of the user's, or holds a function of the user's.
    """
    kind = type(layer)
    name = next((name for name, known in _models.items() if known is kind), kind.__name__)
    if getattr(layers, kind.__name__, None) is not kind and name not in _models:
        raise TypeError(
            f"{layer.name}: expected one of fastseq's own layers, got {kind.__module__}.{kind.__name__}; a file cannot "
            "hold a class of yours: keep the weights instead (model.save_weights)"
        )
    config = layer.get_config()
    for argument, value in config.items():
        if callable(value):
            raise TypeError(f"{layer.name}: expected {argument} by name, to be written down, got a function of yours")
    return {"class_name": name, "config": config}


def rebuild(description: Any) -> Layer:
    """Return a layer with fresh weights, or not built yet.

    Parameters
    ----------
    description
        What ``describe`` returned.
    """
    if not isinstance(description, dict) or not isinstance(description.get("config"), dict):
        raise checks.kind_error("layer", "a class_name and a config", description)
    known = {name: getattr(layers, name) for name in layers.__all__ if _is_layer(getattr(layers, name))} | _models
    return known[checks.choice("class_name", description.get("class_name"), known)].from_config(description["config"])


def _is_layer(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Layer) and kind is not Layer
