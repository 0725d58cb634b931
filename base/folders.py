"""Folders that are either whole or not there.

A new folder is filled beside its place, reaches the disk, and is exchanged with the old one in a single step, so that
at any moment the old folder or the new one stands there. Linux has that step (``renameat2``); on file systems without
it there is an instant between two renames, after which the next writer puts the old folder back.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from netdyno.base.errors import InputError
from netdyno.base.files import PENDING, is_at, lock, make_folder, open_regular, pending, sync_folder, writing

_RETIRED = ".netdyno-old."
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


@contextmanager
def folder_atomic(path: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of ``path`` only when the block ends well.

    Raises:
        InputError: the parent cannot be written, a file is in the way, or another process writes the same folder.
    """
    _require_folder(path)
    make_folder(path.parent)
    staging = pending(path)
    with writing(path), ExitStack() as handles:
        _lock_new(staging, path, handles)
        _restore(path)
        try:
            yield staging
            staging.chmod(0o755)
            _sync_tree(staging)
            _put(staging, path, handles)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _lock_new(staging: Path, path: Path, handles: ExitStack) -> None:
    """An empty staging folder that is this process's own; what a killed one left there is removed."""
    while True:
        try:
            staging.mkdir(0o700)
            new = True
        except FileExistsError:
            new = False
        try:
            handle = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        handles.callback(os.close, handle)
        if not lock(handle, wait_s=0):
            raise InputError(f"{path}: another process is writing it; wait until it ends")
        if not is_at(handle, staging):
            continue
        if new:
            return
        shutil.rmtree(staging)


def _put(staging: Path, path: Path, handles: ExitStack) -> None:
    """Put ``staging`` where ``path`` is; what was there is then found at ``staging``."""
    if path.exists():
        # From the exchange on the old folder has the name of a staging folder: nobody may take it for a leftover.
        old = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        handles.callback(os.close, old)
        lock(old)
        exchange(staging, path)
    else:
        staging.rename(path)
    sync_folder(path.parent)


def exchange(one: Path, other: Path) -> None:
    """Exchange two folders, in a single step where the system has one.

    Raises:
        OSError: it cannot be done.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is not None:
        if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
            return
        number = ctypes.get_errno()
        if number not in _NO_EXCHANGE:
            raise OSError(number, os.strerror(number))
    _rename_twice(one, other)


def _rename_twice(one: Path, other: Path) -> None:
    retired = other.with_name(_RETIRED + other.name)
    other.rename(retired)
    try:
        one.rename(other)
    except OSError:
        retired.rename(other)
        raise
    retired.rename(one)


def _restore(path: Path) -> None:
    """Bring a folder back that a process killed between two renames left under another name, or remove it."""
    retired = path.with_name(_RETIRED + path.name)
    if retired.is_symlink() or not retired.is_dir():
        return
    if path.exists():
        shutil.rmtree(retired, ignore_errors=True)
    else:
        retired.rename(path)


def _sync_tree(folder: Path) -> None:
    """Have a folder's files reach the disk, and the names in it."""
    for place, _, names in os.walk(folder):
        for name in names:
            with open_regular(Path(place, name), sys.maxsize, follow_links=False) as file:
                os.fsync(file.fileno())
        sync_folder(Path(place))


def _require_folder(path: Path) -> None:
    """Refuse a path that cannot be replaced: the working folder, a link, something that is no folder."""
    if path.resolve() == Path.cwd():
        raise InputError(f"{path}: is the folder you stand in; name a folder of its own")
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"{path}: not a folder; choose another name")


def require_replaceable(path: Path, own: Collection[str]) -> None:
    """Make sure that a folder may be replaced: it is not there yet, or holds nothing but what is named in ``own``.

    What a killed process left half-written counts as its own.

    Raises:
        InputError: somebody's other files are in it, or it is no folder.
    """
    _require_folder(path)
    try:
        names = [entry.name for entry in path.iterdir()] if path.exists() else []
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    foreign = sorted(name for name in names if name.removeprefix(PENDING) not in own)
    if foreign:
        raise InputError(f"{path}: holds {foreign[0]!r}, which would be lost; choose a folder of its own")
