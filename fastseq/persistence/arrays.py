"""Named arrays and one JSON document in a safetensors file, read with distrust.

The file is 8 bytes (length of the header, little endian), the header (JSON: name to dtype, shape and offsets, and
``__metadata__``), and the bytes of the arrays. The document stands in the metadata under ``fastseq``; its ``checksum``
covers itself and all arrays. Reading checks the header completely before any array is allocated, and runs no code.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastseq.persistence.atomic import as_text, write_file

KEY = "fastseq"
MAX_HEADER = 1 << 22  # bytes; bounds what parsing the JSON can allocate
MAX_ARRAYS = 1 << 15
MAX_RANK = 16
MAX_ELEMENTS = 1 << 47
MAX_NAME = 1024
MAX_NESTING = 256  # of JSON; Python's own limit differs from version to version
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "<u1",
    "BOOL": "|b1",
}
#: How other files begin that people have weights in, or get instead of them.
_OTHERS = {
    b"PK\x03\x04": "a zip archive: fastseq.interop.from_torch reads PyTorch's, fastseq.interop.from_keras Keras's",
    b"\x89HDF": "an HDF5 file: fastseq.interop.from_keras reads Keras's",
    b"\x93NUMPY": "an array of NumPy",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "gzip data",
    b"GGUF": "a GGUF file",
    b"version ": "a text, maybe a pointer of Git LFS (git lfs pull fetches the file)",
    **{bytes((0x80, n)): "a pickle, which is never loaded: it could run any code" for n in range(2, 6)},
}

Arrays = dict[str, NDArray[Any]]


class ModelFileError(ValueError):
    """A file is not what it should be: names the file, what was expected and what was found.

    Parameters
    ----------
    path
        The file.
    expected
        What should be there.
    found
        What is there.
    """

    def __init__(self, path: str | os.PathLike[str], expected: str, found: str) -> None:
        self.path = as_text(path)
        super().__init__(f"{self.path}: expected {expected}, got {found}")
        self.expected = expected
        self.found = found

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the three parts when an error travels between processes."""
        return type(self), (self.path, self.expected, self.found)


def _nesting(text: str) -> int:
    """Return how deep the brackets of a JSON text nest, those in strings left out."""
    depth = deepest = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{\]}]', text):
        first = token[0][0]
        if first in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in "]}":
            depth -= 1
    return deepest


