"""Model: layers put together, trained and used the way Keras does it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd import ops
from fastseq.layers import Layer, registry
from fastseq.layers.flow import flat, flow, in_order, mask_of, nested
from fastseq.layers.naming import name_for
from fastseq.layers.symbolic import KerasTensor, symbolic_in
from fastseq.models.arrays import array_of, listed, shaped
from fastseq.models.graph import Graph, at, rebuilt
from fastseq.models.summary import summary_of
from fastseq.models.trained import Trained
from fastseq.nn import Module


class _Holder(Module):
    """Holds a model's layers by number, so that files of weights fit every model of the same layers."""


class Model(Trained):
    """A model between symbolic inputs and outputs; or, without them, of a class that writes ``call``.

    Parameters
    ----------
    inputs
        What ``Input`` returned, or a list or dict of such.
    outputs
        What layers returned for them, or a list or dict of such.
    **options
        ``name``, ``trainable``.
    """

    supports_masking = True
    takes_integers = True
    uses_lengths = True

    parts: _Holder

    def __init__(self, inputs: Any = None, outputs: Any = None, **options: Any) -> None:
        if options.get("name") is None and inputs is not None:
            options["name"] = name_for("Functional", None)
        super().__init__(**options)
        self.parts = _Holder()
        self.graph: Graph | None = None
        self._input_structure: Any = None
        self._output_structure: Any = None
        self._fixed_rows = False
        if inputs is None and outputs is None:
            return
        for name, given in (("inputs", inputs), ("outputs", outputs)):
            if not flat(given) or len(symbolic_in(given)) != len(flat(given)):
                raise checks.kind_error(name, "symbolic tensors, from Input and from layers called on them", given)
        self._connect(inputs, outputs)

    def _connect(self, inputs: Any, outputs: Any) -> None:
        """Become the model between symbolic tensors."""
        inputs, outputs = in_order(inputs), in_order(outputs)
        graph = self.graph = Graph(flat(inputs), flat(outputs))
        inner = [module for layer in graph.layers for module in layer.modules()]
        self._fixed_rows = any(getattr(module, "stateful", False) is True for module in inner)
        self._input_structure, self._output_structure = inputs, outputs
        self.parts._modules.clear()
        for layer in graph.layers:
            self.parts._modules[str(len(self.parts._modules))] = layer
        self.built = True
        if not self._trainable:
            self.trainable = False

    # -- what it is made of -------------------------------------------------------------------------------------

    @property
    def layers(self) -> list[Layer]:
        """The layers in Keras's order."""
        if self.graph is not None:
            return list(self.graph.layers)
        return [child for child in self.children() if isinstance(child, Layer)]

    @property
    def sublayers(self) -> list[Layer]:
        """The layers inside, see `Layer.sublayers`."""
        return self.layers

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by name or number.

        Parameters
        ----------
        name
            Its name.
        index
            Its number.
        """
        if index is not None:
            return self.layers[checks.integer("index", index, -len(self.layers), len(self.layers) - 1)]
        names = {layer.name: layer for layer in self.layers}
        return names[checks.choice("name", name, names)]

    @property
    def inputs(self) -> list[KerasTensor]:
        """The symbolic inputs."""
        return [] if self.graph is None else list(self.graph.inputs)

    @property
    def outputs(self) -> list[KerasTensor]:
        """The symbolic outputs."""
        return [] if self.graph is None else list(self.graph.outputs)

    @property
    def input(self) -> Any:
        """The symbolic input, or several in their structure."""
        return self._input_structure

    @property
    def output(self) -> Any:
        """The symbolic output, or several in their structure."""
        return self._output_structure

    @property
    def input_shape(self) -> Any:
        """The shape of the input; a list for several."""
        shapes = [tensor.shape for tensor in self.inputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_shape(self) -> Any:
        """The shape of the output; a list for several."""
        shapes = [tensor.shape for tensor in self.outputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs."""
        return [tensor.name for tensor in self.inputs] or ["x"]

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs: those of a dict, or of the layers that give them."""
        if isinstance(self._output_structure, dict):
            return [str(name) for name in self._output_structure]
        return [tensor.name for tensor in self.outputs] or ["output"]

    # -- building and calling -----------------------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Build the layers of a class of yours, by calling it on zeros.

        Parameters
        ----------
        input_shape
            The input's shape, rows first; a list for several.
        """
        if self.graph is None:
            self.built = True
            self._probe((input_shape,), 1)
            self.reset_states()

    def build_from(self, *shapes: Any) -> None:
        """Take it as built, see `Layer.build_from`: the layers of a class of yours are built by the call to come.

        Parameters
        ----------
        *shapes
            Shapes of the arguments of a call.
        """
        if type(self).build is not Model.build:
            super().build_from(*shapes)
        elif not self.built:
            self._built_from, self.built = shapes, True
            self.settle()

    def forward(  # type: ignore[override]
        self, *args: Any, lengths: Any = None, mask: Any = None, training: bool | None = None, **options: Any
    ) -> Any:
        """Return the outputs for values.

        Parameters
        ----------
        *args
            The input: an array, or a list or dict of arrays.
        lengths
            Valid steps per row, integers (B,), instead of a mask.
        mask
            Which steps count, bools (B, T).
        training
            Whether there is noise; None leaves it to ``train()`` and ``eval()``.
        **options
            Further arguments of ``call``, for a class of yours.
        """
        if lengths is not None:
            first = array_of("x", flat(args)[0])
            valid = checks.lengths("lengths", getattr(lengths, "_data", lengths), *first.shape[:2])
            mask = np.arange(first.shape[1]) < valid[:, None]
        return super().forward(*args, mask=mask, training=training, **options)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return the outputs.

        Parameters
        ----------
        inputs
            A Tensor, or a list or dict of Tensors.
        mask
            Which steps of the (first) input count, or None.
        """
        if self.graph is None:
            return super().call(inputs)
        values = self._flat_inputs("inputs", inputs)
        masks = mask if isinstance(mask, list) else [mask]
        for k, (value, one) in enumerate(zip(values, masks, strict=False)):
            if one is not None and mask_of(value) is None:
                values[k] = flow(value, one)
        for k, (tensor, value) in enumerate(zip(self.graph.inputs, values, strict=True)):
            found = shaped(f"{self.name}: {tensor.name}", value._data, tensor.shape, self.accepted(tensor))
            if found.shape != value.shape:
                values[k] = ops.reshape(value, found.shape)
        return self._packed(self.graph.run(values))

    def accepted(self, tensor: KerasTensor) -> tuple[int | None, ...]:
        """Return the sizes that values must have, see `Trained.accepted`: a number of rows for stateful layers only."""
        return tensor.shape if self._fixed_rows else (None, *tensor.shape[1:])

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return None; the outputs bring their masks with them."""

    def _marked(self, found: Any, masks: Any) -> Any:
        return found if self.graph is not None else super()._marked(found, masks)

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        if self.graph is None:
            return super().compute_output_shape(*shapes)
        found = self.graph.shapes(self._input_shapes(shapes[0] if shapes else None))
        return found if isinstance(self._output_structure, (list, tuple, dict)) else found[0]

    def _input_shapes(self, given: Any) -> list[Any]:
        """Return one shape per input for what the model is called on, or raise ValueError where one does not fit."""
        inputs = self.inputs
        if given is None:
            return [tensor.shape for tensor in inputs]
        if isinstance(given, dict):
            given = [given[name] for name in self._input_structure]
        several = isinstance(given, list) or (given and isinstance(given[0], (list, tuple)))
        shapes = [tuple(shape) for shape in given] if several else [tuple(given)]
        if len(shapes) != len(inputs):
            raise checks.value_error(f"{self.name}: inputs", f"{len(inputs)}", f"{len(shapes)}")
        found = []
        for tensor, shape in zip(inputs, shapes, strict=True):
            own = tensor.shape
            if abs(len(shape) - len(own)) == 1 and (shape if len(shape) > len(own) else own)[-1] == 1:
                shape = (shape[0], *own[1:])  # an axis of length 1 may be missing, or too many
            pairs = zip(shape[1:], own[1:], strict=False)
            if len(shape) != len(own) or any(None not in pair and pair[0] != pair[1] for pair in pairs):
                raise checks.value_error(f"{self.name}: {tensor.name}", f"shape {own}", f"{shape}")
            found.append(shape)
        return found

    def _flat_inputs(self, argument: str, x: Any) -> list[Any]:
        structure = self._input_structure
        if self.graph is None and isinstance(x, (list, tuple)) and all(hasattr(one, "shape") for one in x):
            return list(x)  # a class of the user's that takes several inputs
        if isinstance(x, dict) and isinstance(structure, dict):
            return listed(argument, x, [str(name) for name in structure])
        return listed(argument, x, self.input_names)

    def _packed(self, values: Sequence[Any]) -> Any:
        """Return one value per output in the structure of the outputs."""
        if self.graph is None:
            return super()._packed(values)
        queue = iter(values)
        return nested(self._output_structure, lambda _: next(queue))

    # -- telling and keeping ------------------------------------------------------------------------------------

    def summary(
        self, line_length: int | None = None, positions: Any = None, print_fn: Any = None, expand_nested: bool = False,
        show_trainable: bool = False, layer_range: Any = None,
    ) -> None:  # fmt: skip
        """Print a table of the layers: type, output shape, number of parameters.

        Parameters
        ----------
        line_length
            The table's width.
        positions
            Without an effect.
        print_fn
            What is called with the text instead of ``print``.
        expand_nested, show_trainable, layer_range
            Without an effect.
        """
        (print if print_fn is None else print_fn)(summary_of(self, line_length))

    def save(self, path: Any) -> None:
        """Write the model to a file, for ``models.load_model`` and ``fastseq.load``.

        Parameters
        ----------
        path
            Where to; a safetensors file.
        """
        from fastseq import persistence

        persistence.save(self, path)

    def save_weights(self, path: Any) -> None:
        """Write the weights to a file.

        Parameters
        ----------
        path
            Where to; a safetensors file.
        """
        from fastseq import persistence

        persistence.save_state(self, path)

    def load_weights(self, path: Any) -> None:
        """Read the weights from a file.

        Parameters
        ----------
        path
            What ``save_weights`` or ``save`` wrote.
        """
        from fastseq import persistence

        persistence.load_state(self, path)

    def to_json(self, **options: Any) -> str:
        """Return layers and connections, without weights, as JSON for ``models.model_from_json``.

        Parameters
        ----------
        **options
            Of ``json.dumps``.
        """
        return json.dumps(registry.describe(self), **options)

    def get_config(self) -> dict[str, Any]:
        """Return layers and connections as JSON values, see `Layer.get_config`."""
        found: dict[str, Any] = {"name": self.name, "trainable": self._trainable}
        if self.graph is None:
            raise TypeError(f"{self.name}: expected a model made of inputs and outputs, got a class of yours")
        found |= self.graph.describe()
        found["input_structure"] = self.graph.places(self._input_structure)
        found["output_structure"] = self.graph.places(self._output_structure)
        return found | self._compile_config()

    def _compile_config(self) -> dict[str, Any]:
        found = None if self.compiled is None else self.compiled.config()
        return {} if found is None else {"compile": found}

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """Build a model from what ``get_config`` returned, see `Layer.from_config`."""
        try:
            nodes = rebuilt(config)
            inputs, outputs = at(nodes, config["input_structure"]), at(nodes, config["output_structure"])
            model = Model(inputs, outputs, name=config["name"], trainable=config["trainable"])
            if "compile" in config:
                model.compile(**config["compile"])
        except (KeyError, IndexError, AttributeError, RecursionError, AssertionError) as error:
            raise ValueError(f"model: expected layers and connections, got {error!r}") from error
        return model
