"""Kernels in the cache and on threads: whole entries or none, no stale code, no swapped twins, safe after fork."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numba import types
from numba.core import event

from fastseq import jit
from fastseq.jit import Int, Integers, Launcher, ReadReals, Reals, commons
from fastseq.jit import cache as disk
from fastseq.jit import kernels as registered
from fastseq.simd.lanes import address

ROOT = Path(__file__).resolve().parents[1]
_numbers = itertools.count()
posix = pytest.mark.skipif(os.name == "nt", reason="permission bits and fork are POSIX")


def make_kernel(factor: float) -> jit.Kernel:
    """A kernel of its own: values times a factor, into ``out``."""

    def scale(values, out):
        for k in range(values.size):
            out[k] = values[k] * factor

    scale.__annotations__ = {"values": "ReadReals", "out": "Reals"}
    return jit.kernel(scale, label=f"test{next(_numbers)}")


@jit.piece
def mark(task, factors, x, out, places):
    """Write a number that says who wrote it, and with what; count how often."""
    out[task] += factors[0] * x[task] + factors[1]
    places[task] += 1


@jit.kernel
def mark_all(x: ReadReals, out: Reals, places: Integers, count: Int, launcher: Launcher):
    """Two rounds of ``count`` tasks: out = 2 (3 x + 0.5)."""
    for _ in range(2):
        jit.share(launcher, count, mark, ((3.0, 0.5), address(x), address(out), address(places)))


def _nothing(count):
    """Do nothing."""


def run(kernel: jit.Kernel, dtype: type = np.float32) -> np.ndarray:
    """What the kernel makes of 0, 1, 2."""
    out = np.empty(3, dtype)
    kernel(np.arange(3, dtype=dtype), out)
    return out


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder that nothing else uses; gives the folder of this version's entries."""
    monkeypatch.setenv("FASTSEQ_CACHE_DIR", str(tmp_path / "kernels"))
    monkeypatch.setattr(disk, "_folder", [])
    return jit.cache_folder()


def forget(kernel: jit.Kernel) -> None:
    """Drop what this process has compiled, as a new process would start."""
    kernel._ready.clear()


def compilations(kernel: jit.Kernel) -> int:
    """How many compilations a run of the kernel starts."""
    with event.install_recorder("numba:compile") as recorder:
        np.testing.assert_array_equal(run(kernel)[1:2], run(kernel)[2:] / 2)
    return sum(happened.is_start for _, happened in recorder.buffer)


def test_an_entry_is_whole_private_and_used(cache):
    kernel = make_kernel(3.0)
    assert compilations(kernel) > 0
    (entry,) = cache.iterdir()
    assert entry.name == f"{kernel.name}-float32" and (entry / "seal").is_file()
    if os.name != "nt":
        assert not stat.S_IMODE(cache.stat().st_mode) & 0o077
    forget(kernel)
    assert compilations(kernel) == 0
    np.testing.assert_array_equal(run(kernel), [0, 3, 6])


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "unsealed", "a file"])
def test_a_damaged_entry_is_compiled_anew_and_replaced(cache, damage):
    kernel = make_kernel(3.0)
    run(kernel)
    (entry,) = cache.iterdir()
    code = next(entry.rglob("*.nbc"))
    if damage == "flipped":
        content = bytearray(code.read_bytes())
        content[len(content) // 2] ^= 1
        code.write_bytes(content)
    elif damage == "a file":
        shutil.rmtree(entry)
        entry.write_text("")
    elif damage == "truncated":
        code.write_bytes(code.read_bytes()[:100])
    else:
        (code if damage == "missing" else entry / "seal").unlink()
    forget(kernel)
    assert compilations(kernel) > 0
    np.testing.assert_array_equal(run(kernel), [0, 3, 6])
    forget(kernel)
    assert compilations(kernel) == 0
    assert [folder.name for folder in cache.iterdir()] == [entry.name]
    assert not list(entry.rglob("damaged"))


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_as_before_once_a_kernel_is_compiled(cache, monkeypatch, enabled):
    def fail(*_):
        raise RuntimeError("compiler")

    try:
        (gc.enable if enabled else gc.disable)()
        run(make_kernel(2.0))
        assert gc.isenabled() == enabled
        monkeypatch.setattr(disk.numba, "njit", lambda **_: lambda _: SimpleNamespace(enable_caching=int, compile=fail))
        with pytest.raises(RuntimeError, match="compiler"):
            run(make_kernel(2.0))
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


def test_element_types_have_entries_of_their_own(cache):
    kernel = make_kernel(2.0)
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(run(kernel, dtype), [0, 2, 4])
    assert sorted(folder.name for folder in cache.iterdir()) == [f"{kernel.name}-float{bits}" for bits in (32, 64)]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 1000])
