"""CSV and Parquet files as streams of Arrow record batches that can say where each row is."""

from __future__ import annotations

import csv
import gzip
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from fastseq.checks import require
from fastseq.scoring.columns import Columns, is_flag, is_number
from fastseq.scoring.errors import ScoringError

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".pq")
_EMPTY = (
    "",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "n/a",
    "nan",
    "null",
)  # what Arrow takes for a missing number
_OTHERS = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PAR1": "Parquet data (.parquet)",
    b"PK\x03\x04": "a zip archive or workbook",
    b"\x1f\x8b": "gzip data (.csv.gz)",
}  # how files begin that are taken for CSV
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}  # what else stands between cells
_CSV_BLOCK = 1 << 20  # bytes that Arrow parses at a time
_PARQUET_BYTES = 8 << 20  # aim for record batches of this size, uncompressed
_PARQUET_ROWS = 1 << 16


class Source(Protocol):
    """A table that is read front to back, at most a few blocks of it in memory."""

    size: int
    schema: Any
    doubtful: tuple[str, ...]

    def batches(self, columns: Columns) -> Iterator[tuple[Any, int]]:
        """Yield record batches of the named columns, each with how many bytes of the file were read so far."""
        ...

    def where(self, row: int) -> str:
        """Name the file and the line of a row."""
        ...


def suffix_of(path: Path) -> str:
    """Return the file's known suffix, or an empty string."""
    return next((suffix for suffix in (".csv.gz", ".csv", ".parquet", ".pq") if path.name.lower().endswith(suffix)), "")


def open_source(path: Path, id: str) -> Source:
    """Return a reader for a CSV or Parquet file.

    Parameters
    ----------
    path
        The file, ``.csv``, ``.csv.gz``, ``.parquet`` or ``.pq``.
    id
        Name of the id column: read as text from CSV, so that 007 stays 007.

    Raises
    ------
    ScoringError
        If the file is empty, has another suffix or is not what its suffix says.
    """
    suffix = suffix_of(path)
    if not suffix:
        raise ScoringError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}, found {path.suffix or 'none'}")
    if path.stat().st_size == 0:
        raise ScoringError(f"{path}: expected a table, found an empty file")
    if suffix in (".parquet", ".pq"):
        return ParquetSource(path)
    with path.open("rb") as file:
        start = file.read(4)
    zipped = suffix == ".csv.gz"
    found = next((what for begin, what in _OTHERS.items() if start.startswith(begin)), None)
    found = found or ("bytes that are no text" if b"\0" in start and not zipped else None)
    if zipped and not start.startswith(b"\x1f\x8b"):
        raise ScoringError(f"{path}: expected gzip data, found {found or 'something else'}")
    if found and not zipped:
        raise ScoringError(f"{path}: expected CSV text in UTF-8, found {found}")
    return CsvSource(path, id)


