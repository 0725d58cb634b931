"""Phones without an adb server: over TCP or USB by the ``adb-shell`` library, with a key of netdyno's own."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from netdyno.base.errors import DeviceError, InputError, MissingExtra
from netdyno.base.files import cache_folder, make_folder
from netdyno.devices.android.transport import LARGEST_FILE, LONGEST_OUTPUT, Channel, Transport
from netdyno.devices.lock import DeviceLock

_LOGGER = logging.getLogger("netdyno")
_CONNECT_S = 9.0
_ACCEPT_S = 30.0
"""How long the owner has to accept the key on the phone's screen."""
_FILE_S = 20.0
_TCP = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:.%]+\]):(?P<port>\d{1,5})", re.ASCII)
_LARGEST_PORT = 65535
_LONGEST_REASON = 300
_LONGEST_MESSAGE = 1 << 20
"""What the library tells a phone that it takes at once."""
_SMALLEST_READ = 1 << 10
"""Even an empty message takes memory: the library keeps those of streams that it does not know."""
_NO_ANSWER = (LookupError, MemoryError, OverflowError)
"""What the library makes of an answer that is none, beside its own errors and ValueError."""
_MAKING_KEY = threading.Lock()


def tcp_address(serial: str) -> tuple[str, int] | None:
    """Host and port of a serial such as ``192.168.1.5:5555``; None where it is none."""
    found = _TCP.fullmatch(serial)
    if found is None or not 0 < int(found["port"]) <= _LARGEST_PORT:
        return None
    return found["host"].strip("[]"), int(found["port"])


