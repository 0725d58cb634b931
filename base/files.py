"""Files that are either whole or not there.

A file is written beside its place, under its pending name (:func:`pending`), and locked meanwhile. A pending file
that nobody has locked was left by a process that was killed: the next one to write the same file removes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from netdyno.base.errors import InputError

LARGEST_FILE = 2**30
"""Bytes of a file that is held in memory whole, where its kind has no limit of its own."""
LARGEST_TEXT = 16 * 2**20
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
    with writing(path), staged(path / "probe", b"") as probe:
        probe.unlink()
    return path


def open_regular(path: Path, most_bytes: int = LARGEST_FILE, *, follow_links: bool = True) -> BufferedReader:
    """A user's file, open for reading; the one way in which they are opened.

    A pipe, a socket, a device or a folder in the file's place is refused at once and never waited for.

    Raises:
        InputError: no such file, not readable, not a regular file, a symbolic link that must not be followed, or more
            than ``most_bytes`` long.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {_why_not_opened(path, error)}") from error
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise InputError(f"{path}: cannot be read: {_kind(facts.st_mode)}, not a regular file")
    if facts.st_size > most_bytes:
        os.close(descriptor)
        raise InputError(f"{path}: larger than any such file: {facts.st_size} bytes, at most {most_bytes} are read")
    return open(descriptor, "rb")


def _why_not_opened(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return "no name that a file can have"
    if error.errno == errno.ELOOP:
        return "a symbolic link that leads to itself" if _loops(path) else "a symbolic link"
    if error.errno == errno.ENXIO:
        return "a socket or device, not a regular file"
    if error.errno == errno.ENOENT and path.is_symlink():
        return f"a symbolic link to {os.readlink(path)}, where there is nothing"
    return str(error.strerror)


def _loops(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _kind(mode: int) -> str:
    for test, name in ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe")):
        if test(mode):
            return name
    return "a device"


def is_there(path: Path) -> bool:
    """True where there is anything of that name: a link that leads nowhere is something that cannot be read."""
    return os.path.lexists(path)


def read_bytes(path: Path, most_bytes: int = LARGEST_FILE, *, follow_links: bool = True) -> bytes:
    """A regular file's content; raises as :func:`open_regular` does."""
    try:
        with open_regular(path, most_bytes, follow_links=follow_links) as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > most_bytes:  # files of /proc say that they are empty
        raise InputError(f"{path}: larger than any such file: at most {most_bytes} bytes are read")
    return content


def read_text(path: Path, most_bytes: int = LARGEST_TEXT) -> str:
    """A UTF-8 text file's content.

    Raises:
        InputError: as of :func:`open_regular`, or not UTF-8.
    """
    try:
        return read_bytes(path, most_bytes).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a UTF-8 text file") from error


def cache_folder() -> Path:
    """Where netdyno keeps what it can make again (``$XDG_CACHE_HOME/netdyno``)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return make_folder(Path(root) / "netdyno")
