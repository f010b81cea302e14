"""Score CSV and Parquet files in constant memory."""

from __future__ import annotations

import os
import sys
import time as clock
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from fastseq import checks
from fastseq.checks import require
from fastseq.scoring.batches import predict_batches
from fastseq.scoring.columns import choose_columns
from fastseq.scoring.errors import ScoringError
from fastseq.scoring.network import Network
from fastseq.scoring.outputs import PredictionWriter, output_paths, staged
from fastseq.scoring.sources import SUFFIXES, Source, open_source, suffix_of

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class ScoreSummary:
    """What a run of `score` did.

    Attributes
    ----------
    rows
        Observations read: one step of one series each.
    series
        Predictions written.
    seconds
        Wall time, reading and writing included.
    outputs
        The files written, in the order of the inputs.
    """

    rows: int
    series: int
    seconds: float
    outputs: tuple[Path, ...]

    @property
    def rows_per_second(self) -> float:
        """Observations per second of wall time."""
        return self.rows / max(self.seconds, 1e-9)


def score(
    model: Callable[..., Any] | PathLike,
    inputs: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    id: str = "unique_id",
    time: str | None = "ds",
    features: Sequence[str] | None = None,
    batch_size: int = 256,
    progress: bool = True,
) -> ScoreSummary:
    """Write one prediction per series of the input files, in input order.

    Parameters
    ----------
    model
        A model, or the path of one that ``fastseq.save`` wrote.
    inputs
        CSV (``.csv``, ``.csv.gz``) and Parquet files, or folders of them (read in order of their names). Each file
        is a set of series of its own: long format (one row per observation; the rows of a series stand together
        and ascend in time) or, in Parquet, list columns (one row per series; each feature a list column, or one
        list-of-lists column).
    output
        A ``.csv``, ``.csv.gz`` or ``.parquet`` file; for several inputs or a folder, a folder that gets one part
        per input, with its name and of its kind. What was there under that name is replaced.
    id
        Name of the column that tells series apart. CSV ids are text and are written as they stand.
    time
        Name of the column that must ascend within a series; None checks nothing. Not needed with list columns.
    features
        Names of the feature columns in the order of the model's inputs. None takes those that the model file names
        (``fastseq.save(model, path, metadata={"features": [...]})``), else all other numeric columns in the order of
        the file.
    batch_size
        Largest number of series per call of the model. It changes no bit of the predictions.
    progress
        Show a bar on stderr.

    Returns
    -------
    ScoreSummary
        Rows, series, seconds and the files written.

    Raises
    ------
    ScoringError
        For input that cannot be scored, naming file and line (row for Parquet), what was expected and found.
    FileNotFoundError
        If an input is not there.

    Notes
    -----
    Files are read block by block: memory does not grow with them, but for the longest single series and eight
    bytes per id (to notice an id that comes back). Predictions go to temporary names beside the output and are
    moved into place when all inputs are done; on any error nothing is left behind.
    """
    checks.integer("batch_size", batch_size, 1)
    begin = clock.perf_counter()
    files, many = _expand(_paths(inputs))
    own = Path(model) if isinstance(model, (str, os.PathLike)) else None
    targets = output_paths(files, Path(output), many=many, model=own)
    network, trained_on = _opened(model)
    rows = series = 0
    total = sum(path.stat().st_size for path in files)
    with (
        staged([target for target, _ in targets]) as temporary,
        tqdm(total=total, unit="B", unit_scale=True, desc="scoring", disable=not progress or sys.stderr is None) as bar,
    ):
        for path, (target, suffix), part in zip(files, targets, temporary, strict=True):
            source = open_source(path, id)
            columns = choose_columns(
                source.schema,
                id=id,
                time=time,
                features=trained_on if features is None else features,
                input_size=network.input_size,
                source=str(path),
                doubtful=source.doubtful,
            )
            with _naming(target):
                writer = PredictionWriter(part, suffix)
            try:
                batches = _watched(source, columns, bar)
                for batch, steps in predict_batches(network, batches, columns, batch_size, source.where):
                    with _naming(target):
                        writer.write(batch)
                    rows, series = rows + steps, series + batch.num_rows
                    bar.set_postfix_str(f"{series} series", refresh=False)
                with _naming(target):
                    writer.close()
            finally:
                writer.abandon()
    return ScoreSummary(rows, series, clock.perf_counter() - begin, tuple(target for target, _ in targets))


def _opened(model: Callable[..., Any] | PathLike) -> tuple[Network, list[str] | None]:
    """Return the model, read from its file if it is a path, and the names of the features it was trained on."""
    if not isinstance(model, (str, os.PathLike)):
        return Network(model), None
    from fastseq.persistence import load, read_metadata

    names: Any = read_metadata(model).get("features")
    network = Network(load(model))
    given = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return network, names if given and len(names) == network.input_size else None


def _paths(inputs: Any) -> list[Path]:
    """Return the inputs as paths."""
    if isinstance(inputs, (str, os.PathLike)):
        return [Path(inputs)]
    if hasattr(inputs, "__arrow_c_stream__") or not isinstance(inputs, Iterable):
        raise checks.kind_error("inputs", "paths of files or folders (score_batches takes tables)", inputs)
    found = list(inputs)
    for number, item in enumerate(found):
        if not isinstance(item, (str, os.PathLike)):
            raise checks.kind_error(f"inputs[{number}]", "the path of a file or folder", item)
    return [Path(item) for item in found]


@contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Name the file in what its disk says, and say in which form ids can be written."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(target)) from error
    except (require("pyarrow", "data").ArrowException, UnicodeError) as error:
        raise ScoringError(f"{target}: expected ids that can be written in this form, found: {error}") from error


def _watched(source: Source, columns: Any, bar: Any) -> Iterator[Any]:
    """Pass on the batches of a source and move the bar by the bytes read."""
    before = 0
    for batch, read in source.batches(columns):
        yield batch
        bar.update(read - before)
        before = read
    bar.update(source.size - before)


def _expand(given: list[Path]) -> tuple[list[Path], bool]:
    """Return the input files, folders replaced by what is in them, and whether the output is a folder."""
    if not given:
        raise ScoringError("inputs: expected at least one file or folder, found none")
    files: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(item for item in path.iterdir() if item.is_file() and suffix_of(item))
            inside = [item for item in inside if not item.name.startswith((".", "_"))]
            if not inside:
                raise ScoringError(f"{path}: expected a folder with {', '.join(SUFFIXES)} files, found none")
            files += inside
        elif path.exists():
            if not path.is_file():
                raise ScoringError(f"{path}: expected a file or folder, found a pipe, socket or device")
            files.append(path)
        else:
            raise FileNotFoundError(f"{path}: expected a file or folder, found none")
    return files, len(given) > 1 or given[0].is_dir()
