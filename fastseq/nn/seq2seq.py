"""Sequences to sequences of tokens: an encoder, a decoder that starts from its state, and attention between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd import no_grad, ops
from fastseq.autograd.operands import array
from fastseq.autograd.ops_softmax import log_softmax_arrays
from fastseq.autograd.tensor import Tensor
from fastseq.nn import functional, init
from fastseq.nn.beam import Hypothesis, Step, beam_search
from fastseq.nn.dropout import Dropout
from fastseq.nn.embedding import Embedding
from fastseq.nn.linear import Linear
from fastseq.nn.luong import LuongAttention, Memory
from fastseq.nn.module import Module
from fastseq.nn.recurrent import Recurrent
from fastseq.nn.seq2seq_parts import check_parts, each_state, evaluating, select, side_by_side, width_of

Array = NDArray[Any]


class Seq2Seq(Module):
    """An encoder reads the source, a decoder writes the target token by token (Sutskever et al., 2014).

    The decoder starts from the encoder's last state (of two directions: both, side by side) and from the token ``bos``.
    With attention its output h becomes tanh(W [context; h]) before the layer to the V tokens (Luong et al., 2015,
    equation 5). Shape letters: B rows, T source steps, U target steps, V = embedding.num_embeddings.

    Parameters
    ----------
    encoder
        A recurrent layer, batch_first.
    decoder
        A recurrent layer of the same kind in one direction, with as many layers, and a state as large as all the
        encoder's directions together.
    embedding
        Of the target's tokens: V of the size that the decoder reads.
    attention
        A LuongAttention from the decoder's outputs to the encoder's; None for none.
    source_embedding
        Of the source's tokens; None for sources of numbers (B, T, F).
    bos, eos
        Tokens that stand before the first and after the last of a target.
    input_feeding
        Whether the decoder also reads its last attentional output (Luong et al., section 3.3); the decoder's input is
        that much larger then, and runs step by step.
    dropout
        Probability of dropping an element before the last layer, while training.

    Notes
    -----
    Targets are given without ``bos`` and with ``eos``: ``loss(source, target, lengths, target_lengths)``. What stands
    past the lengths of sources and targets is never read. A row's results do not depend on its neighbours.
    """

    _config = ("bos", "eos", "input_feeding", "dropout")
    _parts = ("encoder", "decoder", "embedding", "attention", "source_embedding")

    encoder: Recurrent
    decoder: Recurrent
    embedding: Embedding
    attention: LuongAttention | None
    source_embedding: Embedding | None

    def __init__(
        self,
        encoder: Recurrent,
        decoder: Recurrent,
        embedding: Embedding,
        attention: LuongAttention | None = None,
        source_embedding: Embedding | None = None,
        *,
        bos: int,
        eos: int,
        input_feeding: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.input_feeding = checks.boolean("input_feeding", input_feeding)
        check_parts(encoder, decoder, embedding, attention, source_embedding, self.input_feeding)
        tokens = embedding.num_embeddings
        self.bos = checks.integer("bos", bos, 0, tokens - 1)
        self.eos = checks.integer("eos", eos, 0, tokens - 1)
        self.encoder, self.decoder, self.embedding = encoder, decoder, embedding
        self.attention, self.source_embedding = attention, source_embedding
        size, dtype = width_of(decoder), decoder.dtype
        self.combine = None if attention is None else Linear(width_of(encoder) + size, size, bias=False, dtype=dtype)
        self.drop = Dropout(dropout)
        self.output = Linear(size, tokens, dtype=dtype)

    @property
    def dropout(self) -> float:
        """The probability of dropping an element."""
        return self.drop.p

    def forward(
        self,
        source: Any,
        target: Any,
        lengths: Any = None,
        target_lengths: Any = None,
        teacher_forcing: float = 1.0,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the decoder says at each step of the target, having read the target's steps before.

        Parameters
        ----------
        source
            Tokens (B, T), or numbers (B, T, F) without a source_embedding.
        target
            Tokens (B, U), without ``bos`` and with ``eos``.
        lengths, target_lengths
            Valid steps per row, integers (B,); None means all.
        teacher_forcing
            Probability that a step reads the target's token rather than the decoder's own best one, drawn for each row
            and step. At 1 the target is read in a single pass (unless with input feeding).

        Returns
        -------
        logits : Tensor
            (B, U, V), for the tokens of the target; without meaning past target_lengths.
        attention : Tensor or None
            (B, U, T), the weights of the source's steps.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit.
        """
        ratio = checks.real("teacher_forcing", teacher_forcing, 0.0, 1.0)
        tokens, valid = self._target(target, target_lengths)
        memory, state = self.encode(source, lengths)
        rows = len(tokens)
        if array(source).shape[0] != rows:
            raise checks.value_error("target", f"{array(source).shape[0]} rows, as many as source", tokens)
        inputs = np.concatenate([np.full((rows, 1), self.bos), tokens[:, :-1]], axis=1)[:, : tokens.shape[1]]
        if ratio == 1.0 and not self.input_feeding:
            out, _ = self.decoder(self.embedding(inputs, lengths=valid), state, lengths=valid)
            return self._say(out, memory)[1:]
        return self._stepwise(inputs, valid, memory, state, ratio)

    def loss(
        self,
        source: Any,
        target: Any,
        lengths: Any = None,
        target_lengths: Any = None,
        teacher_forcing: float = 1.0,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Return the mean cross entropy of the target's tokens.

        Parameters
        ----------
        source, target, lengths, target_lengths, teacher_forcing
            As for ``forward``.
        label_smoothing
            How much of each target is spread evenly over all tokens, in 0..1.

        Returns
        -------
        Tensor
            A scalar.
        """
        logits, _ = self.forward(source, target, lengths, target_lengths, teacher_forcing)
        tokens, valid = self._target(target, target_lengths)
        return functional.cross_entropy(logits, tokens, label_smoothing=label_smoothing, axis=-1, lengths=valid)

    def encode(self, source: Any, lengths: Any = None) -> tuple[Memory | None, Any]:
        """Return what the decoder attends to (None without attention) and the state that it starts from.

        Parameters
        ----------
        source
            Tokens (B, T), or numbers (B, T, F) without a source_embedding.
        lengths
            Valid steps per row, integers (B,); None means all.

        Returns
        -------
        memory : Memory or None
        state : Tensor or tuple of Tensor
            As the decoder takes it.
        """
        embedded = source if self.source_embedding is None else self.source_embedding(source, lengths=lengths)
        out, state = self.encoder(embedded, lengths=lengths)
        memory = None if self.attention is None else self.attention.remember(out, lengths)
        return memory, each_state(state, lambda part: side_by_side(part, self.encoder.num_directions))

    def greedy(self, source: Any, lengths: Any = None, max_steps: int = 100) -> list[Hypothesis]:
        """Return for each row the sequence that takes the best token at every step.

        Parameters
        ----------
        source, lengths
            As for ``forward``.
        max_steps
            Most tokens of a result, ``eos`` included.

        Returns
        -------
        list of Hypothesis
            One per row: tokens without ``bos`` and ``eos``, their log probability, and the attention (U, T).
        """
        return [found[0] for found in self.beam_search(source, lengths, max_steps, 1)]

    def beam_search(
        self,
        source: Any,
        lengths: Any = None,
        max_steps: int = 100,
        beam_width: int = 5,
        length_penalty: float = 0.0,
        n_best: int = 1,
    ) -> list[list[Hypothesis]]:
        """Return for each row the best sequences that a beam search finds, best first.

        Parameters
        ----------
        source, lengths
            As for ``forward``.
        max_steps
            Most tokens of a result, ``eos`` included.
        beam_width
            Unfinished sequences that are kept per row.
        length_penalty
            The log probability is divided by ((5 + tokens) / 6) to this power; 0 for not at all.
        n_best
            How many to return per row, at most beam_width.

        Returns
        -------
        list of list of Hypothesis
            Tokens without ``bos`` and ``eos``, score, log probability, and the attention (U, T).
        """
        steps, width = checks.integer("max_steps", max_steps, 1), checks.integer("beam_width", beam_width, 1)
        strength = checks.real("length_penalty", length_penalty)
        count = checks.integer("n_best", n_best, 1, width)
        with no_grad(), evaluating(self):
            memory, state = self.encode(source, lengths)
            rows = array(source).shape[0]
            found = beam_search(
                self._next, select, (memory, state, self._nothing(rows)), rows, bos=self.bos, eos=self.eos,
                max_steps=steps, width=width, length_penalty=strength, n_best=count,
            )  # fmt: skip
        if memory is None or memory.lengths is None:
            return found
        return [
            [one._replace(attention=one.attention if one.attention is None else one.attention[:, :n]) for one in row]
            for row, n in zip(found, memory.lengths, strict=True)
        ]

    def _next(self, last: NDArray[np.int64], before: Any) -> Step:
        """One step of the search."""
        memory, state, fed = before
        hidden, logits, weights, state = self._step(last, fed, memory, state, None)
        scores = log_softmax_arrays(logits._data[:, 0].astype(np.float64), 1)
        return Step(scores, None if weights is None else weights._data[:, 0], (memory, state, hidden))

    def _stepwise(
        self, inputs: Array, valid: NDArray[np.int64], memory: Memory | None, state: Any, ratio: float
    ) -> tuple[Tensor, Tensor | None]:
        """Run the decoder step by step: on its own tokens, or on its own outputs."""
        rows, steps = inputs.shape
        fed = self._nothing(rows)
        said: list[Tensor] = []
        looks: list[Any] = []
        for u in range(steps):
            last = inputs[:, u]
            if u and ratio < 1.0:
                own = said[-1]._data[:, 0].argmax(axis=1)
                last = np.where(init.generator().random(rows) < ratio, last, own)
            fed, logits, weights, state = self._step(last, fed, memory, state, (valid > u).astype(np.int64))
            said.append(logits)
            looks.append(weights)
        if not steps:
            return self._say(Tensor(np.zeros((rows, 0, width_of(self.decoder)), self.decoder.dtype)), memory)[1:]
        return ops.concatenate(said, 1), None if memory is None else ops.concatenate(looks, 1)

    def _step(
        self, last: NDArray[np.int64], fed: Any, memory: Memory | None, state: Any, valid: NDArray[np.int64] | None
    ) -> tuple[Tensor, Tensor, Tensor | None, Any]:
        """Return the attentional output, the logits and weights after one more token, and the new state."""
        x = self.embedding(last[:, None], lengths=valid)
        if self.input_feeding:
            x = ops.concatenate([x, fed], 2)
        out, state = self.decoder(x, state, lengths=valid)
        return (*self._say(out, memory), state)

    def _say(self, out: Tensor, memory: Memory | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the attentional output, the logits and the weights, given the decoder's output (B, U, H)."""
        if self.attention is None or self.combine is None or memory is None:
            return out, self.output(self.drop(out)), None
        context, weights = self.attention.attend(out, memory)
        hidden = ops.tanh(self.combine(ops.concatenate([context, out], 2)))
        return hidden, self.output(self.drop(hidden)), weights

    def _nothing(self, rows: int) -> Tensor:
        return Tensor(np.zeros((rows, 1, width_of(self.decoder)), self.decoder.dtype))

    def _target(self, target: Any, target_lengths: Any) -> tuple[Array, NDArray[np.int64]]:
        found = array(target)
        if found.dtype.kind not in "iu":
            raise checks.kind_error("target", "integer tokens (B, U)", found)
        if found.ndim != 2:
            raise checks.value_error("target", "shape (B, U)", found)
        given = target_lengths._data if isinstance(target_lengths, Tensor) else target_lengths
        return found, checks.lengths("target_lengths", given, *found.shape)
