"""A layer's weights as Keras lays them out, read from and written to the parameters of the modules below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.nn import Parameter

Array = NDArray[Any]
Initializer = Callable[..., Any]


class Weight:
    """One entry of ``layer.weights``.

    Parameters
    ----------
    label
        Keras's name, behind that of the part it belongs to: ``"kernel"``, ``"lstm_cell/bias"``, ...
    parameters
        What holds the values, and learns.
    read
        Returns the values in Keras's layout.
    write
        Takes values in Keras's layout.
    initializer
        What draws the first values.
    regularizer
        What is added to the loss: a function of a Tensor; or None.
    """

    def __init__(
        self,
        label: str,
        parameters: Sequence[Parameter],
        read: Callable[[], Array],
        write: Callable[[Array], None],
        initializer: Initializer,
        regularizer: Callable[[Any], Tensor] | None = None,
    ) -> None:
        self.label = self.path = label
        self.name = label.rpartition("/")[2]
        self.parameters = tuple(parameters)
        self.initializer = initializer
        self.regularizer = regularizer
        #: What brings the values back into their limits after a step of the optimiser, or None.
        self.constraint: Callable[[Array], Any] | None = None
        #: Returns a Tensor in Keras's layout by which the weight learns, where there is one.
        self.tensor: Callable[[], Tensor] | None = None
        #: Whether it learns where its layer does.
        self.learns = any(parameter.requires_grad for parameter in self.parameters)
        self._read = read
        self._write = write
        found = read()
        self.shape, self.dtype = found.shape, found.dtype

    @property
    def trainable(self) -> bool:
        """Whether it learns."""
        return any(parameter.requires_grad for parameter in self.parameters)

    @property
    def value(self) -> Array:
        """A copy of the values in Keras's layout."""
        return self.numpy()

    def initialize(self) -> None:
        """Draw the values."""
        self.assign(self.initializer(self.shape, self.dtype))

    def constrain(self) -> None:
        """Bring the values back into their limits, if there are any."""
        if self.constraint is not None and self.trainable:
            self.assign(np.asarray(self.constraint(self.numpy())))

    def numpy(self) -> Array:
        """Return a copy of the values in Keras's layout."""
        return np.array(self._read(), order="C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return the values for ``np.asarray``."""
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def assign(self, value: Any) -> None:
        """Set the values.

        Parameters
        ----------
        value
            An array of the weight's shape.

        Raises
        ------
        ValueError
            If the shape differs.
        """
        found = value._data if isinstance(value, Tensor) else np.asarray(value)
        if found.dtype.kind not in "fiu":
            raise checks.kind_error(self.path, "numbers", found)
        if found.shape != self.shape:
            raise checks.value_error(self.path, f"shape {self.shape}", found)
        self._write(found.astype(self.dtype, copy=False))

    def __repr__(self) -> str:
        """Show name and shape."""
        return f"<Weight path={self.path}, shape={self.shape}, dtype={self.dtype}>"


def stored_as(
    name: str, parameter: Parameter, initializer: Initializer, regularizer: Any = None, *,
    axes: Sequence[int] | None = None, shape: Sequence[int] | None = None,
) -> Weight:  # fmt: skip
    """Return a weight that one parameter holds.

    Parameters
    ----------
    name
        Keras's name.
    parameter
        The parameter.
    initializer, regularizer
        As in `Weight`.
    axes
        The order of the parameter's axes in Keras's layout; None if it is the same.
    shape
        Keras's shape, where it differs from that of the parameter with its axes in order.
    """
    order = tuple(range(parameter._data.ndim)) if axes is None else tuple(axes)
    back = tuple(int(i) for i in np.argsort(order))
    turned = parameter._data.transpose(order).shape
    final = turned if shape is None else tuple(shape)

    def write(value: Array) -> None:
        parameter.data = value.reshape(turned).transpose(back)

    def read() -> Array:
        return parameter._data.transpose(order).reshape(final)

    found = Weight(name, [parameter], read, write, initializer, regularizer)
    found.tensor = lambda: ops.reshape(ops.permute(parameter, order), final)
    return found


def gamma_and_beta(layer: Any, norm: Any) -> list[Weight]:
    """Return the weights that scale and shift what a normalisation gives.

    Parameters
    ----------
    layer
        Keras's: whether it has a ``scale``, initialisers and regularisers.
    norm
        The module, whose weight is ones that do not learn where only beta is wanted.
    """
    found = []
    if norm.weight is not None and layer.scale:
        found.append(stored_as("gamma", norm.weight, layer.gamma_initializer, layer.gamma_regularizer))
    elif norm.weight is not None:
        norm.weight.requires_grad = False  # ones, and no weight of Keras's
    if norm.bias is not None:
        found.append(stored_as("beta", norm.bias, layer.beta_initializer, layer.beta_regularizer))
    return found
