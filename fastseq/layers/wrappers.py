"""Bidirectional and TimeDistributed: layers around layers."""

from __future__ import annotations

from typing import Any

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers import registry
from fastseq.layers.flow import Flow, flow
from fastseq.layers.layer import Layer
from fastseq.layers.recurring import Recurring

MERGES = ("concat", "sum", "mul", "ave")


class Bidirectional(Layer):
    """Run a recurrent layer over the steps in both directions.

    Parameters
    ----------
    layer
        A recurrent layer. It is built anew with weights of its own, as in Keras.
    merge_mode
        How both outputs are put together: ``"concat"``, ``"sum"``, ``"mul"``, ``"ave"``; None returns both.
    weights
        Weights to begin with once it is built, the forward direction's first; or None.
    backward_layer
        The layer for the other direction (``go_backwards=True``); by default one like ``layer``.
    **options
        See `Layer`.
    """

    supports_masking = True

    forward_layer: Recurring
    backward_layer: Recurring

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for name, given in (("layer", layer), ("backward_layer", backward_layer)):
            if not isinstance(given, Recurring) and (given is not None or name == "layer"):
                raise checks.kind_error(name, "a recurrent layer (LSTM, GRU, SimpleRNN, RNN)", given)
        self.merge_mode = merge_mode if merge_mode is None else checks.choice("merge_mode", merge_mode, MERGES)
        config = layer.get_config()
        label = layer.name.removeprefix("forward_")
        self.forward_layer = type(layer).from_config({**config, "name": f"forward_{label}"})
        if backward_layer is None:
            turned = {**config, "name": f"backward_{label}", "go_backwards": not layer.go_backwards}
            backward_layer = type(layer).from_config(turned)
        self.backward_layer = backward_layer
        if self.forward_layer.go_backwards == self.backward_layer.go_backwards:
            raise checks.value_error("backward_layer", "one with go_backwards other than layer's", "the same")
        for name in ("stateful", "return_sequences", "return_state"):
            wanted = getattr(layer, name)
            if getattr(self.backward_layer, name) != wanted:
                raise checks.value_error("backward_layer", f"one with {name}={wanted}, as layer has", f"{not wanted}")
        for one in (self.forward_layer, self.backward_layer):
            one.zero_output_for_mask = one.return_sequences  # as Keras forces it to be
        self.return_sequences, self.return_state = layer.return_sequences, layer.return_state
        self.stateful = layer.stateful
        self._first_weights = weights

    def build(self, input_shape: Any) -> None:
        """Build both layers, see `Layer.build`."""
        self.forward_layer.build_from(input_shape)
        self.backward_layer.build_from(input_shape)
        if self._first_weights is not None:
            self.set_weights(self._first_weights)

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None) -> Any:  # type: ignore[override]
        """Return the outputs put together, and both layers' states if wanted.

        Parameters
        ----------
        sequences
            (B, T, F)
        initial_state
            States of the forward direction, then of the backward one; or None.
        mask
            Which steps count, bools (B, T), or None.
        """
        ahead_state = back_state = None
        if initial_state is not None:
            count = 2 * self.forward_layer.state_count
            if not isinstance(initial_state, (list, tuple)) or len(initial_state) != count:
                raise checks.value_error("initial_state", f"{count} states", f"{initial_state}")
            ahead_state, back_state = initial_state[: count // 2], initial_state[count // 2 :]
        ahead = self.forward_layer(sequences, mask=mask, initial_state=ahead_state)
        back = self.backward_layer(sequences, mask=mask, initial_state=back_state)
        states: list[Any] = []
        if self.return_state:
            states = [*ahead[1:], *back[1:]]
            ahead, back = ahead[0], back[0]
        if self.return_sequences:
            back = ops.flip(back, 1)
        outputs = [ahead, back] if self.merge_mode is None else [self._merged(ahead, back)]
        return outputs + states if len(outputs) + len(states) > 1 else outputs[0]

    def _merged(self, ahead: Any, back: Any) -> Tensor:
        if self.merge_mode == "concat":
            return ops.concatenate([ahead, back], -1)
        if self.merge_mode == "mul":
            return ops.mul(ahead, back)
        total = ops.add(ahead, back)
        return total if self.merge_mode == "sum" else total * 0.5

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the outputs, if there is one per step."""
        kept = mask if self.return_sequences else None
        if self.merge_mode is not None and not self.return_state:
            return kept
        outputs = 2 if self.merge_mode is None else 1
        return [kept] * outputs + [None] * (2 * self.forward_layer.state_count if self.return_state else 0)

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        found = self.forward_layer.compute_output_shape(*shapes)
        out, states = (found[0], found[1:]) if isinstance(found, list) else (found, [])
        if self.merge_mode is None:
            return [out, out, *states, *states]
        if self.merge_mode == "concat":
            out = (*out[:-1], 2 * out[-1])
        return [out, *states, *states] if states else out

    def reset_state(self) -> None:
        """Forget the states that stateful layers remember."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, see `Layer.get_config`."""
        return {
            **super().get_config(),
            "layer": registry.describe(self.forward_layer),
            "merge_mode": self.merge_mode,
            "backward_layer": registry.describe(self.backward_layer),
        }

    @classmethod
    def from_config(cls, config: Any) -> Bidirectional:
        """Build a layer from what ``get_config`` returned, see `Layer.from_config`."""
        inner = {name: registry.rebuild(config[name]) for name in ("layer", "backward_layer")}
        return cls(**{**config, **inner})


class Wrapper(Layer):
    """A layer around a layer, to be made into one that does something: it writes ``call``.

    Parameters
    ----------
    layer
        The layer.
    **options
        See `Layer`.
    """

    layer: Layer

    def __init__(self, layer: Any, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(layer, Layer):
            raise checks.kind_error("layer", "a layer of fastseq.layers", layer)
        self.layer = layer

    def build(self, input_shape: Any) -> None:
        """Build the layer, see `Layer.build`."""
        self.layer.build_from(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, see `Layer.get_config`."""
        return {**super().get_config(), "layer": registry.describe(self.layer)}

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """Build a layer from what ``get_config`` returned, see `Layer.from_config`."""
        return cls(**{**config, "layer": registry.rebuild(config["layer"])})


class TimeDistributed(Wrapper):
    """Apply a layer to every step by itself: (B, T, ...) goes through it as (B * T, ...).

    Parameters
    ----------
    layer
        The layer.
    **options
        See `Layer`.
    """

    supports_masking = True

    def __init__(self, layer: Any, **options: Any) -> None:
        super().__init__(layer, **options)
        self.takes_integers = layer.takes_integers  # type: ignore[misc]

    def _inner(self, shape: Any) -> tuple[int | None, ...]:
        if len(shape) < 3 and not (len(shape) == 2 and self.layer.takes_integers):
            raise checks.value_error(f"{self.name}: input shape", "(rows, steps, ...) with features", f"{shape}")
        return (shape[0], *shape[2:])

    def build(self, input_shape: Any) -> None:
        """Build the layer for one step, see `Layer.build`."""
        self.layer.build_from(self._inner(input_shape))

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return the layer's outputs, step by step.

        Parameters
        ----------
        inputs
            (B, T, ...)
        mask
            Which steps count, (B, T, ...), or None; the layer gets it if its ``call`` takes one.
        """
        rows, steps = inputs.shape[:2]
        self._inner(inputs.shape)
        options: dict[str, Any] = {}
        if mask is not None:
            found = getattr(mask, "_data", mask)
            if found.ndim < 2 or found.shape[:2] != (rows, steps):
                raise ValueError(  # in Keras's words, and in ours
                    f"The `mask` passed to the `TimeDistributed` layer has a shape other than its input's first axes: "
                    f"mask: expected shape ({rows}, {steps}, ...), got {found.shape}"
                )
            options["mask"] = found.reshape(rows * steps, *found.shape[2:])
            if isinstance(self.layer, Recurring) and found.ndim < 3:
                options = {}
        out = self.layer(ops.reshape(inputs, (rows * steps, *inputs.shape[2:])), **options)
        if not isinstance(out, Flow):
            raise checks.value_error("layer", "one with a single output", f"{len(out)}")
        found = ops.reshape(out, (rows, steps, *out.shape[1:]))
        logits = None if out.logits is None else ops.reshape(out.logits, found.shape)
        return flow(found, logits=logits)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the input's mask."""
        return mask

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Return the shape, see `Layer.compute_output_shape`."""
        inner = self.layer.compute_output_shape(self._inner(shapes[0]))
        return (shapes[0][0], shapes[0][1], *inner[1:])
