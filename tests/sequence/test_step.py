"""The step kernel on programs: the bits of a whole sequence, and nothing touched but states and vectors."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.cells.lstm import LSTMWeights
from fastseq.sequence import step
from fastseq.streaming.program import translate
from fastseq.streaming.stream import kernel_of

DTYPES = [np.float32, np.float64]


def kernel_for(dtype):
    return kernel_of(LSTMWeights).compiled(np.dtype(dtype))


def guarded(program, margin: int = 32):
    """Move the program's vectors between canaries; return the whole array and the view that the kernel gets."""
    whole = np.full(program.vectors.size + 2 * margin, -12345.0, program.vectors.dtype)
    view = whole[margin:-margin]
    view[:] = program.vectors
    program.numbers[step.VECTORS] = view.ctypes.data
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
    run = kernel_for(dtype)
    for t in range(7):
        assert run(x[0, t], program.address)
        assert buffer[program.outputs].tobytes() == out.numpy()[0, t].tobytes()
    for layer, place in enumerate(program.states):
        for offset, final in zip(place.places, (h_n, c_n), strict=True):
            assert buffer[offset : offset + units].tobytes() == final.numpy()[layer, 0].tobytes()
    assert (whole[:32] == -12345).all() and (whole[-32:] == -12345).all()


@pytest.mark.parametrize("wrong", [0, 2, 4, 100])
def test_an_input_of_the_wrong_size_changes_nothing(wrong, rng):
    program, _ = translate(nn.LSTM(3, 5))
    run = kernel_for(np.float32)
    assert run(rng.standard_normal(3).astype(np.float32), program.address)
    before, numbers = program.vectors.copy(), program.numbers.copy()
    assert not run(rng.standard_normal(wrong).astype(np.float32), program.address)
    assert program.vectors.tobytes() == before.tobytes() and program.numbers.tobytes() == numbers.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_are_not_written(dtype, rng):
    net = nn.Sequential(nn.LSTM(3, 9, dtype=dtype), nn.Linear(9, 2, dtype=dtype), nn.Tanh())
    program, _ = translate(net)
    before = program.constants.copy()
    assert before.any()
    for _ in range(5):
        kernel_for(dtype)(rng.standard_normal(3).astype(dtype), program.address)
    assert program.constants.tobytes() == before.tobytes()


def test_reading_only_memory_is_enough_for_the_input(rng):
    program, _ = translate(nn.LSTM(3, 5))
    x = rng.standard_normal(3).astype(np.float32)
    x.flags.writeable = False
    assert kernel_for(np.float32)(x, program.address)
