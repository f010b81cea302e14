"""Sequential: layers one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastseq import checks
from fastseq.layers import Input, InputLayer, Layer, registry
from fastseq.layers.symbolic import KerasTensor
from fastseq.models.model import Model


class Sequential(Model):
    """A model of layers one after the other, built as soon as it knows the shape of its input.

    Parameters
    ----------
    layers
        The layers; ``Input`` first, or a layer with ``input_shape``, or none that tells: then the first data do.
    **options
        ``name``, ``trainable``.
    """

    def __init__(self, layers: Iterable[Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._chain: list[Layer] = []
        self._first: KerasTensor | None = None
        self._last: KerasTensor | None = None
        self._waiting = False
        for layer in [] if layers is None else layers:
            self.add(layer)

    def add(self, layer: Any) -> None:
        """Add a layer at the end.

        Parameters
        ----------
        layer
            A layer, a model, or what ``Input`` returned.
        """
        if isinstance(layer, KerasTensor):
            layer = layer.node.layer
        if not isinstance(layer, Layer):
            raise checks.kind_error("layer", "a layer of fastseq.layers", layer)
        if isinstance(layer, InputLayer):
            if self._chain or self._first is not None:
                raise checks.value_error("layer", "an Input at the beginning only", f"another one, {layer.name!r}")
            self._first = self._last = layer.nodes[0].outputs[0] if layer.nodes else _symbol(layer)
            return
        if layer in self._chain or any(one.name == layer.name for one in self._chain):
            raise checks.value_error("layer", "layers with names of their own", f"another {layer.name!r}")
        if self._first is None and not self._chain and layer.given_input_shape is not None:
            self._first = self._last = Input(batch_shape=layer.given_input_shape, dtype=_dtype(layer))
        if self._first is None and not self._chain and isinstance(layer, Model) and layer.inputs:
            self._first = self._last = Input(batch_shape=layer.inputs[0].shape, dtype=layer.inputs[0].dtype)
        self._chain.append(layer)
        self.parts._modules[str(len(self.parts._modules))] = layer
        if self._last is not None:
            self._append(layer)

    def _append(self, layer: Layer) -> None:
        found = layer(self._last)
        if not isinstance(found, KerasTensor):
            raise checks.value_error("layer", f"layers with one output, not {layer.name!r}", f"{len(found)} outputs")
        self._last = found
        self._connect(self._first, found)

    def pop(self) -> Layer:
        """Take the last layer away, and return it."""
        if not self._chain:
            raise checks.value_error("layers", "at least one", "none")
        layer = self._chain.pop()
        self.parts._modules.popitem()
        self.graph, self.built, self._last = None, False, self._first
        if self._first is not None:
            for one in self._chain:
                self._append(one)
        return layer

    @property
    def layers(self) -> list[Layer]:
        """The layers in order, without the input."""
        return list(self._chain)

    def build(self, input_shape: Any) -> None:
        """Build for a shape of inputs.

        Parameters
        ----------
        input_shape
            Rows first, None for any number.
        """
        if self._first is not None or not self._chain:
            if not self._chain:
                raise checks.value_error("layers", "at least one", "none")
            return
        self._first = self._last = Input(batch_shape=(None, *input_shape[1:]), dtype=_dtype(self._chain[0]))
        for layer in self._chain:
            self._append(layer)

    def accepted(self, tensor: KerasTensor) -> tuple[int | None, ...]:
        """Return the sizes that values must have, see `Trained.accepted`: as in Keras any number of steps will do."""
        rows, *_, last = super().accepted(tensor)
        kept = last if len(tensor.shape) > 1 and self._chain and self._chain[0].fixes_features else None
        return (rows, *[None] * (len(tensor.shape) - 2), kept) if len(tensor.shape) > 1 else (rows,)

    def get_config(self) -> dict[str, Any]:
        """Return the layers and the input's shape as JSON values, see `Layer.get_config`."""
        first = self._first
        return {
            "name": self.name,
            "trainable": self._trainable,
            "input": None if first is None else registry.describe(first.node.layer),
            "layers": [registry.describe(layer) for layer in self._chain],
            **self._compile_config(),
        }

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """Build a model from what ``get_config`` returned, see `Layer.from_config`."""
        try:
            begin = [] if config["input"] is None else [registry.rebuild(config["input"])]
            layers = [*begin, *map(registry.rebuild, config["layers"])]
            model = Sequential(layers, name=config["name"], trainable=config["trainable"])
            if "compile" in config:
                model.compile(**config["compile"])
        except (KeyError, IndexError, AttributeError, RecursionError, AssertionError) as error:
            raise ValueError(f"model: expected layers one after the other, got {error!r}") from error
        return model


def _symbol(layer: InputLayer) -> KerasTensor:
    """Return the symbolic tensor of an input that was read from a configuration."""
    from fastseq.layers.symbolic import Node

    node = Node(layer, (), {})
    node.outputs = [KerasTensor(layer.batch_shape, layer.element, node, 0)]
    layer.nodes.append(node)
    return node.outputs[0]


def _dtype(layer: Layer) -> str:
    return "int64" if layer.takes_integers and not isinstance(layer, Model) else layer.dtype.name
