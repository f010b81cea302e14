"""CSV and Parquet files as streams of Arrow record batches that can say where each row is."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from fastseq.checks import require
from fastseq.scoring.columns import Columns, is_number
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
    return ParquetSource(path) if suffix in (".parquet", ".pq") else CsvSource(path, id)


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
            with parquet.ParquetFile(path) as file:
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
            with parquet.ParquetFile(self.path, buffer_size=1 << 20, pre_buffer=False) as file:
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
        if next(rows, None) is None:
            raise ScoringError(f"{path}: expected a header line, found an empty file")
        if next(rows, None) is None:
            raise ScoringError(f"{path}: expected at least one row below the header, found none")
        try:
            with self._open() as stream, self._reader(stream, {}) as reader:
                first = reader.read_next_batch()
                self.schema = reader.schema
        except (pa.ArrowException, OSError, EOFError) as error:
            self._explain(error, ())
        text = [field.name for field in self.schema if pa.types.is_string(field.type)]
        self.doubtful = tuple(name for name in text if _begins_with_number(first.column(name)))

    def batches(self, columns: Columns) -> Iterator[tuple[Any, int]]:
        """Yield record batches of the named columns, each with how many bytes of the file were read so far."""
        pa = require("pyarrow", "data")
        kinds = {columns.id: pa.string(), **dict.fromkeys(columns.features, pa.float64())}
        if columns.time is not None:
            kinds[columns.time] = self._time_type(columns.time)
        try:
            with self._open() as stream, self._reader(stream, kinds, columns.names) as reader:
                for batch in reader:
                    yield batch, min(self._raw.tell(), self.size)
        except (pa.ArrowException, OSError, EOFError) as error:
            self._explain(error, columns.features, columns.time)

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
        stamp = pa.types.is_timestamp(kind)
        return pa.timestamp("ns" if stamp and kind.unit == "ns" else "us", kind.tz if stamp else None)

    def _open(self) -> Any:
        pa = require("pyarrow", "data")
        self._raw = pa.OSFile(str(self.path))
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
        """Yield line number and cells of every row that is not blank, the header first, slowly."""
        opener = gzip.open if self.path.name.lower().endswith(".gz") else open
        with opener(self.path, "rt", encoding="utf-8-sig", errors="replace", newline="") as text:
            rows = csv.reader(text)
            try:
                for cells in rows:
                    if cells:
                        yield rows.line_num, cells
            except (csv.Error, OSError, EOFError) as error:
                raise ScoringError(f"{self.path}, line {rows.line_num}: expected CSV, found: {error}") from error

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
            if any("\ufffd" in cell for cell in cells):
                raise ScoringError(f"{self.path}, line {line}: expected UTF-8 text, found other bytes") from error
            for name, cell in zip(names, cells, strict=True):
                if name in numbers and not _is_number_text(cell):
                    raise ScoringError(
                        f"{self.path}, line {line}: expected a number in column {name!r}, found {cell!r}"
                    ) from error
                if name == time and not self._is_time_text(name, cell):
                    raise ScoringError(
                        f"{self.path}, line {line}: expected a time like 2010-11-26 20:00:00 "
                        f"in column {name!r}, found {cell!r}"
                    ) from error
        raise ScoringError(f"{self.path}: expected a CSV table, found: {_first_line(error)}") from error

    def _is_time_text(self, name: str, cell: str) -> bool:
        pa = require("pyarrow", "data")
        try:
            pa.array([cell.strip() or None], pa.string()).cast(self._time_type(name))
        except pa.ArrowInvalid:
            return False
        return True


def _begins_with_number(cells: Any) -> bool:
    first = next((cell for cell in cells.slice(0, 64).to_pylist() if cell), "")
    return _is_number_text(first) and first != ""


def _is_number_text(cell: str) -> bool:
    """Return whether Arrow reads a cell as a number or as an empty one."""
    if cell.strip() in _EMPTY:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
