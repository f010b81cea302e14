"""StreamPool: each stream has the bits of a stream of its own, whoever steps with it; nothing happens on bad input."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.sequence import step
from tests.streaming.test_stream import NETS, build

F32, F64 = np.float32, np.float64


@pytest.mark.parametrize("name", NETS)
@pytest.mark.usefixtures("threads")
def test_any_subset_steps_with_the_bits_of_single_streams(name, rng):
    net, features, dtype = build(name)
    size = 11
    pool, singles = fs.StreamPool(net, size), [fs.Stream(net) for _ in range(size)]
    assert len(pool) == size
    for count in (1, size, 3, 0, 7, 2, size):
        ids = rng.permutation(size)[:count]
        x = rng.standard_normal((count, features)).astype(dtype)
        got = pool.step(x, ids)
        assert got.dtype == dtype and len(got) == count
        for row, (number, observation) in enumerate(zip(ids, x, strict=True)):
            assert got[row].tobytes() == singles[number].step(observation).tobytes()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("count", [47, 48, 49, 97, 300])
def test_many_rows_on_any_number_of_threads(count, rng):
    net = nn.Sequential(nn.LSTM(33, 70, num_layers=2), nn.Linear(70, 3)).eval()
    steps = [(rng.standard_normal((count, 33)).astype(F32), rng.permutation(400)[:count]) for _ in range(3)]
    found, all_threads = [], fs.get_num_threads()
    for threads in (1, all_threads):
        fs.set_num_threads(threads)
        pool = fs.StreamPool(net, 400)
        found.append([pool.step(x, ids).tobytes() for x, ids in steps])
    assert found[0] == found[1]
    single = fs.Stream(net)
    assert found[0][0][:12] == single.step(steps[0][0][0]).tobytes()


def test_vectors_keep_within_their_room(rng):
    net = nn.Sequential(nn.Linear(5, 37), nn.Tanh(), nn.LSTM(37, 17), nn.Linear(17, 70), nn.ReLU()).eval()
    pool = fs.StreamPool(net, 100)
    program, margin = pool._program, 32
    whole = np.full(2 * margin + program.vectors.size, -12345.0, F32)
    whole[margin:-margin] = 0
    program.numbers[step.VECTORS] = whole[margin:].ctypes.data
    for _ in range(3):
        pool.step(rng.standard_normal((100, 5)).astype(F32), np.arange(100))
    assert (whole[:margin] == -12345).all() and (whole[-margin:] == -12345).all()


def test_states_go_out_and_in(rng):
    net, features, dtype = build("stack")
    pool, ids = fs.StreamPool(net, 6), [4, 1, 3]
    x = rng.standard_normal((4, 3, features)).astype(dtype)
    for observations in x[:2]:
        pool.step(observations, ids)
    state = pool.get_state(ids)
    assert [array.shape for layer in state for array in layer] == [(3, 50)] * 4
    single = fs.Stream(net)
    single.state = [[array[1] for array in layer] for layer in state]
    first = [pool.step(observations, ids).copy() for observations in x[2:]]
    for observations, outputs in zip(x[2:], first, strict=True):
        assert single.step(observations[1]).tobytes() == outputs[1].tobytes()
    pool.set_state([5, 0, 2], state)
    second = [pool.step(observations, [5, 0, 2]).copy() for observations in x[2:]]
    np.testing.assert_array_equal(first, second)
    pool.reset([5, 2])
    assert not any(array[[0, 2]].any() for layer in pool.get_state([5, 0, 2]) for array in layer)
    assert all(array[1].any() for layer in pool.get_state([5, 0, 2]) for array in layer)
    pool.reset()
    assert not any(array.any() for layer in pool.get_state(range(6)) for array in layer)


def test_nan_stays_with_its_stream(rng):
    net, features, dtype = build("head")
    pool, clean = fs.StreamPool(net, 5), fs.StreamPool(net, 5)
    x = rng.standard_normal((5, features)).astype(dtype)
    spoilt = x.copy()
    spoilt[2] = np.nan
    got, want = pool.step(spoilt, np.arange(5)).copy(), clean.step(x, np.arange(5)).copy()
    assert np.isnan(got[2]).all()
    np.testing.assert_array_equal(np.delete(got, 2, 0), np.delete(want, 2, 0))


def test_what_can_be_converted_is(rng):
    net, features, dtype = build("head")
    x = rng.standard_normal((3, features)).astype(dtype)
    want = fs.StreamPool(net, 5).step(x, np.array([3, 0, 4])).copy()
    ways = [
        (x.tolist(), [3, 0, 4]),
        (x.astype(F64), np.array([3, 0, 4], np.int32)),
        (np.asfortranarray(np.repeat(x, 2, 1))[:, ::2], np.array([3, 9, 0, 9, 4, 9])[::2]),
        (fs.Tensor(x), fs.Tensor(np.array([3, 0, 4]))),
        (x, np.array([3, 0, 4], np.uint8)),
    ]
    for values, ids in ways:
        assert fs.StreamPool(net, 5).step(values, ids).tobytes() == want.tobytes()
    assert fs.StreamPool(net, 5).step(np.empty((0, features), dtype), []).shape == (0, 1)


@pytest.mark.parametrize(
    ("x", "ids", "error", "message"),
    [
        (np.ones((2, 1), F32), [0, 5], ValueError, r"ids\[1\]: expected numbers in 0..4, got 5"),
        (np.ones((2, 1), F32), [-1, 0], ValueError, r"ids\[0\]: expected numbers in 0..4, got -1"),
        (np.ones((3, 1), F32), [1, 2, 1], ValueError, r"ids\[2\]: expected numbers that come once, got 1"),
        (np.ones((2, 1), F32), [0], ValueError, r"x: expected shape \(1, 1\)"),
        (np.ones((2, 2), F32), [0, 1], ValueError, r"x: expected shape \(2, 1\)"),
        (np.ones(2, F32), [0, 1], ValueError, r"x: expected shape \(n, 1\)"),
        (np.ones((2, 1), F32), [0.0, 1.0], TypeError, "ids: expected integers"),
        (np.ones((2, 1), F32), [True, False], TypeError, "ids: expected integers"),
        (np.ones((2, 1), F32), [[0, 1]], ValueError, r"ids: expected shape \(n,\)"),
        (np.ones((1, 1), F32), np.array([2**63], np.uint64), ValueError, "ids: expected numbers in 0..4"),
        ([["a"]], [0], TypeError, "x: expected numbers"),
        (np.ma.ones((1, 1)), [0], TypeError, "x: expected an array without a mask"),
    ],
)
def test_bad_input_changes_nothing(x, ids, error, message, rng):
    net, _, dtype = build("head")
    pool = fs.StreamPool(net, 5)
    pool.step(rng.standard_normal((5, 1)).astype(dtype), np.arange(5))
    before = pool._states.copy()
    with pytest.raises(error, match=message):
        pool.step(x, ids)
    assert pool._states.tobytes() == before.tobytes()
    pool.step(np.ones((2, 1), dtype), [0, 1])  # and it goes on


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_pool_has_a_size(size):
    with pytest.raises((TypeError, ValueError), match="size: expected"):
        fs.StreamPool(nn.LSTM(1, 2), size)


def test_bad_states_change_nothing():
    pool = fs.StreamPool(nn.LSTM(1, 3), 4)
    zeros = np.zeros((2, 3), F32)
    for state, error in [
        ([], ValueError),
        ([(zeros,)], ValueError),
        ([(zeros, np.zeros((1, 3), F32))], ValueError),
        ([(zeros + 1, zeros.astype("U3"))], TypeError),
    ]:
        with pytest.raises(error, match="state"):
            pool.set_state([0, 1], state)
    with pytest.raises(ValueError, match=r"ids\[1\]: expected numbers in 0..3, got 4"):
        pool.get_state([0, 4])
    assert not pool._states.any()


def test_layers_that_look_ahead_are_refused():
    with pytest.raises(TypeError, match="looks back only"):
        fs.StreamPool(nn.LSTM(1, 2, bidirectional=True), 3)


@pytest.mark.parametrize("make", [fs.Stream, lambda model: fs.StreamPool(model, 2)])
def test_copies_are_refused(make):
    with pytest.raises(TypeError, match="cannot be copied or pickled"):
        pickle.dumps(make(nn.LSTM(1, 2)))


def test_a_second_thread_in_the_midst_of_a_step_is_told(rng, monkeypatch):
    pool = fs.StreamPool(nn.LSTM(2, 3), 4)
    x, ids = rng.standard_normal((4, 2)).astype(F32), np.arange(4)
    kernel, errors = pool._run, []

    def other():
        with pytest.raises(RuntimeError, match="one thread at a time") as found:
            pool.step(x, ids)
        errors.append(found.value)

    def run(*arguments):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return kernel(*arguments)

    monkeypatch.setattr(pool, "_run", run)
    pool.step(x, ids)
    monkeypatch.undo()
    assert len(errors) == 1
    with pytest.raises(ValueError, match="ids"):
        pool.step(x, ids + 9)
    pool.step(x, ids)  # neither kept it closed
