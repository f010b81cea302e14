"""The only caller of ``numba.njit``: flags, twins, the cache of compiled kernels, threads, warm-up.

A *piece* is a function that other kernels call; it is compiled into them. A *kernel* is called from Python. Its
parameters are annotated with the words of `PARAMETERS`, so that one element type gives exactly one signature; it is
compiled at its first call, for the element types that are used, and kept on disk.

The cache. Numba's own notices neither edits in a callee's module, nor that ``parallel=True`` makes another program of
the same function, and its index can be corrupted by two writers. Here every specialisation has a folder of its own
under a digest of all kernel sources; it is filled aside, sealed with checksums and renamed into place, so that a
reader finds a whole entry or none, and a damaged entry is compiled anew. Entries are pickles: a folder that other
users could write to is refused.

Threads. Which twin runs never changes a bit of a result (see ``sequence``), so the choice is free: serial for work too
small to share, in a forked child (the parent's worker threads do not exist there) and, where the threading layer
cannot be entered twice, while another thread is in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numba
import numpy as np
from numba import prange as prange
from numba import types
from numba.core.registry import cpu_target
from numba.extending import register_jitable

from fastseq import checks

FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False, "fastmath": False}
SOURCES = ("jit.py", "simd", "cells", "sequence", "optim", "streaming")
KEPT_DIGESTS = 8
SHARED_WORK = 3_000_000
"""Floating-point operations below which a launch on several threads costs more than it saves."""

PARAMETERS: dict[str, Callable[[Any], Any]] = {
    "Reals": lambda real: types.Array(real, 1, "C"),
    "ReadReals": lambda real: types.Array(real, 1, "C", readonly=True),
    "Integers": lambda real: types.Array(types.int64, 1, "C"),
    "Bytes": lambda real: types.Array(types.uint8, 1, "C"),
    "Int": lambda real: types.int64,
    "Real": lambda real: real,
    "Double": lambda real: types.float64,
    "Flag": lambda real: types.boolean,
}
"""What a kernel's parameter annotations mean, for the element type ``real``."""

REALS = {np.dtype(np.float32): types.float32, np.dtype(np.float64): types.float64}

# Names for annotations, so that type checkers know them; Numba itself reads nothing from annotations.
Reals: TypeAlias = np.ndarray
ReadReals: TypeAlias = np.ndarray
Integers: TypeAlias = np.ndarray
Bytes: TypeAlias = np.ndarray
Int: TypeAlias = int
Real: TypeAlias = float
Double: TypeAlias = float
Flag: TypeAlias = bool

_lock = threading.RLock()
_kernels: list[Kernel] = []
_names: set[str] = set()


def _named(function: Callable[..., Any], label: str) -> None:
    """Give a function that a factory made a name of its own.

    The names of compiled symbols consist of module, qualified name, argument types and a number that differs from
    process to process. Kernels from the cache bring their symbols along, and the linker takes the first of a name:
    two functions of one name and type would be swapped.
    """
    place = f"{function.__module__}.{function.__qualname__}"
    if "<locals>" in function.__qualname__ or label:
        function.__name__ = "_".join(filter(None, (function.__name__, label)))
        function.__qualname__ = place = f"{function.__qualname__.split('.')[0]}_{function.__name__}"
        place = f"{function.__module__}.{place}"
    if place in _names:
        raise checks.value_error("label", f"one that tells this {place} from others", label)
    _names.add(place)


def piece(function: Callable[..., Any] | None = None, *, label: str = "") -> Any:
    """Compile a function for use inside kernels; ``label`` tells those apart that one factory makes."""
    if function is None:
        return lambda later: piece(later, label=label)
    _named(function, label)
    return numba.njit(**FLAGS)(function)


def shared(function: Callable[..., Any]) -> Any:
    """Let a small plain function be used both from Python and inside kernels."""
    return register_jitable(**FLAGS)(function)


class Kernel:
    """A function called from Python, compiled lazily: one specialisation per element type and twin.

    Parameters
    ----------
    function
        Plain function in Numba's subset, annotated with the words of `PARAMETERS`; ``prange`` marks what is shared.
    parallel
        Whether there is a parallel twin.
    label
        Distinguishes kernels that were made by one factory; part of the cache's path.
    """

    def __init__(self, function: Callable[..., Any], parallel: bool, label: str) -> None:
        _named(function, label)
        self.function = function
        self.parallel = parallel
        self.name = f"{function.__module__}.{function.__name__}"
        self._words = [str(word) for name, word in function.__annotations__.items() if name != "return"]
        unknown = [word for word in self._words if word not in PARAMETERS]
        if unknown or len(self._words) != function.__code__.co_argcount:
            raise checks.kind_error(self.name, f"annotations from {', '.join(PARAMETERS)}", ", ".join(self._words))
        self._typed = next((i for i, word in enumerate(self._words) if word in ("Reals", "ReadReals")), 0)
        self._ready: dict[tuple[np.dtype, bool], Any] = {}
        self._serial = _Serial(self)
        _kernels.append(self)

    def __call__(self, *arguments: Any) -> Any:
        """Run the serial twin; the element type is that of the first array of reals."""
        return self._serial[arguments[self._typed].dtype](*arguments)

    def launch(self, work: float, *arguments: Any) -> Any:
        """Run on several threads if ``work`` (floating-point operations) is worth it and it is safe, else serially."""
        if work < SHARED_WORK or _threads.count == 1:
            return self._serial[arguments[self._typed].dtype](*arguments)
        with _threads.entered() as several:
            return self.twin(arguments[self._typed].dtype, several)(*arguments)

    def twin(self, dtype: np.dtype, several: bool) -> Any:
        """Return the compiled function for an element type: the parallel twin if ``several``, else the serial one."""
        found = self._ready.get((dtype, several))
        if found is None:
            with _lock:
                found = self._ready.get((dtype, several))
                if found is None:
                    found = self._ready[dtype, several] = self._compile(dtype, several)
        return found

    def _compile(self, dtype: np.dtype, several: bool) -> Any:
        signature = tuple(PARAMETERS[word](REALS[dtype]) for word in self._words)
        entry = f"{self.name}-{dtype}-{'parallel' if several else 'serial'}"
        root = cache_folder()

        def compiled(folder: Path | None) -> Any:
            dispatcher = numba.njit(parallel=several, **FLAGS)(self.function)
            if folder is not None:
                with _numba_cache_at(folder), contextlib.suppress(RuntimeError):  # a function without a source file
                    dispatcher.enable_caching()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", numba.NumbaWarning)
                dispatcher.compile(signature)
            dispatcher.disable_compile()
            return dispatcher

        if root is None:
            return compiled(None)
        home = root / entry
        if _sealed(home):
            try:
                return compiled(home)
            except Exception as error:  # whatever a damaged pickle raises: say so, and compile it anew
                warnings.warn(f"cached kernel {entry} could not be loaded ({error!r}); compiling it", stacklevel=2)
        aside = root / f".{os.getpid()}-{uuid.uuid4().hex[:8]}"
        try:
            aside.mkdir()
            dispatcher = compiled(aside)
            _seal(aside)
            _replace(aside, home)
        except OSError:  # a full or vanished disk costs the cache, not the result
            return compiled(None)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return dispatcher


