"""Replace a file as a whole: whatever happens, a reader finds the old bytes or the new ones.

The new bytes go to a temporary file in the same folder, which is flushed to the disk and renamed over the target; then
the folder is flushed too. A process that is killed leaves its temporary file behind: the next save to the same target
removes it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import socket
import stat
from collections.abc import Iterable, Iterator
from typing import Any

from fastseq import checks

CHUNK = 1 << 26  # bytes per write call: some systems refuse more than 2**31 - 1
#: What a file system says that cannot flush a folder; there is nothing to be done about it.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM}

_own: set[str] = set()


def write_file(path: str | os.PathLike[str], parts: Iterable[bytes | bytearray | memoryview]) -> None:
    """Write a file so that a crash at any instant leaves the former file or the new one.

    Parameters
    ----------
    path
        Where to. Of a symbolic link the target is replaced, and the link stays. A file that is there keeps its
        permission bits.
    parts
        The bytes, in order.

    Raises
    ------
    OSError
        If the file cannot be written: the former file is untouched, and no temporary file is left.
    """
    target = os.path.realpath(as_text(path))
    mode = _present_mode(target)
    temporary = claim(target)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(temporary, flags, 0o666)
        try:
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(descriptor, mode)
            for part in parts:
                _write_all(descriptor, memoryview(part).cast("B"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno:  # what a write raises names no file, and an open the temporary
            raise OSError(error.errno, error.strerror, target) from error
        raise
    finally:
        release(temporary)
    _sync_folder(os.path.dirname(target))


def as_text(path: Any) -> str:
    """Return a path as text, or raise TypeError unless it is one (an open file is none).

    Parameters
    ----------
    path
        What was given as a path.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise checks.kind_error("path", "the path of a file", path)
    return os.fsdecode(path)


def claim(target: str) -> str:
    """Return a name for a temporary file beside a target, once those are removed that dead processes left there.

    Parameters
    ----------
    target
        The file that is to be replaced, without symbolic links.

    Returns
    -------
    str
        The path of a file that does not exist yet. `release` it in the end.
    """
    folder, name = os.path.split(target)
    _remove_stale(folder, name)
    temporary = os.path.join(folder, f"{_stem(name)}{os.getpid()}-{secrets.token_hex(4)}.tmp")
    _own.add(temporary)
    return temporary


def release(temporary: str) -> None:
    """Say that a temporary file is no longer in use.

    Parameters
    ----------
    temporary
        What `claim` returned.
    """
    _own.discard(temporary)


def _present_mode(target: str) -> int | None:
    """Return the permission bits of the file to be replaced, None if there is none; refuse what is no file."""
    try:
        facts = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, "expected a file to write, got a folder", target)
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, "expected a regular file to write, got a device, pipe or socket", target)
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "expected a file that may be written, got a read-only one", target)
    return stat.S_IMODE(facts.st_mode)


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        written = os.write(descriptor, data[:CHUNK])
        if written == 0:
            raise OSError(errno.EIO, "expected to write more bytes, got none written")
        data = data[written:]


def _sync_folder(folder: str) -> None:
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)  # which one that may be written to, and not listed, refuses
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise OSError(error.errno, error.strerror, folder) from error


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())[:40]


def _stem(name: str) -> str:
    """Return how temporary files for a target begin; a long name is cut, since theirs is longer."""
    if len(os.fsencode(name)) > 160:
        name = f"{name[:30]}-{hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest()}"
    return f".{name}.{_host()}-"


def _stale(folder: str, name: str) -> Iterator[str]:
    """Yield temporary files for this target whose writer, a process of this machine, is gone."""
    pattern = re.compile(re.escape(_stem(name)) + r"(\d{1,18})-[0-9a-f]{8}\.tmp")
    for entry in os.listdir(folder):
        found = pattern.fullmatch(entry)
        if found is None:
            continue
        path, process = os.path.join(folder, entry), int(found[1])
        if path not in _own if process == os.getpid() else not _alive(process):
            yield path


def _alive(process: int) -> bool:
    if os.name == "nt":
        return True  # signal 0 would end the process there; its leftovers stay
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove_stale(folder: str, name: str) -> None:
    with contextlib.suppress(PermissionError):  # a folder that may be written to, and not listed
        for path in _stale(folder, name):
            with contextlib.suppress(OSError):
                os.unlink(path)
