"""score: files in, files out, in order, in constant memory, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.scoring import ScoringError
from tests.scoring.series_tables import (
    expected,
    list_table,
    long_table,
    quiet,
    ragged,
    read,
    running,
    weighted_sum,
    write,
)

SUFFIXES = [".csv", ".csv.gz", ".parquet"]


@pytest.mark.parametrize("into", SUFFIXES)
@pytest.mark.parametrize("out_of", SUFFIXES)
def test_every_form_into_every_form(tmp_path, out_of, into):
    series = ragged(np.random.default_rng(1).integers(1, 40, 100).tolist())
    summary = quiet(weighted_sum, write(long_table(series), tmp_path / f"in{out_of}"), tmp_path / f"out{into}")
    out = read(tmp_path / f"out{into}")
    assert out["unique_id"].to_pylist() == [f"s{k}" for k in range(100)]
    assert np.array_equal(out["prediction"].to_numpy().astype(np.float32), expected(series))
    assert (summary.series, summary.rows) == (100, sum(map(len, series)))
    assert summary.outputs == (tmp_path / f"out{into}",)
    assert summary.rows_per_second == pytest.approx(summary.rows / summary.seconds)
    assert {path.name for path in tmp_path.iterdir()} == {f"in{out_of}", f"out{into}"}


def test_list_columns(tmp_path):
    series = ragged([3, 1, 7])
    quiet(running, write(list_table(series), tmp_path / "in.parquet"), tmp_path / "out.parquet")
    assert read(tmp_path / "out.parquet")["prediction_1"].to_pylist() == [3, 1, 7]


def test_a_folder_becomes_a_folder_of_parts(tmp_path):
    series = ragged([3, 1, 7, 2])
    folder = tmp_path / "in"
    folder.mkdir()
    write(long_table(series[:2]), folder / "b.csv")
    write(long_table(series[2:]), folder / "a.parquet")
    (folder / "_SUCCESS").touch()
    (folder / ".b.csv.crc").touch()
    (folder / "notes.txt").touch()
    summary = quiet(weighted_sum, folder, tmp_path / "out")
    assert [path.name for path in summary.outputs] == ["a.parquet", "b.csv"]
    assert np.array_equal(read(tmp_path / "out" / "a.parquet")["prediction"].to_numpy(), expected(series[2:]))
    assert np.array_equal(read(tmp_path / "out" / "b.csv")["prediction"].to_numpy(), expected(series[:2]))
    again = quiet(weighted_sum, [folder / "b.csv", folder / "a.parquet"], tmp_path / "out")
    assert [path.name for path in again.outputs] == ["b.csv", "a.parquet"]


def test_a_finished_output_is_replaced(tmp_path):
    path = write(long_table(ragged([2])), tmp_path / "in.csv")
    (tmp_path / "out.csv").write_text("old")
    quiet(weighted_sum, path, tmp_path / "out.csv")
    assert "prediction" in (tmp_path / "out.csv").read_text()


def test_damaged_parquet_data_leave_nothing(tmp_path):
    path = tmp_path / "in.parquet"
    pq.write_table(long_table(ragged([50] * 50)), path, compression="zstd", write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[100:2000] = bytes(1900)
    path.write_bytes(data)
    with pytest.raises(ScoringError, match="in.parquet, row 1 or after: expected readable Parquet data, found: "):
        quiet(weighted_sum, path, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == [path]


def test_the_model_file_may_name_the_features(tmp_path):
    model = nn.Sequential(nn.LSTM(2, 3), nn.LastStep(), nn.Linear(3, 1))
    fs.save(model, tmp_path / "plain")
    fs.save(model, tmp_path / "named", metadata={"features": ["a", "b"]})
    table = long_table(ragged([3, 2], 2))
    path = write(table.select(["unique_id", "ds", "b", "a"]), tmp_path / "in.parquet")
    right = write(table, tmp_path / "right.parquet")

    def predictions(name, inputs, **options):
        quiet(tmp_path / name, inputs, tmp_path / "out.parquet", **options)
        return read(tmp_path / "out.parquet")["prediction"].to_pylist()

    want = predictions("plain", right)
    assert predictions("named", path) == want == predictions("plain", path, features=["a", "b"])
    assert predictions("named", path, features=["b", "a"]) == predictions("plain", path) != want
    other = write(table.rename_columns(["unique_id", "ds", "a", "c"]), tmp_path / "other.parquet")
    with pytest.raises(ScoringError, match="expected a feature column 'b', found the columns unique_id, ds, a, c"):
        predictions("named", other)


def test_bad_rows_of_parquet_are_counted_from_one(tmp_path):
    table = long_table(ragged([3, 2, 4]))
    values = table["b"].to_pylist()
    values[6] = float("nan")
    path = write(table.set_column(3, "b", pa.array(values)), tmp_path / "in.parquet")
    with pytest.raises(ScoringError, match=r"in.parquet, row 7: expected a finite float32 in column 'b', found nan"):
        quiet(weighted_sum, path, tmp_path / "out.parquet")


def test_a_failure_in_the_last_input_leaves_no_part(tmp_path):
    good = write(long_table(ragged([3])), tmp_path / "good.csv")
    bad = tmp_path / "bad.csv"
    bad.write_text("unique_id,ds,x\na,1,1\na,1,1\n")
    with pytest.raises(ScoringError, match=r"bad.csv, line 3"):
        quiet(weighted_sum, [good, bad], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "good.csv").write_text("old")
    with pytest.raises(ScoringError):
        quiet(weighted_sum, [good, bad], tmp_path / "out")
    assert [(path.name, path.read_text()) for path in (tmp_path / "out").iterdir()] == [("good.csv", "old")]


def test_an_interrupt_leaves_nothing(tmp_path):
    path = write(long_table(ragged([3])), tmp_path / "in.csv")

    def model(x, lengths):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quiet(model, path, tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_run_leaves_no_output_and_the_next_one_cleans_up(tmp_path):
    path = write(long_table(ragged([3])), tmp_path / "in.csv")
    code = (
        "import os, signal, sys; from fastseq.scoring import score\n"
        "score(lambda x, lengths: os.kill(os.getpid(), signal.SIGKILL), sys.argv[1], sys.argv[2], progress=False)"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "out.csv")]
    assert subprocess.run(command, cwd=Path(__file__).parents[2]).returncode == -9
    left = [item.name for item in tmp_path.iterdir() if item != path]
    assert len(left) == 1 and left[0].endswith(".tmp")
    quiet(weighted_sum, path, tmp_path / "out.csv")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_the_target_of_a_link_is_replaced(tmp_path):
    path = write(long_table(ragged([3])), tmp_path / "in.csv")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out.csv").symlink_to(tmp_path / "elsewhere" / "real.csv")
    quiet(weighted_sum, path, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").is_symlink() and (tmp_path / "elsewhere" / "real.csv").is_file()
    assert len(list(tmp_path.rglob("*"))) == 4


def test_what_the_model_refuses_names_the_series(tmp_path):
    path = write(long_table(ragged([3])), tmp_path / "in.csv")

    def model(x, lengths):
        raise ValueError("x: expected at least 9 steps")

    with pytest.raises(
        ScoringError, match="in.csv, line 2: the model refused the series: x: expected at least 9 steps"
    ):
        quiet(model, path, tmp_path / "out.csv")


@pytest.mark.parametrize("inputs", [long_table(ragged([3])), 3, None, [3], [b"in.csv"]], ids=repr)
def test_inputs_are_paths(inputs, tmp_path):
    with pytest.raises(TypeError, match=r"inputs(\[0\])?: expected (paths of files|the path of a file)"):
        quiet(weighted_sum, inputs, tmp_path / "out.csv")


def bad_calls(folder: Path):
    """Wrong inputs and outputs with their messages."""
    good = write(long_table(ragged([3])), folder / "good.csv")
    (folder / "empty").mkdir()
    (folder / "text.txt").write_text("x")
    other = folder / "other"
    other.mkdir()
    twin = write(long_table(ragged([3])), other / "good.parquet")
    twin_csv = write(long_table(ragged([3])), other / "good.csv")
    yield [], "out.csv", "inputs: expected at least one file or folder"
    yield folder / "nowhere.csv", "out.csv", "nowhere.csv: expected a file or folder, found none"
    yield folder / "empty", "out", "empty: expected a folder with .csv, .csv.gz, .parquet, .pq files, found none"
    yield folder / "text.txt", "out.csv", "text.txt: expected a name that ends in .csv"
    yield good, "out.txt", "output: expected a name that ends in .csv, .csv.gz or .parquet, found .*out.txt"
    yield good, "empty", "output: expected a file name for a single input file, found the folder"
    yield good, "good.csv", "output: expected a place away from the inputs"
    yield good, "no/such/out.csv", "output: expected an existing folder, found none at .*no"
    yield [good, twin], "text.txt", "output: expected a folder for several inputs, found the file"
    yield [good, twin_csv], "out", "inputs: expected names that differ, found .* for one part .*good.csv"
    yield other, "other", "output: expected a place away from the inputs"
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.csv")
        yield folder / "pipe.csv", "out.csv", "pipe.csv: expected a file or folder, found a pipe"


def test_the_model_is_not_overwritten(tmp_path):
    fs.save(nn.Sequential(nn.LSTM(3, 2), nn.LastStep()), tmp_path / "model.csv")
    before = (tmp_path / "model.csv").read_bytes()
    path = write(long_table(ragged([3])), tmp_path / "in.csv")
    with pytest.raises(ScoringError, match="output: expected a place away from the model, found .*model.csv"):
        quiet(tmp_path / "model.csv", path, tmp_path / "model.csv")
    assert (tmp_path / "model.csv").read_bytes() == before


def test_names_of_any_length(tmp_path):
    path = write(long_table(ragged([3])), tmp_path / "in.csv")
    quiet(weighted_sum, path, tmp_path / f"{'x' * 251}.csv")
    assert sorted(len(item.name) for item in tmp_path.iterdir()) == [6, 255]


def test_ids_that_csv_cannot_hold(tmp_path):
    ids = pa.array([b"\xff"], pa.binary())
    path = write(pa.table({"unique_id": ids, "ds": [1], "x": [1.0]}), tmp_path / "in.parquet")
    with pytest.raises(ScoringError, match="out.csv: expected ids that can be written in this form, found: .*UTF8"):
        quiet(weighted_sum, path, tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == [path]
    quiet(weighted_sum, path, tmp_path / "out.parquet")
    if hasattr(pa, "uuid"):
        ids = pa.array([bytes(15) + b"\7"], pa.uuid())
        write(pa.table({"unique_id": ids, "ds": [1], "x": [1.0]}), path)
        quiet(weighted_sum, path, tmp_path / "out.csv")
        assert "00000000-0000-0000-0000-000000000007" in (tmp_path / "out.csv").read_text()
        quiet(weighted_sum, path, tmp_path / "out.parquet")
        assert read(tmp_path / "out.parquet")["unique_id"].type == pa.uuid()


def test_bad_calls(tmp_path):
    for inputs, output, message in bad_calls(tmp_path):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises((ScoringError, FileNotFoundError), match=message):
            quiet(weighted_sum, inputs, tmp_path / output)
        assert sorted(tmp_path.rglob("*")) == before


def test_named_features(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("unique_id,ds,x,y\na,2026-01-01,1,2\na,2026-01-02,1,2\nb,2026-01-01,1,2\n")
    quiet(weighted_sum, path, tmp_path / "out.csv", features=["y"])
    assert read(tmp_path / "out.csv")["prediction"].to_pylist() == [4, 2]
    with pytest.raises(
        ScoringError, match="in.csv: expected a feature column 'z', found the columns unique_id, ds, x, y"
    ):
        quiet(weighted_sum, path, tmp_path / "out.csv", features=["z"])
    path.write_text(path.read_text().replace(",1,2", ",one,2"))
    with pytest.raises(ScoringError, match="in.csv: expected numbers in feature column 'x', found string"):
        quiet(weighted_sum, path, tmp_path / "new.csv", features=["x"])


MEMORY = """
import resource, sys
import numpy as np, pyarrow as pa, pyarrow.csv, pyarrow.parquet as pq
from pathlib import Path
from fastseq.scoring import score
from tests.scoring.series_tables import weighted_sum