class _Serial(dict):
    """The serial twins by element type; a missing one is made."""

    def __init__(self, owner: Kernel) -> None:
        super().__init__()
        self._owner = owner

    def __missing__(self, dtype: np.dtype) -> Any:
        self[dtype] = found = self._owner.twin(dtype, False)
        return found


def kernel(function: Callable[..., Any] | None = None, *, parallel: bool = False, label: str = "") -> Any:
    """Make a `Kernel` of a function; usable with and without options."""
    if function is None:
        return lambda later: Kernel(later, parallel, label)
    return Kernel(function, parallel, label)


# ---- the cache ------------------------------------------------------------------------------------------------


def _sources() -> list[Path]:
    package = Path(__file__).parent
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
        yield Path(chosen)
        return
    if os.name == "nt":
        yield Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "fastseq" / "cache"
    else:
        with contextlib.suppress(RuntimeError):
            yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastseq"
    yield Path(tempfile.gettempdir()) / f"fastseq-{os.getuid() if hasattr(os, 'getuid') else os.getlogin()}"


def _private(folder: Path) -> bool:
    """Tell whether only this user can write to a folder (made if missing)."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.name == "nt":
        return os.access(folder, os.W_OK)
    facts = folder.lstat()
    mine = facts.st_uid == os.getuid() and stat.S_ISDIR(folder.stat().st_mode)
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
    shutil.rmtree(damaged, ignore_errors=True)


# ---- threads --------------------------------------------------------------------------------------------------


class _Threads:
    """How many threads kernels use, and whether using them is safe right now."""

    def __init__(self) -> None:
        self.count = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        self.forked = False
        self._used = False
        self._door = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        self.forked = self.forked or self._used
        self._door = threading.Lock()

    @contextlib.contextmanager
    def entered(self) -> Iterator[bool]:
        """Yield whether the parallel twin may run; while it does, no other thread enters an unsafe layer."""
        if self.forked:
            yield False
            return
        safe = self._used and numba.threading_layer() in ("omp", "tbb")
        if safe:
            numba.set_num_threads(self.count)
            yield True
        elif self._door.acquire(blocking=False):
            try:
                numba.set_num_threads(self.count)
                yield True
                self._used = True
            finally:
                self._door.release()
        else:
            yield False


_threads = _Threads()


def set_num_threads(count: int) -> None:
    """Set how many threads kernels use.

    Parameters
    ----------
    count
        From 1 to the number that Numba started with (``NUMBA_NUM_THREADS``, by default the number of cores).

    Raises
    ------
    TypeError, ValueError
        If it is not an integer in that range.
    """
    _threads.count = checks.integer("count", count, 1, int(numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


def get_num_threads() -> int:
    """Return how many threads kernels use."""
    return _threads.count


# ---- warm-up --------------------------------------------------------------------------------------------------


def kernels() -> list[Kernel]:
    """Return all kernels that have been defined so far."""
    return list(_kernels)


def warmup(
    dtypes: tuple[Any, ...] = (np.float32,), progress: Callable[[str, float, int, int], None] | None = None
) -> float:
    """Compile every kernel that has been imported, or load it from the cache.

    Parameters
    ----------
    dtypes
        The element types to compile for.
    progress
        Called after each specialisation with its name, its seconds, how many are done and how many there are.

    Returns
    -------
    float
        Seconds taken.
    """
    wanted = [
        (one, np.dtype(dtype), several)
        for one in kernels()
        for dtype in dtypes
        for several in ((False, True) if one.parallel else (False,))
    ]
    begin = time.perf_counter()
    for done, (one, dtype, several) in enumerate(wanted, 1):
        before = time.perf_counter()
        one.twin(dtype, several)
        if progress is not None:
            progress(
                f"{one.name} {dtype}{' parallel' if several else ''}", time.perf_counter() - before, done, len(wanted)
            )
    return time.perf_counter() - begin
