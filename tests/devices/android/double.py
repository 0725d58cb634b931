"""A double of a phone: a listener on loopback that speaks ADB's wire protocol, and behaves as it is told.

The daemon that other tests use asks for no key and tells no lies. Source: AOSP's protocol.txt of adb, and
android_pubkey.c for the form of a public key.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from .services import Stream

HEADER = struct.Struct("<6I")
KEY = struct.Struct("<II256s256sI")
VERSION = 0x01000000
"""The last one in which checksums count."""
TOKEN, SIGNATURE, PUBLIC_KEY = 1, 2, 3
BANNER = b"device::ro.product.name=double;ro.product.model=Double;ro.product.device=double;features=\0"


@dataclass(frozen=True)
class Manner:
    """How a phone behaves; by default it knows no key, and its owner accepts none."""

    asks: bool = True
    """Whether it asks for a key."""
    accepts_s: float | None = None
    """How long its owner takes to accept a new key; None: never."""
    refuses: str = "silence"
    """What follows a key that is not accepted: ``silence``, ``close``, or another ``token``."""
    silent: bool = False
    """It takes connections, and never says a word."""
    spoils: tuple[bytes, str] | None = None
    """A command and what is wrong with the messages of it: one of ``SPOILERS``, ``cut`` or ``drip``."""
    token: tuple[int, int] = (TOKEN, 20)
    """Kind and length of what is to be signed."""
    maxdata: int = 1 << 20
    """How much it claims to take at once."""
    stream: str = ""
    """What it makes of a stream: ``refuse``, ``mute``, ``foreign``, ``flood``, ``flood foreign``, ``flood empty``."""
    sync: str = ""
    """What it answers to requests for files: ``fail``, ``unknown``, ``huge``, ``endless``."""
    narrow: bool = False
    """Whether packets and buffer are those of a slow radio."""


def pack(command: bytes, arg0: int, arg1: int, data: bytes = b"") -> bytes:
    """A message as it goes over the wire."""
    number = int.from_bytes(command, "little")
    return HEADER.pack(number, arg0, arg1, len(data), sum(data) & 0xFFFFFFFF, number ^ 0xFFFFFFFF) + data


SPOILERS: Mapping[str, Callable[[bytes], bytes]] = {
    "magic": lambda message: message[:20] + b"\0\0\0\0" + message[24:],
    "checksum": lambda message: message[:16] + b"\1\2\3\4" + message[20:],
    "length": lambda message: message[:12] + b"\xf0\xff\xff\xff" + message[16:],
    "command": lambda message: b"\x1b[2J" + message[4:20] + bytes(b ^ 255 for b in b"\x1b[2J") + message[24:],
}


class Double:
    """The phone; paths below ``/data`` are those of a folder here, in commands as well."""

    def __init__(self, folder: Path, manner: Manner = Manner()) -> None:
        self.root, self.manner = folder, manner
        self.home, self.programs = folder / "data/local/tmp", folder / "bin"
        for made in (self.home, self.programs):
            made.mkdir(parents=True, exist_ok=True)
        self.events: list[tuple[float, str]] = []
        self._keys: set[tuple[int, int]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        if manner.narrow:  # connections have it from their listener; a host has room for a few segments at once
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.switched_off = threading.Event()
        self._links: list[Link] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def count(self, event: str) -> int:
        """How often it was ``asked``, has ``verified`` a signature, or found one ``forged``."""
        return sum(each == event for _, each in self.events)

    def note(self, event: str) -> None:
        """Remember that something has happened."""
        self.events.append((time.monotonic(), event))

    def learn(self, public: bytes) -> None:
        """Know a key in Android's own form: base64 of a structure, a space, whose it is."""
        words, _, modulus, _, exponent = KEY.unpack(base64.b64decode(public.split()[0].rstrip(b"\0")))
        assert words == 64
        self._keys.add((int.from_bytes(modulus, "little"), exponent))

    def verifies(self, token: bytes, signature: bytes) -> bool:
        """Whether a key that it knows has signed a token."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
        from cryptography.hazmat.primitives.hashes import SHA1

        for modulus, exponent in self._keys:
            with contextlib.suppress(InvalidSignature):  # by this key, that is
                key = RSAPublicNumbers(exponent, modulus).public_key()
                key.verify(signature, token, PKCS1v15(), Prehashed(SHA1()))  # noqa: S303 the protocol's choice
                return True
        return False

    def program(self, name: str, text: str) -> None:
        """A program that the phone has, as a shell script."""
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def local(self, data: bytes) -> bytes:
        """What names files of the phone, as it names them here."""
        return data.replace(b"/data/", f"{self.root}/data/".encode())

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # it is switched off
            while True:
                stream, _ = self._listener.accept()
                self._links.append(Link(self, stream))

    def close(self) -> None:
        """Be gone, and all that it runs."""
        self.switched_off.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.close()


class Link:
    """A connection of a host."""

    def __init__(self, phone: Double, stream: socket.socket) -> None:
        self.phone, self.manner = phone, phone.manner
        self.most = 4096
        self._stream = stream
        self._sending = threading.Lock()
        self._streams: dict[int, Stream] = {}
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, command: bytes, arg0: int, arg1: int, data: bytes = b"") -> None:
        """Send a message, spoilt if it is one of those."""
        message = pack(command, arg0, arg1, data)
        kind, how = self.manner.spoils or (b"", "")
        if kind == command and how == "cut":
            self._stream.sendall(message[: len(message) // 2])
            self._stream.shutdown(socket.SHUT_RDWR)
            raise ConnectionError("as it was told")
        if kind == command and how == "drip":
            for byte in message:
                self._stream.sendall(bytes([byte]))
                self.phone.switched_off.wait(0.3)
        else:
            self.write(SPOILERS[how](message) if kind == command else message)

    def write(self, message: bytes) -> None:
        """Send a message as it is."""
        with self._sending:
            self._stream.sendall(message)

    def flood(self, ours: int, theirs: int, data: bytes) -> None:
        """Write to a stream until the host goes, and never wait for it."""
        message = pack(b"WRTE", ours, theirs, data)
        message *= max(1, (1 << 16) // len(message))
        while True:
            self.write(message)

    def read(self, length: int) -> bytes:
        """So many bytes."""
        data = bytearray()
        while len(data) < length:
            part = self._stream.recv(length - len(data))
            if not part:
                raise ConnectionError("the host has gone")
            data += part
        return bytes(data)

    def receive(self) -> tuple[bytes, int, int, bytes]:
        """The host's next message, which is as the protocol has it."""
        number, arg0, arg1, length, checksum, magic = HEADER.unpack(self.read(HEADER.size))
        assert magic == number ^ 0xFFFFFFFF and length <= max(self.manner.maxdata, 4096)
        data = self.read(length)
        assert checksum == sum(data) & 0xFFFFFFFF
        return number.to_bytes(4, "little"), arg0, arg1, data

    def close(self) -> None:
        """Cut it."""
        with contextlib.suppress(OSError):  # it is cut already
            self._stream.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def _run(self) -> None:
        try:
            with contextlib.suppress(OSError), self._stream:  # the host may go whenever it likes
                self._greet()
                while True:
                    self._answer(*self.receive())
        except AssertionError:
            self.phone.note("broken protocol")
            raise
        finally:
            for stream in self._streams.values():
                stream.end()

    def _greet(self) -> None:
        command, _, self.most, _ = self.receive()
        assert command == b"CNXN"
        if self.manner.silent:
            self._hold()
        if self.manner.asks:
            self._authenticate()
        self.send(b"CNXN", VERSION, self.manner.maxdata, BANNER)

    def _hold(self) -> NoReturn:
        """Keep the connection, and never answer."""
        while self._stream.recv(1 << 16):
            continue
        raise ConnectionError("the host has gone")

    def _authenticate(self) -> None:
        kind, length = self.manner.token
        token = os.urandom(length)
        self.send(b"AUTH", kind, 0, token)
        while True:
            command, about, _, data = self.receive()
            assert command == b"AUTH" and about in (SIGNATURE, PUBLIC_KEY)
            if about == SIGNATURE and self.phone.verifies(token, data):
                self.phone.note("verified")
                return
            if about == PUBLIC_KEY and self._owner_accepts():
                self.phone.learn(data)
                return
            if about == SIGNATURE:
                self.phone.note("forged")
            token = os.urandom(length)
            self.send(b"AUTH", kind, 0, token)

    def _owner_accepts(self) -> bool:
        self.phone.note("asked")
        if self.manner.accepts_s is not None:
            return not self.phone.switched_off.wait(self.manner.accepts_s)
        if self.manner.refuses == "silence":
            self._hold()
        if self.manner.refuses == "close":
            raise ConnectionError("as it was told")
        return False

    def _answer(self, command: bytes, theirs: int, ours: int, data: bytes) -> None:
        stream = self._streams.get(ours)
        if command == b"OPEN":
            self._open(theirs, data.rstrip(b"\0"))
        elif command == b"WRTE" and stream is not None:
            if self.manner.stream != "mute":
                self.send(b"OKAY", ours, theirs)
            if data:  # nothing stands for the end
                stream.arrived.put(data)
        elif command == b"OKAY" and stream is not None:
            stream.taken.release()
        elif command == b"CLSE":
            if stream is not None:
                stream.end()
            self.send(b"CLSE", ours, theirs)

    def _open(self, theirs: int, service: bytes) -> None:
        if self.manner.stream == "refuse":
            self.send(b"CLSE", 0, theirs)
            return
        ours = len(self._streams) + 1
        self._streams[ours] = stream = Stream(self, ours, theirs)
        self.send(b"OKAY", ours, theirs)
        threading.Thread(target=stream.serve, args=(service,), daemon=True).start()