class ParquetSource:
    """A Parquet file, read by record batches of about 8 MiB.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        pa, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
        self.path, self.size = path, path.stat().st_size
        self.doubtful: tuple[str, ...] = ()
        try:
            with _opened(path) as stream, parquet.ParquetFile(stream) as file:
                self.schema = file.schema_arrow
                rows = file.metadata.num_rows
                groups = [file.metadata.row_group(g) for g in range(file.metadata.num_row_groups)]
        except (pa.ArrowException, OSError) as error:
            raise ScoringError(f"{path}: expected a Parquet file, found: {_first_line(error)}") from error
        if rows == 0:
            raise ScoringError(f"{path}: expected at least one row, found a table with none")
        self.rows = rows
        per_row = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=1.0)
        self._batch_rows = int(min(max(_PARQUET_BYTES / max(per_row, 1.0), 16), _PARQUET_ROWS))

    def batches(self, columns: Columns) -> Iterator[tuple[Any, int]]:
        """Yield record batches of the named columns, each with how many bytes of the file were read so far."""
        pa, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
        done = 0
        try:
            with (
                _opened(self.path) as stream,
                parquet.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False) as file,
            ):
                for batch in file.iter_batches(self._batch_rows, columns=columns.names):
                    done += batch.num_rows
                    yield batch, self.size * done // self.rows
        except (pa.ArrowException, OSError) as error:
            raise ScoringError(
                f"{self.where(done)} or after: expected readable Parquet data, found: {_first_line(error)}"
            ) from error

    def where(self, row: int) -> str:
        """Name the file and the row, counted from 1."""
        return f"{self.path}, row {row + 1}"


class CsvSource:
    """A comma-separated file with a header line, plain or gzip, parsed by blocks of 1 MiB.

    Parameters
    ----------
    path
        The file, UTF-8.
    id
        Name of the id column, read as text.
    """

    def __init__(self, path: Path, id: str) -> None:
        pa = require("pyarrow", "data")
        self.path, self.size, self._id = path, path.stat().st_size, id
        rows = self._rows()
        header = next(rows, None)
        if header is None:
            raise ScoringError(f"{path}: expected a header line, found an empty file")
        self._refuse_other_bytes(*header)
        other = next((what for mark, what in _SEPARATORS.items() if len(header[1]) == 1 and mark in header[1][0]), None)
        if other:
            raise ScoringError(f"{path}, line {header[0]}: expected commas between cells, found {other}")
        if next(rows, None) is None:
            raise ScoringError(f"{path}: expected at least one row below the header, found none")
        try:
            with self._open() as stream, self._reader(stream, {}) as reader:
                first = reader.read_next_batch()
                self.schema = reader.schema
        except (pa.ArrowException, OSError, EOFError) as error:
            self._explain(error, ())
        self._first = first
        text = [number for number, field in enumerate(self.schema) if pa.types.is_string(field.type)]
        self.doubtful = tuple(self.schema.names[at] for at in text if _begins_with_number(first.column(at)))

    def batches(self, columns: Columns) -> Iterator[tuple[Any, int]]:
        """Yield record batches of the named columns, each with how many bytes of the file were read so far."""
        pa = require("pyarrow", "data")
        flags = {name: pa.bool_() for name in columns.features if is_flag(self.schema.field(name).type)}
        kinds = {columns.id: pa.string(), **dict.fromkeys(columns.features, pa.float64()), **flags}
        if columns.time is not None:
            kinds[columns.time] = self._time_type(columns.time)
        try:
            with self._open() as stream, self._reader(stream, kinds, columns.names) as reader:
                for batch in reader:
                    yield batch, min(self._raw.tell(), self.size)
        except (pa.ArrowException, OSError, EOFError) as error:
            self._explain(error, [name for name in columns.features if name not in flags], columns.time)

    def where(self, row: int) -> str:
        """Name the file and the line, counted from 1; the file is read again to find it."""
        for number, (line, _) in enumerate(self._rows(), -1):
            if number == row:
                return f"{self.path}, line {line}"
        return f"{self.path}, row {row + 1}"

    def _time_type(self, name: str) -> Any:
        """Type to read times as: what the first block looks like, with room for fractions and zones."""
        pa = require("pyarrow", "data")
        kind = self.schema.field(name).type
        if is_number(kind) or pa.types.is_time(kind):
            return kind
        if pa.types.is_timestamp(kind):
            return pa.timestamp("ns" if kind.unit == "ns" else "us", kind.tz)
        # Cells of several forms: the first says which it should have been, and one of the others is reported.
        first = next((cell for cell in map(str, self._first.column(name).to_pylist()) if cell.strip()), "")
        zoned = pa.timestamp("us", "UTC")
        return (
            zoned
            if _is_time_text(first, zoned) and not _is_time_text(first, pa.timestamp("us"))
            else pa.timestamp("us")
        )

    def _open(self) -> Any:
        pa = require("pyarrow", "data")
        self._raw = _opened(self.path)
        return pa.CompressedInputStream(self._raw, "gzip") if self.path.name.lower().endswith(".gz") else self._raw

    def _reader(self, stream: Any, kinds: dict[str, Any], names: Sequence[str] = ()) -> Any:
        arrow_csv = require("pyarrow.csv", "data")
        return arrow_csv.open_csv(
            stream,
            arrow_csv.ReadOptions(block_size=_CSV_BLOCK),
            arrow_csv.ParseOptions(newlines_in_values=True),
            arrow_csv.ConvertOptions(column_types=kinds, include_columns=list(names)),
        )

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the first line and the cells of every row that is not blank, the header first, slowly."""
        opener = gzip.open if self.path.name.lower().endswith(".gz") else open
        with opener(self.path, "rt", encoding="utf-8-sig", errors="replace", newline="") as text:
            rows, line = csv.reader(text), 1
            try:
                for cells in rows:
                    if cells:
                        yield line, cells
                    line = rows.line_num + 1
            except (csv.Error, OSError, EOFError) as error:
                hint = " (a quote that is never closed?)" if "field limit" in str(error) else ""
                raise ScoringError(f"{self.path}, line {line}: expected CSV, found: {error}{hint}") from error

    def _refuse_other_bytes(self, line: int, cells: list[str], error: Exception | None = None) -> None:
        if any("\ufffd" in cell for cell in cells):
            raise ScoringError(f"{self.path}, line {line}: expected UTF-8 text, found other bytes") from error

    def _explain(self, error: Exception, numbers: Sequence[str], time: str | None = None) -> NoReturn:
        """Find the line that Arrow's parser stumbled over and raise ScoringError."""
        names: list[str] = []
        for line, cells in self._rows():
            if not names:
                names = cells
                continue
            if len(cells) != len(names):
                raise ScoringError(
                    f"{self.path}, line {line}: expected {len(names)} cells as in the header, found {len(cells)}"
                ) from error
            self._refuse_other_bytes(line, cells, error)
            for name, cell in zip(names, cells, strict=True):
                if name in numbers and not _is_number_text(cell):
                    raise ScoringError(
                        f"{self.path}, line {line}: expected a number in column {name!r}, found {cell!r}"
                    ) from error
                if name == time and not _is_time_text(cell, self._time_type(name)):
                    raise ScoringError(
                        f"{self.path}, line {line}: expected {_like(self._time_type(name))} in column {name!r}, "
                        f"found {cell!r}"
                    ) from error
        raise ScoringError(f"{self.path}: expected a CSV table, found: {_first_line(error)}") from error


