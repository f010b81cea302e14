"""Score CSV files: what is wrong with one is said with its line; what is not quite CSV is called by its name."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pytest

from fastseq import nn
from fastseq.scoring import ScoringError
from tests.scoring.series_tables import long_table, quiet, ragged, read, weighted_sum, write

LONG = "s" * 1000
"""A thousand rows with such an id are more than Arrow looks at before it settles what a column holds."""


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
        "unique_id,ds,x\n" + "".join(f"{LONG}{k},1,{k}\n" for k in range(1100)) + "\nz,1,12 kW\n",
        "line 1103: expected a number in column 'x', found '12 kW'",
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
        "line 1: expected commas between cells, found semicolons",
    ),
    "semicolons and decimal commas": (
        "unique_id;ds;x\na;1;1,5\n",
        "line 1: expected commas between cells, found semicolons",
    ),
    "tabs": (GOOD.replace(",", "\t"), "line 1: expected commas between cells, found tabs"),
    "blanks in the header": (
        GOOD.replace("ds,x", "ds , x"),
        "in.csv: expected a time column 'ds', found the columns unique_id, 'ds ', ' x', y",
    ),
    "text column twice": ("unique_id,ds,x,n,n\na,1,2,q,q\n", "in.csv: expected every column name once, found 'n'"),
    "zones in some rows": (
        "unique_id,ds,x\na,2026-01-01T00:00:00Z,1\na,2026-01-01T01:00:00,1\n",
        "line 3: expected a time like 2010-11-26 20:00:00Z in column 'ds', found '2026-01-01T01:00:00'",
    ),
    "blank behind a time": (
        GOOD.replace("2026-01-02,", "2026-01-02 00:00:00 ,"),
        "line 3: expected a time like .* in column 'ds', found '2026-01-02 00:00:00 '",
    ),
    "time of day, once": (
        "unique_id,ds,x\n" + "".join(f"{LONG}{k},00:00:01,1\n" for k in range(1100)) + "z,late,1\n",
        "line 1102: expected a time of day like .* found 'late'",
    ),
    "digits of other scripts": (
        "unique_id,ds,x\n" + "".join(f"{LONG}{k},1,1\n" for k in range(1100)) + "z,1,\u0662\n",
        "line 1102: expected a number in column 'x', found '\u0662'",
    ),
    "a quote never closed": (
        GOOD + '"c,2026-01-01,1,2\n' + "d,2026-01-01,1,2\n" * 70_000,
        "line 5: expected CSV, found: field larger .*a quote that is never closed",
    ),
    "a cell of two lines before": (
        'unique_id,ds,x\n"a\nb",1,1\n\nc,1,one\n',
        "line 5: expected a number in column 'x', found 'one'",
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


def test_files_that_are_no_utf8_csv(tmp_path):
    text = GOOD.encode()
    for data, found in {
        GOOD.encode("utf-16"): "in.csv: expected CSV text in UTF-8, found UTF-16",
        GOOD.encode("utf-16-le"): "in.csv: expected CSV text in UTF-8, found bytes that are no text",
        gzip.compress(text): r"in.csv: expected CSV text in UTF-8, found gzip data \(.csv.gz\)",
        pq_bytes(tmp_path): r"in.csv: expected CSV text in UTF-8, found Parquet data \(.parquet\)",
        GOOD.replace("x", "größe").encode("latin-1"): "in.csv, line 1: expected UTF-8 text, found other bytes",
    }.items():
        path = tmp_path / "in.csv"
        path.write_bytes(data)
        with pytest.raises(ScoringError, match=found):
            quiet(weighted_sum, path, tmp_path / "out.csv")
    path = tmp_path / "in.csv.gz"
    path.write_bytes(text)
    with pytest.raises(ScoringError, match="in.csv.gz: expected gzip data, found something else"):
        quiet(weighted_sum, path, tmp_path / "out.csv")


def test_very_many_columns_are_not_all_listed(tmp_path):
    count = 9000
    path = tmp_path / "in.csv"
    path.write_text(f"unique_id,ds,{','.join(f'c{k}' for k in range(count))}\na,1{',1' * count}\n")
    begin = time.perf_counter()
    with pytest.raises(ScoringError, match=r"\(the model's input size\), found 9000: c0, .* c39 and 8960 more$"):
        quiet(nn.LSTM(2, 3), path, tmp_path / "out.csv")
    assert time.perf_counter() - begin < 3  # comparing each with all others takes 8 s


def test_the_index_that_pandas_writes_is_no_feature(tmp_path):
    model = nn.Sequential(nn.LSTM(2, 3), nn.LastStep(), nn.Linear(3, 1))
    path = tmp_path / "in.csv"
    outputs = []
    for text in (GOOD, ",unique_id,ds,x,y\n" + "".join(f"{k},{row}\n" for k, row in enumerate(GOOD.split()[1:]))):
        path.write_text(text)
        quiet(model, path, tmp_path / "out.csv")
        outputs.append((tmp_path / "out.csv").read_text())
    assert outputs[0] == outputs[1]


def test_flags_in_csv_are_numbers_where_they_are_named(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("unique_id,ds,on,x\na,1,true,1\na,2,False,2\n")
    quiet(weighted_sum, path, tmp_path / "out.csv", features=["x", "on"])
    assert read(tmp_path / "out.csv")["prediction"].to_pylist() == [1 + 2 + 2]


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
