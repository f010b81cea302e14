"""Keras's model files taken apart: the configuration as JSON, and each layer's arrays. Nothing in them is run.

A ``.keras`` file is a zip of ``config.json`` and ``model.weights.h5``, with checksums; an ``.h5`` file is HDF5 with the
configuration as an attribute.
"""

from __future__ import annotations

import io
import math
import mmap
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.interop.source import MAX_JSON, Source, as_floats

Arrays = list[NDArray[Any]]

MAX_RATIO = 64
"""How many times its compressed size a member of a zip may be."""
HDF5 = b"\x89HDF\r\n\x1a\n"
#: How a heap of strings of many lengths begins in HDF5.
_HEAP = re.compile(rb"GCOL\x01\0\0\0", re.DOTALL)
#: Where layers' arrays stand in ``model.weights.h5``: since Keras 3, and before.
ROOTS = ("layers", "_layer_checkpoint_dependencies")
#: Where inside a layer's group its variables stand, in the order of ``get_weights``.
PLACES = ("vars", "cell/vars", "forward_layer/cell/vars", "backward_layer/cell/vars", "layer/vars", "layer/cell/vars")


def snake_case(name: str) -> str:
    """Return a class's name as Keras names its group.

    Parameters
    ----------
    name
        Such as ``LeakyReLU``.
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


class KerasFile:
    """A model file of Keras that is open.

    Parameters
    ----------
    source
        The file.
    config
        The configuration: ``class_name`` and ``config``.
    weights
        The open HDF5 file, or the group in it.
    legacy
        Whether layers stand there by their names.
    """

    def __init__(self, source: Source, config: dict[str, Any], weights: Any, legacy: bool) -> None:
        self.source, self.config, self.weights, self.legacy = source, config, weights, legacy
        self._used: Counter[str] = Counter()
        self.elements = 0

    def arrays(self, kind: str, name: str) -> Arrays:
        """Return a layer's arrays in the order of ``get_weights``; layers come in the file's order, each once.

        Parameters
        ----------
        kind
            The layer's class.
        name
            The layer's name.
        """
        what = f"arrays of layer {name!r} ({kind})"
        with self.source.guarded(what, KeyError, OSError, RuntimeError, AttributeError, IndexError, UnicodeError):
            if self.legacy:
                group = self._item(self.weights, name)
                listed = _attribute(self.source, group, "weight_names")
                names = [n.decode() if isinstance(n, bytes) else str(n) for n in listed]
                return [self._array(self._item(group, inner), f"{name}/{inner}") for inner in names]
            group_name = snake_case(kind)
            number = self._used[group_name]
            self._used[group_name] += 1
            group_name += f"_{number}" if number else ""
            found: Arrays = []
            for root in ROOTS:
                for place in PLACES:
                    path = f"{root}/{group_name}/{place}"
                    group = self._item(self.weights, path, required=False)
                    count = 0 if group is None else len(group)
                    found += [self._array(self._item(group, str(k)), f"{path}/{k}") for k in range(count)]
            return found

    def _item(self, group: Any, path: str, required: bool = True) -> Any:
        """Return what a path names, if all of it is in this very file."""
        import h5py

        for part in path.split("/"):
            if part not in group:
                if required:
                    self.source.fail(f"{path!r} in the file", "no such entry")
                return None
            if not isinstance(group.get(part, getlink=True), h5py.HardLink):
                self.source.fail(f"{path!r} in the file itself", "a link")
            group = group[part]
        return group

    def _array(self, dataset: Any, what: str) -> NDArray[Any]:
        import h5py

        if not isinstance(dataset, h5py.Dataset):
            self.source.fail(f"an array at {what!r}", type(dataset).__name__)
        if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (2, 4, 8):
            self.source.fail(f"floats at {what!r}", str(dataset.dtype))
        nbytes = math.prod(dataset.shape) * dataset.dtype.itemsize
        # what is stored in pieces, elsewhere, or not at all could be of any size
        plain = dataset.chunks is None and not dataset.external and not dataset.is_virtual
        if not plain or dataset.id.get_storage_size() != nbytes or nbytes > MAX_RATIO * self.source.size:
            self.source.fail(f"{nbytes} bytes at {what!r}, in one piece", f"{dataset.id.get_storage_size()}")
        self.elements += math.prod(dataset.shape)
        if self.elements > MAX_RATIO * self.source.size:
            self.source.fail("arrays that fit the file's size", "the same bytes many times")
        return as_floats(np.asarray(dataset[()]).astype(dataset.dtype.newbyteorder("=")))


@contextmanager
def opened(path: Any) -> Iterator[KerasFile]:
    """Open a model file of Keras.

    Parameters
    ----------
    path
        A ``.keras`` or ``.h5`` file.

    Yields
    ------
    KerasFile
    """
    source = Source(path)
    h5py = checks.require("h5py", "keras")
    with open(path, "rb") as file:
        start = file.read(8)
    errors = (OSError, KeyError, RuntimeError, AttributeError, UnicodeError)
    if start == HDF5:
        with source.guarded("an HDF5 file of Keras", *errors):
            with open(path, "rb") as plain, mmap.mmap(plain.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _check_heaps(source, data)
            file = h5py.File(path, "r")
        with file:
            yield _legacy(source, file, errors)
        return
    if start[:4] != b"PK\x03\x04":
        source.fail("a .keras file (zip) or an .h5 file (HDF5)", f"a file that begins with {start!r}")
    members = _members(source)
    if "metadata.json" in members:
        source.json(members["metadata.json"], "metadata.json")
    config = source.json(members["config.json"], "config.json")
    with source.guarded("model.weights.h5 in HDF5", *errors):
        _check_heaps(source, members["model.weights.h5"])
        file = h5py.File(io.BytesIO(members["model.weights.h5"]), "r")
    with file:
        yield KerasFile(source, config, file, legacy=False)


def _check_heaps(source: Source, data: Any) -> None:
    """Walk through the heaps of strings as HDF5's library does, which never comes to the end of some damaged ones.

    A heap is its signature, its size in 8 bytes, and entries: number (2 bytes; 0 is what is free, the entry's head
    included), 6 others, size (8), and that many bytes up to a multiple of 8.
    """
    for found in _HEAP.finditer(data):
        at = found.start() + 16
        end = found.start() + int.from_bytes(data[at - 8 : at], "little")
        while at + 16 <= end:
            size = int.from_bytes(data[at + 8 : at + 16], "little")
            if data[at : at + 2] != b"\0\0":
                size = 16 + (size + 7) // 8 * 8
            if not 8 <= size <= min(end, len(data)) - at:
                source.fail("heaps of strings in HDF5", f"an entry of {size} bytes at byte {at}: the file is damaged")
            at += size


def _attribute(source: Source, owner: Any, name: str) -> Any:
    """Return an attribute of text that takes no more than the file does."""
    found = owner.attrs.get_id(name)
    size = math.prod(found.shape or ()) * found.get_type().get_size()
    if size > min(MAX_JSON, source.size):
        source.fail(f"an attribute {name!r} of at most {MAX_JSON} bytes", f"{size}")
    return owner.attrs[name]


def _legacy(source: Source, file: Any, errors: tuple[type[Exception], ...]) -> KerasFile:
    with source.guarded("a whole model of Keras in HDF5", *errors):
        if "model_config" not in file.attrs or "model_weights" not in file:
            source.fail("a whole model: its configuration and its weights", "one of them only, or neither")
        text = _attribute(source, file, "model_config")
        if not isinstance(text, (str, bytes)):
            source.fail("a configuration as text", type(text).__name__)
        weights = KerasFile(source, {}, file, legacy=True)
        return KerasFile(source, source.json(text, "the configuration"), weights._item(file, "model_weights"), True)


def _members(source: Source) -> dict[str, bytes]:
    """Return the parts of a ``.keras`` file; reading them compares their checksums."""
    wanted = {"metadata.json", "config.json", "model.weights.h5"}
    found: dict[str, bytes] = {}
    errors = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, KeyError, UnicodeError)
    with source.guarded("a .keras file", *errors), zipfile.ZipFile(source.path) as archive:
        for entry in archive.infolist():
            if entry.filename not in wanted:
                continue
            if entry.filename in found:
                source.fail(f"{entry.filename} once", "twice")
            limit = min(MAX_RATIO * max(entry.compress_size, 1 << 10), MAX_RATIO * source.size)
            if entry.file_size > limit or (entry.filename.endswith(".json") and entry.file_size > MAX_JSON):
                source.fail(f"at most {limit} bytes in {entry.filename}", f"{entry.file_size}")
            found[entry.filename] = archive.read(entry)
    missing = sorted({"config.json", "model.weights.h5"} - set(found))
    if missing:
        source.fail(f"{missing[0]} in a .keras file", "no such part")
    return found


def text_of(config: Mapping[str, Any], name: str, default: str = "") -> str:
    """Return an entry that is text.

    Parameters
    ----------
    config
        A configuration.
    name
        The entry's.
    default
        Where there is none.
    """
    found = config.get(name, default)
    return found if isinstance(found, str) else default
