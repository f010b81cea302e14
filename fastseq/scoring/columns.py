"""Which columns of a table hold the id, the time and the features, and in which of the two layouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastseq import checks
from fastseq.checks import require
from fastseq.scoring.errors import ScoringError

MOST_LISTED = 40
"""Names that a message lists, of however many."""


@dataclass(frozen=True)
class Columns:
    """The columns that scoring reads.

    Attributes
    ----------
    id
        Name of the column that tells series apart.
    time
        Name of the column whose values must ascend within a series, or None where there is none to check.
    features
        Names of the feature columns, in the order of the model's inputs.
    lists
        True where every row is a whole series and features are list columns; False for one row per observation.
    """

    id: str
    time: str | None
    features: tuple[str, ...]
    lists: bool

    @property
    def names(self) -> list[str]:
        """All columns to read, each once: the time may be a feature too."""
        return list(dict.fromkeys([self.id, *([] if self.time is None else [self.time]), *self.features]))


def is_number(kind: Any) -> bool:
    """Return whether an Arrow type holds real numbers (integers, floats or decimals; no booleans)."""
    types = require("pyarrow", "data").types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def is_flag(kind: Any) -> bool:
    """Return whether an Arrow type holds booleans: features of 0 and 1 where they are named."""
    return bool(require("pyarrow", "data").types.is_boolean(kind))


def is_list(kind: Any) -> bool:
    """Return whether an Arrow type is a list of any kind."""
    types = require("pyarrow", "data").types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def is_number_list(kind: Any, *, flags: bool = False) -> bool:
    """Return whether an Arrow type is a list of numbers, or a list (one entry per step) of lists of numbers."""
    if not is_list(kind):
        return False
    inner = kind.value_type.value_type if is_list(kind.value_type) else kind.value_type
    return is_number(inner) or (flags and is_flag(inner))


def is_index(name: str) -> bool:
    """Return whether a column is the index that pandas wrote beside a frame's own columns."""
    return name == "" or (name.startswith("__index_level_") and name.endswith("__"))


def listed(names: Iterable[str]) -> str:
    """Return names for a message; those that look like something else in quotes."""
    names = list(names)
    shown = (name if name and name == name.strip() and "," not in name else repr(name) for name in names[:MOST_LISTED])
    return ", ".join(shown) + (f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else "")


def choose_columns(
    schema: Any,
    *,
    id: str,
    time: str | None,
    features: Sequence[str] | None,
    input_size: int | None,
    source: str,
    doubtful: Sequence[str] = (),
) -> Columns:
    """Return the columns to read, or say which are missing.

    Parameters
    ----------
    schema
        Arrow schema of the table.
    id
        Name of the id column.
    time
        Name of the time column, or None. With list columns it need not be there.
    features
        Names of the feature columns; None takes all other numeric columns in order.
    input_size
        How many features the model takes, None where it does not say.
    source
        What to call the table in messages.
    doubtful
        Text columns that begin with a number: taken as numeric where only they make up the count, so that the
        text cell is reported with its line.

    Raises
    ------
    ScoringError
        If a column is missing, is not numeric, or the count differs from ``input_size``.
    """
    found = listed(schema.names) or "none"
    twice = sorted(name for name, count in Counter(schema.names).items() if count > 1)
    if twice:
        raise ScoringError(f"{source}: expected every column name once, found {', '.join(map(repr, twice))} repeatedly")
    if id not in schema.names:
        raise ScoringError(f"{source}: expected an id column {id!r}, found the columns {found}")
    if id == time:
        raise ScoringError(f"{source}: expected an id column and another time column, found {id!r} for both")
    if require("pyarrow", "data").types.is_nested(schema.field(id).type):
        raise ScoringError(f"{source}: expected plain ids in column {id!r}, found {schema.field(id).type}")
    others = [field for field in schema if field.name not in (id, time)]
    if features is None:
        chosen, lists = _all_numeric(others, input_size, doubtful)
    else:
        chosen, lists = _named(schema, features, id, source, found, doubtful)
    left = [field for field in others if not (is_number(field.type) or is_number_list(field.type))]
    left_out = "; not numeric: " + ", ".join(f"{listed([f.name])} ({f.type})" for f in left[:8]) if left else ""
    if not chosen:
        raise ScoringError(
            f"{source}: expected numeric feature columns besides {id!r} and {time!r}, found none in {found}{left_out}"
        )
    if time is not None and time not in schema.names:
        if not lists:
            raise ScoringError(f"{source}: expected a time column {time!r}, found the columns {found}")
        time = None
    nested = [name for name in lists if is_list(schema.field(name).type.value_type)]
    if nested and len(chosen) > 1:
        raise ScoringError(
            f"{source}: expected one list-of-lists column or several list columns, found {', '.join(map(repr, chosen))}"
        )
    if not nested and input_size is not None and len(chosen) != input_size:
        raise ScoringError(
            f"{source}: expected {input_size} feature columns (the model's input size), "
            f"found {len(chosen)}: {listed(chosen)}{left_out if features is None else ''}"
        )
    return Columns(id, time, tuple(chosen), bool(lists))


def _all_numeric(fields: Sequence[Any], input_size: int | None, doubtful: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names of all columns of numbers, and which of them are lists."""
    lists = [field.name for field in fields if is_number_list(field.type)]
    if lists:
        return lists, lists
    chosen = [field.name for field in fields if is_number(field.type)]
    if len(chosen) != input_size:
        unsure = set(doubtful)
        both = [field.name for field in fields if is_number(field.type) or field.name in unsure]
        chosen = both if input_size is None or len(both) == input_size else chosen
    own = [name for name in chosen if not is_index(name)]
    return own if input_size is None or len(own) == input_size else chosen, lists


def _named(
    schema: Any, features: Sequence[str], id: str, source: str, found: str, doubtful: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the names of the columns asked for, and which of them are lists."""
    if isinstance(features, str) or not all(isinstance(name, str) for name in features):
        raise checks.kind_error("features", "a list of column names", features)
    chosen = list(features)
    if not chosen:
        raise checks.value_error("features", "at least one column name", "none")
    names = set(schema.names)
    absent = [name for name in chosen if name not in names]
    if absent:
        raise ScoringError(f"{source}: expected a feature column {absent[0]!r}, found the columns {found}")
    again = [name for name, count in Counter(chosen).items() if count > 1 or name == id]
    if again:
        place = "as the id" if again[0] == id else "twice"
        raise ScoringError(
            f"features: expected columns that differ from each other and the id, found {again[0]!r} {place}"
        )
    unsure = set(doubtful)
    for name in chosen:
        kind = schema.field(name).type
        if not (is_number(kind) or is_flag(kind) or is_number_list(kind, flags=True) or name in unsure):
            raise ScoringError(f"{source}: expected numbers in feature column {name!r}, found {kind}")
    lists = [name for name in chosen if is_list(schema.field(name).type)]
    if lists and len(lists) < len(chosen):
        raise ScoringError(
            f"{source}: expected feature columns that are all lists or all numbers, found lists in "
            f"{', '.join(map(repr, lists))} and numbers in the rest"
        )
    return chosen, lists
