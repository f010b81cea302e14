"""What operating systems do to a program: new processes, single cores, exits under load, threads that come and go."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

POSIX = pytest.mark.skipif(os.name == "nt", reason="processes as on Unix")

WORK = """
import numpy as np
import fastseq as fs
from fastseq import nn

def model():
    fs.manual_seed(0)
    return nn.Sequential(nn.LSTM(8, 64), nn.LastStep(), nn.Linear(64, 1))

x = np.random.default_rng(0).standard_normal((64, 50, 8), dtype=np.float32)

def step(net):
    net.zero_grad()
    nn.functional.mse_loss(net(x), np.zeros((64, 1), np.float32)).backward()
    return b"".join(p.grad.numpy().tobytes() for p in net.parameters())
"""


def python(tmp_path: Path, code: str, timeout: float = 100, **environment: str) -> str:
    """Run code behind ``WORK`` as a script of its own; it must end well, and say nothing on stderr."""
    script = tmp_path / "script.py"
    script.write_text(WORK + textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=[POSIX, pytest.mark.slow])])
def test_a_model_travels_to_other_processes(method, tmp_path):
    """F38."""
    python(
        tmp_path,
        f"""
        import multiprocessing

        if __name__ == "__main__":
            net = model()
            with multiprocessing.get_context({method!r}).Pool(2) as pool:
                found = pool.map(step, [net, net])
                pool.close()
                pool.join()
            assert found == [step(net)] * 2
        """,
    )


def test_the_interpreter_ends_under_work(tmp_path):
    """F42: threads that are still computing neither hold up the end nor break it."""
    python(
        tmp_path,
        """
        import threading, time

        def work():
            net = model()
            while True:
                step(net)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        """,
        timeout=60,
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinities there")
def test_more_threads_than_cores_do_not_stand_still(tmp_path):
    """F40: two threads on one core are about as fast as one."""
    out = python(
        tmp_path,
        """
        import os, time

        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        net = model()
        seconds = dict.fromkeys((1, 2), 1e9)
        for threads in (1, 2) * 3:
            fs.set_num_threads(threads)
            begin = time.perf_counter()
            for _ in range(20):
                step(net)
            seconds[threads] = min(time.perf_counter() - begin, seconds[threads])
        print(seconds[2] / seconds[1])
        """,
        NUMBA_NUM_THREADS="2",
    )
    assert float(out) < 5


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_threads_that_come_and_go_leave_no_memory_behind(tmp_path):
    """F39."""
    out = python(
        tmp_path,
        """
        import threading, resource

        net = nn.Sequential(nn.LSTM(8, 64), nn.LastStep(), nn.Linear(64, 1))

        def call():
            with fs.no_grad():
                for _ in range(4):
                    net(x[:8])

        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * resource.getpagesize() / 2**20

        sizes = []
        for _ in range(4):
            for _ in range(60):
                threads = [threading.Thread(target=call) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            sizes.append(resident())
        print(sizes[-1] - sizes[0])
        """,
    )
    assert float(out) < 8, "MiB after 720 more threads"


def test_nothing_heavy_is_imported(tmp_path):
    """F50: what only some uses need is loaded by those."""
    python(
        tmp_path,
        """
        import sys
        import fastseq.optim, fastseq.training, fastseq.streaming, fastseq.persistence

        optional = "pandas pyarrow torch sklearn matplotlib onnx h5py polars rich keras tensorflow jax sktime".split()
        loaded = [name for name in optional if name in sys.modules]
        assert not loaded, loaded
        """,
    )


@pytest.mark.slow
def test_tiny_numbers_are_not_slow_and_stay_as_they_are(tmp_path):
    """F15: weights and inputs below the normal range cost little (a peer: 20 times), and no mode is left changed."""
    out = python(
        tmp_path,
        """
        import time

        fs.set_num_threads(1)
        nets = {}
        for size in (1.0, 1e-41):
            nets[size] = nn.LSTM(8, 64)
            for p in nets[size].parameters():
                p.data = (p.numpy() * np.float32(size)).astype(np.float32)

        def seconds(size):
            begin = time.perf_counter()
            out, _ = nets[size](x * np.float32(size))
            out.backward(np.full(out.shape, np.float32(size)))
            return time.perf_counter() - begin

        best = dict.fromkeys(nets, 1e9)
        for _ in range(15):
            for size in nets:
                best[size] = min(best[size], seconds(size))
        tiny = np.full(16, 1e-40, np.float32)
        assert (tiny * np.float32(1) == tiny).all() and (tiny > 0).all() and 5e-324 * 1.0 > 0
        print(best[1e-41] / best[1.0])
        """,
    )
    assert float(out) < 1.5
