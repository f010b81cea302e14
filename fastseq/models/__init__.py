"""Keras 3's models: Sequential and Model, compiled, trained, evaluated and saved the way Keras does it."""

from __future__ import annotations

from typing import Any

from fastseq import checks
from fastseq.layers import operations, registry
from fastseq.layers.naming import clear_session
from fastseq.models import losses, metrics, optimizers
from fastseq.models.model import Model
from fastseq.models.sequential import Sequential

__all__ = ["Model", "Sequential", "clear_session", "clone_model", "load_model", "losses", "metrics", "optimizers"]

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


def load_model(path: Any) -> Any:
    """Read a model that ``model.save`` wrote: it can predict, and go on training if it was compiled by names.

    Parameters
    ----------
    path
        The file.
    """
    from fastseq import persistence

    return persistence.load(path)
