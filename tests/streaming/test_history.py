"""Mixed stacks, step by step: the bits of the whole row at once, states, and why some layers cannot be streamed."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.streaming import Stream, StreamPool

STEPS = 70


def encoder(**options) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(8, 2, 12, 0.3, **{"causal": True, **options})


STACKS = {
    "LSTM, norm, dense": lambda: nn.Sequential(nn.LSTM(3, 5), nn.LayerNorm(5), nn.Linear(5, 2)),
    "convolution": lambda: nn.Conv1d(3, 4, 3, causal=True),
    "dilated, grouped": lambda: nn.Sequential(
        nn.Conv1d(3, 6, 2, dilation=4, causal=True), nn.ReLU(), nn.Conv1d(6, 4, 3, groups=2, bias=False, causal=True)
    ),
    "convolution, LSTM": lambda: nn.Sequential(nn.Conv1d(3, 8, 3, causal=True), nn.LSTM(8, 5, 2), nn.Linear(5, 2)),
    "LSTM, attention, LSTM": lambda: nn.Sequential(
        nn.LSTM(3, 8), nn.MultiheadAttention(8, 2, 0.3, causal=True), nn.LSTM(8, 4)
    ),
    "encoder": lambda: nn.Sequential(
        nn.Linear(3, 8), nn.SinusoidalPositions(8, 0.2), nn.TransformerEncoder(encoder(), 2, nn.LayerNorm(8)),
        nn.Linear(8, 2), nn.LastStep(),
    ),
    "pre-norm": lambda: nn.Sequential(
        nn.Linear(3, 8), nn.LearnedPositions(STEPS, 8), encoder(norm_first=True, activation="gelu"), nn.LSTM(8, 2)
    ),
    "residuals": lambda: nn.Sequential(
        nn.Residual(nn.LSTM(3, 3)), nn.Residual(nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3), nn.GELU())),
        nn.WeightDrop(nn.LSTM(3, 4)), nn.VariationalDropout(0.5), nn.Tanh(),
    ),
    "MLP": lambda: nn.Sequential(nn.LSTM(3, 5), nn.MLP(5, [6, 4], 2, "silu", 0.3), nn.Dropout(0.5)),
    "MLP with GELU": lambda: nn.MLP(3, [6, 4], 2, "gelu"),
}  # fmt: skip
each_stack = pytest.mark.parametrize("name", STACKS)


def whole(model, x) -> np.ndarray:
    """What the model gives for each prefix's last step: its output at every step of the row."""
    with fs.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.LastStep):
                layer.forward = lambda x, lengths=None: x
        out = model.eval()(x[None])
    return (out[0] if isinstance(out, tuple) else out).numpy()[0]


@each_stack
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_have_the_bits_of_the_whole_row(name, dtype, rng):
    model, x = STACKS[name]().to(dtype), rng.standard_normal((STEPS, 3)).astype(dtype)
    stream = Stream(model)  # in training mode too: a stream drops nothing
    found = np.stack([np.array(stream.step(row)) for row in x])
    want = whole(model, x)
    assert found.dtype == dtype and found.tobytes() == np.ascontiguousarray(want).tobytes()


@each_stack
def test_going_on_from_a_state_and_from_the_beginning(name, rng):
    model, x = STACKS[name](), rng.standard_normal((20, 3)).astype(np.float32)
    stream = Stream(model)
    first = [np.array(stream.step(row)) for row in x]
    stream.reset()
    again = []
    for number, row in enumerate(x):
        if number == 7:
            state = stream.state
            other = Stream(model)
            other.state = state
            stream.step(x[0])  # what the other one goes on from is a copy
            stream = other
        again.append(np.array(stream.step(row)))
    for one, two in zip(first, again, strict=True):
        assert one.tobytes() == two.tobytes()


def test_an_embedding_takes_an_index_per_step():
    model = nn.Sequential(nn.Embedding(7, 3), nn.LSTM(3, 4))
    stream, numbers = Stream(model), np.array([3, 0, 6, 3])
    found = np.stack([np.array(stream.step([number])) for number in numbers])
    assert found.tobytes() == model(numbers[None]).numpy()[0].tobytes()
    for bad in (7, -1, 0.5):
        with pytest.raises(ValueError, match=r"x: expected an index in 0..6"):
            stream.step([bad])


def test_learned_positions_end():
    stream = Stream(nn.Sequential(nn.LearnedPositions(2, 3)))
    for _ in range(2):
        stream.step(np.zeros(3))
    with pytest.raises(ValueError, match="x: expected at most max_steps = 2 steps, got 3"):
        stream.step(np.zeros(3))


@pytest.mark.parametrize(("model", "why"), [
    (lambda: nn.Conv1d(3, 3, 3, padding=1), r"Conv1d, which sees steps to come \(with causal=True it does not\)"),
    (lambda: nn.Conv1d(3, 3, 3, stride=2, causal=True), "Conv1d of stride 2, which has no output at some steps"),
    (lambda: nn.MultiheadAttention(4, 2), "MultiheadAttention, which looks at all steps of a row"),
    (lambda: nn.TransformerEncoder(encoder(causal=False), 1), "TransformerEncoder, which looks at all steps"),
    (lambda: nn.Sequential(nn.Linear(3, 3), nn.Bidirectional(nn.LSTM(3, 2))), "layer '1'.*got Bidirectional"),
    (lambda: nn.Sequential(nn.LSTM(3, 3), nn.AttentionPool(3)), "layer '1'.*got AttentionPool"),
    (lambda: nn.Residual(nn.Conv1d(3, 3, 3, padding=1)), "Conv1d, which sees steps to come"),
])  # fmt: skip
def test_why_not(model, why):
    with pytest.raises(TypeError, match=why):
        Stream(model())


def test_states_that_do_not_fit():
    stream = Stream(nn.Sequential(nn.LSTM(3, 8), nn.Conv1d(8, 8, 3, causal=True), encoder()))
    assert [len(part) for part in stream.state] == [2, 1, 2]
    lstm, window, memory = stream.state
    for bad in (
        (lstm, window),
        (lstm, (window[0][:1],), memory),
        (lstm, window, memory[:1]),
        (lstm, window, (np.zeros((3, 8), np.float32), np.zeros((2, 8), np.float32))),
    ):
        with pytest.raises(ValueError, match="state"):
            stream.state = bad


def test_a_pool_takes_layers_without_a_memory_behind(rng):
    model = nn.Sequential(nn.LSTM(3, 5), nn.LayerNorm(5), nn.MLP(5, 4, 2, "gelu"))
    pool, streams = StreamPool(model, 4), [Stream(model) for _ in range(4)]
    for _ in range(3):
        x = rng.standard_normal((4, 3)).astype(np.float32)
        found = pool.step(x, np.arange(4))
        for row, stream in enumerate(streams):
            assert found[row].tobytes() == stream.step(x[row]).tobytes()
    with pytest.raises(TypeError, match="model: expected recurrent layers of one kind.*got ConvolutionStep"):
        StreamPool(nn.Sequential(nn.LSTM(3, 5), nn.Conv1d(5, 5, 2, causal=True)), 4)
