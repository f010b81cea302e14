"""compile, fit, evaluate and predict: what a model does once its layers are put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.layers import Layer
from fastseq.layers.flow import flat
from fastseq.layers.symbolic import KerasTensor
from fastseq.models import fitting
from fastseq.models.arrays import Arrays, Batch, array_of, class_factors, listed, shaped
from fastseq.models.compilation import Compiled
from fastseq.models.feeds import Feed, is_array, steps_of
from fastseq.models.graph import Graph
from fastseq.training import History

Array = NDArray[Any]
#: Keras's arguments of compile that change nothing here.
_WITHOUT_EFFECT = ("run_eagerly", "jit_compile", "steps_per_execution", "auto_scale_loss")


class Trained(Layer):
    """The half of a model that is about data; `Model` is the half that is about layers.

    Parameters
    ----------
    **options
        See `Layer`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.graph: Graph | None = None
        self.compiled: Compiled | None = None
        self.stop_training = False
        self.history: History | None = None
        self._stepper: Any = None

    # -- what Model writes --------------------------------------------------------------------------------------

    @property
    def layers(self) -> list[Layer]:
        """The layers inside."""
        return self.sublayers

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs."""
        return ["output"]

    def accepted(self, tensor: KerasTensor) -> tuple[int | None, ...]:
        """Return the sizes that values for a symbolic input must have; None for those that may be any.

        Parameters
        ----------
        tensor
            The input.
        """
        return tensor.shape

    def _flat_inputs(self, argument: str, x: Any) -> list[Any]:
        """Return one value per input."""
        return [x]

    def _packed(self, values: Sequence[Any]) -> Any:
        """Return one value per output in the structure of the outputs."""
        return values[0] if len(values) == 1 else list(values)

    @property
    def metrics_names(self) -> list[str]:
        """The names of what ``evaluate`` returned last, in order."""
        return [] if self._stepper is None else list(self._stepper.names)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **options: Any,
    ) -> None:
        """Say how the model is to be trained.

        Parameters
        ----------
        optimizer
            ``"adam"``, ``"sgd"``, ``"rmsprop"``, ``"adamw"``, ``"nadam"``, ``"adagrad"``, ``"lion"``, or an object
            from ``fastseq.optimizers`` or ``fastseq.optim``.
        loss
            A name such as ``"mse"``, an object from ``fastseq.losses``, a function of (y_true, y_pred); for several
            outputs one for all, or a list or dict.
        loss_weights
            Factors of the outputs' losses.
        metrics
            A list of names, objects from ``fastseq.metrics``, or functions of (y_true, y_pred); for several outputs a
            list of lists, or a dict.
        weighted_metrics
            Metrics, likewise, in which samples count by ``sample_weight`` and ``class_weight``.
        **options
            ``run_eagerly``, ``jit_compile``, ``steps_per_execution`` without an effect.
        """
        for name in options:
            if name not in _WITHOUT_EFFECT:
                raise TypeError(
                    f"compile: expected arguments among optimizer, loss, loss_weights, metrics, "
                    f"weighted_metrics, got {name!r}"
                )
        self.compiled = Compiled(self.output_names, optimizer, loss, loss_weights, metrics, weighted_metrics)
        self._stepper = fitting.Stepper(self, self.compiled)

    @property
    def optimizer(self) -> Any:
        """The optimiser given to ``compile``."""
        return None if self.compiled is None else self.compiled.optimizer

    def _ready(self) -> fitting.Stepper:
        if self._stepper is None:
            raise RuntimeError(f"{self.name}: expected a compiled model, got one without: call compile() first")
        return self._stepper

    def _arrays(
        self, name: str, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None
    ) -> Arrays:  # fmt: skip
        """Return data checked against the model, which is built if it has not been."""
        found = [array_of(name, one) for one in self._flat_inputs(name, x)]
        self._build_for(found)
        if self.graph is not None:
            pairs = zip(found, self.graph.inputs, strict=True)
            # how many rows there must be at a time is for the batches to fulfil
            found = [shaped(name, one, tensor.shape, (None, *self.accepted(tensor)[1:])) for one, tensor in pairs]
        if y is None:
            return Arrays(found)
        label = name[:-1] + "y" if name.endswith("x") else "y"
        assert self.compiled is not None
        names = self.output_names
        targets = [array_of(label, one) for one in listed(label, y, names)]
        weights = [None] * len(names) if sample_weight is None else self._weights(sample_weight, names)
        if class_weight is not None:
            if len(names) > 1:
                raise checks.value_error("class_weight", "None for a model with several outputs", "one")
            loss = self.compiled.losses[0]
            factors = class_factors(class_weight, targets[0], bool(loss is not None and loss.sparse))
            weights = [factors if weights[0] is None else factors * weights[0]]
        return Arrays(found, targets, weights)

    def _weights(self, given: Any, names: Sequence[str]) -> list[Any]:
        if len(names) > 1 and not isinstance(given, (list, tuple, dict)):
            given = [given] * len(names)
        found = listed("sample_weight", given, names, optional=True)
        return [None if one is None else array_of("sample_weight", one) for one in found]

    def _build_for(self, x: Sequence[Array]) -> None:
        """Build a model that waits for a shape."""
        if self.built:
            return
        first = [one[:1] for one in x]
        self.build_from([one.shape for one in first] if len(first) > 1 else (None, *first[0].shape[1:]))
        if self.graph is None:  # its layers are built when they are called
            self(first if len(first) > 1 else first[0])
            for layer in self.modules():
                if isinstance(layer, Layer) and hasattr(layer, "reset_state"):
                    layer.reset_state()

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> History:
        """Train.

        Parameters
        ----------
        x
            The input, an array; for several inputs a list, or a dict by their names. Or a source of batches (x, y) or
            (x, y, sample_weight): a generator, something to go through anew in each epoch, or something with a
            length and batches by number; then without ``y``, ``sample_weight``, ``batch_size``.
        y
            The targets, likewise per output.
        batch_size
            Rows per step of the optimiser; 32 if None.
        epochs
            The number of the epoch to end with.
        verbose
            1 (or ``"auto"``) for a progress bar, 2 for a line per epoch, 0 for nothing.
        callbacks
            Callbacks of ``fastseq.callbacks``.
        validation_split
            Share of the rows, the last ones, that is set aside.
        validation_data
            (x, y) or (x, y, sample_weight) to validate on instead; or a source of batches.
        shuffle
            Whether rows come in another order each epoch.
        class_weight
            A dict from classes to weights.
        sample_weight
            A weight per row (B,), or per step (B, T).
        initial_epoch
            The epoch to begin with.
        steps_per_epoch, validation_steps
            How many batches make an epoch, and a validation; None for all there are.
        validation_batch_size
            Rows at a time in validation; ``batch_size`` if None.
        validation_freq
            Validate after every so many epochs.

        Returns
        -------
        History
            ``history.history`` maps ``loss``, metrics, ``val_loss``, ... to one number per epoch.
        """
        stepper = self._ready()
        size = 32 if batch_size is None else checks.integer("batch_size", batch_size, 1)
        order, per_epoch = checks.boolean("shuffle", shuffle), steps_of("steps_per_epoch", steps_per_epoch)
        share = checks.real("validation_split", validation_split, 0.0, 1.0, open_maximum=True)
        held_out: Feed | None = None
        if is_array(x):
            if y is None:
                raise checks.kind_error("y", "targets, or x as a source of batches (x, y)", None)
            data = self._arrays("x", x, y, sample_weight, class_weight)
            if validation_data is None and share:
                count = int(np.floor(len(data) * (1.0 - share)))
                if not 0 < count < len(data):
                    expected = f"a share that leaves rows on both sides of {len(data)}"
                    raise checks.value_error("validation_split", expected, validation_split)
                data, rest = data.part(slice(0, count)), data.part(slice(count, None))
                held_out = Feed.of_arrays(
                    rest, validation_batch_size or size, steps_of("validation_steps", validation_steps)
                )
            feed = Feed.of_arrays(data, size, per_epoch, order)
        else:
            self._alone("x", y=y, sample_weight=sample_weight, batch_size=batch_size, validation_split=share or None)
            feed = self._feed("x", x, None, None, size, per_epoch, order, class_weight)
        if validation_data is not None:
            own = validation_batch_size or size
            held_out = self._validation(validation_data, own, steps_of("validation_steps", validation_steps))
        plan = fitting.Plan(
            checks.integer("epochs", epochs, 0),
            checks.integer("initial_epoch", initial_epoch, 0),
            order,
            1 if verbose == "auto" else checks.integer("verbose", int(verbose), 0, 2),
            checks.integer("validation_freq", validation_freq, 1),
        )
        self.history = stepper.fit(plan, feed, held_out, callbacks)
        return self.history

    def _alone(self, argument: str, **given: Any) -> None:
        """Raise ValueError for what cannot stand beside a source of batches."""
        for name, value in given.items():
            if value is not None:
                raise checks.value_error(name, f"None, as {argument} gives batches", f"{type(value).__name__}")

    def _feed(
        self, name: str, x: Any, y: Any, weights: Any, size: int, steps: int | None, shuffle: bool = False,
        class_weight: Any = None, with_targets: bool = True,
    ) -> Feed:  # fmt: skip
        """Return where batches come from: arrays, or an object that gives them."""
        if is_array(x):
            return Feed.of_arrays(self._arrays(name, x, y, weights), size, steps, shuffle)

        def take(x: Any, y: Any = None, weights: Any = None) -> Batch:
            if with_targets and y is None:
                raise checks.kind_error(name, "batches (x, y) or (x, y, sample_weight)", "(x,)")
            if not with_targets:
                y = weights = None
            return self._arrays(name, x, y, weights, class_weight).take(slice(None))

        feed = Feed.of_source(name, x, steps, shuffle, take, with_targets)
        if not self.built:
            feed.first()
        return feed

    def _validation(self, given: Any, size: int, steps: int | None) -> Feed:
        if not is_array(given):
            return self._feed("validation_data", given, None, None, size, steps)
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise checks.kind_error("validation_data", "(x, y), (x, y, sample_weight) or a source of batches", given)
        return Feed.of_arrays(self._arrays("validation_data: x", *given), size, steps)

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Take one step of the optimiser.

        Parameters
        ----------
        x, y, sample_weight, class_weight
            As in ``fit``.
        return_dict
            Whether to return a dict.

        Returns
        -------
        float, list of float, or dict
            Loss and metrics, as they were before the step.
        """
        stepper = self._ready()
        return stepper.told(stepper.train_on(self._arrays("x", x, y, sample_weight, class_weight)), return_dict)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Return loss and metrics of one batch.

        Parameters
        ----------
        x, y, sample_weight
            As in ``fit``.
        return_dict
            Whether to return a dict.
        """
        stepper, data = self._ready(), self._arrays("x", x, y, sample_weight)
        return stepper.told(stepper.evaluate(Feed.of_arrays(data, len(data))), return_dict)

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Return loss and metrics.

        Parameters
        ----------
        x, y
            As in ``fit``.
        batch_size
            Rows at a time; 32 if None.
        verbose
            Without an effect: nothing is shown.
        sample_weight
            As in ``fit``.
        steps
            How many batches; None for all there are.
        callbacks
            None.
        return_dict
            Whether to return a dict.

        Returns
        -------
        float, list of float, or dict
            The loss; if there are metrics or several outputs, a list in the order of ``metrics_names``.
        """
        stepper = self._ready()
        self._without(callbacks)
        size = 32 if batch_size is None else checks.integer("batch_size", batch_size, 1)
        if is_array(x) and y is None:
            raise checks.kind_error("y", "targets, or x as a source of batches (x, y)", None)
        if not is_array(x):
            self._alone("x", y=y, sample_weight=sample_weight)
        feed = self._feed("x", x, y, sample_weight, size, steps_of("steps", steps))
        return stepper.told(stepper.evaluate(feed), return_dict)

    def _without(self, callbacks: Any) -> None:
        if callbacks is not None and len(callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]):
            raise checks.value_error("callbacks", "None outside fit", "some")

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: Any = "auto", steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:  # fmt: skip
        """Return the outputs for many rows.

        Parameters
        ----------
        x
            As in ``fit``.
        batch_size
            Rows at a time; 32 if None. Changes no bit of the result.
        verbose
            Without an effect: nothing is shown.
        steps
            How many batches; None for all there are.
        callbacks
            None.

        Returns
        -------
        ndarray, or a list or dict of ndarray
            One per output.
        """
        self._without(callbacks)
        size = 32 if batch_size is None else checks.integer("batch_size", batch_size, 1)
        feed = self._feed("x", x, None, None, size, steps_of("steps", steps), with_targets=False)
        return self._packed(fitting.predict(self, feed))

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch.

        Parameters
        ----------
        x
            As in ``fit``.
        """
        return self.predict(x, batch_size=len(flat(x)[0]))

    def reset_states(self) -> None:
        """Forget the states that stateful layers remember."""
        for layer in self.layers:
            if hasattr(layer, "reset_states"):
                layer.reset_states()
