"""Phones through an adb server that is running already; it owns those on USB, and pairs wireless ones.

The server speaks lines with a hexadecimal length, and for files the sync protocol: a name of four letters, a
little-endian length, and so many bytes (system/core/adb: OVERVIEW.TXT, SERVICES.TXT, SYNC.TXT).
"""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from netdyno.base.errors import DeviceError
from netdyno.devices.android.transport import LARGEST_FILE, LONGEST_OUTPUT, Channel, Transport

_HOST, _PORT = "127.0.0.1", 5037
_ANSWER_S = 10.0
_FILE_S = 20.0
_PIECE = 1 << 16
_LONGEST_REASON = 300
_SYNC = struct.Struct("<4sI")
_ADVICE = {
    "unauthorized": "accept the key on the phone's screen, then try again",
    "authorizing": "accept the key on the phone's screen, then try again",
    "offline": "plug it out and in again",
    "no permissions": "the adb server may not open it: udev rules are missing on this machine",
}


def server_address() -> tuple[str, int]:
    """Where the adb server is, by the environment that ``adb`` itself follows."""
    port = os.environ.get("ANDROID_ADB_SERVER_PORT", "")
    return os.environ.get("ANDROID_ADB_SERVER_ADDRESS", _HOST), int(port) if re.fullmatch(r"\d{1,5}", port) else _PORT


def server_devices() -> Mapping[str, str] | None:
    """Serials and states of the phones that a running server has; None where none is running."""
    try:
        with _server(_ANSWER_S) as stream:
            _request(stream, "host:devices", "adb server")
            listed = _read(stream, int(_read(stream, 4), 16)).decode(errors="replace")
    except (OSError, ValueError):
        return None
    return {serial: state for serial, _, state in (line.partition("\t") for line in listed.splitlines()) if state}


