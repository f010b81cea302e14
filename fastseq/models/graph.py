"""The graph of a functional model: its calls of layers in order, and how values run through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastseq import checks
from fastseq.layers import InputLayer, Layer, registry
from fastseq.layers.flow import flat, nested
from fastseq.layers.symbolic import KerasTensor, Node, shapes_of


class Graph:
    """Everything between inputs and outputs.

    Parameters
    ----------
    inputs
        Symbolic tensors that values are given for.
    outputs
        Symbolic tensors that values are wanted of.

    Raises
    ------
    ValueError
        If an output depends on an input that is not given, or two layers share a name.
    """

    def __init__(self, inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]) -> None:
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        given = {id(tensor.node) for tensor in self.inputs}
        post_order, first_seen = self._walk(given)
        self.nodes, self.layers = _sorted(post_order, first_seen, [tensor.node for tensor in self.inputs])
        self.calls = [node for node in self.nodes if id(node) not in given]
        names: dict[str, Layer] = {}
        for layer in self.layers:
            if names.setdefault(layer.name, layer) is not layer:
                raise checks.value_error("layers", "names that differ", f"two layers named {layer.name!r}")

    def _walk(self, given: set[int]) -> tuple[list[Node], dict[int, int]]:
        """Return the nodes, those a node needs before it, and when each layer was first met."""
        done: list[Node] = []
        state: dict[int, int] = {}  # 1 when entered, 2 when done
        first_seen: dict[int, int] = {}
        for output in self.outputs:
            stack = [output.node]
            while stack:
                node = stack[-1]
                if not state.get(id(node)):
                    state[id(node)] = 1
                    first_seen.setdefault(id(node.layer), len(first_seen))
                    parents = [] if id(node) in given else [tensor.node for tensor in node.inputs]
                    if id(node) not in given and not parents:
                        raise checks.value_error(
                            "inputs", f"all that the outputs depend on, {node.layer.name!r} too", "others"
                        )
                    stack += [parent for parent in reversed(parents) if not state.get(id(parent))]
                else:
                    stack.pop()
                    if state[id(node)] == 1:
                        state[id(node)] = 2
                        done.append(node)
        return done, first_seen

    def run(self, values: Sequence[Any]) -> list[Any]:
        """Return the outputs' values.

        Parameters
        ----------
        values
            One per input.
        """
        known: dict[int, Any] = {id(tensor): value for tensor, value in zip(self.inputs, values, strict=True)}

        def value_of(item: Any) -> Any:
            return known[id(item)] if isinstance(item, KerasTensor) else item

        for node in self.calls:
            found = node.layer(*nested(node.args, value_of), **nested(node.kwargs, value_of))
            for tensor, value in zip(node.outputs, flat(found), strict=True):
                known[id(tensor)] = value
        return [known[id(tensor)] for tensor in self.outputs]

    def shapes(self, given: Sequence[Any]) -> list[Any]:
        """Return the outputs' shapes for inputs of other shapes than the graph's own.

        Parameters
        ----------
        given
            One per input.
        """
        if all(shape == tensor.shape for tensor, shape in zip(self.inputs, given, strict=True)):
            return [tensor.shape for tensor in self.outputs]
        known: dict[int, Any] = {id(tensor): shape for tensor, shape in zip(self.inputs, given, strict=True)}

        def shape_of(item: Any) -> Any:
            return known[id(item)] if isinstance(item, KerasTensor) else shapes_of(item)

        for node in self.calls:
            layer, more = node.layer, node.layer.shape_arguments(node.kwargs)
            arguments = [*node.args, *(node.kwargs[name] for name in more)]
            found = layer.outputs_for([nested(one, shape_of) for one in arguments], node.kwargs)
            for tensor, shape in zip(node.outputs, _shapes_in(found), strict=True):
                known[id(tensor)] = shape
        return [known[id(tensor)] for tensor in self.outputs]

    # -- as JSON values -----------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return the graph as JSON values."""
        place = {id(node): number for number, node in enumerate(self.nodes)}
        layer_place = {id(layer): number for number, layer in enumerate(self.layers)}

        def written(item: Any) -> Any:
            if isinstance(item, (list, tuple)):
                return {"list": [written(part) for part in item]}
            if isinstance(item, KerasTensor):
                return {"tensor": [place[id(item.node)], item.index]}
            if item is None or isinstance(item, (bool, int, float, str)):
                return {"value": item}
            raise checks.kind_error("model", "calls of layers with tensors and plain values, to be written", item)

        return {
            "layers": [registry.describe(layer) for layer in self.layers],
            "calls": [
                {
                    "layer": layer_place[id(node.layer)],
                    "args": [written(arg) for arg in node.args],
                    "kwargs": {name: written(value) for name, value in node.kwargs.items()},
                }
                for node in self.nodes
            ],
            "inputs": [place[id(tensor.node)] for tensor in self.inputs],
        }

    def places(self, tensors: Any) -> Any:
        """Return where symbolic tensors are: (node, output) pairs under ``"tensor"``, in their structure.

        Parameters
        ----------
        tensors
            Symbolic tensors of this graph, nested.
        """
        place = {id(node): number for number, node in enumerate(self.nodes)}
        return nested(tensors, lambda tensor: {"tensor": [place[id(tensor.node)], tensor.index]})


