"""What layers keep: weights in Keras's order and layout, and the penalties and limits that are put on them."""

from __future__ import annotations

from functools import reduce
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers import constraints, initializers, regularizers
from fastseq.layers.flow import flat
from fastseq.layers.weights import Weight, stored_as
from fastseq.nn import Module, Parameter


class Weighted(Module):
    """The half of a layer that is about weights; `Layer` is the half that is about shapes and calls."""

    name: str
    dtype: np.dtype[Any]
    built: bool
    weights_built: list[Weight]
    _trainable: bool
    #: What calls added to the loss.
    added: list[Tensor]
    #: Whether any layer ever added to a loss: as long as none did, there is nothing to forget.
    any_added: ClassVar[bool] = False

    def add_weight(
        self, shape: Any = (), initializer: Any = None, dtype: Any = None, trainable: bool = True,
        autocast: bool = True, regularizer: Any = None, constraint: Any = None, aggregation: Any = None,
        name: str | None = None,
    ) -> Parameter:  # fmt: skip
        """Make a weight of a layer of your own.

        Parameters
        ----------
        shape
            Its shape.
        initializer
            A name or an initialiser; glorot_uniform if None.
        dtype
            The layer's if None.
        trainable
            Whether it learns.
        autocast
            Without an effect.
        regularizer
            A penalty, or None.
        constraint
            A limit, or None.
        aggregation
            Without an effect.
        name
            Its name.

        Returns
        -------
        Parameter
            To be set as an attribute.
        """
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        parameter = Parameter(np.zeros(sizes, self.dtype if dtype is None else checks.float_dtype("dtype", dtype)))
        parameter.requires_grad = checks.boolean("trainable", trainable)
        drawn = initializers.get("initializer", "glorot_uniform" if initializer is None else initializer)
        count = len(self.weights_built)
        label = name or (f"weight_{count}" if count else "weight")
        found = stored_as(label, parameter, drawn, regularizers.get("regularizer", regularizer))
        found.constraint = constraints.get("constraint", constraint)
        self.weights_built.append(found)
        if self.built:
            found.initialize()
        return parameter

    def add_loss(self, loss: Any) -> None:
        """Add to the loss of the model that this layer is a part of; to be called in ``call``.

        Parameters
        ----------
        loss
            A scalar Tensor, or several.
        """
        Weighted.any_added = True
        self.added += [one if isinstance(one, Tensor) else Tensor(np.asarray(one, self.dtype)) for one in flat(loss)]

    def forget_losses(self) -> None:
        """Forget what was added to the loss in calls before; a call of the outermost layer does so."""
        if Weighted.any_added:
            self.added = []
            for layer in self.sublayers:
                layer.forget_losses()

    @property
    def sublayers(self) -> list[Any]:
        """The layers inside, whose weights come after its own."""
        return [child for child in self.children() if isinstance(child, Weighted)]

    @property
    def weights(self) -> list[Weight]:
        """The weights in Keras's order."""
        found = [*self.weights_built, *(weight for layer in self.sublayers for weight in layer.weights)]
        return list({id(weight): weight for weight in found}.values())

    @property
    def trainable_weights(self) -> list[Weight]:
        """The weights that learn."""
        return [weight for weight in self.weights if weight.trainable]

    @property
    def non_trainable_weights(self) -> list[Weight]:
        """The weights that do not."""
        return [weight for weight in self.weights if not weight.trainable]

    @property
    def variables(self) -> list[Weight]:
        """The weights, as Keras's older name has it."""
        return self.weights

    @property
    def trainable_variables(self) -> list[Weight]:
        """The weights that learn."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Weight]:
        """The weights that do not."""
        return self.non_trainable_weights

    def get_weights(self) -> list[NDArray[Any]]:
        """Return copies of the weights, in Keras's order and layout."""
        return [weight.numpy() for weight in self.weights]

    def set_weights(self, weights: Any) -> None:
        """Set the weights; none if anything does not fit.

        Parameters
        ----------
        weights
            Arrays in the order and layout of ``get_weights``, which are Keras's.

        Raises
        ------
        ValueError
            If their number or a shape differs.
        """
        own, given = self.weights, list(weights)
        if len(own) != len(given):
            hint = "" if self.built else f" ({self.name} has not been built yet: it has seen no shape)"
            raise checks.value_error("weights", f"{len(own)} arrays{hint}", f"{len(given)}")
        for weight, value in zip(own, given, strict=True):
            if np.shape(value) != weight.shape:
                raise checks.value_error(weight.path, f"shape {weight.shape}", f"shape {np.shape(value)}")
        for weight, value in zip(own, given, strict=True):
            weight.assign(value)

    def count_params(self) -> int:
        """Return how many numbers the weights hold."""
        return sum(int(np.prod(weight.shape)) for weight in self.weights)

    @property
    def trainable(self) -> bool:
        """Whether the weights learn; setting it holds for the layers inside, too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = checks.boolean("trainable", value)
        for layer in self.sublayers:
            layer.trainable = self._trainable
        for weight in self.weights_built:
            for parameter in weight.parameters if weight.learns else ():
                parameter.requires_grad = self._trainable

    @property
    def losses(self) -> list[Tensor]:
        """What the last call added to the loss, and the penalties on the weights that learn, one per weight."""
        found = self._added()
        for weight in self.weights:
            if weight.regularizer is not None and weight.trainable:
                parts = [weight.regularizer(one) for one in weight.parameters if one.requires_grad]
                found.append(reduce(ops.add, parts))
        return found

    def _added(self) -> list[Tensor]:
        found = list(self.added)
        for layer in self.sublayers:
            found += layer._added()
        return found
