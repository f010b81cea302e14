"""The step kernel on programs: the bits of a whole sequence, and nothing touched but states and vectors."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.cells.lstm import LSTMWeights
from fastseq.sequence import step
from fastseq.sequence.workspace import lanes_per_vector
from fastseq.simd.lanes import LANES
from fastseq.streaming.program import translate
from fastseq.streaming.stream import _kernel_of

DTYPES = [np.float32, np.float64]


def kernel_for(dtype):
    return _kernel_of(LSTMWeights).compiled(np.dtype(dtype))


def guarded(program, margin: int = 32):
    """The program's buffer moved between canaries: the whole array and the view that the kernel gets."""
    whole = np.full(program.buffer.size + 2 * margin, -12345.0, program.buffer.dtype)
    view = whole[margin:-margin]
    view[:] = program.buffer
    return whole, view


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("inputs", "units", "layers"), [(1, 1, 1), (1, 32, 1), (3, 17, 2), (17, 33, 1), (5, 100, 3)])
def test_stepping_gives_the_bits_of_the_sequence(inputs, units, layers, dtype, rng):
    lstm = nn.LSTM(inputs, units, layers, dtype=dtype).eval()
    program, rest = translate(lstm)
    assert not rest
    x = rng.standard_normal((1, 7, inputs)).astype(dtype)
    with fs.no_grad():
        out, (h_n, c_n) = lstm(x)
    whole, buffer = guarded(program)
    run, lanes = kernel_for(dtype), lanes_per_vector(np.dtype(dtype))
    for t in range(7):
        assert run(x[0, t], buffer, program.numbers, lanes)
        assert buffer[program.outputs].tobytes() == out.numpy()[0, t].tobytes()
    for layer, place in enumerate(program.states):
        for offset, final in zip(place.offsets, (h_n, c_n), strict=True):
            assert buffer[offset : offset + units].tobytes() == final.numpy()[layer, 0].tobytes()
    assert (whole[:32] == -12345).all() and (whole[-32:] == -12345).all()


@pytest.mark.parametrize("wrong", [0, 2, 4, 100])
def test_an_input_of_the_wrong_size_changes_nothing(wrong, rng):
    program, _ = translate(nn.LSTM(3, 5))
    run = kernel_for(np.float32)
    assert run(rng.standard_normal(3).astype(np.float32), program.buffer, program.numbers, 16)
    before = program.buffer.copy()
    assert not run(rng.standard_normal(wrong).astype(np.float32), program.buffer, program.numbers, 16)
    assert program.buffer.tobytes() == before.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_are_not_written(dtype, rng):
    net = nn.Sequential(nn.LSTM(3, 9, dtype=dtype), nn.Linear(9, 2, dtype=dtype), nn.Tanh())
    program, _ = translate(net)
    places = program.numbers[step.HEADER :].reshape(-1, step.FIELDS)
    panels, dense = int(places[0, 5]), int(places[1, 5])
    before = program.buffer.copy()
    run, lanes = kernel_for(dtype), LANES[np.dtype(dtype)]
    for _ in range(5):
        run(rng.standard_normal(3).astype(dtype), program.buffer, program.numbers, lanes)
    size = -(-9 // lanes) * (1 + 3 + 9) * 4 * lanes
    for at, count in ((panels, size), (dense, 9 * lanes)):
        assert program.buffer[at : at + count].tobytes() == before[at : at + count].tobytes()
        assert before[at : at + count].any()


def test_reading_only_memory_is_enough_for_the_input(rng):
    program, _ = translate(nn.LSTM(3, 5))
    x = rng.standard_normal(3).astype(np.float32)
    x.flags.writeable = False
    assert kernel_for(np.float32)(x, program.buffer, program.numbers, 16)