def _shapes_in(found: Any) -> list[Any]:
    """Return the shapes in nested lists, in order."""
    return [shape for one in found for shape in _shapes_in(one)] if isinstance(found, list) else [found]


def rebuilt(description: dict[str, Any]) -> list[Node]:
    """Build layers and call them again as described; return the calls.

    Parameters
    ----------
    description
        From ``Graph.describe``.
    """
    layers = [registry.rebuild(one) for one in description["layers"]]
    nodes: list[Node] = []

    def read(item: Any) -> Any:
        if "list" in item:
            return [read(part) for part in item["list"]]
        if "tensor" in item:
            number, index = item["tensor"]
            return nodes[number].outputs[index]
        return item["value"]

    for call in description["calls"]:
        layer = layers[call["layer"]]
        if isinstance(layer, InputLayer) and not call["args"]:
            node = Node(layer, (), {})
            node.outputs = [KerasTensor(layer.batch_shape, layer.element, node, 0)]
            layer.nodes.append(node)
        else:
            layer(*[read(arg) for arg in call["args"]], **{n: read(value) for n, value in call["kwargs"].items()})
        nodes.append(layer.nodes[-1])
    return nodes


def at(nodes: Sequence[Node], places: Any) -> Any:
    """Return the symbolic tensors at places from ``Graph.places``, in their structure.

    Parameters
    ----------
    nodes
        The calls.
    places
        Where they are.
    """
    if isinstance(places, list):
        return [at(nodes, place) for place in places]
    if set(places) == {"tensor"}:
        number, index = places["tensor"]
        return nodes[number].outputs[index]
    return {name: at(nodes, place) for name, place in places.items()}


def _sorted(post_order: list[Node], first_seen: dict[int, int], inputs: list[Node]) -> tuple[list[Node], list[Layer]]:
    """Return nodes and layers in Keras's order: by their distance from the outputs, the furthest first."""
    depth = {id(node): 0 for node in [*post_order, *inputs]}
    layer_depth: dict[int, int] = {}
    for node in reversed(post_order):
        own = max(depth[id(node)], layer_depth.get(id(node.layer), 0))
        depth[id(node)] = layer_depth[id(node.layer)] = own
        for tensor in node.inputs:
            if id(tensor.node) in depth:
                depth[id(tensor.node)] = max(depth[id(tensor.node)], own + 1)
    unused = [node for node in inputs if all(node is not other for other in post_order)]
    layers = {id(node.layer): node.layer for node in [*post_order, *unused]}
    for node in unused:
        layer_depth[id(node.layer)] = 0
        first_seen.setdefault(id(node.layer), len(first_seen))
    ordered = sorted(layers.values(), key=lambda layer: (-layer_depth[id(layer)], first_seen[id(layer)]))
    number = {id(node): k for k, node in enumerate([*unused, *post_order])}
    return sorted([*unused, *post_order], key=lambda node: (-depth[id(node)], number[id(node)])), ordered
