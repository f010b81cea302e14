"""score: files in, files out, in order, in constant memory, whole or not at all."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fastseq.scoring import ScoringError, score
from tests.scoring.series_tables import expected, list_table, long_table, ragged, running, weighted_sum

SUFFIXES = [".csv", ".csv.gz", ".parquet"]


def write(table: pa.Table, path: Path) -> Path:
    """Write a table as the suffix says."""
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=50)
    else:
        with pa.CompressedOutputStream(path, "gzip") if path.suffix == ".gz" else path.open("wb") as stream:
            pa.csv.write_csv(table, stream)
    return path


def read(path: Path) -> pa.Table:
    """Read a table as the suffix says."""
    return pq.read_table(path) if path.suffix == ".parquet" else pa.csv.read_csv(path)


def quiet(model, inputs, output, **options):
    """Score without a bar."""
    return score(model, inputs, output, progress=False, **options)


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


def test_csv_ids_are_written_as_they_stand(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text('unique_id,ds,x\n007,1,1\nNA,1,2\n"a,b",1,3\n"two\nlines",1,4\n')
    quiet(weighted_sum, path, tmp_path / "out.parquet")
    assert read(tmp_path / "out.parquet")["unique_id"].to_pylist() == ["007", "NA", "a,b", "two\nlines"]


def test_csv_whose_columns_change_their_looks(tmp_path):
    """Whole numbers, then fractions far below; blank lines; a byte order mark; Windows line ends; no last newline."""
    lines = [
        "\ufeffunique_id,ds,x",
        *[f"s{k},2026-01-01,{k}" for k in range(200_000)],
        "",
        "z,2026-01-01T01:30:00.25,0.5",
    ]
    path = tmp_path / "in.csv"
    path.write_text("\r\n".join(lines), encoding="utf-8", newline="")
    summary = quiet(weighted_sum, path, tmp_path / "out.parquet")
    out = read(tmp_path / "out.parquet")["prediction"].to_numpy()
    assert summary.series == 200_001
    assert np.array_equal(out, np.append(np.arange(200_000), 0.5).astype(np.float32))


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


GOOD = "unique_id,ds,x,y\na,2026-01-01,1,2\na,2026-01-02,1,2\nb,2026-01-01,1,2\n"
BAD_CSV = {
    "no id column": (
        GOOD.replace("unique_id", "name"),
        "in.csv: expected an id column 'unique_id', found .* name, ds, x, y",
    ),
    "no time column": (GOOD.replace("ds", "when"), "in.csv: expected a time column 'ds', found .* when"),
    "column twice": (GOOD.replace("x,y", "x,x"), "in.csv: expected every column name once, found 'x' repeatedly"),
    "no features": ("unique_id,ds,x\na,1,red\n", "in.csv: expected numeric feature columns .* found none"),
    "text cell": (
        GOOD.replace("b,2026-01-01,1", "b,2026-01-01,one"),
        "line 4: expected a number in column 'x', found 'one'",
    ),
    "text cell far down": (
        "unique_id,ds,x\n" + "".join(f"s{k},1,{k}\n" for k in range(150_000)) + "\nz,1,12 kW\n",
        "line 150003: expected a number in column 'x', found '12 kW'",
    ),
    "NaN": (
        GOOD.replace("b,2026-01-01,1", "b,2026-01-01,NaN"),
        "line 4: expected a finite number in column 'x', found an empty",
    ),
    "empty cell": (
        GOOD.replace("b,2026-01-01,1", "b,2026-01-01,"),
        "line 4: expected a finite number in column 'x', found an empty",
    ),
    "infinite": (
        GOOD.replace("b,2026-01-01,1", "b,2026-01-01,-inf"),
        "line 4: expected a finite float32 in column 'x', found -inf",
    ),
    "too large": (
        GOOD.replace("b,2026-01-01,1", "b,2026-01-01,1e39"),
        r"line 4: expected a finite float32 .* found 1e\+39",
    ),
    "no id": (GOOD.replace("\nb,", "\n,"), "line 4: expected an id in column 'unique_id', found an empty cell"),
    "no time": (GOOD.replace("a,2026-01-02", "a,"), "line 3: expected a time in column 'ds', found an empty cell"),
    "not a time": (
        GOOD.replace("2026-01-02", "2/1/26"),
        "line 3: expected a time like .* in column 'ds', found '2/1/26'",
    ),
    "unsorted": (
        GOOD.replace("2026-01-02", "2025-12-31"),
        "line 3: expected ascending times in column 'ds'.*before the one",
    ),
    "duplicate": (
        GOOD.replace("2026-01-02", "2026-01-01"),
        "line 3: expected ascending times .* found the same time twice",
    ),
    "comes back": (
        GOOD + "a,2026-01-03,1,2\n",
        "line 5: expected the rows of a series together, found unique_id 'a' again",
    ),
    "missing cell": (GOOD + "c,2026-01-03,1\n", "line 5: expected 4 cells as in the header, found 3"),
    "empty file": ("", "in.csv: expected a table, found an empty file"),
    "blank file": ("\n\n", "in.csv: expected a header line, found an empty file"),
    "header only": ("unique_id,ds,x\n", "in.csv: expected at least one row below the header, found none"),
    "header only, open": ("unique_id,ds,x", "in.csv: expected at least one row below the header, found none"),
    "semicolons": (
        GOOD.replace(",", ";"),
        "in.csv: expected an id column 'unique_id', found the columns unique_id;ds;x;y",
    ),
}


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_csv(tmp_path, case, zipped):
    text, message = BAD_CSV[case]
    path = tmp_path / ("in.csv.gz" if zipped else "in.csv")
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    if zipped:
        message = message.replace("in.csv:", "in.csv.gz:").replace("expected a table,", "expected a header line,")
    with pytest.raises(ScoringError, match=message) as caught:
        quiet(weighted_sum, path, tmp_path / "out.csv")
    assert str(caught.value).startswith(str(path))
    assert list(tmp_path.iterdir()) == [path]


def test_bad_bytes(tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(b"unique_id,ds,x\na,1,2\n\xff\xfe,1,3\n")
    with pytest.raises(ScoringError, match="line 3: expected UTF-8 text, found other bytes"):
        quiet(weighted_sum, path, tmp_path / "out.csv")
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(GOOD.encode() * 100)[:-20])
    with pytest.raises(ScoringError, match="cut.csv.gz"):
        quiet(weighted_sum, cut, tmp_path / "out.csv")
    for damaged in (b"PAR1 and no more", b"PAR1", pq_bytes(tmp_path)[:-7]):
        broken = tmp_path / "in.parquet"
        broken.write_bytes(damaged)
        with pytest.raises(ScoringError, match="in.parquet: expected a Parquet file, found: "):
            quiet(weighted_sum, broken, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def pq_bytes(folder: Path) -> bytes:
    """The bytes of a good Parquet file."""
    path = write(long_table(ragged([5])), folder / "good.parquet")
    data = path.read_bytes()
    path.unlink()
    return data


def test_damaged_parquet_data_leave_nothing(tmp_path):
    path = tmp_path / "in.parquet"
    pq.write_table(long_table(ragged([50] * 50)), path, compression="zstd", write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[100:2000] = bytes(1900)
    path.write_bytes(data)
    with pytest.raises(ScoringError, match="in.parquet, row 1 or after: expected readable Parquet data, found: "):
        quiet(weighted_sum, path, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == [path]


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
    bad.write_text(BAD_CSV["duplicate"][0])
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


def test_bad_calls(tmp_path):
    for inputs, output, message in bad_calls(tmp_path):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises((ScoringError, FileNotFoundError), match=message):
            quiet(weighted_sum, inputs, tmp_path / output)
        assert sorted(tmp_path.rglob("*")) == before


def test_named_features(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(GOOD)
    quiet(weighted_sum, path, tmp_path / "out.csv", features=["y"])
    assert read(tmp_path / "out.csv")["prediction"].to_pylist() == [4, 2]
    with pytest.raises(
        ScoringError, match="in.csv: expected a feature column 'z', found the columns unique_id, ds, x, y"
    ):
        quiet(weighted_sum, path, tmp_path / "out.csv", features=["z"])
    path.write_text(GOOD.replace(",1,2", ",one,2"))
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


@pytest.mark.parametrize("form", [".csv", ".parquet"])
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
