"""The command line: what it prints, its exit codes, and that errors are one line."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.cli import main
from fastseq.cli.info import describe
from tests.scoring.series_tables import list_table, long_table, ragged

ROOT = Path(__file__).parents[2]


def python_m(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``python -m fastseq`` in a process of its own."""
    command = ["-c", code] if code else ["-m", "fastseq", *arguments]
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT)


@pytest.fixture
def model(tmp_path):
    """A saved model of three features and one output."""
    fs.manual_seed(0)
    net = nn.Sequential(nn.LSTM(3, 4), nn.LastStep(), nn.Linear(4, 1))
    fs.save(net, tmp_path / "model.safetensors")
    return net


def test_score_writes_what_the_model_says(tmp_path, model, capsys):
    series = ragged([3, 9, 1])
    pyarrow.csv.write_csv(long_table(series), tmp_path / "in.csv")
    command = ["score", f"{tmp_path}/model.safetensors", f"{tmp_path}/in.csv", "-o", f"{tmp_path}/out.csv"]
    assert main([*command, "--features", "a", "b", "c", "--batch-size", "2", "--no-progress"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("3 series, 13 rows in ") and out.endswith(f": {tmp_path}/out.csv\n") and not err
    found = pyarrow.csv.read_csv(tmp_path / "out.csv")["prediction"].to_numpy().astype(np.float32)
    model.eval()
    with fs.no_grad():
        assert np.array_equal(found, [model(one[None]).numpy()[0, 0] for one in series])


def test_python_m_scores_a_folder(tmp_path, model):
    (tmp_path / "in").mkdir()
    for name in "ab":
        pq.write_table(list_table(ragged([3, 9])), tmp_path / "in" / f"{name}.parquet")
    done = python_m(
        "score", f"{tmp_path}/model.safetensors", f"{tmp_path}/in", "-o", f"{tmp_path}/out", "--threads", "1"
    )
    assert done.returncode == 0, done.stderr
    assert "4 series, 24 rows in" in done.stdout and f"2 parts in {tmp_path}/out" in done.stdout
    assert "scoring" in done.stderr and "100%" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.parquet", "b.parquet"]


def test_errors_are_one_line_and_code_two(tmp_path, model, capsys):
    path = tmp_path / "in.csv"
    path.write_text("unique_id,ds,a,b\nx,1,2,3\n")
    command = ["score", f"{tmp_path}/model.safetensors", str(path), "-o", f"{tmp_path}/out.csv", "--no-progress"]
    assert main(command) == 2
    assert capsys.readouterr() == (
        "",
        f"fastseq: error: {path}: expected 3 feature columns (the model's input size), found 2: a, b\n",
    )
    assert main([*command, "--threads", "0"]) == 2
    assert capsys.readouterr().err.startswith("fastseq: error: --threads: expected an integer >= 1")
    path.write_bytes(b"")
    assert main(command) == 2
    assert capsys.readouterr().err == f"fastseq: error: {path}: expected a table, found an empty file\n"
    (tmp_path / "model.safetensors").write_bytes(b"no model")
    assert main(command) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "model.safetensors").unlink()
    assert main(command) == 2
    assert capsys.readouterr().err.startswith("fastseq: error: ")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["in.csv"]


@pytest.mark.parametrize(
    "arguments", [[], ["no-such"], ["score"], ["score", "m", "i", "-o", "o", "--time", "t", "--no-time"]]
)
def test_bad_usage_exits_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and "usage: fastseq" in capsys.readouterr().err


def test_interrupt(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastseq.scoring.score", stop)
    assert main(["score", "m", "i", "-o", "o"]) == 130
    assert capsys.readouterr().err == "fastseq: interrupted\n"


SLOW = """
import signal, sys, time
from fastseq.cli import main
from fastseq.scoring.network import Network

signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs in the background inherits that it is ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)
Network.predict = lambda self, x, lengths: print("scoring", flush=True) or time.sleep(60)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on Unix")
def test_signals_to_end_leave_nothing(tmp_path, model):
    pq.write_table(list_table(ragged([3, 9])), tmp_path / "in.parquet")
    before = sorted(tmp_path.iterdir())
    running = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        command = ["score", f"{tmp_path}/model.safetensors", f"{tmp_path}/in.parquet", "-o", f"{tmp_path}/{name}.csv"]
        running[name] = subprocess.Popen(
            [sys.executable, "-c", SLOW, *command, "--no-progress"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    for name, code, said in (("SIGINT", 130, "fastseq: interrupted\n"), ("SIGTERM", 143, ""), ("SIGHUP", 129, "")):
        with running[name] as process:
            assert process.stdout.readline() == "scoring\n"
            begin = time.perf_counter()
            process.send_signal(getattr(signal, name))
            assert (process.wait(10), process.stderr.read()) == (code, said)
            assert time.perf_counter() - begin < 2
    assert sorted(tmp_path.iterdir()) == before


def test_a_reader_that_leaves_is_no_error(tmp_path, model):
    pq.write_table(list_table(ragged([3, 9])), tmp_path / "in.parquet")
    command = ["score", f"{tmp_path}/model.safetensors", f"{tmp_path}/in.parquet", "-o", f"{tmp_path}/out.csv"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fastseq", *command, "--no-progress"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "") and (tmp_path / "out.csv").exists()


FULL = """
import resource, sys
from fastseq.cli import main

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sys.exit([main([*sys.argv[1:-1], sys.argv[-1] + suffix]) for suffix in (".csv", ".csv.gz", ".parquet")] != [2, 2, 2])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits as on Unix")
def test_a_disk_that_is_full_leaves_nothing_and_is_named(tmp_path, model):
    pq.write_table(long_table(ragged([1] * 3000)), tmp_path / "in.parquet")
    before = sorted(tmp_path.iterdir())
    command = ["score", f"{tmp_path}/model.safetensors", f"{tmp_path}/in.parquet", "--no-progress", "-o"]
    done = subprocess.run(
        [sys.executable, "-c", FULL, *command, f"{tmp_path}/out"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    for line, suffix in zip(lines, (".csv", ".csv.gz", ".parquet"), strict=True):
        assert line == f"fastseq: error: [Errno {errno.EFBIG}] {os.strerror(errno.EFBIG)}: '{tmp_path}/out{suffix}'"
    assert sorted(tmp_path.iterdir()) == before


def test_version_and_help_load_no_compiler():
    done = python_m("--version")
    assert (done.returncode, done.stdout) == (0, f"fastseq {fs.__version__}\n")
    done = python_m("--help")
    assert all(f"\n    {name}" in done.stdout for name in ("demo", "score", "warmup", "info"))
    heavy = "import sys, fastseq.cli; print([m for m in ('numba', 'numpy', 'pyarrow', 'scipy') if m in sys.modules])"
    assert python_m(code=heavy).stdout == "[]\n"


def test_help_says_what_goes_in_and_out(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["score", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0
    assert "INPUT has a row per observation" in text and "whole or not at all" in text
    assert "(default: unique_id)" in text and "(default: ds)" in text and "(default: 256)" in text
    assert "default: None" not in text and "default: False" not in text


def test_info_names_versions_threads_and_cache(capsys):
    assert main(["info"]) == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    facts = {name.strip(): value.strip() for name, value in lines.items()}
    assert facts == describe()
    assert facts["fastseq"] == fs.__version__ and facts["threads"] == str(fs.get_num_threads())
    assert facts["threading layer"] in ("tbb", "omp", "workqueue")
    assert {"numba", "llvmlite", "numpy", "cpu features", "cache folder"} <= set(facts)


def test_warmup_of_all_knows_every_cell():
    code = """
from fastseq import jit
from fastseq.cells.contract import all_cells
from fastseq.cli import main

jit.warmup = lambda dtypes, progress: 0.0
assert main(["warmup", "--all", "--no-progress"]) == 0
known = [kernel.name.rpartition(".")[2] for kernel in jit.all_kernels()]
wanted = [f"{kind}_{cell.__name__}" for cell in all_cells() for kind in ("forward", "backward", "step", "pool_step")]
print(len(wanted), sorted(set(wanted) - set(known)), len(known) - len(set(known)))
"""
    done = python_m(code=code)
    assert done.stdout.splitlines()[-1] == f"{4 * 11} [] 0", done.stderr


def test_warmup_compiles_and_says_where(capsys):
    assert main(["warmup", "--no-progress"]) == 0
    out = capsys.readouterr().out
    assert " kernels ready in " in out and str(fs.jit.cache_folder()) in out
    assert not out.startswith("0 ")
