"""What netdyno has brought to a phone: each file once, by its digest, and all of it removed in the end."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cached_property

from netdyno.devices.android.transport import FOLDER, Transport

_PROGRAMS, _FILES = f"{FOLDER}/programs", f"{FOLDER}/files"
_END_ALL = f"pkill -f ^{_PROGRAMS}/"
"""End what an earlier run, or a call that was broken off, has left running."""
_LISTED = re.compile(r"^ *(\d{1,12}) ([0-9a-f]{64})$", re.ASCII | re.MULTILINE)


class Files:
    """The files of netdyno's on one phone."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._there: set[str] = set()
        self._cleared = False

    def install(self, programs: Mapping[str, bytes]) -> str:
        """Bring programs and their libraries into a folder; returns its path.

        Those that an earlier run left may be others, and are removed first.
        """
        if not self._cleared:
            self._cleared = True
            self._transport.script(f"{_END_ALL}; rm -rf {_PROGRAMS} {FOLDER}/run-* {FOLDER}.*; true")
        missing = [name for name in programs if f"{_PROGRAMS}/{name}" not in self._there]
        for name in missing:
            self.bring(programs[name], f"{_PROGRAMS}/{name}", 0o755)
        if missing:  # not every way of writing a file keeps its mode
            self._transport.script(f"chmod 755 {_PROGRAMS}/*").check(f"{self._transport.serial}: {_PROGRAMS}")
        return _PROGRAMS

    def bring(self, data: bytes, path: str = "", mode: int = 0o644) -> str:
        """Have a file there, by its digest where no path is given; returns its path."""
        path = path or f"{_FILES}/{hashlib.sha256(data).hexdigest()}"
        if path not in self._there:
            if self._left.get(path) != len(data):
                self._transport.push(data, path, mode)
            self._there.add(path)
        return path

    @cached_property
    def _left(self) -> dict[str, int]:
        """Sizes of the files that an earlier run left, by path: those that were cut short are brought again."""
        listed = self._transport.script(f"cd {_FILES} && wc -c *").out
        return {f"{_FILES}/{name}": int(size) for size, name in _LISTED.findall(listed)}

    def remove(self) -> None:
        """Remove all of it, and all that an earlier run could not remove any more: for whoever holds the phone."""
        self._transport.script(f"{_END_ALL}; rm -rf {FOLDER} {FOLDER}.*; true")
        self._there.clear()
        self._left.clear()
        self._cleared = False
