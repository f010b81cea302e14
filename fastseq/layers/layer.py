"""Layer: what Keras's layers share, as a Module whose children are modules of ``fastseq.nn``."""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar, TypeVar

import numpy as np

from fastseq import checks
from fastseq.autograd import no_grad, ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers import constraints, initializers, regularizers, symbolic
from fastseq.layers.arguments import input_shape, placed, whole, zeros
from fastseq.layers.flow import Flow, flat, flow, mask_of, nested
from fastseq.layers.naming import name_for
from fastseq.layers.weighted import Weighted
from fastseq.layers.weights import Weight
from fastseq.nn import init

L = TypeVar("L", bound="Layer")
#: Whether a layer is being called, and calls others, in this thread.
_here = threading.local()
#: Keras's arguments that change nothing here: kernels are always fused, and there is one implementation.
_WITHOUT_EFFECT = ("implementation", "input_length", "flash_attention")
#: Keras's arguments that are understood in their default only.
_DEFAULT_ONLY: dict[str, Any] = {
    "autocast": True,
    "data_format": "channels_last",
    "attention_axes": None,
    "sliding_window": None,
    "use_gate": False,
    "rms_scaling": False,
    "sparse": False,
    "ragged": False,
    "lora_rank": None,
    "quantization_config": None,
    "synchronized": False,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
}


#: Attributes that are no place for layers of a class of the user's.
_NO_HOLDERS = ("_modules", "_parameters", "_buffers", "_chain", "nodes", "weights_built", "added")


