"""When kernels keep to one thread because others need the cores."""

from __future__ import annotations

import numba
import numpy as np
import pytest

import fastseq as fs
from fastseq.jit import threads
from fastseq.jit.crowding import FADING, FIRST_PAUSE, LONGEST_PAUSE, PATIENCE, SOON, STALL, Crowding

WORK, QUICK, SLOW = 1e7, 1e-4, 5e-3


class Clock:
    """Launches of one kernel, one after another, at times that we choose."""

    def __init__(self) -> None:
        self.now, self.crowding = 100.0, Crowding()

    def launch(self, took: float, after: float = 1e-3, kernel: int = 1, work: float = WORK) -> bool:
        """Launch; return whether it went to one thread."""
        self.now += after
        if self.crowding.alone(self.now):
            return True
        begin = self.now
        self.now += took
        self.crowding.note(kernel, work, begin, self.now)
        return False


def crowd(clock: Clock) -> int:
    """Launch until kernels keep to one thread; return how many stalls that took."""
    count = 0
    while not clock.crowding.alone(clock.now):
        clock.launch(SLOW, after=1e-4)
        count += 1
    return count


def test_after_some_stalls_kernels_keep_to_one_thread_for_a_while():
    clock = Clock()
    assert not any(clock.launch(QUICK) for _ in range(5))
    assert PATIENCE / SLOW < crowd(clock) < 3 * PATIENCE / SLOW
    assert clock.launch(QUICK, after=FIRST_PAUSE / 2)
    assert not clock.launch(QUICK, after=FIRST_PAUSE)


def test_stalls_now_and_then_are_waited_for():
    """As where another library's threads spin for some milliseconds before they fall asleep, every time it has run."""
    clock = Clock()
    clock.launch(QUICK)
    for _ in range(50):
        assert not clock.launch(SLOW, after=FADING) and not clock.launch(SLOW)
        assert not any(clock.launch(QUICK) for _ in range(20))


def test_the_pause_doubles_while_it_stays_crowded_and_is_short_again_after_calm():
    clock = Clock()
    clock.launch(QUICK)
    pauses = []
    for _ in range(8):
        crowd(clock)
        begin = clock.now
        while clock.crowding.alone(clock.now):
            clock.now += 1e-3
        pauses.append(clock.now - begin)
    wanted = np.minimum(FIRST_PAUSE * 2.0 ** np.arange(8), LONGEST_PAUSE)
    np.testing.assert_allclose(pauses, wanted, atol=2e-3)
    for _ in range(int(2 * (SOON + PATIENCE) / 1e-3)):
        assert not clock.launch(QUICK)
    crowd(clock)
    assert not clock.launch(QUICK, after=1.5 * FIRST_PAUSE)


def test_long_work_and_the_first_launch_are_no_stalls():
    clock = Clock()
    assert not clock.launch(SLOW)  # who knows how long it takes?
    clock.launch(QUICK)
    for _ in range(10):
        assert not clock.launch(100 * QUICK, work=100 * WORK)
        assert not clock.launch(SLOW, kernel=2, work=WORK)  # another kernel may be slower
        assert not clock.launch(QUICK + 0.9 * STALL)


@pytest.mark.usefixtures("threads")
@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core")
def test_layers_give_the_same_bits_on_one_thread_and_go_back_to_all(monkeypatch, rng):
    lstm, x = fs.nn.LSTM(16, 64), rng.standard_normal((32, 50, 16), dtype=np.float32)
    with fs.no_grad():
        want = lstm(x)[0].numpy()
        noted = []
        monkeypatch.setattr(threads.threads.crowding, "note", lambda *launch: noted.append(launch))
        assert np.array_equal(lstm(x)[0].numpy(), want)
        assert len(noted) == 1 and noted[0][1] > 0 and noted[0][3] > noted[0][2]
        monkeypatch.setattr(threads.threads.crowding, "_alone_until", float("inf"))
        assert np.array_equal(lstm(x)[0].numpy(), want)
        assert len(noted) == 1
        fs.set_num_threads(fs.get_num_threads())  # begins anew
        assert np.array_equal(lstm(x)[0].numpy(), want)
        assert len(noted) == 2