class DirectTransport(Transport):
    """A phone that is talked to without a server: on USB where ``serial`` is no address, any one where it is empty.

    Raises:
        MissingExtra: the library is not installed.
        DeviceError: the phone cannot be reached, or does not accept the key.
    """

    def __init__(self, serial: str, *, accept_s: float = _ACCEPT_S) -> None:
        self.serial = serial or "the phone on USB"
        self._library = _library()
        self._wire = _Wire()
        self._asking = False
        self._hint = "; if it asks on its screen, accept the key"
        address = tcp_address(serial)
        self.way = "TCP" if address else "USB"
        with self.errors(_CONNECT_S), ExitStack() as stack:
            self._device = (
                self._library.AdbDeviceTcp(*address) if address else self._library.AdbDeviceUsb(serial or None)
            )
            stack.callback(self._device.close)  # a phone on USB stays claimed otherwise
            self._wire.wrap(self._device._io_manager)
            self._device.connect(
                rsa_keys=[_signer()],
                transport_timeout_s=_CONNECT_S,
                read_timeout_s=_CONNECT_S,
                auth_timeout_s=accept_s,
                auth_callback=self._tell_to_accept,
            )
            self._device._maxdata = min(self._device._maxdata, _LONGEST_MESSAGE)
            stack.pop_all()
        self._asking, self._hint = False, ""

    def _tell_to_accept(self, _: object) -> None:
        """The phone asks its owner from now on."""
        self._asking = True
        _LOGGER.warning("%s: accept the key on the phone's screen", self.serial)

    def execute(self, line: str, timeout_s: float) -> bytes:
        """All that a line of shell writes to both its outputs."""
        with self.errors(timeout_s):
            timeouts = {"transport_timeout_s": timeout_s, "read_timeout_s": timeout_s, "timeout_s": timeout_s}
            return bytes(self._device.exec_out(line, decode=False, **timeouts))

    def open(self, line: str, silence_s: float) -> Channel:
        """Start a line of shell, and talk to it while it runs."""
        with self.errors(silence_s):
            return _DirectChannel(self, self._device, line, silence_s)

    def push(self, data: bytes, path: str, mode: int = 0o644) -> None:
        """Write a file, its folders included."""
        with self.errors(_FILE_S, path):
            timeouts = {"transport_timeout_s": _FILE_S, "read_timeout_s": _FILE_S}
            self._device.push(io.BytesIO(data), path, st_mode=0o100000 | mode, **timeouts)

    def pull(self, path: str) -> bytes:
        """Read a file."""
        stream = io.BytesIO()
        most = min(2 * (self.size(path) or 0), LARGEST_FILE) + LONGEST_OUTPUT
        with self.errors(_FILE_S, path, most):
            self._device.pull(path, stream, transport_timeout_s=_FILE_S, read_timeout_s=_FILE_S)
        return stream.getvalue()

    def size(self, path: str) -> int | None:
        """A file's size in bytes; None where there is none."""
        with self.errors(_FILE_S, path):
            mode, size, _ = self._device.stat(path, transport_timeout_s=_FILE_S, read_timeout_s=_FILE_S)
            return int(size) if mode else None

    def close(self) -> None:
        """End the connection; a second call does nothing."""
        self._device.close()

    @contextmanager
    def errors(self, timeout_s: float, path: str = "", most: int = LONGEST_OUTPUT) -> Iterator[None]:
        """The library's errors as netdyno's own; ``most`` bytes are read at most."""
        known = self._library.exceptions
        where = f"{self.serial}: {path}" if path else self.serial
        others: tuple[type[Exception], ...] = (*_all_of(known), OSError, struct.error, ValueError)
        silent = (known.AdbTimeoutError, known.TcpTimeoutException, TimeoutError)
        self._wire.left = most
        self.require()
        try:
            yield
        except known.DeviceAuthError as error:
            raise self._refused() from error
        except silent as error:
            if self._asking:
                raise self._refused() from error
            self.lost = text = f"{where}: did not answer for {timeout_s:.0f} s{self._hint}"
            raise DeviceError(text, device=self.serial) from error
        except known.UsbDeviceNotFoundError as error:
            text = "no phone on USB with debugging switched on (Settings, Developer options, USB debugging)"
            raise DeviceError(f"{self.serial}: {text}", device=self.serial) from error
        except known.InvalidTransportError as error:
            text = "phones on USB need an adb server, or libusb: pip install 'netdyno[android]'"
            raise DeviceError(f"{self.serial}: {text}", device=self.serial) from error
        except others as error:
            if self._asking and isinstance(error, ConnectionError):
                raise self._refused() from error
            text = f"{where}: {_says(error)}"
            self.lost = text if isinstance(error, ConnectionError) else ""
            raise DeviceError(text, device=self.serial) from error
        except _NO_ANSWER as error:
            text = f"answered with something that is no answer ({type(error).__name__})"
            raise DeviceError(f"{where}: {text}", device=self.serial) from error

    def _refused(self) -> DeviceError:
        text = "does not know this machine's key; accept the key on the phone's screen, then try again"
        return DeviceError(f"{self.serial}: {text}", device=self.serial)