def test_every_task_runs_once_whoever_runs_it(count):
    x = np.arange(count, dtype=np.float32)
    for work in (0.0, 1e12):
        out, places = np.zeros(count, np.float32), np.zeros(count, np.int64)
        mark_all.launch(work, x, out, places, count)
        np.testing.assert_array_equal(out, 6 * x + 1)
        assert (places == 2).all()


def test_any_edit_of_a_kernel_source_is_another_cache(tmp_path, monkeypatch):
    source = tmp_path / "source.py"
    source.write_text("one = 1\n")
    monkeypatch.setattr(disk, "_sources", lambda: [source])
    before = disk._digest()
    assert disk._digest() == before
    source.write_text("one = 2\n")
    assert disk._digest() != before


def test_another_processor_is_another_cache(monkeypatch):
    before = disk._digest()
    monkeypatch.setattr(type(disk.cpu_target.target_context.codegen()), "magic_tuple", lambda self: ("other", "", ""))
    assert disk._digest() != before


@pytest.mark.slow
def test_processors_share_a_folder_without_disturbing_each_other(tmp_path):
    counted = """
    import numpy as np
    from numba.core import event
    from fastseq.simd.elementwise import RELU, elementwise
    with event.install_recorder("numba:compile") as recorder:
        elementwise(RELU, np.ones(3, np.float32))
    print(sum(happened.is_start for _, happened in recorder.buffer))
    """
    ours = {"FASTSEQ_CACHE_DIR": str(tmp_path / "kernels")}
    other = {**ours, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    counts = [int(script(counted, **environment)) for environment in (ours, other, ours, other)]
    assert min(counts[:2]) > 0 and counts[2:] == [0, 0]


def test_what_killed_processes_left_behind_goes(cache, monkeypatch):
    for name, age in ((".1-old", 2 * 86_400), (".2-new", 0)):
        (cache / name).mkdir()
        os.utime(cache / name, (time.time() - age,) * 2)
    monkeypatch.setattr(disk, "_folder", [])
    jit.cache_folder()
    assert [folder.name for folder in cache.iterdir()] == [".2-new"]


def test_all_sources_that_are_compiled_are_digested():
    import fastseq.nn
    import fastseq.optim
    import fastseq.streaming

    assert fastseq.nn and fastseq.optim and fastseq.streaming
    digested = set(disk._sources())
    for kernel in jit.all_kernels():
        if kernel.function.__module__.startswith("fastseq."):
            assert Path(kernel.function.__code__.co_filename) in digested, kernel.name


@posix
def test_a_folder_that_others_can_write_to_is_refused(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("FASTSEQ_CACHE_DIR", str(shared))
    monkeypatch.setattr(disk, "_folder", [])
    with pytest.warns(RuntimeWarning, match="only you can write to"):
        np.testing.assert_array_equal(run(make_kernel(3.0)), [0, 3, 6])
    assert not list(shared.iterdir())


@posix
def test_a_link_to_a_private_folder_elsewhere_is_followed(tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    monkeypatch.setenv("FASTSEQ_CACHE_DIR", str(tmp_path / "link"))
    monkeypatch.setattr(disk, "_folder", [])
    assert jit.cache_folder() is not None and len(list((tmp_path / "disk").iterdir())) == 1
    (tmp_path / "disk").chmod(0o770)
    monkeypatch.setattr(disk, "_folder", [])
    with pytest.warns(RuntimeWarning, match="got mode 770"):
        assert jit.cache_folder() is None


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("no compiled object yet")])
def test_what_cannot_be_kept_is_compiled_all_the_same(error, cache, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr("numba.core.caching.Cache.save_overload", fail)
    np.testing.assert_array_equal(run(make_kernel(3.0)), [0, 3, 6])
    assert not list(cache.iterdir())


def test_a_folder_below_home(tmp_path, monkeypatch):
    """As it stands in files of settings, where no shell has put the home in."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("FASTSEQ_CACHE_DIR", os.path.join("~", "kernels"))
    monkeypatch.setattr(disk, "_folder", [])
    assert jit.cache_folder().parent == tmp_path / "kernels"


def test_nowhere_to_write(tmp_path, monkeypatch):
    """F45: a read-only container, without a folder for temporary files."""

    def nowhere():
        raise FileNotFoundError("no usable temporary directory found")

    for name in ("FASTSEQ_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, "" if name == "FASTSEQ_CACHE_DIR" else str(tmp_path / "a file" / "below"))
    (tmp_path / "a file").write_text("")
    monkeypatch.setattr(disk.tempfile, "gettempdir", nowhere)
    monkeypatch.setattr(disk, "_folder", [])
    assert jit.cache_folder() is None
    np.testing.assert_array_equal(run(make_kernel(3.0)), [0, 3, 6])


def test_kernels_run_without_any_cache(tmp_path, monkeypatch):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("FASTSEQ_CACHE_DIR", str(blocked / "below"))
    monkeypatch.setattr(disk, "_folder", [])
    assert jit.cache_folder() is None
    np.testing.assert_array_equal(run(make_kernel(3.0)), [0, 3, 6])


def test_only_the_latest_versions_are_kept(cache, monkeypatch):
    root = cache.parent
    for number in range(2 * disk.KEPT_DIGESTS):
        old = root / f"{number:016x}"
        old.mkdir()
        os.utime(old, (number, number))
    monkeypatch.setattr(disk, "_folder", [])
    jit.cache_folder()
    kept = {folder.name for folder in root.iterdir()}
    assert cache.name in kept and len(kept) <= disk.KEPT_DIGESTS
    assert f"{0:016x}" not in kept


def test_a_kernel_wants_known_annotations_and_a_name_of_its_own():
    def unknown(values):
        return values

    with pytest.raises(TypeError, match="expected annotations from Reals"):
        jit.kernel(unknown, label="unknown")
    kernel = make_kernel(1.0)
    kernel.function.__annotations__ = {"values": "ReadReals", "out": "Reals"}
    with pytest.raises(ValueError, match="tells this .* from others"):
        jit.kernel(kernel.function)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    ("count", "error"), [(0, ValueError), (10**6, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_bad_thread_counts(count, error):
    before = jit.get_num_threads()
    with pytest.raises(error, match="count: expected an integer"):
        jit.set_num_threads(count)
    assert jit.get_num_threads() == before


def test_warm_up_reports_each_specialisation(cache, monkeypatch):
    kernels = [make_kernel(2.0), make_kernel(3.0)]
    monkeypatch.setattr(registered, "_kernels", kernels)
    seen = []
    seconds = jit.warmup((np.float32, np.float64), lambda *facts: seen.append(facts))
    assert [(done, of) for _, _, done, of in seen] == [(n, 5) for n in range(1, 6)]
    assert seconds > 0 and {folder.name.rsplit("-", 1)[0] for folder in cache.iterdir()} >= {
        kernel.name for kernel in kernels
    }


@pytest.mark.parametrize("program", [sys.executable, "false", "no such program"])
def test_warm_up_uses_processes_and_does_without(cache, monkeypatch, program):
    from fastseq.optim import adam, sgd

    wanted = [adam.adam_plain, adam.adam_amsgrad, sgd.sgd_plain, sgd.sgd_momentum]
    kernels = [jit.Kernel.__new__(jit.Kernel) for _ in wanted]
    for kernel, like in zip(kernels, wanted, strict=True):  # as a new process would find them
        kernel.__dict__ |= like.__dict__ | {"_ready": registered._Ready(kernel)}
    monkeypatch.setattr(registered, "_kernels", [*kernels, make_kernel(5.0)])  # the last one is ours alone
    monkeypatch.setattr(sys, "executable", program)
    seen = []
    jit.warmup((np.float32,), lambda *facts: seen.append(facts), processes=2)
    assert sorted(title for title, *_ in seen[:-1]) == sorted(f"{one.name} float32" for one in registered._kernels)
    assert [(done, of) for _, _, done, of in seen] == [(n, 6) for n in range(1, 7)]
    assert not any(one.missing(np.dtype(np.float32)) for one in registered._kernels)
    assert {folder.name for folder in cache.iterdir()} >= {f"{one.name}-float32" for one in wanted}


def script(body: str, **environment: str) -> str:
    """What a script prints in a process of its own; its exit must be clean."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(body)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout.strip()


WORK = """
    import numpy as np
    import fastseq as fs
    from fastseq import nn, optim

    def work():
        fs.manual_seed(0)
        model = nn.Sequential(nn.LSTM(3, 40, 1), nn.Linear(40, 1))
        x = np.random.default_rng(0).standard_normal((32, 40, 3), dtype=np.float32)
        optimizer = optim.Adam(model.parameters())
        nn.functional.mse_loss(model(x), np.zeros((32, 40, 1), np.float32)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        stream = fs.Stream(model.eval())
        with fs.no_grad():
            return model(x).numpy().tobytes() + stream.step(x[0, 0]).tobytes()
"""


COUNTED = """
    from numba.core import event
    with event.install_recorder("numba:compile") as recorder:
        work()
    print(sum(happened.is_start for _, happened in recorder.buffer))
"""


def test_what_one_process_compiled_another_does_not():
    script(WORK + "\n    work()")  # with the cache of all tests
    assert int(script(WORK + COUNTED)) == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_second_process_compiles_nothing(tmp_path):
    environment = {"FASTSEQ_CACHE_DIR": str(tmp_path / "kernels")}
    assert int(script(WORK + COUNTED, **environment)) > 0
    assert int(script(WORK + COUNTED, **environment)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_a_function_that_kernels_call_is_there_before_they_are_loaded(tmp_path, damage):
    """A kernel from the cache that named what is nowhere would end the process."""
    environment = {"FASTSEQ_CACHE_DIR": str(tmp_path / "kernels")}
    multiply = """
    import numpy as np
    from fastseq.simd.dense import product
    print(product(np.ones((2, 3), np.float32), np.ones((3, 16), np.float32)).sum())
    """
    assert script(multiply, **environment) == "96.0"
    (entry,) = (tmp_path / "kernels").glob("*/fastseq.simd.gemm.product-float32")
    if damage == "missing":
        shutil.rmtree(entry)
    else:
        code = next(entry.rglob("*.nbc"))
        code.write_bytes(code.read_bytes()[:-1] + b"?")
    assert script(multiply, **environment) == "96.0"
    assert (entry / "seal").is_file()


def test_code_says_which_functions_it_calls(monkeypatch):
    common = jit.Common(_nothing, lambda real: (types.int64,))
    monkeypatch.setattr(commons, "_commons", [common])
    made = []
    monkeypatch.setattr(common, "symbol", lambda real: made.append(real))
    commons.link_commons(b"\0tests.test_jit._nothing-float64\0")
    assert made == [types.float64]


@posix
def test_a_forked_child_can_work():
    script(
        WORK
        + """
    import os, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork with threads about
    before = work()
    child = os.fork()
    if child == 0:
        os._exit(0 if work() == before else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
    assert work() == before
    """
    )


@posix
def test_a_fork_waits_for_a_compilation_in_another_thread():
    """F37: the child would wait for a lock that nobody in it holds."""
    script(
        WORK
        + """
    import os, threading, warnings
    from fastseq.jit import kernels
    warnings.simplefilter("ignore", DeprecationWarning)
    entered, go = threading.Event(), threading.Event()

    def compile():
        with kernels._lock:
            entered.set()
            go.wait()

    threading.Thread(target=compile).start()
    entered.wait()
    threading.Timer(0.1, go.set).start()
    child = os.fork()
    if child == 0:
        os._exit(0 if go.is_set() and kernels._lock.acquire(timeout=5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    )


@pytest.mark.parametrize("layer", ["workqueue", "default"])
def test_threads_share_a_process(layer):
    script(
        WORK
        + """
    from concurrent.futures import ThreadPoolExecutor
    before = work()
    x = np.random.default_rng(1).standard_normal((32, 40, 3), dtype=np.float32)
    model = nn.LSTM(3, 40)

    def infer(_):
        with fs.no_grad():
            return model(x)[0].numpy().tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(infer, range(64)))) == 1
    """,
        NUMBA_THREADING_LAYER=layer,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_that_start_cold_together_agree(tmp_path):
    code = textwrap.dedent(WORK + "\n    import hashlib; print(hashlib.sha256(work()).hexdigest())")
    environment = {**os.environ, "FASTSEQ_CACHE_DIR": str(tmp_path / "kernels")}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    answers = {process.communicate(timeout=280)[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert len(answers) == 1 and answers != {b""}
    (folder,) = (tmp_path / "kernels").iterdir()
    assert all((entry / "seal").is_file() for entry in folder.iterdir())


def test_no_warning_is_left_to_the_user():
    kernel = make_kernel(3.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(kernel)