class ServerTransport(Transport):
    """A phone that the adb server of this machine has.

    Raises:
        DeviceError: it does not let itself be used.
    """

    way = "adb server"

    def __init__(self, serial: str, state: str) -> None:
        if state != "device":
            advice = next((text for said, text in _ADVICE.items() if state.startswith(said)), "")
            raise DeviceError(f"{serial}: {state}{f' ({advice})' if advice else ''}", device=serial)
        self.serial = serial

    def execute(self, line: str, timeout_s: float) -> bytes:
        """All that a line of shell writes to both its outputs."""
        with self._open(f"exec:{line}", timeout_s) as stream:
            parts, size, deadline = [], 0, time.monotonic() + timeout_s
            while part := stream.recv(_PIECE):
                parts.append(part)
                size += len(part)
                if size > LONGEST_OUTPUT or time.monotonic() > deadline:
                    raise DeviceError(f"{self.serial}: a command does not stop writing", device=self.serial)
            return b"".join(parts)

    def open(self, line: str, silence_s: float) -> Channel:
        """Start a line of shell, and talk to it while it runs."""
        stack = ExitStack()
        stream = stack.enter_context(self._open(f"exec:{line}", silence_s))
        return _ServerChannel(self, stack, stream, silence_s)

    def push(self, data: bytes, path: str, mode: int = 0o644) -> None:
        """Write a file, its folders included."""
        with self._open("sync:", _FILE_S) as stream:
            name = f"{path},{0o100000 | mode}".encode()
            stream.sendall(_SYNC.pack(b"SEND", len(name)) + name)
            for start in range(0, len(data), _PIECE):
                piece = data[start : start + _PIECE]
                stream.sendall(_SYNC.pack(b"DATA", len(piece)) + piece)
            stream.sendall(_SYNC.pack(b"DONE", 0))
            kind, length = _SYNC.unpack(_read(stream, _SYNC.size))
            if kind != b"OKAY":
                raise self._failed(stream, kind, length, path)

    def pull(self, path: str) -> bytes:
        """Read a file."""
        most = min(2 * (self.size(path) or 0), LARGEST_FILE) + LONGEST_OUTPUT
        with self._open("sync:", _FILE_S) as stream:
            name = path.encode()
            stream.sendall(_SYNC.pack(b"RECV", len(name)) + name)
            data = bytearray()
            while True:
                kind, length = _SYNC.unpack(_read(stream, _SYNC.size))
                if kind == b"DONE":
                    return bytes(data)
                if kind != b"DATA" or length > _PIECE or len(data) > most:
                    raise self._failed(stream, kind, length, path)
                data += _read(stream, length)

    def size(self, path: str) -> int | None:
        """A file's size in bytes; None where there is none."""
        with self._open("sync:", _FILE_S) as stream:
            name = path.encode()
            stream.sendall(_SYNC.pack(b"STAT", len(name)) + name)
            kind, mode, size, _ = struct.unpack("<4sIII", _read(stream, 16))
            if kind != b"STAT":
                raise DeviceError(f"{self.serial}: {path}: answered {kind!r} to STAT", device=self.serial)
            return size if mode else None

    def close(self) -> None:
        """Nothing is kept open between calls."""

    @contextmanager
    def _open(self, service: str, timeout_s: float) -> Iterator[socket.socket]:
        """A stream to a service of the phone."""
        self.require()
        with self.errors(timeout_s), _server(timeout_s) as stream:
            _request(stream, f"host:transport:{self.serial}", self.serial)
            _request(stream, service, self.serial)
            yield stream

    @contextmanager
    def errors(self, timeout_s: float) -> Iterator[None]:
        """Errors of a stream as netdyno's own."""
        try:
            yield
        except TimeoutError as error:
            self.lost = f"{self.serial}: did not answer for {timeout_s:.0f} s"
            raise DeviceError(self.lost, device=self.serial) from error
        except (OSError, struct.error, ValueError) as error:
            raise DeviceError(f"{self.serial}: the connection broke: {error}", device=self.serial) from error

    def _failed(self, stream: socket.socket, kind: bytes, length: int, path: str) -> DeviceError:
        says = f"answered {kind!r}"
        if kind == b"FAIL":
            says = _read(stream, min(length, _LONGEST_REASON)).decode(errors="replace")
        return DeviceError(f"{self.serial}: {path}: {says}", device=self.serial)


class _ServerChannel(Channel):
    """A stream to a service of a phone, which is kept open."""

    def __init__(self, phone: ServerTransport, stack: ExitStack, stream: socket.socket, silence_s: float) -> None:
        super().__init__(phone.serial)
        self._phone, self._stack, self._stream, self._silence_s = phone, stack, stream, silence_s

    def send(self, data: bytes) -> None:
        """Write to the command."""
        with self._phone.errors(self._silence_s):
            self._stream.sendall(data)

    def receive(self) -> bytes:
        """Some of what it has written, nothing if it has ended."""
        with self._phone.errors(self._silence_s):
            return self._stream.recv(_PIECE)

    def close(self) -> None:
        """End it; a second call does nothing."""
        self._stack.close()


@contextmanager
def _server(timeout_s: float) -> Iterator[socket.socket]:
    with socket.create_connection(server_address(), timeout=timeout_s) as stream:
        yield stream


def _request(stream: socket.socket, text: str, serial: str) -> None:
    """Ask for a service, and make sure that it is granted."""
    data = text.encode()
    stream.sendall(f"{len(data):04x}".encode() + data)
    if _read(stream, 4) != b"OKAY":
        says = _read(stream, min(int(_read(stream, 4), 16), _LONGEST_REASON)).decode(errors="replace")
        raise DeviceError(f"{serial}: {says}", device=serial)


def _read(stream: socket.socket, length: int) -> bytes:
    """Exactly so many bytes.

    Raises:
        ConnectionError: there are no more.
    """
    data = bytearray()
    while len(data) < length:
        part = stream.recv(min(length - len(data), _PIECE))
        if not part:
            raise ConnectionError("closed by the other end")
        data += part
    return bytes(data)
