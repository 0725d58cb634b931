"""Files that are either whole or not there.

A file is written beside its place, under its pending name (:func:`pending`), and locked meanwhile. A pending file
that nobody has locked was left by a process that was killed: the next one to write the same file removes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from netdyno.base.errors import InputError

PENDING = ".netdyno-new."
"""Begins the name of what is not in its place yet; the ending, which tells what is compressed, stays."""
_WAIT_S = 10.0
"""Longest wait for another process that writes the same: it takes milliseconds, unless it was stopped."""


def pending(path: Path) -> Path:
    """Path under which a file or folder is written before it takes its place."""
    return path.with_name(PENDING + path.name)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file or nothing: a reader, or a crash, never sees half of it.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    make_folder(path.parent)
    with writing(path), staged(path, data) as new:
        os.replace(new, path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Report an operating system's error as that of writing ``path``.

    Raises:
        InputError: the block raised such an error.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def staged(path: Path, data: bytes | str) -> Iterator[Path]:
    """The pending file of ``path`` with this content, on disk and locked; it is removed if the block fails.

    Raises:
        OSError: it cannot be written.
    """
    new = pending(path)
    handle = _create_locked(new)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fchmod(handle, 0o644)
            os.fsync(handle)
            yield new
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _create_locked(path: Path) -> int:
    """A new file that no other process writes to, in place of what a killed process left there."""
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            _remove_leftover(path)
            continue
        if lock(handle) and is_at(handle, path):
            return handle
        os.close(handle)


def _remove_leftover(path: Path) -> None:
    """Wait for whoever writes a pending file, and remove it if it is still there."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EEXIST, f"{path.name} is in the way")
        if not lock(handle):
            raise OSError(errno.EBUSY, "another process writes it")
        if is_at(handle, path):
            path.unlink()
    finally:
        os.close(handle)


def lock(handle: int, kind: int = fcntl.LOCK_EX, wait_s: float = _WAIT_S) -> bool:
    """Lock an open file or folder until it is closed; False where another process keeps its lock for ``wait_s``.

    A file system without locks counts as one where nobody else writes.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        except OSError:
            return True


def is_at(handle: int, path: Path) -> bool:
    """True where an open file or folder is the one that a path leads to."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.lstat())
    return False


def sync_folder(path: Path) -> None:
    """Have the names in a folder reach the disk.

    Raises:
        OSError: it cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network file systems cannot
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def make_folder(path: Path) -> Path:
    """Create a folder with its parents, and return it.

    Raises:
        InputError: it cannot be created, or a file is in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot create this folder: {error.strerror}") from error
    return path


def require_writable(path: Path) -> Path:
    """Create a folder if need be and make sure that files can be written in it, before hours of work.

    Raises:
        InputError: they cannot.
    """
    make_folder(path)
    try:
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        InputError: no such file, or not readable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def read_text(path: Path) -> str:
    """A UTF-8 text file's content.

    Raises:
        InputError: no such file, not readable, or not UTF-8.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a UTF-8 text file") from error


def cache_folder() -> Path:
    """Where netdyno keeps what it can make again (``$XDG_CACHE_HOME/netdyno``)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return make_folder(Path(root) / "netdyno")
