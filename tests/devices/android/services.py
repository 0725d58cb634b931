"""What the double of a phone does for a host: commands, which really run here, and files below a folder.

Source: AOSP's SERVICES.TXT and SYNC.TXT of adb.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .double import Link

SYNC = struct.Struct("<4sI")
STAT = struct.Struct("<4sIII")
NEVER_OPENED = 0xABCDEF
PIECE = 1 << 16


class Stream:
    """A service that a host has opened."""

    def __init__(self, link: Link, ours: int, theirs: int) -> None:
        self.link, self.ours, self.theirs = link, ours, theirs
        self.arrived: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.taken = threading.Semaphore(0)
        self._buffer = b""
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None

    def serve(self, service: bytes) -> None:
        """Do what is asked for, and close."""
        name, _, line = service.partition(b":")
        with contextlib.suppress(EOFError, OSError):  # the host has closed it, or is gone
            self._misbehave()
            if name == b"sync":
                self._sync()
            elif name in (b"exec", b"shell"):
                self._execute(line)
            self.link.send(b"CLSE", self.ours, self.theirs)

    def end(self) -> None:
        """Nobody wants more of it."""
        self._ended = True
        self.arrived.put(b"")
        self.taken.release()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(self._process.pid, signal.SIGKILL)

    def write(self, data: bytes) -> None:
        """Have the host take data, piece by piece."""
        size = min(PIECE, self.link.most)
        for start in range(0, len(data), size):
            self.link.send(b"WRTE", self.ours, self.theirs, data[start : start + size])
            self.taken.acquire()
            if self._ended:
                raise EOFError

    def _misbehave(self) -> None:
        how = self.link.manner.stream
        if how == "foreign":
            self.link.send(b"WRTE", NEVER_OPENED, NEVER_OPENED, b"for nobody")
        if how.startswith("flood"):
            where = (NEVER_OPENED, NEVER_OPENED) if how == "flood foreign" else (self.ours, self.theirs)
            self.link.flood(*where, b"" if how == "flood empty" else b"x" * PIECE)

    def _execute(self, line: bytes) -> None:
        """Run a line of shell; what is left of it afterwards is killed."""
        home, phone = self.link.phone.home, self.link.phone
        self._process = process = subprocess.Popen(
            ["/bin/sh", "-c", phone.local(line)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=home,
            env={"PATH": f"{phone.programs}:{os.environ['PATH']}", "HOME": str(home)},
            start_new_session=True,
        )
        threading.Thread(target=self._feed, args=(process,), daemon=True).start()
        assert process.stdout is not None
        try:
            while part := os.read(process.stdout.fileno(), PIECE):
                self.write(part)
        finally:
            self.end()
            process.wait()
            self._process = None  # another may have its number soon
            process.stdout.close()

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError), process.stdin:  # it reads no more
            while data := self.arrived.get():
                os.write(process.stdin.fileno(), self.link.phone.local(data))

    def _take(self, length: int) -> bytes:
        while len(self._buffer) < length:
            part = self.arrived.get()
            if not part:
                raise EOFError
            self._buffer += part
        taken, self._buffer = self._buffer[:length], self._buffer[length:]
        return taken

    def _sync(self) -> None:
        while True:
            kind, length = SYNC.unpack(self._take(SYNC.size))
            if kind == b"QUIT":
                return
            name = self._take(length)
            if self.link.manner.sync:
                for lie in self._lies():
                    self.write(lie)
            else:
                self._file(kind, name)

    def _lies(self) -> Iterator[bytes]:
        how = self.link.manner.sync
        while how == "endless":
            yield SYNC.pack(b"DATA", PIECE) + bytes(PIECE)
        if how == "fail":
            yield SYNC.pack(b"FAIL", 100_000) + b"\x1b[2J\r\nnetdyno: all is well\n".ljust(100_000, b"!")
        else:
            yield SYNC.pack(b"DATA" if how == "huge" else b"\x1b[2J", 0xFFFFFFF0) + bytes(100)

    def _file(self, kind: bytes, name: bytes) -> None:
        text, _, mode = name.rpartition(b",") if kind == b"SEND" else (name, b"", b"")
        path = self.link.phone.root / os.fsdecode(text).lstrip("/")
        try:
            if kind == b"STAT":
                self.write(self._status(path))
            elif kind == b"RECV":
                self._receive(path)
            elif kind == b"SEND":
                data = self._sent()
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                path.chmod(int(mode) & 0o777)
                self.write(SYNC.pack(b"OKAY", 0))
            else:
                self._fail(f"no such request: {kind!r}")
        except OSError as error:
            self._fail(error.strerror or str(error))

    def _receive(self, path: Path) -> None:
        data = path.read_bytes()
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            self.write(SYNC.pack(b"DATA", len(piece)) + piece)
        self.write(SYNC.pack(b"DONE", 0))

    def _sent(self) -> bytes:
        data = bytearray()
        while True:
            kind, length = SYNC.unpack(self._take(SYNC.size))
            if kind == b"DONE":
                return bytes(data)
            assert kind == b"DATA" and length <= PIECE
            data += self._take(length)

    def _fail(self, text: str) -> None:
        said = text.encode()
        self.write(SYNC.pack(b"FAIL", len(said)) + said)

    @staticmethod
    def _status(path: Path) -> bytes:
        try:
            found = path.stat()
        except OSError:
            return STAT.pack(b"STAT", 0, 0, 0)
        return STAT.pack(b"STAT", found.st_mode, found.st_size, int(found.st_mtime))
