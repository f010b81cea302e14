"""Compiled kernels on disk.

Numba's own cache notices neither edits in a callee's module, nor that ``parallel=True`` makes another program of the
same function, and its index can be corrupted by two writers. Here every specialisation has a folder of its own under
a digest of all kernel sources; it is filled aside, sealed with checksums and renamed into place, so that a reader
finds a whole entry or none, and a damaged entry is compiled anew. Entries are pickles: a folder that other users could
write to is refused.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import shutil
import stat
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.registry import cpu_target

from fastseq.jit.pieces import FLAGS

SOURCES = ("jit", "simd", "cells", "sequence", "optim", "streaming")
KEPT_DIGESTS = 8


def compiled(
    function: Callable[..., Any],
    signature: tuple[Any, ...],
    entry: str,
    prepare: Callable[[bytes], None] | None = None,
    **options: bool,
) -> Any:
    """Return the dispatcher of a function compiled for one signature: from the cache if it is there.

    Parameters
    ----------
    function
        Plain function in Numba's subset.
    signature
        The types of its arguments.
    entry
        Name in the cache, its own for each function, signature and way of compiling.
    prepare
        Called with what the cache holds before it is loaded, and linked.
    **options
        Of ``numba.njit``, beside `FLAGS`.
    """
    root = cache_folder()
    if root is None:
        return _compiled(function, signature, options, None)
    home = root / entry
    if _sealed(home):
        try:
            if prepare is not None:
                prepare(b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file()))
            return _compiled(function, signature, options, home)
        except Exception as error:  # whatever a damaged pickle raises: say so, and compile it anew
            warnings.warn(f"cached kernel {entry} could not be loaded ({error!r}); compiling it", stacklevel=2)
    aside = root / f".{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        aside.mkdir()
        dispatcher = _compiled(function, signature, options, aside)
        _seal(aside)
        _replace(aside, home)
    except (OSError, RuntimeError):
        # A full or vanished disk costs the cache, not the result; nor does Ctrl-C while LLVM hands over what it has
        # made, which Numba swallows, to miss the object code when it writes.
        return _compiled(function, signature, options, None)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return dispatcher


def present(entry: str) -> bool:
    """Say whether the cache holds an entry.

    Parameters
    ----------
    entry
        As for `compiled`.
    """
    root = cache_folder()
    return root is not None and (root / entry / "seal").is_file()


def _compiled(function: Callable[..., Any], signature: tuple[Any, ...], options: Any, folder: Path | None) -> Any:
    dispatcher = numba.njit(**{**FLAGS, **options})(function)
    if folder is not None:
        with _numba_cache_at(folder), contextlib.suppress(RuntimeError):  # a function without a source file
            dispatcher.enable_caching()
    with warnings.catch_warnings(), _no_collections():
        warnings.simplefilter("ignore", numba.NumbaWarning)
        dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Hold back the collector of garbage: a compiler makes and keeps so much that looking for it takes a seventh."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _sources() -> list[Path]:
    package = Path(__file__).parents[1]
    files: list[Path] = []
    for name in SOURCES:
        place = package / name
        files += sorted(place.rglob("*.py")) if place.is_dir() else [place]
    return files


def _digest() -> str:
    """Digest what compiled code depends on: all kernel sources, the compiler's version, and the processor.

    A home folder may be shared by machines whose processors differ.
    """
    processor = cpu_target.target_context.codegen().magic_tuple()
    found = hashlib.sha256(f"{numba.__version__} {np.__version__} {processor}".encode())
    for file in _sources():
        found.update(f"{file} {file.stat().st_mtime_ns}\n".encode())
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def _roots() -> Iterator[Path]:
    chosen = os.environ.get("FASTSEQ_CACHE_DIR")
    if chosen:
        with contextlib.suppress(RuntimeError):  # a user whose home nobody knows
            yield Path(chosen).expanduser()
        return
    if os.name == "nt":
        yield Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "fastseq" / "cache"
    else:
        with contextlib.suppress(RuntimeError):
            yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastseq"
    with contextlib.suppress(FileNotFoundError):  # no folder at all can be written to
        yield Path(tempfile.gettempdir()) / f"fastseq-{os.getuid() if hasattr(os, 'getuid') else os.getlogin()}"


def _private(folder: Path) -> bool:
    """Tell whether only this user can write to a folder (made if missing), or to what a link of theirs leads to."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.name == "nt":
        return os.access(folder, os.W_OK)
    facts = folder.stat()
    mine = facts.st_uid == folder.lstat().st_uid == os.getuid() and stat.S_ISDIR(facts.st_mode)
    if mine and facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        warnings.warn(
            f"cache folder {folder}: expected one that only you can write to, got mode "
            f"{stat.S_IMODE(facts.st_mode):o}; compiled kernels are not kept there",
            RuntimeWarning,
            stacklevel=3,
        )
        return False
    return mine and os.access(folder, os.W_OK)


_folder: list[Path | None] = []


def cache_folder() -> Path | None:
    """Return the folder that holds this version's compiled kernels, or None where nothing private is writable.

    ``FASTSEQ_CACHE_DIR`` names another place than the user's cache folder.
    """
    if not _folder:
        place: Path | None = None
        for root in _roots():
            try:
                if _private(root):
                    place = root / _digest()
                    place.mkdir(exist_ok=True, mode=0o700)
                    with contextlib.suppress(OSError):  # another process may be at it too
                        _prune(root, place)
                    break
            except OSError:
                place = None
        _folder.append(place)
    return _folder[0]


def _prune(root: Path, current: Path) -> None:
    """Drop all but the latest few digests' folders, and what killed processes left behind a day ago or more."""
    for aside in current.glob(".*"):
        if time.time() - aside.stat().st_mtime > 86_400:
            shutil.rmtree(aside, ignore_errors=True)
    others = sorted((f for f in root.iterdir() if f.is_dir() and f != current), key=lambda f: f.stat().st_mtime)
    for old in others[: -(KEPT_DIGESTS - 1)]:
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _numba_cache_at(folder: Path) -> Iterator[None]:
    config: Any = numba.config
    before = config.CACHE_DIR, getattr(config, "CACHE_LOCATOR_CLASSES", "")
    config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES = str(folder), ""
    try:
        yield
    finally:
        config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES = before


def _checksums(folder: Path) -> str:
    lines = []
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != "seal":
            lines.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()} {file.relative_to(folder).as_posix()}")
    return "\n".join(lines)


def _seal(folder: Path) -> None:
    (folder / "seal").write_text(_checksums(folder))


def _sealed(folder: Path) -> bool:
    try:
        return (folder / "seal").read_text() == _checksums(folder) != ""
    except (OSError, UnicodeDecodeError):
        return False


def _replace(aside: Path, home: Path) -> None:
    """Move a filled folder into place; an entry that another process put there first, and that is whole, stays."""
    if _sealed(home):
        return
    damaged = aside.with_name(f"{aside.name}-damaged")
    with contextlib.suppress(FileNotFoundError):
        os.rename(home, damaged)
    with contextlib.suppress(OSError):
        os.rename(aside, home)
    with contextlib.suppress(OSError):  # where a folder should be may stand anything
        damaged.unlink()
    shutil.rmtree(damaged, ignore_errors=True)