def _opened(path: Path) -> Any:
    """Return an Arrow file to read, whatever bytes its name consists of."""
    return require("pyarrow", "data").OSFile(os.fsencode(path))


def _is_time_text(cell: str, kind: Any) -> bool:
    """Return whether Arrow reads a cell as a time of a type, or as an empty one."""
    pa = require("pyarrow", "data")
    if pa.types.is_time(kind):
        return cell in _EMPTY or re.fullmatch(r"\d\d:\d\d(:\d\d(\.\d{1,9})?)?", cell) is not None
    try:
        pa.array([None if cell in _EMPTY else cell], pa.string()).cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _like(kind: Any) -> str:
    """Say what times of a type look like."""
    types = require("pyarrow", "data").types
    if types.is_timestamp(kind):
        return f"a time like 2010-11-26 20:00:00{'' if kind.tz is None else 'Z'}"
    return "a time of day like 20:00:00, as above," if types.is_time(kind) else "a number, as above,"


def _begins_with_number(cells: Any) -> bool:
    first = next((cell for cell in cells.slice(0, 64).to_pylist() if cell), "")
    return _is_number_text(first) and first != ""


def _is_number_text(cell: str) -> bool:
    """Return whether Arrow reads a cell as a number or as an empty one."""
    if cell.strip() in _EMPTY:
        return True
    if not cell.isascii():  # Python knows more digits
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
