"""What all readers of foreign files share: how they refuse, and what they let a file ask for."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.nn import init
from fastseq.persistence import ModelFileError

MAX_JSON = 1 << 23  # bytes; bounds what parsing can allocate
MAX_ARRAYS = 1 << 15


class Source:
    """One file that is being read; refuses with its name.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise checks.kind_error("path", "a path", path)
        self.path = path
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):
            self.fail("a file", "a folder, device, pipe or socket")
        self.size = facts.st_size

    def fail(self, expected: str, found: object) -> NoReturn:
        """Raise ModelFileError.

        Parameters
        ----------
        expected
            What should be there, with the name of the layer or operator.
        found
            What is there.
        """
        text = found if isinstance(found, str) else repr(found)
        raise ModelFileError(self.path, expected, text if len(text) <= 300 else text[:297] + "...") from None

    def json(self, text: bytes | str, what: str) -> dict[str, Any]:
        """Return a JSON object.

        Parameters
        ----------
        text
            The text.
        what
            What it is, for messages.
        """
        if len(text) > MAX_JSON:
            self.fail(f"{what} of at most {MAX_JSON} bytes", f"{len(text)}")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            self.fail(f"{what} in JSON", f"{type(error).__name__}: {error}")
        if not isinstance(found, dict):
            self.fail(f"{what}, a JSON object", type(found).__name__)
        return found

    @contextmanager
    def guarded(self, what: str, *errors: type[BaseException]) -> Iterator[None]:
        """Turn the errors that wrong contents cause inside a ``with`` block into ModelFileError.

        Parameters
        ----------
        what
            What is expected, for the message.
        *errors
            Which errors, beside TypeError, ValueError, OverflowError and MemoryError.
        """
        every: tuple[type[BaseException], ...] = (
            TypeError,
            ValueError,
            OverflowError,
            MemoryError,
            ArithmeticError,
            *errors,
        )
        try:
            yield
        except ModelFileError:
            raise
        except every as error:
            raise ModelFileError(self.path, what, f"{error}"[:600] or type(error).__name__) from error

    @contextmanager
    def building(
        self, arrays: Mapping[str, NDArray[Any]], what: str = "layers that fit the arrays in the file"
    ) -> Iterator[None]:
        """Build layers inside a ``with`` block that hold no more than the file's arrays do.

        Their weights are not drawn: random numbers stay as they were.

        Parameters
        ----------
        arrays
            The arrays in the file.
        what
            What is expected, for the message.
        """
        # a layer is made anew when its bias, its neighbour or its residual comes: a few times as much, and some
        plan = init.Plan(12 * len(arrays) + 64, 12 * sum(values.size for values in arrays.values()) + 4096)
        with self.guarded(what), init.rebuilding(plan):
            yield


class Held(Source):
    """A model in memory, read as if it were a file; refuses with its name.

    Parameters
    ----------
    name
        The model's.
    """

    def __init__(self, name: str) -> None:
        self.path = f"model {name!r}"
        self.size = 0


def as_floats(values: NDArray[Any]) -> NDArray[Any]:
    """Return float32 or float64 for any float type; smaller ones are widened, which loses nothing.

    Parameters
    ----------
    values
        Of a float type.
    """
    kept = values.dtype in checks.FLOATS
    return np.ascontiguousarray(values, values.dtype if kept else np.float32)