folder, form = Path(sys.argv[1]), sys.argv[2]
peaks = []
for parts in (3, 13):
    steps, path = 20, folder / f"{parts}{form}"
    writer = None
    for chunk in range(parts):
        rows = np.arange(200_000) + 200_000 * chunk
        table = pa.table({"unique_id": rows // steps, "ds": rows % steps, **{c: rows * 1e-3 for c in "abcd"}})
        if writer is None:
            kind = pq.ParquetWriter if form == ".parquet" else pa.csv.CSVWriter
            writer = kind(path, table.schema)
        writer.write_table(table)
    writer.close()
    summary = score(weighted_sum, path, folder / f"out{form}", progress=False)
    assert (summary.rows, summary.series) == (200_000 * parts, 10_000 * parts)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(*peaks)
"""


@pytest.mark.parametrize("form", [pytest.param(".csv", marks=pytest.mark.slow), ".parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path, form):
    """Two million rows more (96 MB as arrays) may cost 8 bytes per id and some slack, not more."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path), form],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    small, large = map(float, done.stdout.split())
    assert large - small < 40, f"peak memory {small:.0f} MiB for 0.6 million rows, {large:.0f} MiB for 2.6"


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_of_any_bytes(tmp_path, suffix, capsys):
    from fastseq.cli import main

    fs.save(nn.Sequential(nn.LSTM(1, 3), nn.LastStep(), nn.Linear(3, 1)), tmp_path / "m")
    given, made = (os.fsdecode(os.fsencode(tmp_path / name) + b"\xff\n" + suffix.encode()) for name in ("in", "out"))
    write(long_table(ragged([3], 1)), tmp_path / f"plain{suffix}").rename(given)  # Arrow takes no such names
    assert main(["score", str(tmp_path / "m"), given, "-o", made, "--no-progress"]) == 0
    assert read(Path(made).rename(tmp_path / f"plain{suffix}")).num_rows == 1
    assert f"{tmp_path}/out\\udcff" in capsys.readouterr().out