class Layer(Weighted):
    """Base class of Keras's layers: built when it first sees a shape, called with masks, and weights in Keras's layout.

    A layer of your own writes ``call(self, inputs)`` over Tensors, and ``build(self, input_shape)`` if it has weights
    (``self.add_weight``) or layers that need a shape.

    Parameters
    ----------
    name
        Its name; by default its class's with a number.
    trainable
        Whether its weights learn.
    dtype
        float32 (the default) or float64.
    activity_regularizer
        A penalty on the outputs, per row, or None.
    **options
        ``input_shape`` (and ``batch_input_shape``) without rows, for the first layer of a Sequential;
        ``kernel_constraint`` and the like, limits of the weights that an initialiser is named for. Arguments of Keras's
        that have no effect here are accepted; others are refused.
    """

    #: Names of the constructor's arguments that ``get_config`` writes down.
    arguments: ClassVar[tuple[str, ...]] = ()
    #: Whether masks of the input are handed on to the output.
    supports_masking: ClassVar[bool] = False
    #: Whether what it is built for fixes the size of the input's last axis.
    fixes_features: ClassVar[bool] = False
    #: Whether inputs keep their integers.
    takes_integers: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Let ``layer.build(shape)`` build, also where a class of the user's writes it."""
        super().__init_subclass__(**options)
        if "build" in cls.__dict__:
            cls.build = whole(cls.__dict__["build"])  # type: ignore[method-assign]

    def __init__(
        self, *, name: str | None = None, trainable: bool = True, dtype: Any = None, activity_regularizer: Any = None,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self._building = False
        self.given_input_shape = input_shape(options)
        self.activity_regularizer = regularizers.get("activity_regularizer", activity_regularizer)
        self._limit(options)
        self._refuse(options)
        self.name = name_for(type(self).__name__, name)
        self.dtype = checks.float_dtype("dtype", np.float32 if dtype is None else dtype)
        self.built = False
        self.weights_built: list[Weight] = []
        self.added: list[Tensor] = []
        self.nodes: list[symbolic.Node] = []
        self.noise: np.random.Generator | None = None
        self._built_from: tuple[Any, ...] = ()
        self._trainable = checks.boolean("trainable", trainable)
        self.__dict__["training"] = False  # as in Keras: noise only where training is asked for

    def _limit(self, options: dict[str, Any]) -> None:
        """Take the limits of weights out of the constructor's further arguments."""
        for argument in self.arguments:
            if argument.endswith("_initializer"):
                name = argument.replace("_initializer", "_constraint")
                setattr(self, name, constraints.get(name, options.pop(name, None)))

    def _refuse(self, options: dict[str, Any]) -> None:
        """Raise for arguments that mean something in Keras, or nothing at all, and are not supported."""
        constructors = [inspect.signature(kind.__init__) for kind in type(self).__mro__ if issubclass(kind, Layer)]
        named = [name for found in constructors for name in found.parameters if name not in ("self", "options")]
        supported = list(dict.fromkeys(named))
        for name, value in options.items():
            if name in _WITHOUT_EFFECT:
                continue
            if name in _DEFAULT_ONLY:
                default = _DEFAULT_ONLY[name]
                if value is not None and value != default:
                    raise checks.value_error(
                        f"{type(self).__name__}: {name}", f"{default!r}, which is supported", value
                    )
                continue
            raise TypeError(f"{type(self).__name__}: expected arguments among {', '.join(supported)}, got {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; layers in lists, tuples and dicts are the layer's own, too, as in Keras."""
        holds = isinstance(value, (list, tuple, dict)) and any(isinstance(one, Layer) for one in flat(value))
        if isinstance(value, Layer):
            self.adopt()  # what was appended to lists before comes before
        super().__setattr__(name, value)
        if holds:
            self.adopt()

    def adopt(self) -> None:
        """Take the layers in lists, tuples and dicts among the attributes as the layer's own."""
        if self.__dict__.get("graph") is not None or "weights_built" not in self.__dict__:
            return
        known = {id(module) for module in self._modules.values()}
        for name, value in list(self.__dict__.items()):
            if name not in _NO_HOLDERS and isinstance(value, (list, tuple, dict)):
                for number, layer in enumerate(one for one in flat(value) if isinstance(one, Layer)):
                    if id(layer) not in known:
                        known.add(id(layer))
                        self._modules[f"{name}_{number}"] = layer

    # -- what subclasses write ----------------------------------------------------------------------------------

    @whole
    def build(self, input_shape: Any) -> None:
        """Make the modules and weights.

        Parameters
        ----------
        input_shape
            The first argument's shape, rows first (None where unknown), or a list of such.
        """

    def call(self, inputs: Any, *more: Any, **options: Any) -> Any:
        """Return the outputs.

        Parameters
        ----------
        inputs
            A Tensor, or a list of Tensors.
        *more
            Further inputs.
        **options
            ``mask`` and ``training``, for a layer whose ``call`` names them, and what the caller gives.
        """
        raise TypeError(f"{type(self).__name__}: expected a class with a call method, got one without")

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the output (a list of them for several outputs).

        Parameters
        ----------
        inputs
            What the layer was given.
        mask
            The mask of that.
        """
        return mask if self.supports_masking and not isinstance(mask, list) else None

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the output's shape, or a list of shapes.

        Parameters
        ----------
        *shapes
            Shapes of the arguments.
        """
        found = [self._probe(shapes, size) for size in (2, 3)]
        shapes_found = [
            tuple(None if a != b else a for a, b in zip(one, other, strict=True))
            for one, other in zip(*found, strict=True)
        ]
        return shapes_found[0] if len(shapes_found) == 1 else shapes_found

    def _probe(self, shapes: Any, size: int) -> list[tuple[int, ...]]:
        """Return the output's shapes for zeros, with ``size`` for what is not known."""
        values = [zeros(shape, size, self.dtype) for shape in shapes if shape is not None]
        with no_grad():
            return [tuple(out.shape) for out in flat(self.forward(*values))]

    def outputs_for(self, shapes: Any, options: dict[str, Any]) -> Any:
        """Return the output's shape, or a list of shapes, for a call with keyword arguments.

        Parameters
        ----------
        shapes
            Shapes of the arguments.
        options
            The keyword arguments.
        """
        return self.compute_output_shape(*shapes)

    def shape_arguments(self, options: dict[str, Any]) -> list[str]:
        """Return names of keyword arguments whose shapes ``build`` and ``compute_output_shape`` want.

        Parameters
        ----------
        options
            The keyword arguments of a call.
        """
        return []

    def check_features(self, shapes: Any) -> None:
        """Raise ValueError if a shape has another last axis than that which the layer was built for.

        Parameters
        ----------
        shapes
            Shapes of the arguments of a call.
        """
        if self.fixes_features and self._built_from and shapes:
            wanted, found = self._built_from[0], shapes[0]
            if found and wanted and found[-1] is not None and found[-1] != wanted[-1]:
                expected = f"a last axis of {wanted[-1]}, which it was built for"
                raise checks.value_error(f"{self.name}: input shape", expected, f"{tuple(found)}")

    # -- building -----------------------------------------------------------------------------------------------

    def build_from(self, *shapes: Any) -> None:
        """Build, unless that has been done, with as many shapes as ``build`` takes.

        Parameters
        ----------
        *shapes
            Shapes of the arguments of a call.
        """
        self.build(*shapes[: len(inspect.signature(self.build).parameters)])

    def settle(self) -> None:
        """Draw the weights made since, and bring new modules in line with the layer's mode."""
        self.adopt()
        for weight in self.weights_built:
            weight.path = f"{self.name}/{weight.label}"
            limit = f"{weight.name.removesuffix('_kernel')}_constraint"
            weight.constraint = weight.constraint or self.__dict__.get(limit)
            if not init.is_rebuilding():
                weight.initialize()
        for child in self.children():
            if not isinstance(child, Layer):
                child.train(self.training)
        if not self._trainable:
            self.trainable = False

    # -- calling ------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return outputs for values, or symbolic outputs for symbolic tensors."""
        args, kwargs = placed(self, args, kwargs)
        if symbolic.symbolic_in((args, kwargs)):
            return symbolic.call(self, args, kwargs)
        return super().__call__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Look up weights by Keras's names too, such as ``dense.kernel``: in ``call`` a Tensor, whose weight learns."""
        if name not in self.__dict__.get("_parameters", ()):  # add_weight's stand there under the user's names
            for weight in self.__dict__.get("weights_built", ()):
                if weight.label == name:
                    inside = weight.tensor is not None and getattr(_here, "inside", False)
                    return weight.tensor() if inside else weight
            if name == "bias" and self.__dict__.get("built") and self.__dict__.get("use_bias") is False:
                return None
        return super().__getattr__(name)

    def forward(self, *args: Any, mask: Any = None, training: bool | None = None, **options: Any) -> Any:
        """Return the outputs for values.

        Parameters
        ----------
        *args
            Arrays or Tensors (or lists of them) for ``call``.
        mask
            Which steps count, bools (B, T); by default what the input brings with it.
        training
            Whether there is noise; None leaves it to ``train()`` and ``eval()``.
        **options
            Further arguments of ``call``.

        Returns
        -------
        Flow, or a list of them
        """
        values = tuple(nested(arg, self._value) for arg in args)
        options |= {name: nested(options[name], self._value) for name in self.shape_arguments(options)}
        if not values:
            raise TypeError(f"{self.name}: expected an input, got none")
        given = mask_of(values[0]) if mask is None else mask
        if not self.built:
            self.build_from(*[symbolic.shapes_of(value) for value in values],
                            *[symbolic.shapes_of(options[name]) for name in self.shape_arguments(options)])  # fmt: skip
        wanted = inspect.signature(self.call).parameters
        if "mask" in wanted:
            options["mask"] = given
        elif given is not None and not self.supports_masking and mask_of(values[0]) is not None:
            warnings.warn(f"{self.name} ({type(self).__name__}) takes no masks: it drops that of its input",
                          UserWarning, stacklevel=3)  # fmt: skip
        inside, _here.inside = getattr(_here, "inside", False), True
        try:
            if not inside:
                self.forget_losses()
            with self._mode(training), self._drawing():
                if "training" in wanted:
                    options["training"] = self.training
                found = self.call(*values, **options)
        finally:
            _here.inside = inside
        if self.activity_regularizer is not None:
            rows = max(values[0].shape[0], 1) if isinstance(values[0], Tensor) and values[0].ndim else 1
            self.add_loss([self.activity_regularizer(out) * (1.0 / rows) for out in flat(found)])
        return self._marked(found, self.compute_mask(values[0], given))

    def _value(self, x: Any) -> Any:
        """Return an input as a Tensor of the layer's dtype."""
        if x is None or isinstance(x, (bool, str)):
            return x
        found = x if isinstance(x, Tensor) else Tensor(np.asarray(x))
        if self.takes_integers or found._data.dtype == self.dtype or found._data.dtype.kind == "b":
            return found
        return flow(ops.cast(found, self.dtype), mask_of(found))

    def _marked(self, found: Any, masks: Any) -> Any:
        if isinstance(found, (list, tuple)):
            each = masks if isinstance(masks, list) else [masks] + [None] * (len(found) - 1)
            return [self._marked(out, mask) for out, mask in zip(found, each, strict=True)]
        return flow(found, masks, found.logits if isinstance(found, Flow) else None)

    @contextmanager
    def _mode(self, training: bool | None) -> Iterator[None]:
        if training is None or training == self.training:
            yield
            return
        before = [(module, module.training) for module in self.modules()]
        self.train(bool(training))
        try:
            yield
        finally:
            for module, mode in before:
                module.__dict__["training"] = mode

    def _drawing(self) -> Any:
        return nullcontext() if self.noise is None else init.use_generator(self.noise)

    @property
    def input(self) -> Any:
        """The symbolic input of the layer's only place in models; a list for several."""
        found = self._only_node().inputs
        return found[0] if len(found) == 1 else found

    @property
    def output(self) -> Any:
        """The symbolic output of the layer's only place in models; a list for several."""
        found = self._only_node().outputs
        return found[0] if len(found) == 1 else found

    def _only_node(self) -> symbolic.Node:
        if len(self.nodes) != 1:
            raise checks.value_error(f"{self.name}: input and output", "one place in a model", f"{len(self.nodes)}")
        return self.nodes[0]

    @property
    def compute_dtype(self) -> str:
        """The name of the element type that is computed in."""
        return str(self.dtype.name)

    @property
    def variable_dtype(self) -> str:
        """The name of the weights' element type: the same."""
        return str(self.dtype.name)

    # -- configuration ------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values (functions of yours as they are)."""
        found: dict[str, Any] = {"name": self.name, "trainable": self._trainable, "dtype": self.dtype.name}
        if self.activity_regularizer is not None:
            found["activity_regularizer"] = regularizers.describe(self.activity_regularizer)
        for name in self.arguments:
            limit = name.replace("_initializer", "_constraint")
            if name.endswith("_initializer") and getattr(self, limit) is not None:
                found[limit] = constraints.describe(getattr(self, limit))
            value = getattr(self, name)
            if name.endswith("_initializer"):
                value = initializers.describe(value)
            elif name.endswith("_regularizer"):
                value = regularizers.describe(value)
            found[name] = list(value) if isinstance(value, tuple) else value
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel, and be copied, as configuration and weights: a copy shares nothing with this layer."""
        return _remade, (type(self), self.get_config(), self._built_from, self.get_weights(), self.training)

    def config(self) -> dict[str, Any]:
        """Return ``get_config()``."""
        return self.get_config()

    @classmethod
    def from_config(cls: type[L], config: Any) -> L:
        """Build a layer from what ``get_config`` returned.

        Parameters
        ----------
        config
            The constructor's arguments.

        Returns
        -------
        Layer
            Not built, or with fresh weights.
        """
        return cls(**config)

    def __repr__(self) -> str:
        """Show class, name and whether it is built."""
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _remade(kind: type[Layer], config: Any, shapes: Any, weights: Any, training: bool) -> Layer:
    """Return a layer like another one, see `Layer.__reduce__`."""
    layer = kind.from_config(config)
    if shapes:
        layer.build_from(*shapes)
    layer.set_weights(weights)
    return layer.train(training)
