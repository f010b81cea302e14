"""Prediction files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastseq.checks import require
from fastseq.persistence import atomic
from fastseq.scoring.errors import ScoringError
from fastseq.scoring.sources import suffix_of

_ROW_GROUP = 1 << 16


class PredictionWriter:
    """Writes record batches to one CSV or Parquet file.

    Parameters
    ----------
    path
        The file to write.
    suffix
        ``.csv``, ``.csv.gz``, ``.parquet`` or ``.pq``: the form to write in, whatever the name of the file.
    """

    def __init__(self, path: Path, suffix: str) -> None:
        self._path, self._suffix = path, suffix
        self._file: Any = path.open("wb")
        self._stream: Any = None
        self._writer: Any = None
        self._held: list[Any] = []

    def write(self, batch: Any) -> None:
        """Append a record batch; small ones are gathered into row groups."""
        pa = require("pyarrow", "data")
        if self._suffix.startswith(".csv") and hasattr(batch.column(0), "storage"):  # a UUID: its text
            names = pa.array(map(str, batch.column(0).to_pylist()), pa.string())
            batch = pa.record_batch([names, *batch.columns[1:]], batch.schema.names)
        if self._writer is None:
            self._stream = pa.PythonFile(self._file, "w")
            if self._suffix == ".csv.gz":
                self._stream = pa.CompressedOutputStream(self._stream, "gzip")
            if self._suffix.startswith(".csv"):
                self._writer = require("pyarrow.csv", "data").CSVWriter(self._stream, batch.schema)
            else:
                self._writer = require("pyarrow.parquet", "data").ParquetWriter(self._stream, batch.schema)
        self._held.append(batch)
        if sum(held.num_rows for held in self._held) >= _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """Write what is left and force it to disk."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._stream.flush()
            if self._suffix == ".csv.gz":
                self._stream.close()
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def abandon(self) -> None:
        """Close the file without finishing it; what its disk says to that is no news."""
        if not self._file.closed:
            for unfinished in (self._stream, self._file):
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    unfinished.close()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(require("pyarrow", "data").Table.from_batches(self._held))
            self._held = []


@contextmanager
def staged(targets: list[Path]) -> Iterator[list[Path]]:
    """Give a temporary path for each target; move them all into place at the end, or remove them all on error.

    Parameters
    ----------
    targets
        The files to write. Missing folders directly above them are made, and removed again on error.

    Raises
    ------
    ScoringError
        If a folder to write into cannot be made.

    Notes
    -----
    A process that is killed leaves its temporary files behind; the next run with the same target removes them.
    """
    made: list[Path] = []
    temporary: list[Path] = []
    targets = [Path(os.path.realpath(target)) for target in targets]  # a link stays, what it points to is replaced
    try:
        for folder in dict.fromkeys(target.parent for target in targets):
            if not folder.exists():
                try:
                    folder.mkdir()
                except FileNotFoundError:
                    raise ScoringError(f"output: expected an existing folder, found none at {folder.parent}") from None
                made.append(folder)
        temporary += [Path(atomic.claim(str(target))) for target in targets]
        yield temporary
        for path, target in zip(temporary, targets, strict=True):
            os.replace(path, target)
    except BaseException:
        for unwanted in (*temporary, *made):
            with contextlib.suppress(OSError):  # gone, or a folder with more in it
                (unwanted.rmdir if unwanted in made else unwanted.unlink)()
        raise
    finally:
        for path in temporary:
            atomic.release(str(path))


def output_paths(inputs: list[Path], output: Path, *, many: bool, model: Path | None = None) -> list[tuple[Path, str]]:
    """Return the file to write for each input, with the suffix that says its form.

    Parameters
    ----------
    inputs
        The input files.
    output
        The file to write, or with ``many`` the folder.
    many
        True writes one part per input into the folder, named like the input and of its kind.
    model
        The model's file, which is no place to write to either.

    Raises
    ------
    ScoringError
        If the output is of the wrong kind, is one of the inputs, or two parts would have one name.
    """
    if not many:
        if output.is_dir():
            raise ScoringError(f"output: expected a file name for a single input file, found the folder {output}")
        suffix = suffix_of(output)
        if not suffix:
            raise ScoringError(f"output: expected a name that ends in .csv, .csv.gz or .parquet, found {output}")
        targets = [(output, suffix)]
    else:
        if output.exists() and not output.is_dir():
            raise ScoringError(f"output: expected a folder for several inputs, found the file {output}")
        targets = []
        for path in inputs:
            suffix = suffix_of(path)
            kind = ".csv" if suffix.startswith(".csv") else ".parquet"
            targets.append((output / (path.name[: len(path.name) - len(suffix)] + kind), kind))
    names: dict[Path, Path] = {}
    sources = {path.resolve() for path in inputs}
    for (target, _), path in zip(targets, inputs, strict=True):
        if target in names:
            raise ScoringError(
                f"inputs: expected names that differ, found {names[target]} and {path} for one part {target}"
            )
        if target.resolve() in sources:
            raise ScoringError(f"output: expected a place away from the inputs, found the input {target}")
        if model is not None and target.resolve() == model.resolve():
            raise ScoringError(f"output: expected a place away from the model, found {target}")
        names[target] = path
    return targets
