"""Symbolic tensors: shapes without values, by which the functional face remembers how layers were put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastseq import checks
from fastseq.layers.flow import flat, nested

if TYPE_CHECKING:
    from fastseq.layers.layer import Layer

Shape = tuple[int | None, ...]


class KerasTensor:
    """The output of a layer in a model that is being put together.

    Parameters
    ----------
    shape
        Sizes, rows first; None for what is known only when there are data.
    dtype
        The name of the element type.
    node
        The call of a layer that gives it.
    index
        Which of the call's outputs it is.
    """

    def __init__(self, shape: Shape, dtype: str, node: Node, index: int) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype
        self.node = node
        self.index = index

    @property
    def name(self) -> str:
        """The name of the layer that gives it."""
        return self.node.layer.name

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __add__(self, other: Any) -> Any:
        """Return the sum."""
        from fastseq.layers import merging, operations

        return (
            merging.Add()([self, other]) if isinstance(other, KerasTensor) else operations.operate("add", self, other)
        )

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        """Return the product."""
        from fastseq.layers import merging, operations

        both = isinstance(other, KerasTensor)
        return merging.Multiply()([self, other]) if both else operations.operate("multiply", self, other)

    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Any:
        """Return the difference."""
        return self._operate("subtract", other)

    def __rsub__(self, other: Any) -> Any:
        """Return the difference."""
        return self._operate("subtract", other, True)

    def __truediv__(self, other: Any) -> Any:
        """Return the quotient."""
        return self._operate("divide", other)

    def __rtruediv__(self, other: Any) -> Any:
        """Return the quotient."""
        return self._operate("divide", other, True)

    def __pow__(self, other: Any) -> Any:
        """Return the power."""
        return self._operate("power", other)

    def __neg__(self) -> Any:
        """Return the tensor with the other sign."""
        return self._operate("multiply", -1.0)

    def _operate(self, operation: str, other: Any, reflected: bool = False) -> Any:
        from fastseq.layers.operations import operate

        return operate(operation, self, other, reflected)

    def __getitem__(self, key: Any) -> Any:
        """Return a part."""
        from fastseq.layers.operations import GetItem

        return GetItem(key)(self)

    def __iter__(self) -> Any:
        """Say that there are no values to go through."""
        raise checks.kind_error("x", "values (a symbolic tensor cannot be gone through: index it)", self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Say that there are no values."""
        raise checks.kind_error("x", "values (a symbolic tensor is for layers and models only)", self)

    def __repr__(self) -> str:
        """Show shape and dtype."""
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, from={self.name}>"


class Node:
    """One call of a layer on symbolic tensors.

    Parameters
    ----------
    layer
        The layer.
    args, kwargs
        Its arguments, with symbolic tensors in them.
    """

    def __init__(self, layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.layer = layer
        self.args = args
        self.kwargs = kwargs
        self.outputs: Any = None

    @property
    def inputs(self) -> list[KerasTensor]:
        """The symbolic tensors among the arguments, in order."""
        return symbolic_in((self.args, self.kwargs))


def symbolic_in(x: Any) -> list[KerasTensor]:
    """Return the symbolic tensors among nested items.

    Parameters
    ----------
    x
        Items.
    """
    return [item for item in flat(x) if isinstance(item, KerasTensor)]


def shapes_of(x: Any) -> Any:
    """Return the shapes of items in their structure; None for what has none.

    Parameters
    ----------
    x
        Symbolic tensors, Tensors, arrays; nested.
    """
    return nested(x, lambda item: None if getattr(item, "shape", None) is None else tuple(item.shape))


def call(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a layer's outputs for symbolic tensors, and remember the call.

    Parameters
    ----------
    layer
        The layer.
    args, kwargs
        Its arguments.

    Returns
    -------
    KerasTensor, or a list of KerasTensor
    """
    node = Node(layer, args, kwargs)
    shapes = [shapes_of(arg) for arg in args] + [shapes_of(kwargs[name]) for name in layer.shape_arguments(kwargs)]
    if not layer.built:
        layer.build_from(*shapes)
    layer.check_features(shapes)
    found = layer.outputs_for(shapes, kwargs)
    outputs: list[KerasTensor] = []

    def output(shape: Any) -> Any:
        if isinstance(shape, list):
            return [output(one) for one in shape]
        outputs.append(KerasTensor(shape, str(layer.dtype), node, len(outputs)))
        return outputs[-1]

    out = output(found)
    node.outputs = outputs
    layer.nodes.append(node)
    return out
