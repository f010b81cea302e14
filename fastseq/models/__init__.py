"""Keras 3's models: Sequential and Model, compiled, trained, evaluated and saved the way Keras does it."""

from __future__ import annotations

import json
from typing import Any

from fastseq import checks
from fastseq.layers import operations, registry
from fastseq.layers.naming import clear_session
from fastseq.models import losses, metrics, optimizers, preprocessing
from fastseq.models.model import Model
from fastseq.models.sequential import Sequential

__all__ = [
    "Model",
    "Sequential",
    "clear_session",
    "clone_model",
    "load_model",
    "losses",
    "metrics",
    "model_from_json",
    "optimizers",
    "preprocessing",
    "save_model",
]

registry.register("models.Model", Model)
registry.register("models.Sequential", Sequential)
registry.register("operations.Arithmetic", operations.Arithmetic)
registry.register("operations.GetItem", operations.GetItem)


def clone_model(model: Any) -> Any:
    """Return a model of the same layers with fresh weights, not compiled.

    Parameters
    ----------
    model
        A Sequential or functional model of fastseq's layers.
    """
    if not isinstance(model, Model):
        raise checks.kind_error("model", "a model", model)
    config = {name: value for name, value in model.get_config().items() if name != "compile"}
    return type(model).from_config(config)


def model_from_json(json_string: str) -> Any:
    """Return the model that ``model.to_json`` described, with fresh weights, compiled if it was compiled by names.

    Parameters
    ----------
    json_string
        The description. It can name fastseq's own layers only, and runs no code.

    Raises
    ------
    ValueError
        If it is no such description.
    """
    if not isinstance(json_string, str):
        raise checks.kind_error("json_string", "what model.to_json returned", json_string)
    try:
        description = json.loads(json_string)
    except (json.JSONDecodeError, RecursionError) as error:
        raise checks.value_error("json_string", "what model.to_json returned", f"no JSON ({error})") from error
    kinds = ("models.Model", "models.Sequential")
    if not isinstance(description, dict) or description.get("class_name") not in kinds:
        found = description.get("class_name") if isinstance(description, dict) else type(description).__name__
        raise checks.value_error("json_string", f"a model of fastseq's ({' or '.join(kinds)})", f"{found!r}")
    return registry.rebuild(description)


def save_model(model: Any, path: Any) -> None:
    """Write a model to a file, as ``model.save`` does.

    Parameters
    ----------
    model
        The model.
    path
        Where to.
    """
    if not isinstance(model, Model):
        raise checks.kind_error("model", "a model", model)
    model.save(path)


def load_model(path: Any) -> Any:
    """Read a model that ``model.save`` wrote: it can predict, and go on training if it was compiled by names.

    Parameters
    ----------
    path
        The file.
    """
    from fastseq import persistence

    return persistence.load(path)
