"""Keras's recurrent layers as fastseq's."""

from __future__ import annotations

from typing import Any

from fastseq import nn
from fastseq.interop.gates import CELLS, KERAS_CELLS, Direction, from_keras_arrays, make
from fastseq.interop.keras_layers import Layer, expect_steps, inner_layer, maker
from fastseq.nn.module import Module


def _settings(layer: Layer, backwards: bool) -> tuple[str, dict[str, Any], bool, float]:
    """Return cell, options, whether all steps are given out, and the dropout of inputs."""
    cell = KERAS_CELLS[layer.kind]
    options: dict[str, Any] = {}
    if cell == "RNN":
        options["nonlinearity"] = layer.option("activation", "tanh", "tanh", "relu")
    else:
        found = layer.option("activation", "tanh", "tanh", *(["relu"] if cell == "LSTM" else []))
        options |= {"activation": found} if cell == "LSTM" else {}
        layer.option("recurrent_activation", "sigmoid", "sigmoid")
    if cell == "GRU":
        options["reset_after"] = layer.option("reset_after", True, True, False)
    layer.option("go_backwards", backwards, backwards)
    for name in ("return_state", "stateful", "time_major"):
        layer.option(name, False, False)
    layer.option("units")
    if layer.number("recurrent_dropout", 0.0) > 0:
        layer.remarks.append(
            f"layer {layer.name!r} ({layer.kind}): recurrent_dropout acts in training only and is left out; "
            "nn.WeightDrop drops recurrent weights"
        )
    return cell, options, layer.option("return_sequences", False, True, False), layer.number("dropout", 0.0)


def _direction(layer: Layer, cell: str, options: dict[str, Any]) -> Direction:
    units, gates = layer.number("units"), len(CELLS[cell].keras)
    separate = cell == "GRU" and options["reset_after"]
    shapes: list[tuple[int | None, ...]] = [(None, gates * units), (units, gates * units)]
    if layer.option("use_bias", True, True, False):
        shapes.append((2, gates * units) if separate else (gates * units,))
    return from_keras_arrays(cell, layer.shapes(*shapes), separate)


@maker(*KERAS_CELLS)
def recurrent(layer: Layer) -> list[Module]:
    """Return a recurrent layer, and a choice of the last step unless all steps are given out.

    Parameters
    ----------
    layer
        The layer.
    """
    expect_steps(layer)
    cell, options, every, dropout = _settings(layer, False)
    found = make(cell, [[_direction(layer, cell, options)]], **options)
    before = [nn.VariationalDropout(dropout)] if dropout else []
    return [*before, found, *([] if every else [nn.LastStep()])]


@maker("Bidirectional")
def bidirectional(layer: Layer) -> list[Module]:
    """Return a recurrent layer in both directions.

    Parameters
    ----------
    layer
        The layer.
    """
    expect_steps(layer)
    merge = layer.option("merge_mode", "concat", "concat", "sum", "mul", "ave")
    ahead = inner_layer(layer, "layer", layer.arrays[: len(layer.arrays) // 2])
    back = inner_layer(layer, "backward_layer" if "backward_layer" in layer.config else "layer",
                       layer.arrays[len(layer.arrays) // 2 :])  # fmt: skip
    layer.option("backward_layer")
    layer.finish(len(layer.arrays))
    if ahead.kind not in KERAS_CELLS or back.kind != ahead.kind:
        layer.fail("a recurrent layer in both directions", f"{ahead.kind} and {back.kind}")
    settings = _settings(ahead, False)
    cell, options, every, dropout = settings
    backwards = back.option("go_backwards", False) if back.config is not ahead.config else False
    if _settings(back, bool(backwards)) != settings or ("backward_layer" in layer.config and not backwards):
        layer.fail("the same arguments in both directions, and go_backwards in the second", "others")
    directions = [_direction(one, cell, options) for one in (ahead, back)]
    if [a is None or a.shape for a in directions[0][:4]] != [a is None or a.shape for a in directions[1][:4]]:
        layer.fail("weights of the same shapes in both directions", "others")
    before = [nn.VariationalDropout(dropout)] if dropout else []
    if merge == "concat":
        both = make(cell, [directions], **options)
        return [*before, both, *([] if every else [nn.LastStep(bidirectional=True)])]
    if not every:
        layer.fail("merge_mode='concat' without return_sequences", repr(merge))
    one, other = (make(cell, [[direction]], **options) for direction in directions)
    return [*before, nn.Bidirectional(one, other, merge)]
