"""Gate orders and layouts of recurrent weights in PyTorch, Keras and ONNX. They are named here and nowhere else.

Shape letters: G gates, H hidden units, I inputs of a layer, D directions.

| | weights | biases |
|---|---|---|
| fastseq, PyTorch | weight_ih (G * H, I), weight_hh (G * H, H) | bias_ih and bias_hh (G * H,) |
| Keras | kernel (I, G * H), recurrent_kernel (H, G * H) | one (G * H,); (2, G * H) for a GRU with reset_after |
| ONNX | W [D, G * H, I], R [D, G * H, H] | B [D, 2 * G * H] = [Wb, Rb] |

Peepholes are vectors (H,) in fastseq and P [D, 3 * H] in ONNX. A new cell is a line in ``CELLS``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq import checks, nn
from fastseq.nn.module import Module

Array = NDArray[Any]


class Cell(NamedTuple):
    """One kind of recurrent layer in the formats: a letter per gate, in the order of the rows.

    Parameters
    ----------
    own
        fastseq's order, which is PyTorch's.
    keras
        Keras's order.
    onnx
        ONNX's order.
    operator
        ONNX's operator.
    keras_name
        What Keras calls the layer; "" if it has none.
    states
        How many states there are: h, or h and c.
    options
        The constructor's arguments that decide what is computed, with their defaults.
    vectors
        Names of the parameters (H,) that are peepholes.
    peepholes
        The gates that they belong to: their own order, and ONNX's.
    """

    own: str
    keras: str
    onnx: str
    operator: str
    keras_name: str
    states: int
    options: Mapping[str, Any] = {}
    vectors: tuple[str, ...] = ()
    peepholes: tuple[str, str] = ("", "")


#: Name in ``fastseq.nn`` (without peepholes, also in ``torch.nn``) to what is to be known.
CELLS: dict[str, Cell] = {
    "LSTM": Cell("ifgo", "ifgo", "iofg", "LSTM", "LSTM", 2, {"activation": "tanh"}),
    "PeepholeLSTM": Cell(
        "ifgo", "", "iofg", "LSTM", "", 2, vectors=("weight_ci", "weight_cf", "weight_co"), peepholes=("ifo", "iof")
    ),
    "GRU": Cell("rzn", "zrn", "zrn", "GRU", "GRU", 1, {"reset_after": True}),
    "RNN": Cell("h", "h", "h", "RNN", "SimpleRNN", 1, {"nonlinearity": "tanh"}),
}
#: Those that Keras has, by its name.
KERAS_CELLS = {cell.keras_name: name for name, cell in CELLS.items() if cell.keras_name}
#: The parameters that every cell has.
MATRICES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Direction(NamedTuple):
    """The weights of one layer in one direction, in fastseq's order and layout.

    Parameters
    ----------
    weight_ih
        (G * H, I)
    weight_hh
        (G * H, H)
    bias_ih, bias_hh
        (G * H,), or both None.
    vectors
        Peepholes (H,), in the order of the cell's ``vectors``.
    """

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array | None
    bias_hh: Array | None
    vectors: tuple[Array, ...] = ()


def reorder(values: Array, source: str, target: str) -> Array:
    """Put the blocks of the first axis, one per gate, into another order.

    Parameters
    ----------
    values
        (G * H, ...)
    source
        A letter per gate: the order they are in.
    target
        The order wanted.

    Returns
    -------
    ndarray
        (G * H, ...)
    """
    blocks = values.reshape(len(source), -1, *values.shape[1:])
    return np.ascontiguousarray(blocks[[source.index(gate) for gate in target]].reshape(values.shape))


def cell_of(module: Module) -> str | None:
    """Return the name in ``CELLS`` of a recurrent layer, None for any other module.

    Parameters
    ----------
    module
        A module.
    """
    name = type(module).__name__
    return name if name in CELLS and type(module) is getattr(nn, name, None) else None


def options_of(module: Module) -> dict[str, Any]:
    """Return what decides which equations a recurrent layer computes.

    Parameters
    ----------
    module
        A recurrent layer.

    Returns
    -------
    dict
        The options of its cell; those it does not have at their defaults.
    """
    name = cell_of(module)
    assert name is not None
    return {option: getattr(module, option, default) for option, default in CELLS[name].options.items()}


def directions_of(layer: Any) -> list[list[Direction]]:
    """Return a recurrent layer's weights: a list of directions for each of the stacked layers.

    Parameters
    ----------
    layer
        A recurrent layer.

    Raises
    ------
    ValueError
        If it has projections, which none but PyTorch knows.
    """
    if layer.proj_size:
        raise checks.value_error("proj_size", "0: neither Keras nor ONNX has projections", layer.proj_size)
    state = {name: tensor.numpy() for name, tensor in layer.state_dict().items()}
    vectors = CELLS[str(cell_of(layer))].vectors
    return [
        [
            direction_of(state, f"_l{k}{suffix}")._replace(
                vectors=tuple(state[f"{name}_l{k}{suffix}"] for name in vectors)
            )
            for suffix in ("", "_reverse")[: layer.num_directions]
        ]
        for k in range(layer.num_layers)
    ]


def direction_of(state: Mapping[str, Array], ending: str) -> Direction:
    """Return one direction's matrices and biases out of a state dict.

    Parameters
    ----------
    state
        Arrays by PyTorch's names.
    ending
        What stands behind these names, such as ``_l0_reverse``.
    """
    found = [state.get(name + ending) for name in MATRICES]
    return Direction(*found)  # type: ignore[arg-type]


def make(cell: str, stack: Sequence[Sequence[Direction]], batch_first: bool = True, **options: Any) -> Module:
    """Return a recurrent layer with these weights.

    Parameters
    ----------
    cell
        A name in ``CELLS``.
    stack
        The directions of each of the stacked layers; all have biases or none.
    batch_first
        As of the layer.
    **options
        Of ``CELLS``.

    Returns
    -------
    Module
        In the dtype of the weights.
    """
    kind = getattr(nn, cell, None)
    if kind is None:
        raise checks.value_error("layer", f"one of {', '.join(name for name in CELLS if hasattr(nn, name))}", cell)
    first = stack[0][0]
    changed = {name: value for name, value in options.items() if value != CELLS[cell].options[name]}
    layer = kind(
        first.weight_ih.shape[1], first.weight_hh.shape[1], len(stack), bias=first.bias_ih is not None,
        batch_first=batch_first, bidirectional=len(stack[0]) == 2, dtype=first.weight_ih.dtype, **changed,
    )  # fmt: skip
    state = {
        f"{name}_l{k}{suffix}": values
        for k, directions in enumerate(stack)
        for suffix, direction in zip(("", "_reverse"), directions, strict=False)
        for name, values in zip((*MATRICES, *CELLS[cell].vectors), (*direction[:4], *direction.vectors), strict=True)
        if values is not None
    }
    layer.load_state_dict(state)
    return layer


def from_keras_arrays(cell: str, arrays: Sequence[Array], separate: bool) -> Direction:
    """Return Keras's arrays of one layer in one direction as fastseq's.

    Parameters
    ----------
    cell
        A name in ``CELLS``.
    arrays
        kernel, recurrent_kernel and, where there is one, bias.
    separate
        Whether the bias has a row for the inputs and one for the state: a GRU's with reset_after.
    """
    orders = CELLS[cell].keras, CELLS[cell].own
    kernel, recurrent = (reorder(values.T, *orders) for values in arrays[:2])
    if len(arrays) < 3:
        return Direction(kernel, recurrent, None, None)
    bias = arrays[2]
    b_ih, b_hh = (bias[0], bias[1]) if separate else (bias, np.zeros_like(bias))
    return Direction(kernel, recurrent, reorder(b_ih, *orders), reorder(b_hh, *orders))


def to_keras_arrays(cell: str, direction: Direction, separate: bool) -> list[Array]:
    """Return one layer's weights in one direction as Keras's arrays.

    Parameters
    ----------
    cell
        A name in ``CELLS``.
    direction
        The weights.
    separate
        Whether the bias has a row for the inputs and one for the state: a GRU's with reset_after.

    Returns
    -------
    list of ndarray
        kernel, recurrent_kernel and, where there is one, bias.
    """
    orders = CELLS[cell].own, CELLS[cell].keras
    found = [np.ascontiguousarray(reorder(values, *orders).T) for values in direction[:2]]
    if direction.bias_ih is not None and direction.bias_hh is not None:
        b_ih, b_hh = reorder(direction.bias_ih, *orders), reorder(direction.bias_hh, *orders)
        found.append(np.stack([b_ih, b_hh]) if separate else b_ih + b_hh)
    return found


def from_onnx_arrays(cell: str, w: Array, r: Array, b: Array | None, p: Array | None = None) -> list[Direction]:
    """Return ONNX's arrays of one operator as fastseq's directions.

    Parameters
    ----------
    cell
        A name in ``CELLS``.
    w
        [D, G * H, I]
    r
        [D, G * H, H]
    b
        [D, 2 * G * H] or None.
    p
        [D, 3 * H], or None for a cell without peepholes.
    """
    own, theirs = CELLS[cell].peepholes
    orders = CELLS[cell].onnx, CELLS[cell].own
    found = []
    for k in range(len(w)):
        b_ih, b_hh = [None, None] if b is None else [reorder(half, *orders) for half in np.split(b[k], 2)]
        vectors = () if p is None else tuple(reorder(p[k], theirs, own).reshape(len(own), -1))
        found.append(Direction(reorder(w[k], *orders), reorder(r[k], *orders), b_ih, b_hh, vectors))
    return found


def to_onnx_arrays(cell: str, directions: Sequence[Direction]) -> tuple[Array, Array, Array | None, Array | None]:
    """Return the weights of one layer as ONNX's W, R, B and P.

    Parameters
    ----------
    cell
        A name in ``CELLS``.
    directions
        One or two.

    Returns
    -------
    tuple
        [D, G * H, I], [D, G * H, H], [D, 2 * G * H] or None, and [D, 3 * H] or None.
    """
    orders = CELLS[cell].own, CELLS[cell].onnx
    w = np.stack([reorder(direction.weight_ih, *orders) for direction in directions])
    r = np.stack([reorder(direction.weight_hh, *orders) for direction in directions])
    b = p = None
    if directions[0].bias_ih is not None:
        halves = [(direction.bias_ih, direction.bias_hh) for direction in directions]
        b = np.stack([np.concatenate([reorder(x, *orders) for x in pair if x is not None]) for pair in halves])
    if directions[0].vectors:
        p = np.stack([reorder(np.concatenate(one.vectors), *CELLS[cell].peepholes) for one in directions])
    return w, r, b, p