class _Reader:
    """One reading of one file; keeps the path for messages."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = as_text(path)

    def fail(self, expected: str, found: object) -> NoReturn:
        text = found if isinstance(found, str) else repr(found)
        raise ModelFileError(self.path, expected, text if len(text) <= 200 else text[:197] + "...") from None

    def json(self, text: bytes | str, what: str) -> Any:
        """Parse JSON that must be what a program wrote: no duplicate keys, no NaN, no giant numbers."""

        def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
            found = dict(items)
            if len(found) != len(items):
                raise ValueError("a name that comes twice in one object")
            return found

        def number(digits: str) -> int:
            if len(digits) > 20:
                raise ValueError("an integer of more than 20 digits")
            return int(digits)

        def real(digits: str) -> float:
            if not math.isfinite(float(digits)):
                raise ValueError("a number that overflows")
            return float(digits)

        def constant(word: str) -> NoReturn:
            raise ValueError(f"the number {word}")

        try:
            decoded = text.decode("utf-8") if isinstance(text, bytes) else text
            if _nesting(decoded) > MAX_NESTING:
                raise ValueError("JSON nested too deeply")
            return json.loads(
                decoded, object_pairs_hook=pairs, parse_int=number, parse_float=real, parse_constant=constant
            )
        except ValueError as error:
            self.fail(what, f"{type(error).__name__}: {error}")

    def read(self) -> tuple[Arrays, dict[str, str]]:
        if not stat.S_ISREG(os.stat(self.path).st_mode):
            self.fail("a model file", "a folder, device, pipe or socket")
        with open(self.path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            if len(start) < 8:
                self.fail("a model file (safetensors)", f"{size} bytes")
            length, limit = int.from_bytes(start, "little"), max(0, min(MAX_HEADER, size - 8))
            if not 2 <= length <= limit:
                other = next((what for beginning, what in _OTHERS.items() if start.startswith(beginning)), None)
                kind = "a text" if start.isascii() and start.decode("ascii").isprintable() else "another file"
                unknown = f"{kind}: a header of {length} bytes where at most {limit} can be"
                self.fail("a model file (safetensors)", other or unknown)
            header = file.read(length)
            if len(header) != length or header[:1] != b"{":
                self.fail("a model file (safetensors)", "another kind of file: its header is not JSON")
            layout, metadata = self.header(header, size - 8 - length)
            data = bytearray(size - 8 - length)
            if file.readinto(data) != len(data) or file.read(1):
                self.fail(f"{len(data)} bytes of arrays", "a file that changed while it was read")
        return {name: _array(data, *place) for name, place in layout.items()}, metadata

    def header(self, text: bytes, room: int) -> tuple[dict[str, tuple[str, list[int], int]], dict[str, str]]:
        """Return where each array is among ``room`` bytes, and the metadata."""
        entries = self.json(text, "a model file (safetensors) with a JSON header")
        metadata = self.metadata(entries.pop("__metadata__", {}))
        return self.layout(entries, room), metadata

    def metadata(self, found: Any) -> dict[str, str]:
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            self.fail("metadata of strings", found)
        return found

    def layout(self, entries: dict[str, Any], room: int) -> dict[str, tuple[str, list[int], int]]:
        """Return name to (dtype, shape, offset); every byte of the file must belong to exactly one array."""
        if len(entries) > MAX_ARRAYS:
            self.fail(f"at most {MAX_ARRAYS} arrays", f"{len(entries)}")
        places: dict[str, tuple[str, list[int], int]] = {}
        spans = []
        for name, entry in entries.items():
            if len(name) > MAX_NAME or not name.isprintable():
                self.fail(f"printable names of at most {MAX_NAME} characters", name)
            if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
                self.fail(f"dtype, shape and data_offsets for {name!r}", entry)
            code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
            if not isinstance(code, str) or code not in DTYPES:
                self.fail(f"a dtype of {', '.join(DTYPES)} for {name!r}", code)
            if not _naturals(shape) or len(shape) > MAX_RANK or math.prod(n or 1 for n in shape) > MAX_ELEMENTS:
                self.fail(f"a shape for {name!r}", shape)
            if not _naturals(offsets) or len(offsets) != 2:
                self.fail(f"two offsets for {name!r}", offsets)
            nbytes = math.prod(shape) * np.dtype(DTYPES[code]).itemsize
            begin, end = offsets
            if end - begin != nbytes:
                self.fail(f"{nbytes} bytes for {name!r} of shape {shape}", f"{end - begin}")
            places[name] = (DTYPES[code], shape, begin)
            spans.append((begin, end))
        end_of_last = 0
        for begin, end in sorted(spans):
            if begin != end_of_last:
                self.fail(f"the next array at byte {end_of_last}", f"byte {begin}: a gap or an overlap")
            end_of_last = end
        if end_of_last != room:
            self.fail(f"{end_of_last} bytes of arrays", f"{room}: the file is cut off or has bytes too many")
        return places


def read_arrays(path: str | os.PathLike[str]) -> tuple[Arrays, dict[str, Any] | None]:
    """Read arrays and document of a safetensors file, whoever wrote it.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    arrays : dict of str to ndarray
        Arrays of their own, in native byte order.
    document : dict or None
        The JSON document, checked against its checksum; None if another program wrote the file.

    Raises
    ------
    ModelFileError
        If the file is damaged or of another kind.
    OSError
        If it cannot be read.
    """
    reader = _Reader(path)
    arrays, metadata = reader.read()
    if KEY not in metadata:
        return arrays, None
    document = reader.json(metadata[KEY], "a JSON document")
    if not isinstance(document, dict):
        reader.fail("a JSON document with names", document)
    claimed = document.pop("checksum", None)
    actual = checksum(arrays, document)
    if claimed != actual:
        reader.fail(f"arrays with the checksum {claimed}", f"{actual}: the file is damaged")
    return arrays, document


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], document: dict[str, Any]) -> None:
    """Write arrays and a document as one safetensors file, atomically.

    Parameters
    ----------
    path
        Where to.
    arrays
        Name to array.
    document
        What goes with them: JSON values, without a ``"checksum"``.

    Raises
    ------
    TypeError, ValueError
        If the document is not JSON, or an array's dtype cannot be kept.
    OSError
        If it cannot be written; the former file is untouched then.
    """
    from safetensors.numpy import save

    kept = {name: np.asarray(values, order="C") for name, values in arrays.items()}
    for name, values in kept.items():
        if values.dtype.newbyteorder("<") not in map(np.dtype, DTYPES.values()):
            raise TypeError(f"{name}: expected a dtype that a model file can hold, got {values.dtype}")
    text = _canonical({**document, "checksum": checksum(kept, document)})
    whole = save(kept, metadata={KEY: text})
    if int.from_bytes(whole[:8], "little") > MAX_HEADER or len(kept) > MAX_ARRAYS:
        raise ValueError(
            f"model: expected at most {MAX_ARRAYS} arrays and {MAX_HEADER} bytes of names and configuration"
        )
    end = 8 + int.from_bytes(whole[:8], "little")
    reader = _Reader(path)  # what cannot be read again is not written
    reader.json(reader.header(whole[8:end], len(whole) - end)[1][KEY], "names and a document that can be read again")
    write_file(path, [whole])


def checksum(arrays: Mapping[str, NDArray[Any]], document: Mapping[str, Any]) -> str:
    """Return a digest of the document and of all arrays with their names, dtypes and shapes.

    Parameters
    ----------
    arrays
        Name to C-contiguous array.
    document
        JSON values.

    Returns
    -------
    str
        32 hexadecimal digits (BLAKE2b).
    """
    digest = hashlib.blake2b(_canonical(document).encode(), digest_size=16)
    for name in sorted(arrays):
        values = arrays[name]
        little = values.astype(values.dtype.newbyteorder("<"), copy=False)
        digest.update(f"\n{name} {little.dtype.str} {little.shape}\n".encode())
        digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _naturals(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _array(data: bytearray, code: str, shape: list[int], offset: int) -> NDArray[Any]:
    """Copy one array out of the file's bytes: aligned, writable, in native byte order."""
    dtype = np.dtype(code)
    if math.prod(shape) == 0:
        return np.empty(shape, dtype.newbyteorder("="))
    if dtype == np.bool_:  # any byte but 0 is True; NumPy itself would keep the byte
        return (np.frombuffer(data, np.uint8, math.prod(shape), offset) != 0).reshape(shape)
    return np.frombuffer(data, dtype, math.prod(shape), offset).astype(dtype.newbyteorder("=")).reshape(shape)
