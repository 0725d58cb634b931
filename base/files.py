"""Files that are either whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from netdyno.base.errors import InputError


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
