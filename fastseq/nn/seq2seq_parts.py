"""The parts of a Seq2Seq: what they must be, their sizes, and the state that goes from one to the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.nn.embedding import Embedding
from fastseq.nn.luong import LuongAttention
from fastseq.nn.module import Module
from fastseq.nn.recurrent import Recurrent


def each_state(state: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to a state that is a Tensor or a tuple of them.

    Parameters
    ----------
    state
        Of a recurrent layer.
    function
        Maps a Tensor to a Tensor.

    Returns
    -------
    Tensor or tuple of Tensor
    """
    return tuple(function(part) for part in state) if isinstance(state, (tuple, list)) else function(state)


def side_by_side(state: Tensor, directions: int) -> Tensor:
    """Return a state with its directions side by side, as a layer of one direction takes it.

    Parameters
    ----------
    state
        (N * D, B, H).
    directions
        D.

    Returns
    -------
    Tensor
        (N, B, D * H)
    """
    if directions == 1:
        return state
    both, rows, size = state.shape
    layers = both // directions
    parts = ops.permute(ops.reshape(state, (layers, directions, rows, size)), 0, 2, 1, 3)
    return ops.reshape(parts, (layers, rows, directions * size))


def width_of(layer: Recurrent) -> int:
    """Return the size of a recurrent layer's outputs.

    Parameters
    ----------
    layer
        The layer.
    """
    return (getattr(layer, "proj_size", 0) or layer.hidden_size) * layer.num_directions


def select(state: Any, kept: NDArray[np.int64]) -> Any:
    """Return the state of a search for some of its sequences.

    Parameters
    ----------
    state
        Memory, decoder state and last output of n sequences.
    kept
        Numbers of sequences.

    Returns
    -------
    tuple
        The same of those.
    """
    memory, own, fed = state
    return (
        None if memory is None else memory.select(kept),
        each_state(own, lambda part: Tensor(part._data[:, kept])),
        Tensor(fed._data[kept]),
    )


@contextmanager
def evaluating(model: Module) -> Any:
    """Switch a model to evaluation for a while.

    Parameters
    ----------
    model
        The model.
    """
    before = [(module, module.training) for module in model.modules() if module.training]
    for module, _ in before:
        module.__dict__["training"] = False
    try:
        yield
    finally:
        for module, training in before:
            module.__dict__["training"] = training


def check_parts(
    encoder: Any, decoder: Any, embedding: Any, attention: Any, source_embedding: Any, input_feeding: bool
) -> None:
    """Raise unless the parts of a Seq2Seq are of the right kinds and fit together.

    Parameters
    ----------
    encoder, decoder, embedding, attention, source_embedding, input_feeding
        The constructor's arguments.

    Raises
    ------
    TypeError, ValueError
        Naming the part.
    """
    for name, part, kind in (
        ("encoder", encoder, Recurrent),
        ("decoder", decoder, Recurrent),
        ("embedding", embedding, Embedding),
        ("attention", attention, LuongAttention),
        ("source_embedding", source_embedding, Embedding),
    ):
        optional = name in ("attention", "source_embedding")
        if not (isinstance(part, kind) or (optional and part is None)):
            article = "an" if kind.__name__[0] in "AEIOU" else "a"
            raise checks.kind_error(name, f"{article} {kind.__name__}" + (" or None" if optional else ""), part)
        if part is not None and part.dtype != decoder.dtype:
            raise checks.kind_error(name, f"dtype {decoder.dtype} like the decoder's", str(part.dtype))
    size, read = width_of(decoder), embedding.embedding_dim + (width_of(decoder) if input_feeding else 0)
    wanted = [
        ("encoder.batch_first", encoder.batch_first, True),
        ("decoder.batch_first", decoder.batch_first, True),
        ("decoder.bidirectional", decoder.bidirectional, False),
        ("decoder.num_layers", decoder.num_layers, encoder.num_layers),
        ("decoder.hidden_size", decoder.hidden_size, encoder.hidden_size * encoder.num_directions),
        ("decoder's outputs", size, width_of(encoder)),
        ("decoder's states", 1 + len(decoder.cell.spec.memories), 1 + len(encoder.cell.spec.memories)),
        ("decoder.input_size", decoder.input_size, read),
    ]
    if source_embedding is not None:
        wanted.append(("source_embedding.embedding_dim", source_embedding.embedding_dim, encoder.input_size))
    if attention is not None:
        wanted.append(("attention.query_size", attention.query_size, size))
        wanted.append(("attention.key_size", attention.key_size, width_of(encoder)))
    elif input_feeding:
        raise checks.value_error("attention", "a LuongAttention where input_feeding is True", "None")
    for name, value, expected in wanted:
        if value != expected:
            raise checks.value_error(name, str(expected), str(value))
