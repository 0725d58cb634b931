"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from netdyno.base.errors import InputError

LARGEST_FILE = 2**30
"""Bytes of a file that is held in memory whole, where its kind has no limit of its own."""
LARGEST_TEXT = 16 * 2**20


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file or nothing: a reader, or a crash, never sees half of it.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    content = data.encode() if isinstance(data, str) else data
    make_folder(path.parent)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


@contextmanager
def folder_atomic(path: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of ``path`` only when the block ends well.

    Raises:
        InputError: the parent cannot be written, or a file is in the way.
    """
    _require_folder(path)
    make_folder(path.parent)
    try:
        staging = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        yield staging
        staging.chmod(0o755)
        _swap(staging, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _swap(staging: Path, path: Path) -> None:
    """Put ``staging`` where ``path`` is; the old folder is deleted once the new one stands."""
    if not path.exists():
        staging.rename(path)
        return
    old = staging.with_name(staging.name + ".old")
    path.rename(old)
    try:
        staging.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _require_folder(path: Path) -> None:
    """Refuse a path that cannot be replaced: the working folder, a link, something that is no folder."""
    if path.resolve() == Path.cwd():
        raise InputError(f"{path}: is the folder you stand in; name a folder of its own")
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"{path}: not a folder; choose another name")


def require_replaceable(path: Path, own: Collection[str]) -> None:
    """Make sure that a folder may be replaced: it is not there yet, or holds nothing but what is named in ``own``.

    What a killed process left half-written (``.NAME.…``) counts as its own.

    Raises:
        InputError: somebody's other files are in it, or it is no folder.
    """
    _require_folder(path)
    try:
        names = [entry.name for entry in path.iterdir()] if path.exists() else []
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    halves = tuple(f".{name}." for name in own)
    foreign = sorted(name for name in names if name not in own and not name.startswith(halves))
    if foreign:
        raise InputError(f"{path}: holds {foreign[0]!r}, which would be lost; choose a folder of its own")


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


def open_regular(path: Path, most_bytes: int = LARGEST_FILE, *, follow_links: bool = True) -> BinaryIO:
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
    """Whether there is anything of that name: a link that leads nowhere is something that cannot be read."""
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
