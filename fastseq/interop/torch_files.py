"""PyTorch's state dicts as NumPy arrays: from memory, from safetensors, from ``torch.save``; no file runs code."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.tensor import Tensor
from fastseq.interop.source import MAX_ARRAYS, Source, as_floats
from fastseq.persistence import read_arrays

Arrays = dict[str, NDArray[Any]]

#: Keys under which training scripts keep the state dict beside other things.
WRAPPERS = ("state_dict", "model_state_dict", "model")
#: What data-parallel and compiled models put before every name.
PREFIXES = ("module.", "_orig_mod.")
#: torch.load(weights_only=True) could be tricked into running code before this release (CVE-2025-32434).
SAFE_TORCH = (2, 6)


def arrays_of(state_dict: Mapping[str, Any]) -> Arrays:
    """Return a state dict's entries as arrays.

    Parameters
    ----------
    state_dict
        Names to PyTorch's tensors, fastseq's or ndarrays; or a checkpoint that has such a mapping under
        ``state_dict``, ``model_state_dict`` or ``model``.

    Returns
    -------
    dict of str to ndarray
        float16 and bfloat16 widened to float32.

    Raises
    ------
    TypeError
        If a name or a value is of another kind.
    """
    for key in WRAPPERS:
        if isinstance(state_dict.get(key), Mapping):
            return arrays_of(state_dict[key])
    found = {}
    for name, value in state_dict.items():
        if not isinstance(name, str):
            raise checks.kind_error("state_dict", "names that are strings", name)
        found[name] = _array(name, value)
    return found


def without_prefix(arrays: Arrays, own: Iterable[str] = ()) -> Arrays:
    """Return arrays without what data-parallel and compiled models put before every name.

    Parameters
    ----------
    arrays
        By name.
    own
        The model's own names: a prefix that stands there too is no such thing.
    """
    for prefix in PREFIXES:
        if arrays and all(name.startswith(prefix) for name in arrays) and not any(n.startswith(prefix) for n in own):
            arrays = {name.removeprefix(prefix): values for name, values in arrays.items()}
    return arrays


def _array(name: str, value: Any) -> NDArray[Any]:
    if isinstance(value, Tensor):
        found = value.numpy()
    elif isinstance(value, np.ndarray):
        found = value
    elif callable(getattr(value, "detach", None)):
        tensor = value.detach()
        if str(tensor.layout) != "torch.strided" or tensor.is_quantized:
            raise checks.kind_error(f"state_dict[{name!r}]", "a dense tensor", f"{tensor.layout} {tensor.dtype}")
        # a view that repeats few numbers often would need memory that the file never had
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            held = f"{tensor.untyped_storage().nbytes()} bytes for {tuple(tensor.shape)}"
            raise checks.value_error(f"state_dict[{name!r}]", "a tensor that is stored in full", held)
        found = (tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor).cpu().numpy()
    else:
        raise checks.kind_error(f"state_dict[{name!r}]", "a tensor or an array", value)
    return as_floats(found) if found.dtype.kind == "f" else found


def read_state(path: Any) -> Arrays:
    """Read the state dict in a file.

    Parameters
    ----------
    path
        A safetensors file, or one of ``torch.save``, which needs PyTorch to be installed.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    ModelFileError
        If the file is damaged, of another kind, or holds more than tensors.
    ImportError
        If it takes PyTorch, which is not installed.
    """
    source = Source(path)
    with open(path, "rb") as file:
        start = file.read(16)
    if start[:4] == b"PK\x03\x04" or start[:2] == b"\x80\x02":
        return _read_torch(source, zipped=start[:2] == b"PK")
    if start[8:9] != b"{":
        source.fail("a file of torch.save or a safetensors file", f"{source.size} bytes that begin with {start!r}")
    arrays, _ = read_arrays(path)
    with source.guarded("a state dict"):
        return arrays_of(arrays)


def _read_torch(source: Source, zipped: bool) -> Arrays:
    torch = checks.require("torch", "torch")
    release = tuple(int(part) for part in str(torch.__version__).split("+")[0].split(".")[:2])
    if release < SAFE_TORCH:
        raise ImportError(f"torch: expected release 2.6 or later, which loads weights safely, got {torch.__version__}")
    if zipped:
        _check_archive(source)
    import pickle
    import struct

    with source.guarded("a state dict of tensors, as torch.save writes it", RuntimeError, LookupError, AttributeError,
                        EOFError, OSError, AssertionError, pickle.UnpicklingError, struct.error):  # fmt: skip
        # the archive is read as a whole: nothing in it is mapped or fetched later
        found = torch.load(source.path, map_location="cpu", weights_only=True, mmap=False)
        if not isinstance(found, Mapping):
            raise checks.kind_error("state_dict", "a mapping from names to tensors", found)
        arrays = arrays_of(found)
        if sum(values.nbytes for values in arrays.values()) > 16 * source.size + 4096:
            raise ValueError(f"{source.size} bytes whose tensors take many times as much")
        return arrays


def _check_archive(source: Source) -> None:
    """Hold an archive against its checksums and its own size; torch.load does neither."""
    with (
        source.guarded("an archive of torch.save", zipfile.BadZipFile, EOFError, OSError, RuntimeError, LookupError),
        zipfile.ZipFile(source.path) as archive,
    ):
        entries = archive.infolist()
        if len(entries) > MAX_ARRAYS:
            source.fail(f"at most {MAX_ARRAYS} records", f"{len(entries)}")
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                source.fail("records that are not compressed, as torch.save writes them", f"{entry.filename!r}")
        damaged = archive.testzip()
        if damaged is not None:
            source.fail("records that fit their checksums", f"{damaged!r}: the file is damaged")
