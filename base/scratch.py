"""Folders for what is only needed meanwhile; what a killed process left behind is removed by the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from netdyno.base.errors import InputError

PREFIX = "netdyno-scratch-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder of this process alone, under ``$TMPDIR``, which is locked while the block runs and then removed.

    Raises:
        InputError: there is no place for it.
    """
    try:
        parent = Path(tempfile.gettempdir())
        _sweep(parent)
        path, lock = _create(parent)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise InputError(f"{where}no temporary folder can be made ($TMPDIR): {error.strerror}") from error
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _create(parent: Path) -> tuple[Path, int]:
    """A folder and its lock; another process may have swept it before it was locked."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = _lock(path)
        if lock is not None:
            return path, lock


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock of a folder of this user; None where another process does, or it is gone."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(lock)
        if found.st_uid == os.geteuid() and found.st_ino == os.lstat(path).st_ino:
            return lock
    os.close(lock)
    return None


def _sweep(parent: Path) -> None:
    for path in parent.glob(f"{PREFIX}*"):
        lock = _lock(path)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