class _Wire:
    """A transport of the library's that notices its end, writes all it is given, and reads no more than we take."""

    def __init__(self) -> None:
        self.left = 0
        self._inner: Any = None
        self._stream: socket.socket | None = None
        self._open = False

    def wrap(self, manager: Any) -> None:
        """Take the place of a manager's transport."""
        self._inner, manager._transport = manager._transport, self

    def connect(self, transport_timeout_s: float | None) -> None:
        """Connect the transport."""
        self._inner.connect(transport_timeout_s)
        self._open = True
        self._stream = getattr(self._inner, "_connection", None)
        if self._stream is not None:  # a message is two small writes: the second would wait for the first's receipt
            self._stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close it; a second call does nothing."""
        self._open = False
        self._inner.close()

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
        """Some of so many bytes; the library would ask a TCP stream that has ended again and again."""
        self._require_open()
        if numbytes > _LONGEST_MESSAGE:
            raise ValueError(f"announced a message of {numbytes >> 20} MiB")
        data = bytes(self._inner.bulk_read(numbytes, transport_timeout_s))
        if not data and self._stream is not None:
            raise ConnectionError("the connection broke: closed by the other end")
        self.left -= max(len(data), _SMALLEST_READ)
        if self.left < 0:
            raise ValueError("does not stop writing")
        return data

    def bulk_write(self, data: bytes, transport_timeout_s: float | None) -> int:
        """All of it; a stream takes as much at once as its buffer has room for."""
        rest = memoryview(data)
        while rest:
            self._require_open()
            rest = rest[self._inner.bulk_write(bytes(rest), transport_timeout_s) :]
        return len(data)

    def _require_open(self) -> None:
        if not self._open:
            raise ConnectionError("the connection is closed")


class _DirectChannel(Channel):
    """A stream of the library's, which reads from commands but does not write to them: that is done beneath it."""

    def __init__(self, transport: DirectTransport, device: Any, line: str, silence_s: float) -> None:
        super().__init__(transport.serial)
        from adb_shell import constants
        from adb_shell.adb_message import AdbMessage

        self._constants, self._message = constants, AdbMessage
        self._transport, self._device, self._silence_s = transport, device, silence_s
        self._early = b""
        self._ended = False
        self._about = device._open(f"exec:{line}".encode(), silence_s, silence_s, None)

    def send(self, data: bytes) -> None:
        """Write to the command, and wait until the phone has taken it."""
        if self._ended:
            raise EOFError
        about = self._about
        message = self._message(self._constants.WRTE, about.local_id, about.remote_id, data)
        deadline = time.monotonic() + self._silence_s
        with self._transport.errors(self._silence_s):
            self._device._io_manager.send(message, about)
            while self._next(self._constants.OKAY) is not None:
                if time.monotonic() > deadline:
                    raise TimeoutError
        if self._ended:
            raise EOFError

    def receive(self) -> bytes:
        """Some of what it has written, nothing if it has ended."""
        if self._early or self._ended:
            early, self._early = self._early, b""
            return early
        with self._transport.errors(self._silence_s):
            part = self._next() or b""
        self._early = b""
        return part

    def _next(self, *others: bytes) -> bytes | None:
        """The next part of the output, kept as early too; None at its end, or at one of the ``others``."""
        wanted = [self._constants.WRTE, self._constants.CLSE, *others]
        kind, data = self._device._read_until(wanted, self._about)
        if kind == self._constants.CLSE:
            self._ended = True
        if kind != self._constants.WRTE:
            return None
        self._early += bytes(data)
        return bytes(data)

    def close(self) -> None:
        """End it; a second call does nothing."""
        if not self._ended:
            self._ended = True
            with contextlib.suppress(DeviceError), self._transport.errors(self._silence_s):
                self._device._clse(self._about)


def _all_of(exceptions: Any) -> tuple[type[Exception], ...]:
    """All errors of the library, which have no base of their own."""
    found = vars(exceptions).values()
    return tuple(each for each in found if isinstance(each, type) and issubclass(each, Exception))


def _says(error: Exception) -> str:
    """An error of the library's in words; some are the bytes that the phone has sent."""
    said = error.args[0] if error.args else ""
    text = bytes(said).decode(errors="replace") if isinstance(said, bytes | bytearray) else str(error)
    return text[:_LONGEST_REASON] or type(error).__name__


def _library() -> Any:
    try:
        from adb_shell import adb_device
    except ImportError:
        text = "phones without an adb server need adb-shell: pip install 'netdyno[android]'"
        raise MissingExtra(text) from None
    return adb_device


def _signer() -> Any:
    """The key of this user, made when it is first used; nobody else may read it.

    Raises:
        InputError: there is something else in its place.
    """
    from adb_shell.auth.sign_cryptography import CryptographySigner

    path = make_folder(cache_folder()) / "adbkey"
    try:
        if not path.exists():
            _make_key(path)
        return CryptographySigner(str(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is no key that can be used, remove it: {error}") from error


def _make_key(path: Path) -> None:
    """Make a key and its public half, unless another process, or thread, has just done so."""
    from adb_shell.auth.keygen import keygen

    with _MAKING_KEY, ExitStack() as stack:
        lock = DeviceLock(path.name)
        lock.acquire()
        stack.callback(lock.release)
        if path.exists():
            return
        part = Path(f"{path}.{os.getpid()}")
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        keygen(str(part))
        os.replace(f"{part}.pub", f"{path}.pub")
        part.replace(path)
