"""One device, one user: a lock file per device, held by a process (rule 8 of DESIGN.md)."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from netdyno.base.errors import DeviceBusy, InputError
from netdyno.base.files import cache_folder, make_folder

_LOGGER = logging.getLogger("netdyno")
_POLL_S = 0.1


@dataclass
class _Hold:
    descriptor: int
    users: int


_HELD: dict[Path, _Hold] = {}
_GUARD = threading.RLock()  # a finaliser may run while its own thread holds it


class DeviceLock:
    """The right to use a device.

    Within one process it can be taken any number of times, by any object; the file lock is let go with the
    last. The kernel lets it go too when the process dies. ``folder`` is the cache's ``locks`` unless given.
    """

    def __init__(self, device: str, *, wait_s: float = 120.0, folder: Path | None = None) -> None:
        self._device = device
        self._wait_s = wait_s
        self._folder = folder
        self._release: Callable[[], object] | None = None

    @property
    def held(self) -> bool:
        """Whether this object has taken it."""
        return self._release is not None

    def acquire(self) -> None:
        """Take the lock, waiting for another process at most ``wait_s``; a second call does nothing.

        Raises:
            DeviceBusy: another process still holds it.
            InputError: the lock file cannot be written.
        """
        if self._release is not None:
            return
        folder = make_folder(self._folder or cache_folder() / "locks")
        path = (folder / (re.sub(r"[^\w.-]", "_", self._device) + ".lock")).resolve()
        deadline = time.monotonic() + self._wait_s
        told = False
        while not _take(path):
            if time.monotonic() >= deadline:
                text = f"{self._device} is in use by {_holder(path)}; try again when it is done"
                raise DeviceBusy(text, device=self._device)
            if not told:
                text = "%s is in use by %s; waiting up to %g s"
                _LOGGER.warning(text, self._device, _holder(path), self._wait_s)
                told = True
            time.sleep(_POLL_S)
        self._release = weakref.finalize(self, _let_go, path)

    def release(self) -> None:
        """Give the lock back; a second call does nothing, a forgotten one happens with this object's end."""
        if self._release is not None:
            self._release()
            self._release = None


def _take(path: Path) -> bool:
    """Hold the lock once more, unless another process has it."""
    with _GUARD:
        hold = _HELD.get(path)
        if hold is not None:
            hold.users += 1
            return True
        descriptor = _lock_file(path)
        if descriptor is None:
            return False
        _HELD[path] = _Hold(descriptor, users=1)
        return True


def _let_go(path: Path) -> None:
    with _GUARD:
        hold = _HELD[path]
        hold.users -= 1
        if hold.users == 0:
            del _HELD[path]
            os.ftruncate(hold.descriptor, 0)
            os.close(hold.descriptor)


def _lock_file(path: Path) -> int | None:
    """A descriptor that holds the file's lock, our pid in the file; None if another process has it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        raise InputError(f"{path}: cannot be locked: {error.strerror}") from error
    return descriptor


def _holder(path: Path) -> str:
    try:
        pid = path.read_bytes()[:20]
    except OSError:
        return "another process"
    return f"process {pid.decode()}" if pid.isdigit() else "another process"
